//! The binary: hands over to `cli`, which owns arguments, messages and the exit status.

fn main() -> std::process::ExitCode {
    poolpick::cli::main()
}
