//! Single values of a manifest: shares, times, sizes, command lines. Each says what it is when it is given something else.
//! Must not know keys.

use crate::units::{parse_duration, parse_size};
use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Unexpected, Visitor};
use std::fmt;
use std::time::Duration;

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, JsonSchema)]
#[serde(transparent)]
pub struct Share(#[schemars(range(min = 0, max = 1))] pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Share, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&value) {
            Ok(Share(value))
        } else {
            Err(D::Error::custom(format!("`{value}` is no share: it is a number from 0 to 1")))
        }
    }
}

/// A time: `"30s"`, `"5m"`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "TextOrNumber")]
pub struct Time(pub Duration);

/// A size: `"64KiB"`, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "TextOrNumber")]
pub struct Size(pub u64);

/// For the schema.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum TextOrNumber {
    Text(String),
    Number(#[schemars(range(min = 0))] f64),
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        quantity(deserializer, "a time such as \"500ms\", \"10s\" or \"2m\"", parse_duration).map(Time)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        quantity(deserializer, "a size such as 4096, \"64KiB\" or \"10MB\"", parse_size).map(Size)
    }
}

/// Text or a number, as `parse` reads it.
fn quantity<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct Quantity(&'static str);

    impl Visitor<'_> for Quantity {
        type Value = String;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            if number < 0 { Err(E::invalid_value(Unexpected::Signed(number), &self)) } else { Ok(number.to_string()) }
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
            if number.is_finite() && number >= 0.0 {
                Ok(number.to_string())
            } else {
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }
        }
    }

    let text = deserializer.deserialize_any(Quantity(expected))?;
    parse(&text).map_err(|why| D::Error::custom(format!("`{text}`: {why}")))
}

/// A command: a list of words.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(transparent)]
pub struct Words(#[schemars(length(min = 1))] pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Words;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a list of words, as [\"python3\", \"stage.py\"]")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Words, E> {
                Err(E::custom(
                    "a command is a list of words, as [\"python3\", \"stage.py\"]; a line for the shell is `shell = \"...\"`",
                ))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }

        deserializer.deserialize_any(List)
    }
}
