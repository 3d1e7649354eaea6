//! A form as browsers and Twilio send it (`application/x-www-form-urlencoded`), decoded into one piece of
//! memory that is zeroed when it is let go.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::channels::percent::nibble;

/// Fields of one form: Twilio sends some dozens.
const FIELDS_MAX: usize = 256;

/// A decoded form. It holds a message's text, so it has no `Debug` and is never copied.
pub struct Form {
    bytes: Zeroizing<Vec<u8>>,
    fields: Vec<(Range<usize>, Range<usize>)>,
}

impl Form {
    /// Decodes a form; `None`: it has too many fields, or one that is no UTF-8.
    pub fn decode(body: &[u8]) -> Option<Self> {
        // No decoded byte takes more than one of the encoded ones, so the memory never moves.
        let mut form =
            Self { bytes: Zeroizing::new(Vec::with_capacity(body.len())), fields: Vec::new() };
        for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if form.fields.len() == FIELDS_MAX {
                return None;
            }
            let end = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let name = form.push(&pair[..end]);
            let value = form.push(pair.get(end + 1..).unwrap_or_default());
            form.fields.push((name, value));
        }
        let all_text = |(name, value): &(Range<usize>, Range<usize>)| {
            [name, value]
                .into_iter()
                .all(|range| std::str::from_utf8(&form.bytes[range.clone()]).is_ok())
        };
        form.fields.iter().all(all_text).then_some(form)
    }

    /// Returns the first value of a field; empty: there is none.
    pub fn get(&self, name: &str) -> &str {
        let mut fields = self.fields();
        fields.find_map(|(known, value)| (known == name).then_some(value)).unwrap_or_default()
    }

    /// Tells whether a field is there twice: which of both counts would be anybody's guess.
    pub fn has_twice(&self) -> bool {
        let mut names: Vec<_> = self.fields().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Returns names and values, ascending by both: as Twilio signs them.
    pub fn sorted(&self) -> Vec<(&str, &str)> {
        let mut fields: Vec<_> = self.fields().collect();
        fields.sort_unstable();
        fields
    }

    fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let text = |range: &Range<usize>| {
            std::str::from_utf8(&self.bytes[range.clone()]).expect("it was looked at when decoded")
        };
        self.fields.iter().map(move |(name, value)| (text(name), text(value)))
    }

    fn push(&mut self, encoded: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        let mut rest = encoded;
        while let [first, tail @ ..] = rest {
            let escaped = match rest {
                [b'%', high, low, ..] => nibble(*high).zip(nibble(*low)),
                _ => None,
            };
            if let Some((high, low)) = escaped {
                self.bytes.push(high << 4 | low);
                rest = &rest[3..];
                continue;
            }
            self.bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
        start..self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_decoded_in_order_and_sorted_as_it_is_signed() {
        let form = Form::decode(b"To=whatsapp%3A%2B1&Body=a+b%26c&Empty=&Bare&Half=%4&=x").unwrap();
        assert_eq!(form.get("To"), "whatsapp:+1");
        assert_eq!(form.get("Body"), "a b&c");
        assert_eq!((form.get("Empty"), form.get("Bare"), form.get("None")), ("", "", ""));
        assert_eq!(form.get("Half"), "%4");
        let names: Vec<_> = form.sorted().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["", "Bare", "Body", "Empty", "Half", "To"]);
        assert!(!form.has_twice());
        assert!(Form::decode(b"a=1&b=2&a=3").unwrap().has_twice());
    }

    #[test]
    fn what_is_no_text_or_too_much_is_no_form() {
        assert!(Form::decode(b"a=%FF").is_none());
        let many = |count: usize| "a=1&".repeat(count);
        assert!(Form::decode(many(FIELDS_MAX).as_bytes()).is_some());
        assert!(Form::decode(many(FIELDS_MAX + 1).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn it_reads_what_the_usual_writer_writes(pairs: Vec<(String, String)>) {
            let pairs = &pairs[..pairs.len().min(FIELDS_MAX)];
            let mut writer = form_urlencoded::Serializer::new(String::new());
            writer.extend_pairs(pairs);
            let body = writer.finish();
            let form = Form::decode(body.as_bytes()).unwrap();
            let usual: Vec<_> = form_urlencoded::parse(body.as_bytes()).collect();
            let ours: Vec<_> = form.fields().collect();
            prop_assert_eq!(ours.len(), usual.len());
            for ((name, value), (usual_name, usual_value)) in ours.iter().zip(&usual) {
                prop_assert_eq!((*name, *value), (&**usual_name, &**usual_value));
            }
        }
    }
}
