//! poolpick: which executor should a pipeline stage run under, and what is the wrong one costing?
//!
//! Data flows one way: `target` is run, `observe` writes facts into a `trace`, and everything to the right of the
//! trace (`timeline`, `stages`, `verdict`, `report`) is pure: it touches no clock, file, environment, process or
//! thread. `docs/architecture.md` tells the rest; `tests/layers.rs` keeps it so.

pub mod units;

pub mod laws;

pub mod trace;

pub mod timeline;

pub mod stages;

pub mod predict;

pub mod verdict;

pub mod report;

pub mod gate;

pub mod sys;

pub mod target;

pub mod observe;

pub mod calibrate;

pub mod manifest;
pub mod race;

pub mod cli;
