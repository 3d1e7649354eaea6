//! What advertisers ask of conversions on their way out.

use tonic::codegen::http::Uri;

use crate::rpc::limits::{DEAD_LETTERS_CALL_MAX, PUSH_URL_CHARS_MAX, TEST_CODE_CHARS_MAX};
use crate::rpc::parse::field::{Path, at_most, id, optional_text};
use crate::rpc::parse::mutations::check_request_id;
use crate::rpc::parse::places::{List, page_size};
use crate::tokens::Sealer;
use crate::types::proto::v1;
use crate::types::public::{Unasked, may_be_asked};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Author, PushChange, Scope};

/// Returns a checked write of where conversions are sent. `insecure`: this machine may be named, in clear too.
pub(in crate::rpc) fn push(
    wire: v1::SetConversionPushRequest,
    scope: Scope,
    body_hash: [u8; 16],
    insecure: bool,
) -> Result<PushChange, Refusal> {
    check_request_id(&wire.request_id)?;
    let account = id(wire.account_id, Path::root("account_id"))?;
    if !wire.url.is_empty() {
        url(&wire.url, insecure, Path::root("url"))?;
    }
    test_code(&wire.test_event_code)?;
    Ok(PushChange {
        scope,
        request_id: wire.request_id,
        body_hash,
        by: Author::default(),
        account,
        url: wire.url,
        rotate_key: wire.rotate_key,
        test_event_code: wire.test_event_code,
    })
}

/// Checks the code that tests are sent with: it goes into JSON as it is.
pub(in crate::rpc) fn test_code(code: &str) -> Result<(), Refusal> {
    let path = Path::root("test_event_code");
    optional_text(code, TEST_CODE_CHARS_MAX, path)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if code.bytes().all(is_plain) {
        return Ok(());
    }
    let message = "is no code: send letters, digits, hyphens and underscores only";
    Err(path.refuse(Reason::FieldInvalid, message))
}

fn url(text: &str, insecure: bool, path: Path) -> Result<(), Refusal> {
    optional_text(text, PUSH_URL_CHARS_MAX, path)?;
    let bad = |message: &str| path.refuse(Reason::FieldInvalid, message);
    let parsed = text.parse::<Uri>().ok().filter(|_| text.is_ascii() && !text.contains('#'));
    let message = "is no absolute URL: send https://, a host, and a path without spaces or `#`";
    let uri = parsed.ok_or_else(|| bad(message))?;
    let authority = uri.authority().ok_or_else(|| bad(message))?;
    if authority.host().trim_start_matches('[').trim_end_matches(']').is_empty()
        || authority.as_str().contains('@')
    {
        return Err(bad("names no host, or a user: leave the user and password out"));
    }
    may_be_asked(uri.scheme_str(), authority.host(), insecure).map_err(|unasked| match unasked {
        Unasked::Scheme => bad("is not https: send an https:// URL"),
        Unasked::Address => {
            bad("is an address that is not public: send a host that everyone reaches")
        }
    })
}

/// Returns the list that a page of given-up conversions belongs to, the outcome that it comes behind, and its size.
pub(in crate::rpc) fn dead_letters(
    wire: &v1::ListDeadLettersRequest,
    scope: Scope,
    sealer: &Sealer,
) -> Result<(List, u64, usize), Refusal> {
    let account = id(wire.account_id, Path::root("account_id"))?;
    let list = List::new("ListDeadLetters", &[scope.tenant.into(), scope.any.into(), account]);
    Ok((list, list.open(&wire.page_token, sealer)?, page_size(wire.page_size)?))
}

/// Checks which given-up conversions are wanted.
pub(in crate::rpc) fn retried(wire: &v1::RetryDeadLettersRequest) -> Result<(), Refusal> {
    id(wire.account_id, Path::root("account_id"))?;
    let path = Path::root("outcome_ids");
    at_most(wire.outcome_ids.len(), DEAD_LETTERS_CALL_MAX, path)?;
    match wire.outcome_ids.iter().position(|outcome| *outcome == 0) {
        Some(index) => id(0, path.at(index)).map(|_| ()),
        None => Ok(()),
    }
}

/// Checks an ad's id.
pub(in crate::rpc) fn ad(ad: u64) -> Result<u64, Refusal> {
    id(ad, Path::root("ad_id"))
}

/// Checks an account's id.
pub(in crate::rpc) fn account(account: u64) -> Result<u64, Refusal> {
    id(account, Path::root("account_id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_https_and_leads_to_the_public_internet() {
        let check = |text: &str, insecure| url(text, insecure, Path::root("url")).is_ok();
        for good in [
            "https://crm.example/munadi?key=1",
            "https://crm.example:8443/",
            "https://1.1.1.1/",
            "https://[2606:4700:4700::1111]/x",
        ] {
            assert!(check(good, false), "{good}");
        }
        for bad in [
            "crm.example/munadi",
            "/munadi",
            "http://crm.example/",
            "ftp://crm.example/",
            "https://",
            "https://user:word@crm.example/",
            "https://crm.example/#part",
            "https://crm.example/a b",
            "https://127.0.0.1/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "http://127.0.0.1:9000/",
            "http://localhost:9000/",
        ] {
            assert!(!check(bad, false), "{bad}");
        }
        for here in
            ["http://127.0.0.1:9000/", "http://localhost/", "http://[::1]:1/", "https://10.1.2.3/"]
        {
            assert!(check(here, true), "{here}");
        }
        assert!(!check("http://crm.example/", true), "in clear to this machine only");
        assert!(!check(&format!("https://crm.example/{}", "a".repeat(PUSH_URL_CHARS_MAX)), false));
    }

    #[test]
    fn a_test_code_is_plain() {
        for (code, good) in [("", true), ("TEST-1_a", true), ("a\"b", false), ("a b", false)] {
            assert_eq!(test_code(code).is_ok(), good, "{code}");
        }
        assert_eq!(test_code(&"a".repeat(65)).unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn given_up_conversions_are_named_within_bounds() {
        let wire = |ids: Vec<u64>| v1::RetryDeadLettersRequest {
            account_id: 1,
            outcome_ids: ids,
            drop: false,
        };
        assert!(retried(&wire(vec![])).is_ok());
        assert_eq!(retried(&wire(vec![7, 0])).unwrap_err().field, "outcome_ids[1]");
        assert_eq!(retried(&wire(vec![7; 1_001])).unwrap_err().reason, Reason::TooLarge);
        let nobody = v1::RetryDeadLettersRequest::default();
        assert_eq!(retried(&nobody).unwrap_err().field, "account_id");
    }
}
