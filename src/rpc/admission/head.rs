//! What is read of a call before it is taken: whether its messages are a stream, and how much time its caller gives it.

use std::time::Duration;

/// Methods, beside those that are named for their streams, whose messages or answers come one after the other.
const STREAMS: [&str; 10] = [
    "DoExchange",
    "DoGet",
    "DoPut",
    "Handshake",
    "ImportEvents",
    "PullAttributions",
    "PullConversionPayloads",
    "Reconcile",
    "ServerReflectionInfo",
    "WatchWindows",
];

/// Tells whether a method's requests or answers are a stream.
pub(super) fn is_stream(path: &str) -> bool {
    let method = path.rsplit_once('/').map_or(path, |(_, method)| method);
    method.starts_with("Stream") || STREAMS.contains(&method)
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit. `None`: it is none.
pub(super) fn asked_of(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3_600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::types::proto::DESCRIPTORS;

    #[test]
    fn every_method_whose_requests_or_answers_are_a_stream_is_known_as_one() {
        let set = <FileDescriptorSet as prost::Message>::decode(DESCRIPTORS).unwrap();
        let mut streams = 0;
        for file in set.file.iter().filter(|file| file.package() == "munadi.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/munadi.v1.{}/{}", service.name(), method.name());
                    let streamed = method.client_streaming() || method.server_streaming();
                    assert_eq!(is_stream(&path), streamed, "{path}");
                    streams += usize::from(streamed);
                }
            }
        }
        // Two are named for their streams, and of the others four are Arrow Flight's, and one reflection's.
        assert_eq!(streams, 2 + STREAMS.len() - 5);
    }

    #[test]
    fn a_caller_may_ask_for_less_time_in_any_unit() {
        for (header, wanted) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("42m", Some(Duration::from_millis(42))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("123456789n", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
            ("1", None),
        ] {
            assert_eq!(asked_of(header.as_bytes()), wanted, "{header}");
        }
    }
}
