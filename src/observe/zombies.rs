//! Processes that have ended and that their parent does not wait for while it lives on. Must not reap, and must not judge.
//!
//! ```text
//! ended ──look──► a zombie, its parent lives ──2 s of looks──► told ──► gone while its parent lives: reaped, told too
//!   └─► gone: reaped, forgotten                                  └────► its parent ended before it did that: stays told
//! ```

use crate::sys::clock;
use crate::trace::Event;
use crate::units::{Span, Timestamp};
use procfs::process::{Process, Stat};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Time between two looks.
const BETWEEN_LOOKS: Span = Span::from_millis(500);
/// A process that is a zombie at every look for so long is told: whoever waits for its children at all has done so by then.
const LASTING: Span = Span::from_millis(2_000);
/// Most processes that are kept in mind at once.
const MOST: usize = 512;
/// Most that one look reads, of those that ended lately and of the zombies each.
const MOST_A_LOOK: usize = 64;

/// A process that had ended when it was looked at, and was not reaped.
#[derive(Debug)]
struct Zombie {
    pid: u32,
    parent: u32,
    /// Its birth, which tells it from a later process of the same number.
    born: u64,
    /// Since when it is known to be one.
    since: Timestamp,
    told: bool,
}

/// Looks at those that ended.
#[derive(Debug)]
pub struct Zombies {
    root: PathBuf,
    ended: VecDeque<u32>,
    known: VecDeque<Zombie>,
    next: Timestamp,
}

impl Zombies {
    /// Of the processes that `root` (`/proc`) shows.
    pub fn new(root: &Path) -> Zombies {
        Zombies { root: root.to_owned(), ended: VecDeque::new(), known: VecDeque::new(), next: Timestamp(0) }
    }

    /// A process has ended.
    pub fn ended(&mut self, pid: u32) {
        if self.ended.len() + self.known.len() < MOST {
            self.ended.push_back(pid);
        }
    }

    /// A process that had lost its parent was reaped by us: its parent never did that.
    pub fn adopted(&mut self, pid: u32) {
        self.known.retain(|zombie| zombie.pid != pid);
    }

    /// A look, if it is due; `own_pid` reaps in its own time.
    pub fn look(&mut self, own_pid: u32, emit: &mut dyn FnMut(Event)) {
        let now = clock::monotonic();
        if now < self.next || self.ended.is_empty() && self.known.is_empty() {
            return;
        }
        self.next = now + BETWEEN_LOOKS;
        self.look_again(MOST_A_LOOK, emit);
        for _ in 0..self.ended.len().min(MOST_A_LOOK) {
            let Some(pid) = self.ended.pop_front() else { break };
            let Some(stat) = self.stat(pid) else { continue };
            let parent = u32::try_from(stat.ppid).unwrap_or(0);
            // A first thread that ended before the others is no zombie yet.
            if !is_zombie(&stat) || stat.num_threads > 1 || parent == own_pid || parent == 0 {
                continue;
            }
            self.known.push_back(Zombie { pid, parent, born: stat.starttime, since: clock::monotonic(), told: false });
        }
    }

    /// The last look, when the target has ended and is not reaped, so that nobody we adopt is either.
    pub fn last_look(&mut self, emit: &mut dyn FnMut(Event)) {
        self.look_again(self.known.len(), emit);
    }

    /// Looks at so many of the known.
    fn look_again(&mut self, most: usize, emit: &mut dyn FnMut(Event)) {
        for _ in 0..self.known.len().min(most) {
            let Some(mut zombie) = self.known.pop_front() else { break };
            let stat = self.stat(zombie.pid).filter(|stat| stat.starttime == zombie.born && is_zombie(stat));
            let at = clock::monotonic();
            let Some(stat) = stat else {
                if zombie.told {
                    emit(Event::Reaped { at, pid: zombie.pid });
                }
                continue;
            };
            if u32::try_from(stat.ppid) != Ok(zombie.parent) {
                // Another's by now: its parent has ended and never reaped it.
                continue;
            }
            if !zombie.told {
                // Who is stopped cannot wait for its children.
                if self.stat(zombie.parent).is_none_or(|parent| matches!(parent.state, 'T' | 't')) {
                    zombie.since = at;
                }
                if at.since(zombie.since) >= LASTING {
                    zombie.told = true;
                    emit(Event::Zombie { at, pid: zombie.pid, parent: zombie.parent, since: zombie.since });
                }
            }
            self.known.push_back(zombie);
        }
    }

    fn stat(&self, pid: u32) -> Option<Stat> {
        Process::new_with_root(self.root.join(pid.to_string())).ok()?.stat().ok()
    }
}

fn is_zombie(stat: &Stat) -> bool {
    stat.state == 'Z'
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const OURS: u32 = 1;

    fn put(root: &Path, pid: u32, state: char, parent: u32, threads: u32) {
        let folder = root.join(pid.to_string());
        fs::create_dir_all(&folder).expect("a folder");
        let zeros = "0 ".repeat(13);
        let stat = format!("{pid} (a b) {state} {parent} {zeros}20 0 {threads} 0 100 {}\n", "0 ".repeat(30).trim_end());
        fs::write(folder.join("stat"), stat).expect("a file");
    }

    /// Looks once, as if so long had passed since the last time.
    fn look(zombies: &mut Zombies, passed: Span) -> Vec<Event> {
        zombies.next = Timestamp(0);
        for zombie in &mut zombies.known {
            zombie.since = Timestamp(zombie.since.0.saturating_sub(passed.0));
        }
        let mut events = Vec::new();
        zombies.look(OURS, &mut |event| events.push(event));
        events
    }

    fn told(events: &[Event]) -> Vec<u32> {
        events
            .iter()
            .filter_map(|event| match event {
                Event::Zombie { pid, .. } => Some(*pid),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn one_that_stays_is_told_once_and_again_when_it_is_reaped() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (folder, second) = (root.path(), Span::from_millis(1_000));
        put(folder, 10, 'S', 1, 2);
        put(folder, 11, 'Z', 10, 1);
        put(folder, 12, 'Z', 10, 2); // its other thread lives
        put(folder, 13, 'Z', OURS, 1); // ours to reap
        let mut zombies = Zombies::new(folder);
        for pid in [11, 12, 13, 14] {
            zombies.ended(pid);
        }
        assert_eq!(look(&mut zombies, second), []);
        assert_eq!(look(&mut zombies, second), [], "a second is a moment");
        assert_eq!(told(&look(&mut zombies, second)), [11]);
        assert_eq!(look(&mut zombies, second), [], "told once");
        fs::remove_dir_all(folder.join("11")).expect("it can go");
        assert!(matches!(look(&mut zombies, second)[..], [Event::Reaped { pid: 11, .. }]));
    }

    #[test]
    fn one_that_outlives_its_parent_was_never_reaped() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (folder, long) = (root.path(), Span::from_millis(3_000));
        put(folder, 10, 'S', 1, 1);
        for pid in [11, 12] {
            put(folder, pid, 'Z', 10, 1);
        }
        let mut zombies = Zombies::new(folder);
        zombies.ended(11);
        zombies.ended(12);
        look(&mut zombies, long);
        assert_eq!(told(&look(&mut zombies, long)), [11, 12]);
        put(folder, 11, 'Z', OURS, 1);
        zombies.adopted(12);
        fs::remove_dir_all(folder.join("12")).expect("it can go");
        let mut events = Vec::new();
        zombies.last_look(&mut |event| events.push(event));
        assert_eq!(events, []);
    }

    #[test]
    fn a_parent_that_is_stopped_neglects_nobody() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let (folder, long) = (root.path(), Span::from_millis(3_000));
        put(folder, 10, 'T', 1, 1);
        put(folder, 11, 'Z', 10, 1);
        let mut zombies = Zombies::new(folder);
        zombies.ended(11);
        for _ in 0..4 {
            assert_eq!(look(&mut zombies, long), []);
        }
        put(folder, 10, 'S', 1, 1);
        assert_eq!(told(&look(&mut zombies, long)), [11]);
    }
}
