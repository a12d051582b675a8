//! The private directory that the target's interpreters load the agent from and write their channels to, and what its
//! environment says of it. Goes away with its value. Must not read what is written there.

use crate::sys::identity;
use crate::target::EnvironmentChange;
use crate::trace::WhyNot;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The agent's files: name and text.
const FILES: [(&str, &str); 2] = [
    ("sitecustomize.py", include_str!("../../agent/sitecustomize.py")),
    ("poolpick_agent.py", include_str!("../../agent/poolpick_agent.py")),
];
/// Only the user may enter.
const PRIVATE: u32 = 0o700;
/// A process that is left behind may add a file while the directory is emptied.
const REMOVALS: usize = 3;

/// The directory.
#[derive(Debug)]
pub struct Home(PathBuf);

impl Home {
    /// Makes it: in the user's runtime directory where there is one, which lies in memory and is swept when the user
    /// leaves, or else in the temporary one.
    ///
    /// # Errors
    /// Why the temporary directory did not take it.
    pub fn make() -> Result<Home, WhyNot> {
        if let Some(folder) = runtime_folder()
            && let Ok(home) = Home::make_in(&folder)
        {
            return Ok(home);
        }
        let refused = |error: io::Error| WhyNot::NoPrivateFolder(error.raw_os_error().unwrap_or(libc::EINVAL));
        Home::make_in(&std::env::temp_dir()).map_err(refused)
    }

    /// Makes it in this directory.
    ///
    /// # Errors
    /// Those of making directories and files. A path with a colon is invalid: no entry of `PYTHONPATH` can hold one.
    pub fn make_in(folder: &Path) -> io::Result<Home> {
        let folder = std::path::absolute(folder)?;
        if folder.as_os_str().as_bytes().contains(&b':') {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let made = tempfile::Builder::new()
            .prefix("poolpick-")
            .permissions(Permissions::from_mode(PRIVATE))
            .tempdir_in(folder)
            .map_err(bare)?;
        // From here on it is removed by ours.
        let home = Home(made.keep());
        for folder in [home.agent(), home.channel()] {
            DirBuilder::new().mode(PRIVATE).create(folder)?;
        }
        for (name, text) in FILES {
            fs::write(home.agent().join(name), text)?;
        }
        Ok(home)
    }

    /// Where the agent is loaded from.
    pub fn agent(&self) -> PathBuf {
        self.0.join("agent")
    }

    /// Where the channels are written to.
    pub fn channel(&self) -> PathBuf {
        self.0.join("channel")
    }

    /// How the target learns of it, and of the functions that are stages (`NAME=MODULE:FUNCTION`).
    pub fn environment(&self, stages: &[String]) -> Vec<EnvironmentChange> {
        let set = |name, value| EnvironmentChange::Set { name, value };
        vec![
            EnvironmentChange::Prepend { name: "PYTHONPATH", entry: self.agent().into_os_string() },
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
        for _ in 0..REMOVALS {
            match fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                // What cannot be removed stays: there is nobody to tell.
                _ => return,
            }
        }
    }
}

/// The error with its number, which `tempfile` wraps together with the path.
fn bare(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(|wrapped| wrapped.source()?.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => error,
    }
}

/// `XDG_RUNTIME_DIR`, where it is the user's own: under sudo it may be another's.
fn runtime_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?);
    let metadata = folder.is_absolute().then(|| fs::metadata(&folder).ok())??;
    (metadata.is_dir() && metadata.uid() == identity::effective_uid() && metadata.mode() & 0o022 == 0).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_and_goes_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::make_in(folder.path()).expect("it can be made");
        for path in [home.agent(), home.channel(), home.agent().join("..")] {
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
        assert_eq!(Home::make_in(&colon).expect_err("no list can hold it").raw_os_error(), Some(libc::EINVAL));
        let missing = Home::make_in(&folder.path().join("none")).expect_err("it is not there");
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
    }
}
