//! Reads another process's memory without stopping it. Copies bytes and knows nothing of what they mean.

use std::io;

/// Most places that one call reads: the kernel takes up to `UIO_MAXIOV` (1024), a burst needs far fewer.
pub const MOST_PIECES: usize = 16;

/// Reads as many bytes as fit into `into` from `address` of process `pid`.
///
/// # Errors
/// `EPERM` where the process may not be read, `ESRCH` where it is gone, `EFAULT` where the memory is not mapped, in part
/// or at all.
pub fn read(pid: u32, address: u64, into: &mut [u8]) -> io::Result<()> {
    if into.is_empty() {
        return Ok(());
    }
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = remote(address, into.len())?;
    // SAFETY: `local` describes `into`, which is borrowed mutably for the call; `remote` is only an address in another
    // process, which the kernel checks.
    let copied = unsafe { libc::process_vm_readv(task(pid)?, &local, 1, &remote, 1, 0) };
    complete(copied, into.len())
}

/// Reads the same bytes as often as `into` has pieces of `piece` bytes, one after another, in one call. Returns how
/// many pieces there are.
///
/// # Errors
/// Those of [`read`]; `EINVAL` where there are no pieces or too many.
pub fn read_again(pid: u32, address: u64, piece: usize, into: &mut [u8]) -> io::Result<usize> {
    let pieces = into.len().checked_div(piece).unwrap_or(0);
    if pieces == 0 || pieces > MOST_PIECES {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let wanted = pieces * piece;
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: wanted };
    let remote = [remote(address, piece)?; MOST_PIECES];
    // SAFETY: `local` describes the first `wanted` bytes of `into`, which is borrowed mutably for the call and is no
    // shorter; `pieces` is no more than the length of `remote`, whose entries are addresses in another process, which
    // the kernel checks.
    let copied = unsafe { libc::process_vm_readv(task(pid)?, &local, 1, remote.as_ptr(), pieces as libc::c_ulong, 0) };
    complete(copied, wanted).map(|()| pieces)
}

fn task(pid: u32) -> io::Result<libc::pid_t> {
    libc::pid_t::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))
}

fn remote(address: u64, length: usize) -> io::Result<libc::iovec> {
    let address = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
    Ok(libc::iovec { iov_base: std::ptr::without_provenance_mut(address), iov_len: length })
}

fn complete(copied: libc::ssize_t, wanted: usize) -> io::Result<()> {
    match usize::try_from(copied) {
        Ok(copied) if copied == wanted => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_memory_reads_as_it_is() {
        let known = *b"a known line of bytes";
        let address = known.as_ptr().addr() as u64;
        let mut copy = [0u8; 21];
        read(std::process::id(), address, &mut copy).unwrap();
        assert_eq!(copy, known);
        let mut copies = [0u8; 21];
        assert_eq!(read_again(std::process::id(), address, 7, &mut copies).unwrap(), 3);
        assert_eq!(&copies, b"a knowna knowna known");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        let mut copy = [0u8; 8];
        let errno = |result: io::Result<()>| result.unwrap_err().raw_os_error();
        assert_eq!(errno(read(std::process::id(), 8, &mut copy)), Some(libc::EFAULT));
        assert_eq!(errno(read(std::process::id(), u64::MAX - 3, &mut copy)), Some(libc::EFAULT));
        assert_eq!(errno(read(u32::MAX, 8, &mut copy)), Some(libc::ESRCH));
        assert!(read_again(std::process::id(), 8, 0, &mut copy).is_err());
    }
}
