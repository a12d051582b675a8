//! Whether the agent could serve here: it is loaded by the `python3` on `PATH`, and its channel is read. For `doctor`.

use super::home::Home;
use super::reader::{Reader, moment};
use crate::sys::clock;
use crate::target::EnvironmentChange;
use crate::trace::{AgentFact, Event, WhyNot};
use crate::units::{Span, Timestamp};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// An interpreter that takes longer to start and end is not waited for.
const TIME_OUT: Span = Span::from_millis(5_000);
/// How often it is asked whether it has ended.
const POLL: Duration = Duration::from_millis(2);

/// Tries it; tells which Python loaded it.
///
/// # Errors
/// Why it could not serve.
pub fn try_out() -> Result<String, WhyNot> {
    let home = Home::make()?;
    let mut command = Command::new("python3");
    command.args(["-c", "pass"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for change in home.environment(&[]) {
        match change {
            EnvironmentChange::Set { name, value } => command.env(name.as_ref(), value),
            // For the trial the agent's own is enough.
            EnvironmentChange::Prepend { name, entry } => command.env(name, entry),
            EnvironmentChange::Remove { name } => command.env_remove(name),
        };
    }
    let Ok(mut child) = command.spawn() else {
        return Ok("its directory can be made; there is no python3 on PATH to try it with".to_owned());
    };
    if !ends(&mut child) {
        return Err(WhyNot::AgentSilent);
    }
    let mut version = None;
    let mut note = |event| {
        if let Event::Agent { fact: AgentFact::Began { hexversion, .. }, .. } = event {
            version = Some(hexversion);
        }
    };
    Reader::new(home.channel()).finish(moment(Timestamp(0), true), &mut |_| true, &mut note);
    let version: u32 = version.ok_or(WhyNot::AgentSilent)?;
    Ok(format!("loaded by Python {}.{}.{}", version >> 24, version >> 16 & 0xFF, version >> 8 & 0xFF))
}

/// Waits for its end, and brings it about where it does not come.
fn ends(child: &mut Child) -> bool {
    let deadline = clock::monotonic() + TIME_OUT;
    while clock::monotonic() < deadline {
        match child.try_wait() {
            Ok(None) => sleep(POLL),
            ended => return ended.is_ok(),
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    false
}
