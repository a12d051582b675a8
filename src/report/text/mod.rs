//! What the renderers for people share: the words, sentences and columns of a report, told in a [`Voice`] that knows
//! how the medium escapes and emphasises. Must not lay out, wrap or colour, and must not judge: it only puts words to
//! what the report says.

pub mod columns;
pub mod headline;
pub mod notices;
pub mod voice;
pub mod why;
pub mod words;

pub use voice::{Tone, Voice};
