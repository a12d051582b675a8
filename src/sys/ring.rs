//! The kernel's ring of a perf event, mapped: records out, in order, without copying unless one wraps around.
//! Knows the ring's protocol, not what records mean.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Offsets of `data_head` and `data_tail` in `struct perf_event_mmap_page` (linux/perf_event.h): the header is padded
/// to 1024 bytes so that they never move.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;
/// Bytes of `struct perf_event_header`.
const HEADER: usize = 8;

/// A mapped ring. Unmapped on drop.
#[derive(Debug)]
pub struct Ring {
    base: NonNull<u8>,
    page: usize,
    data: usize,
    scratch: Vec<u8>,
}

/// One record of a ring.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord<'a> {
    /// `type` of its header.
    pub kind: u32,
    /// `misc` of its header.
    pub misc: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// Bytes of a page.
pub fn page_size() -> usize {
    // SAFETY: sysconf reads a constant of the running kernel and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Marks a descriptor that another crate opened as close-on-exec.
///
/// # Errors
/// Those of `fcntl`.
pub fn close_on_exec(fd: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: fcntl with F_SETFD changes a flag of a descriptor that is borrowed for the call; no memory is passed.
    let done = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Ring {
    /// Maps the ring of a perf event: one page of header and `pages` (a power of two) of data.
    ///
    /// # Errors
    /// `EPERM` where the locked-memory limit refuses it; others of `mmap`.
    pub fn map(event: &impl AsRawFd, pages: usize) -> io::Result<Ring> {
        if !pages.is_power_of_two() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let page = page_size();
        let length = page * (pages + 1);
        let fd: RawFd = event.as_raw_fd();
        // SAFETY: a new mapping at an address of the kernel's choice; the length is that of the mapping, and the result
        // is checked before use.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, fd, 0)
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast::<u8>()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Ring { base, page, data: page * pages, scratch: Vec::new() })
    }

    /// Bytes of its data area.
    pub fn capacity(&self) -> usize {
        self.data
    }

    /// Hands every complete record to `take`, then gives the space back to the kernel. Returns the bytes read.
    pub fn drain(&mut self, mut take: impl FnMut(RawRecord<'_>)) -> u64 {
        // SAFETY: both words lie in the header page, which stays mapped as long as `self`; they are aligned to 8 and
        // the kernel accesses them as whole words, so atomics are the right view of them.
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(self.base.as_ptr().add(DATA_HEAD).cast::<u64>()),
                AtomicU64::from_ptr(self.base.as_ptr().add(DATA_TAIL).cast::<u64>()),
            )
        };
        // Acquire: what the kernel wrote before it moved the head is seen after.
        let end = head.load(Ordering::Acquire);
        let start = tail.load(Ordering::Relaxed);
        let mut at = start;
        let mask = self.data as u64 - 1;
        while end.wrapping_sub(at) >= HEADER as u64 {
            let mut header = [0u8; HEADER];
            self.copy((at & mask) as usize, &mut header);
            let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let misc = u16::from_ne_bytes([header[4], header[5]]);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if size < HEADER || size as u64 > end.wrapping_sub(at) {
                // Not a record: give the rest up rather than read astray.
                at = end;
                break;
            }
            let offset = ((at + HEADER as u64) & mask) as usize;
            let length = size - HEADER;
            if offset + length <= self.data {
                // SAFETY: `offset + length` lies within the data area, which stays mapped as long as `self`; the kernel
                // does not write between tail and head, and the tail moves only after the loop.
                let body = unsafe {
                    std::slice::from_raw_parts(self.base.as_ptr().add(self.page + offset).cast_const(), length)
                };
                take(RawRecord { kind, misc, body });
            } else {
                let mut scratch = std::mem::take(&mut self.scratch);
                scratch.resize(length, 0);
                self.copy(offset, &mut scratch);
                take(RawRecord { kind, misc, body: &scratch });
                self.scratch = scratch;
            }
            at += size as u64;
        }
        // Release: the kernel may overwrite only after all reads above are done.
        fence(Ordering::Release);
        tail.store(at, Ordering::Release);
        at.wrapping_sub(start)
    }

    /// Copies from the data area, around its end if need be.
    fn copy(&self, offset: usize, into: &mut [u8]) {
        let first = into.len().min(self.data - offset);
        let (near, far) = into.split_at_mut(first);
        // SAFETY: the first part ends at the end of the data area at the latest; the second begins at its start and is
        // no longer than a record, which is never longer than the data area. Source and destination do not overlap.
        unsafe {
            let data = self.base.as_ptr().add(self.page).cast_const();
            std::ptr::copy_nonoverlapping(data.add(offset), near.as_mut_ptr(), near.len());
            std::ptr::copy_nonoverlapping(data, far.as_mut_ptr(), far.len());
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this address and length, and nothing borrows from it any more.
        unsafe {
            libc::munmap(self.base.as_ptr().cast(), self.page + self.data);
        }
    }
}
