//! Fields of a platform's JSON: each takes what it can use and passes over anything else.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::channels::find_code;
use crate::channels::inbound::Malformed;
use crate::types::token::PrefillCode;

/// Bytes of an id or address that a platform gives: a longer one is nobody's.
pub const ID_BYTES_MAX: usize = 1_024;

/// The largest number taken: what every JSON reader has exactly.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Lists and objects within each other: a platform's are below ten.
const DEPTH_MAX: usize = 64;

/// Reads a whole body as one value.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    // What is passed over is never counted by the reader itself.
    if is_too_deep(body) {
        return Err(Malformed { line: 1, column: 1 });
    }
    // Looked through at once, a body costs less than text by text. Where it is no UTF-8, in a text that is passed
    // over it does no harm.
    let read = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(body),
    };
    // The message of an error could repeat what was sent.
    read.map_err(|error| Malformed { line: error.line(), column: error.column() })
}

/// Tells whether lists and objects are nested deeper than any platform does. Of what is no JSON it says
/// anything.
fn is_too_deep(body: &[u8]) -> bool {
    // So few can't be nested too deep wherever they stand, and few they mostly are.
    if body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// Fills a visitor's methods: what they are given is passed over, and the value is the default.
macro_rules! pass_over {
    ($($method:ident),*) => { $(pass_over!(@ $method);)* };
    (@ bool) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (@ number) => {
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (@ text) => {
        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (@ null) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Self::Value::default()) }
    };
    (@ list) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
    (@ map) => {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

/// An id, or one of the platform's own words. A number counts as its digits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Word<'a>(pub(super) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Word<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker;

        impl<'de> Visitor<'de> for Taker {
            type Value = Word<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                let fits = text.len() <= ID_BYTES_MAX;
                Ok(if fits { Word(Cow::Borrowed(text)) } else { Word::default() })
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                let fits = text.len() <= ID_BYTES_MAX;
                Ok(if fits { Word(Cow::Owned(text.to_owned())) } else { Word::default() })
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Word(Cow::Owned(number.to_string())))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Word::default())
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Word::default())
            }

            pass_over!(bool, null, list, map);
        }

        deserializer.deserialize_any(Taker)
    }
}

/// A count or time, also when it is written as a text. One that no clock or counter has is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Number(pub(super) Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker;

        impl<'de> Visitor<'de> for Taker {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                if number > NUMBER_MAX {
                    return Err(E::custom("a number is too large"));
                }
                Ok(Number(Some(number)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                if number.abs() > NUMBER_MAX as f64 {
                    return Err(E::custom("a number is too large"));
                }
                Ok(Number(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Number, E> {
                Ok(Number(None))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Ok(Number(None));
                }
                self.visit_u64(text.parse().unwrap_or(u64::MAX))
            }

            pass_over!(bool, null, list, map);
        }

        deserializer.deserialize_any(Taker)
    }
}

/// Yes or no; anything else is no.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker;

        impl<'de> Visitor<'de> for Taker {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Flag, E> {
                Ok(Flag(flag))
            }

            pass_over!(number, text, null, list, map);
        }

        deserializer.deserialize_any(Taker)
    }
}

/// What is left of a person's text: the code in it. The text itself is looked at where it lies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Code(pub(super) Option<PrefillCode>);

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Looker;

        impl<'de> Visitor<'de> for Looker {
            type Value = Code;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Code, E> {
                Ok(Code(find_code(text)))
            }

            pass_over!(bool, number, null, list, map);
        }

        deserializer.deserialize_any(Looker)
    }
}

/// A list; anything else is an empty one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Taker<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T>, A::Error> {
                let mut taken = Vec::new();
                while let Some(item) = list.next_element()? {
                    taken.push(item);
                }
                Ok(List(taken))
            }

            pass_over!(bool, number, text, null, map);
        }

        deserializer.deserialize_any(Taker(PhantomData))
    }
}

/// An object; anything else is as if it were not there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Maybe<T>(pub(super) Option<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Taker<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Taker<T> {
            type Value = Maybe<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Maybe<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|taken| Maybe(Some(taken)))
            }

            pass_over!(bool, number, text, null, list);
        }

        deserializer.deserialize_any(Taker(PhantomData))
    }
}
