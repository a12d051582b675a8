//! The environment block as the kernel handed it over: every entry, in order, whatever it holds.
//! Must not interpret it: `std::env` leaves out what is no `NAME=VALUE`, and keeps one of two entries of a name.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

unsafe extern "C" {
    /// glibc's and musl's pointer to the block; it ends with a null pointer.
    static environ: *const *const libc::c_char;
}

/// Where the block begins, for an exec that passes it on unchanged.
pub(super) fn block() -> *const *const libc::c_char {
    // SAFETY: the pointer is only copied. The C library sets it before `main`, and nothing in poolpick changes it.
    unsafe { environ }
}

/// All entries, in order: duplicates, entries without `=`, and bytes that are no UTF-8 included.
pub fn entries() -> Vec<OsString> {
    let mut at = block();
    let mut entries = Vec::new();
    if at.is_null() {
        return entries;
    }
    loop {
        // SAFETY: the block is an array of pointers that ends with a null pointer, which ends the loop.
        let entry = unsafe { *at };
        if entry.is_null() {
            return entries;
        }
        // SAFETY: each entry is a zero-terminated string that lives as long as the process; nothing changes it.
        entries.push(OsStr::from_bytes(unsafe { CStr::from_ptr(entry) }.to_bytes()).to_owned());
        // SAFETY: the entry was not the last pointer of the array.
        at = unsafe { at.add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_the_standard_library_knows_is_there() {
        let entries = entries();
        for (name, value) in std::env::vars_os() {
            let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
            assert!(entries.iter().any(|known| known.as_bytes() == entry), "{name:?}");
        }
    }
}
