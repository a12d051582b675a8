//! Readers of formats, written from their specifications and not from the writers: each takes a text apart or says what
//! is wrong with it. Know nothing of poolpick.

pub mod github;
pub mod metrics;
pub mod xml;
