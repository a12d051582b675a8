//! The command line: arguments, one file a command, messages on stderr, exit statuses. Strings the layers together and
//! holds no knowledge of its own about stages, verdicts or the kernel.

mod analyse;
mod args;
mod calibrate;
mod capture;
mod check;
mod compare;
mod doctor;
mod exit;
mod explain;
mod init;
mod live;
mod otlp;
mod output;
mod prices;
mod profile;
mod race;
mod report;
mod report_file;
mod same_file;
mod saved;
mod session;
mod streamed;
mod summary;

use crate::report::escape::terminal;
use crate::units::Span;
use anyhow::{Context, Result};
use args::{Cli, Command, SchemaOf};
use clap::{CommandFactory, Parser};
use exit::Failure;
use std::io::Write;
use std::process::ExitCode;

/// Runs poolpick with the process's arguments.
pub fn main() -> ExitCode {
    crate::sys::stack::with_enough(on_enough_stack)
}

fn on_enough_stack() -> ExitCode {
    let cpu_before = crate::sys::clock::process_cpu();
    crate::sys::signals::take_file_size_limit_as_error();
    // It passes on a program's status, which is not to be mistaken for poolpick's.
    let starts = std::env::args_os().nth(1).is_some_and(|command| command == "profile");
    let failed = if starts { exit::FAILED } else { exit::USAGE };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { failed } else { 0 };
            // Nobody may be left to read it; the status tells all the same.
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let outcome = std::panic::catch_unwind(|| run(cli, cpu_before));
    match outcome {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            // A failure's message holds its cause already; other errors show their whole chain.
            let (status, message) = match error.downcast_ref::<Failure>() {
                Some(failure) if starts => (failure.status_as_wrapper(), failure.to_string()),
                Some(failure) => (failure.status(), failure.to_string()),
                None => (exit::FAILED, format!("{error:#}")),
            };
            say(&format!("error: {message}"));
            ExitCode::from(status)
        }
        Err(_) => {
            say("error: poolpick itself failed; please report this with the lines above");
            ExitCode::from(exit::FAILED)
        }
    }
}

fn run(cli: Cli, cpu_before: Span) -> Result<ExitCode> {
    match cli.command {
        Command::Profile(arguments) => profile::run(&arguments, cpu_before),
        Command::Check(arguments) => check::run(&arguments, cpu_before),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Race(arguments) => race::run(&arguments, cpu_before),
        Command::Schema { of } => print(|out| {
            let schema = match of {
                SchemaOf::Report => crate::report::schema::report_schema(),
                SchemaOf::Check => crate::report::schema::check_schema(),
                SchemaOf::Compare => crate::report::schema::comparison_schema(),
                SchemaOf::Race => crate::report::schema::race_schema(),
                SchemaOf::Events => crate::report::schema::event_schema(),
                SchemaOf::Manifest => crate::manifest::manifest_schema(),
            };
            serde_json::to_writer_pretty(&mut *out, &schema)?;
            writeln!(out)
        }),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "poolpick", &mut script);
            print(|out| out.write_all(&script))
        }
        Command::Man { command } => manual(command.as_deref()),
        Command::Explain { code } => explain::run(code.as_deref()),
    }
}

/// The manual page of poolpick or of one of its commands.
fn manual(name: Option<&str>) -> Result<ExitCode> {
    let mut root = Cli::command();
    root.build();
    let command = match name {
        None => root,
        Some(name) => root
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Failure::Misuse(format!("`{name}` is no command; hint: `poolpick --help` lists them")))?,
    };
    print(|out| clap_mangen::Man::new(command).render(out))
}

/// Prints to stdout; a reader that went away is no failure.
fn print(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// A message on stderr, whose reader may be gone. Names in it may come from the target or from a hostile file.
fn say(message: &str) {
    let safe: Vec<String> = message.lines().map(|line| terminal(line).into_owned()).collect();
    let _ = writeln!(std::io::stderr(), "poolpick: {}", safe.join("\n"));
}
