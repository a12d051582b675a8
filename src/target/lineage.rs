//! Who descends from whom, as `/proc` tells now. Must not remember: process ids are used again.

use std::fs;

/// More generations than any real process has; ends the walk if ids are used again under it.
const GENERATIONS: usize = 4096;

/// Whether `pid` lives and is a descendant (child, grandchild, …) of `ancestor`.
pub fn descends_from(pid: u32, ancestor: u32) -> bool {
    walk(pid, ancestor, |pid| parent_in(&stat(pid)?))
}

/// Whether the process is stopped by a signal.
pub fn is_stopped(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| state_in(&stat) == Some(b'T'))
}

fn walk(pid: u32, ancestor: u32, parent_of: impl Fn(u32) -> Option<u32>) -> bool {
    std::iter::successors(parent_of(pid), |pid| parent_of(*pid))
        .take(GENERATIONS)
        .take_while(|pid| *pid != 0)
        .any(|pid| pid == ancestor)
}

fn stat(pid: u32) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/stat")).ok()
}

/// `PID (NAME) STATE PARENT …`: the name may hold anything, also spaces and parentheses, so count from its end.
fn fields(stat: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    Some(stat[end + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty()))
}

fn state_in(stat: &[u8]) -> Option<u8> {
    fields(stat)?.next()?.first().copied()
}

fn parent_in(stat: &[u8]) -> Option<u32> {
    std::str::from_utf8(fields(stat)?.nth(1)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_fake_its_parent() {
        let stat = b"12 (a) R 1 (x) S 34 12 5 0";
        assert_eq!((state_in(stat), parent_in(stat)), (Some(b'S'), Some(34)));
        assert_eq!(parent_in(b"12 (cut"), None);
    }

    #[test]
    fn only_descendants_descend() {
        // 1 ─ 10 ─ 20 ─ 30, and 40 whose parent is gone.
        let parent_of = |pid| match pid {
            30 => Some(20),
            20 => Some(10),
            10 => Some(1),
            1 => Some(0),
            _ => None,
        };
        assert!(walk(30, 10, parent_of));
        assert!(!walk(10, 10, parent_of), "nobody descends from oneself");
        assert!(!walk(10, 20, parent_of));
        assert!(!walk(40, 10, parent_of));
        assert!(!walk(5, 5, |_| Some(6)), "the walk ends");
    }

    #[test]
    fn this_process_descends_from_its_parent() {
        assert!(descends_from(std::process::id(), std::os::unix::process::parent_id()));
        assert!(!is_stopped(std::process::id()));
    }
}
