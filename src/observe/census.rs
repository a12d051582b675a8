//! Who lives: the processes and threads of the tree, from switch records where there are some, else by walking /proc.

use super::files::{Files, LARGEST, Which};
use crate::trace::{Event, Ids, SwitchOut};
use procfs::process::Process;
use rustc_hash::FxHashMap;
use std::path::{Path, PathBuf};

/// `PF_EXITING` of linux/sched.h, in the flags of /proc/PID/stat: on its way out.
pub const PF_EXITING: u32 = 0x4;
/// Most `/proc/PID` handles kept open.
const MOST_HANDLES: usize = 128;

/// A living process.
#[derive(Debug)]
pub struct Member {
    /// Its threads.
    pub threads: Vec<u32>,
    /// The kernel's name of its program when it was last looked at (the rung without records).
    pub comm: Option<String>,
    /// Threads that had children when it was last walked.
    forkers: Vec<u32>,
    /// What was executed when an agent began in it: whoever is called otherwise later, and is still this, has renamed itself.
    agent: Option<PathBuf>,
    handle: Option<Process>,
    /// Seen in the current walk.
    seen: bool,
}

/// The living of the tree.
#[derive(Debug)]
pub struct Census {
    root: PathBuf,
    target: u32,
    members: FxHashMap<u32, Member>,
    handles: usize,
    /// Processes that switch records said ended since the last check.
    ended: Vec<u32>,
    /// Threads that blocked lately, written round and round.
    recent: [Option<Ids>; RECENT],
    recent_next: usize,
    /// Counts walks.
    turn: usize,
}

/// How many of the threads that blocked last are remembered.
const RECENT: usize = 32;

/// Of a process with more threads than this not all are asked for children in one walk.
const MOST_ASKED: usize = 64;

/// Bytes that the number of a process may take, with its space.
const ROOM_FOR_A_NUMBER: usize = 16;

/// Most ended processes that are checked at once.
const MOST_CHECKED: usize = 16;

impl Census {
    /// A census that begins with the target.
    pub fn new(root: &Path, target: u32) -> Census {
        let mut census = Census {
            root: root.to_owned(),
            target,
            members: FxHashMap::default(),
            handles: 0,
            ended: Vec::new(),
            recent: [None; RECENT],
            recent_next: 0,
            turn: 0,
        };
        census.add(Ids { pid: target, tid: target });
        census
    }

    /// Takes part in what switch records tell.
    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::SwitchOut { ids, why: SwitchOut::Blocked, .. } => {
                self.recent[self.recent_next % RECENT] = Some(*ids);
                self.recent_next = self.recent_next.wrapping_add(1);
            }
            Event::Fork { ids, .. } => self.add(*ids),
            Event::Exit { ids, .. } => self.remove(*ids),
            Event::Exec { ids, .. } => {
                if let Some(member) = self.members.get_mut(&ids.pid) {
                    member.threads.retain(|&tid| tid == ids.pid);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, ids: Ids) {
        let member = self.members.entry(ids.pid).or_insert_with(|| Member {
            threads: Vec::new(),
            comm: None,
            forkers: Vec::new(),
            agent: None,
            handle: None,
            seen: true,
        });
        if !member.threads.contains(&ids.tid) {
            member.threads.push(ids.tid);
        }
    }

    fn remove(&mut self, ids: Ids) {
        if let Some(member) = self.members.get_mut(&ids.pid) {
            member.threads.retain(|&tid| tid != ids.tid);
            if member.threads.is_empty() {
                self.forget(ids.pid);
                if self.ended.len() < MOST_CHECKED {
                    self.ended.push(ids.pid);
                }
            }
        }
    }

    /// A process is there no more.
    pub fn forget(&mut self, pid: u32) {
        if self.members.remove(&pid).is_some_and(|member| member.handle.is_some()) {
            self.handles -= 1;
        }
    }

    /// Threads that blocked since this was last asked, the latest of them: among many idle threads, these are at work.
    pub fn take_recent(&mut self) -> Vec<Ids> {
        let mut recent: Vec<Ids> = self.recent.iter_mut().filter_map(Option::take).collect();
        recent.sort_by_key(|ids| (ids.pid, ids.tid));
        recent.dedup();
        recent
    }

    /// A process whose records ended although it runs on. Call it a while after they did: a process that ends is not yet
    /// a zombie when its records do.
    pub fn outlives_its_records(&mut self) -> Option<u32> {
        let root = &self.root;
        std::mem::take(&mut self.ended).into_iter().find(|pid| !self.members.contains_key(pid) && lives(root, *pid))
    }

    /// An agent began in a process: the name of the program that it is in, where that is another one than was last seen, or the
    /// same once more.
    pub fn agent_began(&mut self, pid: u32, files: &mut Files) -> Option<String> {
        let member = self.members.get_mut(&pid)?;
        let comm = files.read(Ids { pid, tid: pid }, Which::Comm).ok()?;
        let comm = String::from_utf8_lossy(comm).trim_end().to_owned();
        let exe = std::fs::read_link(self.root.join(pid.to_string()).join("exe")).ok();
        let again = std::mem::replace(&mut member.agent, exe).is_some();
        let before = member.comm.replace(comm.clone());
        (again || before.is_some_and(|before| before != comm)).then_some(comm)
    }

    /// Living processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> + '_ {
        self.members.keys().copied()
    }

    /// A living process's threads.
    pub fn threads(&self, pid: u32) -> &[u32] {
        self.members.get(&pid).map_or(&[], |member| &member.threads)
    }

    /// Its handle in /proc, opened on first use; `None` where it is gone.
    pub fn handle(&mut self, pid: u32) -> Option<&Process> {
        if self.handles >= MOST_HANDLES && self.members.get(&pid).is_some_and(|member| member.handle.is_none()) {
            for member in self.members.values_mut() {
                member.handle = None;
            }
            self.handles = 0;
        }
        let member = self.members.get_mut(&pid)?;
        if member.handle.is_none() {
            member.handle = Process::new_with_root(self.root.join(pid.to_string())).ok();
            self.handles += usize::from(member.handle.is_some());
        }
        member.handle.as_ref()
    }

    /// Walks the tree in /proc from the target and from our own children (orphans come to us as sub-reaper). Returns
    /// `Gone`, and `Exec` with the process's new name, for those whose program changed; who is new is told by `Fork`
    /// without a time of birth, so the caller reads them at once.
    pub fn walk(&mut self, own_pid: u32, files: &mut Files, found: &mut Walk) {
        self.turn = self.turn.wrapping_add(1);
        for member in self.members.values_mut() {
            member.seen = false;
        }
        let mut stack = vec![(self.target, own_pid)];
        let own = own_children(own_pid, files);
        stack.extend(own.into_iter().filter(|&pid| pid != self.target).map(|pid| (pid, own_pid)));
        while let Some((pid, parent)) = stack.pop() {
            let new = !self.members.contains_key(&pid);
            self.add(Ids { pid, tid: pid });
            if self.handle(pid).is_none() {
                self.forget(pid);
                found.gone.push(Ids { pid, tid: pid });
                continue;
            }
            let Some(mut tids) = tasks(&self.root, pid) else { continue };
            tids.sort_unstable();
            let before = self.members.get(&pid).map_or(&[][..], |member| &member.forkers);
            let mut forkers = Vec::new();
            // Of very many threads, those that never forked take turns. The children of one that ended are another's now.
            let turns = if before.iter().all(|forker| tids.binary_search(forker).is_ok()) {
                tids.len().div_ceil(MOST_ASKED)
            } else {
                1
            };
            for (index, &tid) in tids.iter().enumerate() {
                if !(index + self.turn).is_multiple_of(turns) && !before.contains(&tid) {
                    continue;
                }
                let children = children_of_task(Ids { pid, tid }, files);
                if !children.is_empty() {
                    forkers.push(tid);
                }
                stack.extend(children.into_iter().map(|child| (child, pid)));
            }
            let comm = files.read(Ids { pid, tid: pid }, Which::Comm).unwrap_or_default();
            let comm = String::from_utf8_lossy(comm).trim_end().to_owned();
            if let Some(member) = self.members.get_mut(&pid) {
                member.seen = true;
                for gone in member.threads.iter().filter(|tid| tids.binary_search(tid).is_err()) {
                    found.gone.push(Ids { pid, tid: *gone });
                }
                member.threads.sort_unstable();
                let born = tids.iter().filter(|tid| member.threads.binary_search(tid).is_err());
                found.born.extend(born.map(|&tid| Ids { pid, tid }));
                member.threads = tids;
                member.forkers = forkers;
                let changed = member.comm.as_deref().is_some_and(|before| before != comm);
                if new || member.comm.is_none() {
                    found.new.push((pid, parent));
                } else if changed && !is_renamed(&self.root, pid, member.agent.as_deref()) {
                    found.changed.push((pid, parent, comm.clone()));
                    member.agent = None;
                }
                member.comm = Some(comm);
            }
        }
        let gone: Vec<u32> = self.members.iter().filter(|(_, member)| !member.seen).map(|(&pid, _)| pid).collect();
        for pid in gone {
            for &tid in self.threads(pid).to_vec().iter() {
                found.gone.push(Ids { pid, tid });
            }
            self.forget(pid);
        }
    }
}

/// Whether a process that is called otherwise now still is what it was when its agent began.
fn is_renamed(root: &Path, pid: u32, began_as: Option<&Path>) -> bool {
    let exe = || std::fs::read_link(root.join(pid.to_string()).join("exe")).ok();
    began_as.is_some_and(|before| exe().as_deref() == Some(before))
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// New processes with their parents.
    pub new: Vec<(u32, u32)>,
    /// Processes whose program changed, with their parents and the kernel's new name.
    pub changed: Vec<(u32, u32, String)>,
    /// Threads that are there no more.
    pub gone: Vec<Ids>,
    /// Threads that were not there before, but for the first of a process.
    pub born: Vec<Ids>,
}

/// What has become of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Lives,
    /// It is on its way out, and cannot be reaped yet.
    Leaving,
    /// It has ended.
    Ended,
}

/// What has become of a process.
pub fn fate(root: &Path, pid: u32) -> Fate {
    let stat = Process::new_with_root(root.join(pid.to_string())).and_then(|process| process.stat());
    match stat {
        Ok(stat) if matches!(stat.state, 'Z' | 'X') => Fate::Ended,
        Ok(stat) if stat.flags & PF_EXITING != 0 => Fate::Leaving,
        Ok(_) => Fate::Lives,
        Err(_) => Fate::Ended,
    }
}

/// Whether a process is there and not on its way out.
pub fn lives(root: &Path, pid: u32) -> bool {
    fate(root, pid) == Fate::Lives
}

/// All processes below ourselves but `skipped` and what is only below that, in no order.
pub fn descendants(root: &Path, own_pid: u32, skipped: Option<u32>) -> Vec<u32> {
    let mut files = Files::new(root);
    let mut found = Vec::new();
    let mut stack = own_children(own_pid, &mut files);
    stack.retain(|&pid| Some(pid) != skipped);
    while let Some(pid) = stack.pop() {
        found.push(pid);
        stack.extend(children(root, pid, &mut files));
    }
    found
}

/// Our first thread forked the target, and orphans come to it too: it always lives.
fn own_children(own_pid: u32, files: &mut Files) -> Vec<u32> {
    children_of_task(Ids { pid: own_pid, tid: own_pid }, files)
}

/// Children of all threads of a process.
fn children(root: &Path, pid: u32, files: &mut Files) -> Vec<u32> {
    let tids = tasks(root, pid).unwrap_or_default();
    tids.into_iter().flat_map(|tid| children_of_task(Ids { pid, tid }, files)).collect()
}

/// The threads of a process; `None` where it is gone or hidden.
fn tasks(root: &Path, pid: u32) -> Option<Vec<u32>> {
    let tasks = std::fs::read_dir(root.join(format!("{pid}/task"))).ok()?;
    Some(tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect())
}

fn children_of_task(ids: Ids, files: &mut Files) -> Vec<u32> {
    let Ok(text) = files.read(ids, Which::Children) else { return Vec::new() };
    let parse = |text: &str| text.split_whitespace().filter_map(|child| child.parse().ok()).collect();
    // The kernel leaves out a number that does not fit any more.
    if text.len() + ROOM_FOR_A_NUMBER < LARGEST {
        return parse(&String::from_utf8_lossy(text));
    }
    parse(&String::from_utf8_lossy(&files.read_whole(ids, Which::Children).unwrap_or_default()))
}
