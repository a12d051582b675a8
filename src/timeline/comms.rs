//! Names that the kernel has for programs, and the programs that they turn out to be: what ends before a look at it has no
//! more than that name, and is the same program as its siblings of that name. Must not book time.

use super::births::MAX_PROGRAMS;
use super::fold::TimelineBuilder;
use super::image::Image;
use super::program::ProgramId;
use crate::trace::Ids;
use crate::units::Timestamp;
use rustc_hash::FxHashMap;

/// The kernel keeps so many bytes of a name.
const KEPT: usize = 15;

/// A program that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    image: Image,
    exe: String,
}

/// What names of programs under one parent stand for; none where there are several.
pub type Names = FxHashMap<(Option<ProgramId>, String), Option<Known>>;

impl TimelineBuilder {
    /// A process runs another program, of which the kernel's name is known alone so far.
    pub(super) fn exec_by_name(&mut self, ids: Ids, name: &str, at: Timestamp) {
        let process = self.by_pid.get(&ids.pid).copied();
        let parent = process.and_then(|slot| self.processes[slot].parent);
        let known = self.by_comm.get(&(parent, name.to_owned())).and_then(Option::as_ref);
        let image = known.map_or_else(|| Image::from_comm(name), |known| known.image.clone());
        self.exec(ids, image, at);
        if let Some(&slot) = self.by_pid.get(&ids.pid) {
            self.processes[slot].comm = Some((name.to_owned(), at));
        }
    }

    /// What a process runs is told at the moment of its exec: its name is that of this program, of its siblings too. Gives the
    /// executable; that of its siblings, where it ended while it was looked at.
    pub(super) fn learn_name(&mut self, pid: u32, exe: Option<&str>, argv: &[String], at: Timestamp) -> Option<String> {
        let told = exe.map(str::to_owned);
        let Some(&slot) = self.by_pid.get(&pid) else { return told };
        // What is told of a later moment may be of another program already, whose exec is still to come.
        let Some((name, _)) = self.processes[slot].comm.take().filter(|(_, execed)| *execed == at) else { return told };
        let parent = self.processes[slot].parent;
        let Some(exe) = told else {
            return self.by_comm.get(&(parent, name)).cloned().flatten().map(|known| known.exe);
        };
        let image = Image::from_argv(Some(&exe), argv);
        // A script that is run by its own name is called by that; else the name is its interpreter's, which runs others too.
        let script = image.script.filter(|script| script.bytes().take(KEPT).eq(name.bytes()));
        let (unresolved, resolved) = (Image::from_comm(&name), Image { script, ..image });
        let known = Known { image: resolved.clone(), exe: exe.clone() };
        let is_full = self.by_comm.len() >= MAX_PROGRAMS;
        match self.by_comm.get_mut(&(parent, name.clone())) {
            Some(before) => {
                // Of two programs of one name, what has no more than the name may be either.
                if before.as_ref().is_some_and(|before| before.image != known.image) {
                    *before = None;
                }
            }
            None if is_full => {}
            None => {
                self.by_comm.insert((parent, name), Some(known));
                self.rename(parent, unresolved, resolved);
            }
        }
        Some(exe)
    }

    /// A program that had no more than the kernel's name has its own from now on.
    fn rename(&mut self, parent: Option<ProgramId>, unresolved: Image, resolved: Image) {
        let Some(&id) = self.by_image.get(&(parent, unresolved.clone())) else { return };
        let is_taken = self.by_image.contains_key(&(parent, resolved.clone()));
        if is_taken || self.programs[id.0].image != unresolved {
            return;
        }
        self.by_image.remove(&(parent, unresolved.clone()));
        self.by_image.insert((parent, resolved.clone()), id);
        self.programs[id.0].image = resolved.clone();
        // Its workers are called after it.
        let (workers, named) = (Image { forked: true, ..unresolved }, Image { forked: true, ..resolved });
        if let Some(workers) = self.by_image.remove(&(Some(id), workers)) {
            self.programs[workers.0].image = named.clone();
            self.by_image.insert((Some(id), named), workers);
        }
    }
}
