//! A file that a report replaces as a whole: checked before the target runs, written beside it and renamed afterwards. Its
//! folder is kept open, so that it is found again wherever the target moves it. Must not render.

use crate::sys::identity::effective_uid;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use tempfile::Builder;

/// Mode of what a collector reads as another user.
pub const SHARED_MODE: u32 = 0o644;
/// Mode of a new file, of which the user's own mask takes what is not wanted.
const NEW_MODE: u32 = 0o666;
/// The system follows no more links in a row either.
const MOST_LINKS: u32 = 40;
/// What the names of unfinished files begin with.
const PREFIX: &str = ".poolpick-";

/// Who a file belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Of a file that is there.
    pub fn of(metadata: &fs::Metadata) -> Owner {
        Owner { user: metadata.uid(), group: metadata.gid() }
    }
}

/// A place in a folder that can be written to.
#[derive(Debug)]
pub struct ReportFile {
    folder: File,
    name: OsString,
    path: PathBuf,
}

impl ReportFile {
    /// Of a path; a link is followed, so that what it points to is replaced and not the link. Leaves nothing behind: who
    /// is killed before the report is written leaves the folder as it was.
    ///
    /// # Errors
    /// Where nothing can be written there.
    pub fn open(path: &Path) -> io::Result<ReportFile> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| end_of(path));
        let name = path.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::EISDIR))?.to_owned();
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(folder)?;
        let file = ReportFile { folder, name, path };
        // Nameless, or without a name at once: it only shows that a file can be made here.
        tempfile::tempfile_in(file.here()).map_err(plain)?;
        Ok(file)
    }

    /// Where it will be, as it was called.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder by its descriptor, whatever it is called by now; by its name where `/proc` shows nothing.
    fn here(&self) -> PathBuf {
        let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", self.folder.as_raw_fd()));
        let by_name = || self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if by_descriptor.is_dir() { by_descriptor } else { by_name().to_owned() }
    }

    /// The mode of the file that is there, if it is the user's own: what others have put there says nothing.
    pub fn own_mode(&self) -> Option<u32> {
        let metadata = fs::metadata(self.here().join(&self.name)).ok()?;
        (metadata.uid() == effective_uid()).then(|| metadata.permissions().mode() & 0o777)
    }

    /// Replaces the file by these bytes, with this mode, else that of a new file, and for this owner where one is given.
    ///
    /// # Errors
    /// The system's.
    pub fn replace(&self, bytes: &[u8], mode: Option<u32>, owner: Option<Owner>) -> io::Result<()> {
        let new = Permissions::from_mode(NEW_MODE);
        let mut beside = Builder::new().prefix(PREFIX).permissions(new).tempfile_in(self.here()).map_err(plain)?;
        // By the file itself: its wrapper's errors name the temporary file and hide the system's number.
        beside.as_file_mut().write_all(bytes)?;
        // A collector must not find an empty file under this name after a power cut.
        beside.as_file().sync_all()?;
        if let Some(owner) = owner {
            // Only root may give a file away, and others its group to one of theirs; what is refused stays the writer's.
            let _ = fchown(beside.as_file(), None, Some(owner.group));
            let _ = fchown(beside.as_file(), Some(owner.user), None);
        }
        // Afterwards, for giving a file away takes bits of its mode.
        if let Some(mode) = mode {
            beside.as_file().set_permissions(Permissions::from_mode(mode))?;
        }
        beside.persist(self.here().join(&self.name)).map_err(|error| plain(error.error))?;
        Ok(())
    }
}

/// Where a link leads whose end is not there yet.
fn end_of(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(next) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new(".")).join(next);
    }
    path
}

/// Keeps what could not be written where it should in the folder for temporary files; tells where.
///
/// # Errors
/// Where that cannot be written either.
pub fn rescue(bytes: &[u8], meant_for: &Path) -> io::Result<PathBuf> {
    let name = meant_for.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut file = Builder::new().prefix("poolpick-").suffix(&format!("-{name}")).tempfile()?;
    file.write_all(bytes)?;
    Ok(file.keep().map_err(|error| error.error)?.1)
}

/// The system's own words, without the name of the temporary that poolpick tried.
fn plain(error: io::Error) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(one) = cause {
        if let Some(code) = one.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return io::Error::from_raw_os_error(code);
        }
        cause = one.source();
    }
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::from_raw_os_error(libc::ENOENT),
        io::ErrorKind::PermissionDenied => io::Error::from_raw_os_error(libc::EACCES),
        io::ErrorKind::NotADirectory => io::Error::from_raw_os_error(libc::ENOTDIR),
        io::ErrorKind::ReadOnlyFilesystem => io::Error::from_raw_os_error(libc::EROFS),
        io::ErrorKind::StorageFull => io::Error::from_raw_os_error(libc::ENOSPC),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_moves_takes_its_report_along_and_nothing_else_is_left() {
        let root = tempfile::tempdir().expect("a folder");
        let (before, after) = (root.path().join("before"), root.path().join("after"));
        fs::create_dir(&before).expect("own folder");
        let file = ReportFile::open(&before.join("report.json")).expect("it can be written");
        assert_eq!(fs::read_dir(&before).expect("own folder").count(), 0);
        fs::rename(&before, &after).expect("own folder");
        file.replace(b"{}", None, None).expect("it is found again");
        assert_eq!(fs::read(after.join("report.json")).expect("it is there"), b"{}");
        assert_eq!(fs::read_dir(&after).expect("own folder").count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_kept_elsewhere() {
        let root = tempfile::tempdir().expect("a folder");
        let gone = root.path().join("gone");
        fs::create_dir(&gone).expect("own folder");
        let file = ReportFile::open(&gone.join("report.json")).expect("it can be written");
        fs::remove_dir(&gone).expect("own folder");
        assert!(file.replace(b"{}", None, None).is_err());
        let kept = rescue(b"{}", file.path()).expect("there is a folder for temporary files");
        assert_eq!(fs::read(&kept).expect("it is there"), b"{}");
        assert!(kept.to_string_lossy().ends_with("report.json"), "{}", kept.display());
        fs::remove_file(kept).expect("own file");
    }
}
