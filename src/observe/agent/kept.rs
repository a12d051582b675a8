//! The agent's text in the user's cache, where interpreters keep its bytecode beside it: compiling it costs tens of
//! milliseconds, which would be the target's. Believes only files of the user's own that are as they were made: their
//! date is the checksum of their text, so that a start of poolpick need not read them.

use crate::sys::identity;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The agent's files: name and text.
pub(super) const FILES: [(&str, &str); 2] = [
    ("sitecustomize.py", include_str!("../../agent/sitecustomize.py")),
    ("poolpick_agent.py", include_str!("../../agent/poolpick_agent.py")),
];
/// CRC-32 of their texts, one after the other.
const CHECKSUM: &str = env!("POOLPICK_AGENT_CRC");
/// Only the user may enter.
pub(super) const PRIVATE: u32 = 0o700;
/// Who else may write to what is loaded: nobody.
const OTHERS_WRITE: u32 = 0o022;

/// The directory with the agent in the user's cache, made if it is not there; `None` where it cannot be had.
pub(super) fn kept() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    kept_in(&set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?)
}

fn kept_in(cache: &Path) -> Option<PathBuf> {
    let existing = cache.ancestors().find_map(|folder| fs::metadata(folder).ok())?;
    // Under sudo it may be another's, where nothing of ours may be left.
    if existing.uid() != identity::effective_uid() || cache.as_os_str().as_bytes().contains(&b':') {
        return None;
    }
    let parent = cache.join("poolpick");
    let folder = parent.join(format!("agent-{}-{CHECKSUM}", env!("CARGO_PKG_VERSION")));
    if is_whole(&folder) || make(&parent, &folder).is_ok() && is_whole(&folder) { Some(folder) } else { None }
}

/// The date that the files are given. Bytecode is tied to it, too: Python compares 32 bits of it, and the size.
fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(CHECKSUM.parse().unwrap_or_default())
}

/// Whether it holds our text as it was written, and nobody else can change that.
fn is_whole(folder: &Path) -> bool {
    let own = |path: &Path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        let ours = metadata.uid() == identity::effective_uid() && metadata.mode() & OTHERS_WRITE == 0;
        ours.then_some(metadata)
    };
    own(folder).is_some_and(|metadata| metadata.is_dir())
        && FILES.iter().all(|(name, text)| {
            let path = folder.join(name);
            own(&path).is_some_and(|metadata| {
                let as_made = metadata.modified().is_ok_and(|modified| modified == date());
                metadata.is_file() && metadata.len() == text.len() as u64 && as_made
            })
        })
}

/// Makes it beside its place and moves it there, so that nobody finds half of it.
fn make(parent: &Path, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(parent)?;
    let permissions = Permissions::from_mode(PRIVATE);
    let beside = tempfile::Builder::new().prefix(".agent-").permissions(permissions).tempdir_in(parent)?;
    write(beside.path())?;
    if fs::rename(beside.path(), folder).is_err() {
        // Another poolpick was first, or what is there is not whole.
        if !is_whole(folder) {
            fs::remove_dir_all(folder)?;
            fs::rename(beside.path(), folder)?;
        }
    }
    Ok(())
}

/// Writes the agent's files there.
pub(super) fn write(folder: &Path) -> std::io::Result<()> {
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text)?;
        // Whatever the user's mask is.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        fs::File::open(&path)?.set_modified(date())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_made_anew_when_it_was_changed() {
        let cache = tempfile::tempdir().expect("a folder");
        let first = kept_in(cache.path()).expect("it can be made");
        let file = first.join("poolpick_agent.py");
        let made = fs::metadata(&file).expect("it is there").ino();
        assert_eq!(kept_in(cache.path()).as_ref(), Some(&first));
        assert_eq!(fs::metadata(&file).expect("it is there").ino(), made, "it was not written again");
        for spoil in [
            |file: &Path| fs::write(file, "import os").expect("it can be written"),
            |file: &Path| fs::write(file, " ".repeat(FILES[1].1.len())).expect("it can be written"),
            |file: &Path| fs::set_permissions(file, Permissions::from_mode(0o666)).expect("it is ours"),
            |file: &Path| fs::remove_file(file).expect("it can be removed"),
        ] {
            spoil(&file);
            assert_eq!(kept_in(cache.path()).as_ref(), Some(&first));
            assert!(is_whole(&first));
            assert_eq!(fs::read_to_string(&file).expect("it can be read"), FILES[1].1);
        }
        let left = fs::read_dir(cache.path().join("poolpick")).expect("it can be listed").count();
        assert_eq!(left, 1, "nothing is left beside it");
    }

    #[test]
    fn the_checksum_is_that_of_the_text() {
        let mut hasher = crc32fast::Hasher::new();
        FILES.iter().for_each(|(_, text)| hasher.update(text.as_bytes()));
        assert_eq!(CHECKSUM.parse(), Ok(hasher.finalize()));
    }

    #[test]
    fn a_cache_that_cannot_be_is_none() {
        assert_eq!(kept_in(Path::new("/proc/none")), None);
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(kept_in(&folder.path().join("a:b")), None);
        fs::write(folder.path().join("file"), "").expect("it can be written");
        assert_eq!(kept_in(&folder.path().join("file")), None);
    }
}
