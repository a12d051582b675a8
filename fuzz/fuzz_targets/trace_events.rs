//! The events of a trace whose frames and checksums are right: what `trace` hardly ever gets to. Must not reach beyond
//! the file.
#![no_main]

#[path = "../../tests/hostile/mod.rs"]
mod hostile;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(hostile::sound_trace);

fuzz_target!(|bytes: &[u8]| hostile::trace(&hostile::framed(bytes, &SOUND)));
