//! (seat)
