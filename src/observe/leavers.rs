//! Who lives on when the target has ended: counted, or ended where the run is not to leave anybody. Must not watch the
//! target itself.

use super::census::{self, Fate};
use super::{KILL_AFTER, probe};
use crate::sys::clock;
use crate::target::RunningTarget;
use crate::units::Span;
use std::path::Path;
use std::time::Duration;

/// Descendants that are on their way out when the target has ended are waited for so long.
const LEAVING: Span = Span::from_millis(20);
/// And looked at so often.
const LEAVING_LOOKED_AT: Duration = Duration::from_millis(1);
/// Those that were told to end are looked at so often.
const ENDING_LOOKED_AT: Duration = Duration::from_millis(5);

/// Living descendants of ours but the target itself, which is a zombie by now and has no children any more. Who is on its
/// way out is given a moment: it counts for nothing until it can be reaped.
pub(super) fn left_behind(root: &Path, own_pid: u32, target: u32) -> u32 {
    let until = clock::monotonic() + LEAVING;
    loop {
        let left: Vec<Fate> =
            census::descendants(root, own_pid, Some(target)).into_iter().map(|pid| census::fate(root, pid)).collect();
        if !left.contains(&Fate::Leaving) || clock::monotonic() >= until {
            return left.into_iter().filter(|&fate| fate == Fate::Lives).count() as u32;
        }
        std::thread::sleep(LEAVING_LOOKED_AT);
    }
}

/// Ends those that live on: TERM, and KILL to whoever is still there [`KILL_AFTER`] later. The target is a zombie by now.
pub(super) fn end(target: &mut RunningTarget) {
    let (root, own_pid) = (Path::new("/proc"), std::process::id());
    if !probe::proc_is_ours(root) {
        return;
    }
    let left = || {
        let mut left = census::descendants(root, own_pid, Some(target.pid()));
        left.retain(|&pid| census::lives(root, pid));
        left
    };
    let (told, mut still) = (clock::monotonic(), left());
    let (kill_at, give_up_at) = (told + KILL_AFTER, told + KILL_AFTER + KILL_AFTER);
    let mut signal = libc::SIGTERM;
    let mut knows = Vec::new();
    while !still.is_empty() && clock::monotonic() < give_up_at {
        if clock::monotonic() >= kill_at && signal == libc::SIGTERM {
            (signal, knows) = (libc::SIGKILL, Vec::new());
        }
        // Once is enough, also for those that were started meanwhile.
        let new: Vec<u32> = still.iter().copied().filter(|pid| !knows.contains(pid)).collect();
        target.signal_descendants(signal, &new);
        knows.extend(new);
        std::thread::sleep(ENDING_LOOKED_AT);
        still = left();
    }
}
