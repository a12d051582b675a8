//! The private directory that the target's interpreters write their channels to, the one that they load the agent from,
//! and what the environment says of both. The first goes away with its value. Must not read what is written there.

use super::kept::{PRIVATE, kept, write};
use crate::sys::identity;
use crate::sys::memory_disk;
use crate::target::EnvironmentChange;
use crate::trace::WhyNot;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, DirEntry, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Room for the channels of some two thousand processes. Docker's default is an eighth of this.
const PLENTY: u64 = 512 << 20;
/// Names that are tried before it is given up.
const NAMES: usize = 16;
/// A process that is left behind may add a file while the directory is emptied.
const REMOVALS: usize = 3;
/// What a directory's name begins with; random hexadecimal digits follow.
const NAME: &str = "poolpick-";
/// How many.
const DIGITS: usize = 8;
/// A directory is locked within this time of being made.
const SETTLED: Duration = Duration::from_secs(60);
/// Directories of killed runs that are removed at once.
const MOST_SWEPT: usize = 64;

/// The directories.
#[derive(Debug)]
pub struct Home {
    own: PathBuf,
    /// Held locked as long as the directory is in use: the kernel lets go of it, however this process ends.
    _lock: Option<File>,
    /// Below `own`, or in the user's cache.
    agent: PathBuf,
}

impl Home {
    /// Makes it: in the user's runtime directory where there is one, else in shared memory where there is plenty, else in
    /// the temporary directory. The first two lie in memory: on a disk, a target that writes to its channel may have to
    /// wait until the kernel has written a page of it.
    ///
    /// # Errors
    /// Why the temporary directory did not take it.
    pub fn make() -> Result<Home, WhyNot> {
        let kept = kept();
        for folder in [runtime_folder(), shared_memory()].into_iter().flatten() {
            if let Ok(home) = Home::make_in(&folder, kept.clone()) {
                return Ok(home);
            }
        }
        let refused = |error: io::Error| WhyNot::NoPrivateFolder(error.raw_os_error().unwrap_or(libc::EINVAL));
        Home::make_in(&std::env::temp_dir(), kept).map_err(refused)
    }

    /// Makes it in this directory, with an agent of its own unless there is one already.
    ///
    /// # Errors
    /// Those of making directories and files. A path with a colon is invalid: no entry of `PYTHONPATH` can hold one.
    pub fn make_in(folder: &Path, agent: Option<PathBuf>) -> io::Result<Home> {
        let folder = std::path::absolute(folder)?;
        if folder.as_os_str().as_bytes().contains(&b':') {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut private = DirBuilder::new();
        private.mode(PRIVATE);
        // Exclusive, and never through a link: whoever guesses the name gains nothing.
        let own = std::iter::repeat_with(|| folder.join(format!("{NAME}{:0DIGITS$x}", fastrand::u32(..))))
            .take(NAMES)
            .find_map(|path| match private.create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                made => Some(made.map(|()| path)),
            })
            .unwrap_or(Err(io::ErrorKind::AlreadyExists.into()))?;
        let wanted = agent.is_none();
        let lock = File::open(&own).ok().filter(|directory| directory.try_lock().is_ok());
        let home = Home { agent: agent.unwrap_or_else(|| own.join("agent")), _lock: lock, own };
        // From here on it is removed, whatever fails.
        private.create(home.channel())?;
        if wanted {
            private.create(&home.agent)?;
            write(&home.agent)?;
        }
        Ok(home)
    }

    /// Where the agent is loaded from.
    pub fn agent(&self) -> &Path {
        &self.agent
    }

    /// Where the channels are written to.
    pub fn channel(&self) -> PathBuf {
        self.own.join("channel")
    }

    /// How the target learns of it, and of the functions that are stages (`NAME=MODULE:FUNCTION`).
    pub fn environment(&self, stages: &[String]) -> Vec<EnvironmentChange> {
        let set = |name: &'static str, value| EnvironmentChange::Set { name: name.into(), value };
        vec![
            EnvironmentChange::Prepend { name: "PYTHONPATH", entry: self.agent.clone().into_os_string() },
            set("POOLPICK_CHANNEL", self.channel().into_os_string()),
            // Those of a poolpick that runs this one are not ours.
            if stages.is_empty() {
                EnvironmentChange::Remove { name: "POOLPICK_STAGES" }
            } else {
                set("POOLPICK_STAGES", OsString::from_vec(stages.join("\n").into_bytes()))
            },
        ]
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(folder) = self.own.parent() {
            sweep(folder);
        }
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(&self.own) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                // What cannot be removed stays: there is nobody to tell.
                _ => return,
            }
        }
    }
}

/// Removes what a poolpick that was killed left behind: directories of ours that are named like one, that nobody holds
/// locked, and that are old enough to have been locked by whoever made them.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let named = |entry: &DirEntry| {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(NAME));
        random.is_some_and(|random| random.len() == DIGITS && random.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    for entry in entries.flatten().filter(named).take(MOST_SWEPT) {
        // Not through a link: metadata of an entry is its own.
        let Ok(metadata) = entry.metadata() else { continue };
        let old = metadata.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > SETTLED);
        let ours = metadata.is_dir() && metadata.uid() == identity::effective_uid() && metadata.mode() & 0o077 == 0;
        if old && ours && File::open(entry.path()).is_ok_and(|directory| directory.try_lock().is_ok()) {
            // Where something of it cannot be removed, there is nobody to tell.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// `XDG_RUNTIME_DIR`, where it is the user's own: under sudo it may be another's.
fn runtime_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    let metadata = folder.is_absolute().then(|| fs::metadata(&folder).ok())??;
    (metadata.is_dir() && metadata.uid() == identity::effective_uid() && metadata.mode() & 0o022 == 0).then_some(folder)
}

/// Where POSIX shared memory is, unless it is so small that the target might miss what the channels take of it.
fn shared_memory() -> Option<PathBuf> {
    let folder = PathBuf::from("/dev/shm");
    let room = memory_disk::room(&folder).ok()??;
    (room >= PLENTY).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::make_in(folder.path(), None).expect("it can be made");
        for path in [home.agent().to_owned(), home.channel(), home.own.clone()] {
            assert_eq!(fs::metadata(path).expect("it is there").mode() & 0o777, 0o700);
        }
        assert!(fs::metadata(home.agent().join("sitecustomize.py")).expect("it is there").len() > 0);
        fs::write(home.channel().join("left"), "x").expect("it can be written");
        drop(home);
        assert_eq!(fs::read_dir(folder.path()).expect("it can be listed").count(), 0);
    }

    #[test]
    fn what_refuses_it_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let colon = folder.path().join("a:b");
        fs::create_dir(&colon).expect("it can be made");
        assert_eq!(Home::make_in(&colon, None).expect_err("no list can hold it").raw_os_error(), Some(libc::EINVAL));
        let missing = Home::make_in(&folder.path().join("none"), None).expect_err("it is not there");
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
        let make = |name: &str, old: bool| {
            let path = folder.path().join(name);
            DirBuilder::new().mode(PRIVATE).create(&path).expect("it can be made");
            fs::write(path.join("channel"), "x").expect("it can be written");
            let directory = File::open(&path).expect("it can be opened");
            if old {
                directory.set_modified(hour_ago).expect("it is ours");
            }
            directory
        };
        make("poolpick-00c0ffee", true);
        make("poolpick-0000beef", false);
        make("poolpick-mine", true);
        make("poolpick-00c0ffeelong", true);
        let held = make("poolpick-12345678", true);
        held.try_lock().expect("nobody holds it");
        drop(Home::make_in(folder.path(), None).expect("it can be made"));
        let mut left: Vec<String> = fs::read_dir(folder.path())
            .expect("it can be listed")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        assert_eq!(left, ["poolpick-0000beef", "poolpick-00c0ffeelong", "poolpick-12345678", "poolpick-mine"]);
    }
}
