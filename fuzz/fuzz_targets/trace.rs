//! A recorded trace as it lies on disk: frames, lengths, checksums. Must not reach beyond the file.
#![no_main]

#[path = "../../tests/hostile/mod.rs"]
mod hostile;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| hostile::trace(bytes));
