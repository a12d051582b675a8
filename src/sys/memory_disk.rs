//! Whether a directory lies in memory, and how much room is there. Must not decide whether that is enough.

use super::checked;
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `TMPFS_MAGIC` of linux/magic.h.
const TMPFS: u64 = 0x0102_1994;

/// Bytes that an ordinary user may still write there; `None` where the directory does not lie in memory.
///
/// # Errors
/// Those of `statfs`.
pub fn room(folder: &Path) -> io::Result<Option<u64>> {
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: a zeroed statfs is a valid value to be overwritten.
    let mut system: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is zero-terminated and `system` is valid to write to; both outlive the call.
    checked(unsafe { libc::statfs(path.as_ptr(), &mut system) })?;
    let in_memory = system.f_type as u64 == TMPFS;
    Ok(in_memory.then(|| (system.f_bavail as u64).saturating_mul(system.f_bsize as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_no_disk() {
        assert_eq!(room(Path::new("/proc")).expect("it is there"), None);
        assert!(room(Path::new("/no such folder")).is_err());
    }
}
