//! Who this process is and what it may use. Must not read `/proc`.

use super::checked;
use std::io;

/// The effective user id.
pub fn effective_uid() -> u32 {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The soft limit on locked memory (`RLIMIT_MEMLOCK`) in KiB; `None` means unlimited, or that it cannot be read.
pub fn rlimit_memlock_kib() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is a valid rlimit to write to.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) }).ok()?;
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur / 1024)
}

/// The soft limit on open files (`RLIMIT_NOFILE`); `None` where it cannot be read.
pub fn rlimit_open_files() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }).ok()?;
    Some(limit.rlim_cur)
}

/// On how many CPUs this thread may run. The mask grows until the kernel's fits, so that hosts of more than 1024 CPUs
/// are counted too.
pub fn affinity_count() -> io::Result<usize> {
    const LARGEST_MASK_WORDS: usize = 1 << 14;
    let mut words = 16;
    loop {
        let mut mask = vec![0 as libc::c_ulong; words];
        // SAFETY: `mask` is that many bytes of writable memory; the kernel writes at most as many, and fails with
        // EINVAL where its own mask is longer.
        let result = checked(unsafe {
            libc::sched_getaffinity(0, std::mem::size_of_val(mask.as_slice()), mask.as_mut_ptr().cast())
        });
        match result {
            Ok(_) => return Ok(mask.iter().map(|word| word.count_ones() as usize).sum()),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && words < LARGEST_MASK_WORDS => words *= 4,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fewer_cpus_than_a_quota_leaves() {
        let with_quota = std::thread::available_parallelism().map_or(1, |count| count.get());
        assert!(affinity_count().unwrap() >= with_quota);
    }
}
