//! `GET /c/{token}`: counts the tap of a person, and forwards to the chat in one hop.
//!
//! The person comes first: where the tap can't be counted now, the chat opens all the same, however much the node
//! has to do and however often a link is followed: nothing here is ever refused for load. What comes without a person
//! behind it (HEAD, prefetchers, bots) is forwarded too and counts nothing.

use http::header::{LOCATION, REFERRER_POLICY, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::node::Follower;
use crate::types::iso::country_code;
use crate::types::request::Incoming;
use crate::web::answer::{self, Answer};
use crate::web::limits::ANSWER_DEADLINE;
use crate::web::routes::Web;

const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Headers by which browsers and apps say that nobody has tapped yet.
const PURPOSE_HEADERS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];

/// Purposes of such headers, as parts of their values.
const NOT_TAPPED: [&str; 3] = ["prefetch", "prerender", "preview"];

/// Parts of the user agents of crawlers, link previews and tools, in lower case. The operator's list comes on
/// top of it.
const MACHINES: [&str; 18] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "preview",
    "facebookexternalhit",
    "facebookcatalog",
    "whatsapp/",
    "snapchat/",
    "headless",
    "lighthouse",
    "curl/",
    "wget/",
    "python",
    "java/",
    "go-http-client",
    "scrapy",
    "http-client",
];

/// A make of phones whose name has "bot" in it.
const PHONES_NAMED_BOT: &str = "cubot";

/// Answers a request for a link.
pub(in crate::web) fn answer(web: &Web, token: &str, head: &Parts) -> Answer {
    let front = web.node.front();
    let user_agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent = user_agent.unwrap_or_default();
    let follower = Follower {
        country: country(&head.headers, web.country_header.as_ref()),
        suspect: front.traffic_filter().suspect(user_agent, None),
        network: 0,
    };
    let Some(followed) = front.follow(token, &follower, web.node.now()) else {
        count("unknown");
        return unknown();
    };
    let Ok(location) = HeaderValue::try_from(followed.link) else {
        count("unknown");
        return unknown();
    };
    let is_person = head.method == Method::GET
        && follower.suspect.is_none()
        && !is_early(&head.headers)
        && !is_machine(user_agent);
    match followed.counts.filter(|_| is_person) {
        Some(tap) => count(record(web, tap)),
        None => count("uncounted"),
    }
    let mut answer = answer::text(StatusCode::FOUND, "");
    answer.headers_mut().insert(LOCATION, location);
    quiet(answer)
}

/// Hands a tap to the writer, where there is room for it, and returns how that ended. It is durable with the writer's
/// next batch; nobody waits for it.
fn record(web: &Web, tap: Incoming) -> &'static str {
    if web.gauge.read().bars_events(ANSWER_DEADLINE) {
        return "busy";
    }
    if !web.taps.counts(&tap) {
        return "too_often";
    }
    if web.node.record(vec![tap]).is_ok() { "counted" } else { "busy" }
}

/// Returns the answer to what is no link of ours, or is one no more. It repeats nothing of it.
fn unknown() -> Answer {
    quiet(answer::refused(StatusCode::NOT_FOUND, "LINK_UNKNOWN"))
}

/// Keeps a link out of search engines, and the page it stood on out of what the chat's app is told.
fn quiet(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex"));
    answer
}

fn count(ended: &'static str) {
    metrics::counter!("munadi_redirects_total", "ended" => ended).increment(1);
}

/// Returns the country that something before the door knows, two letters as a big-endian number; 0: nothing
/// does. Anybody can send a header, so only the configured one is looked at.
fn country(headers: &HeaderMap, trusted: Option<&HeaderName>) -> u16 {
    let told = trusted.and_then(|name| headers.get(name)).and_then(|value| value.to_str().ok());
    told.and_then(country_code).unwrap_or_default()
}

/// Tells whether a browser or app fetches before anybody taps.
fn is_early(headers: &HeaderMap) -> bool {
    let values = PURPOSE_HEADERS.iter().flat_map(|name| headers.get_all(*name));
    let mut values = values.filter_map(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
    values.any(|value| NOT_TAPPED.iter().any(|purpose| value.contains(purpose)))
}

/// Tells whether a user agent is no person's: every browser has one, and names itself.
fn is_machine(user_agent: &str) -> bool {
    let agent = user_agent.to_ascii_lowercase().replace(PHONES_NAMED_BOT, "");
    agent.trim().is_empty() || MACHINES.iter().any(|part| agent.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let pair = (HeaderName::from_static(name), HeaderValue::from_static(value));
        HeaderMap::from_iter([pair])
    }

    #[test]
    fn browsers_of_people_are_no_machines() {
        for agent in [
            "Mozilla/5.0 (Linux; Android 14; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/125.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
             Gecko) Mobile/15E148 Instagram 330.0.0.0",
            "Mozilla/5.0 (Linux; Android 13; CUBOT X50) AppleWebKit/537.36 Chrome/120 Mobile",
        ] {
            assert!(!is_machine(agent), "{agent}");
        }
        for agent in [
            "",
            " ",
            "WhatsApp/2.24.10.85 A",
            "facebookexternalhit/1.1",
            "TelegramBot (like TwitterBot)",
            "Mozilla/5.0 (compatible; Googlebot/2.1)",
            "curl/8.5.0",
        ] {
            assert!(is_machine(agent), "{agent}");
        }
    }

    #[test]
    fn a_prefetch_says_so_in_one_of_several_headers() {
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "Prefetch"),
            ("x-purpose", "preview"),
            ("x-moz", "prefetch"),
        ] {
            assert!(is_early(&headers(name, value)), "{name}");
        }
        assert!(!is_early(&headers("purpose", "navigate")));
        assert!(!is_early(&headers("accept", "prefetch")));
    }

    #[test]
    fn only_the_trusted_header_tells_a_country() {
        let told = headers("cf-ipcountry", "MX");
        let trusted = HeaderName::from_static("cf-ipcountry");
        let other = HeaderName::from_static("x-country");
        assert_eq!(country(&told, Some(&trusted)), u16::from_be_bytes(*b"MX"));
        assert_eq!(country(&told, None), 0);
        assert_eq!(country(&told, Some(&other)), 0);
        assert_eq!(country(&headers("cf-ipcountry", "XX"), Some(&trusted)), 0);
        assert_eq!(country(&headers("cf-ipcountry", "Mexico"), Some(&trusted)), 0);
    }
}
