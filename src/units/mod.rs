//! Units as types: a point in time is not a duration, a share is between 0 and 1, an estimate has a width.
//! Must not know anything else of poolpick.

mod estimate;
mod share;
mod text;
mod time;

pub use estimate::Estimate;
pub use share::{Share, ratio};
pub use text::{parse_duration, parse_share, parse_size, toml_key};
pub use time::{Span, Timestamp};
