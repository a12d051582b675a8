//! What is better done once, when poolpick is built, than at every start of it.

use std::path::Path;

/// The agent's files, in the order in which `observe::agent` lists them.
const AGENT: [&str; 2] = ["sitecustomize.py", "poolpick_agent.py"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut hasher = crc32fast::Hasher::new();
    for name in AGENT {
        let path = Path::new("src/agent").join(name);
        println!("cargo:rerun-if-changed={}", path.display());
        hasher.update(&std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
    println!("cargo:rustc-env=POOLPICK_AGENT_CRC={}", hasher.finalize());
    // An executable at a fixed address needs none of its 11,000 pointers relocated before its first instruction, and
    // symbols of the C library are looked up when they are first called: a tenth of what poolpick adds to a short command.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,lazy");
    }
}
