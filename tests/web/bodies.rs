//! Small bodies of each shape that platforms send, with a word at each place where a text may stand.

use crate::stage::NOW_S;

/// The number of the tests' WhatsApp endpoint and its account.
pub(crate) const NUMBER: &str = "5215512345678";
pub(crate) const ACCOUNT: &str = "112233445566";
/// The page of the tests.
pub(crate) const PAGE: &str = "100064860875397";
/// A person.
pub(crate) const PHONE: &str = "5215550001111";
pub(crate) const USER_ID: &str = "MX.13491208655302741918";

/// Returns a WhatsApp body of one change.
pub(crate) fn change(field: &str, value: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"waba","time":{NOW_S},
        "changes":[{{"field":"{field}","value":{value}}}]}}]}}"#
    )
}

/// Returns a WhatsApp body about messages.
pub(crate) fn about(rest: &str) -> String {
    let value = format!(
        r#"{{"messaging_product":"whatsapp","metadata":{{"display_phone_number":"{NUMBER}",
        "phone_number_id":"{ACCOUNT}"}},{rest}}}"#
    );
    change("messages", &value)
}

/// Returns a WhatsApp body with one message of the person.
pub(crate) fn said(id: &str, rest: &str) -> String {
    about(&format!(r#""messages":[{{"from":"{PHONE}","id":"{id}","timestamp":"{NOW_S}",{rest}}}]"#))
}

/// Returns a WhatsApp body with one step of a message to the person.
pub(crate) fn step(id: &str, status: &str, rest: &str) -> String {
    about(&format!(
        r#""statuses":[{{"id":"{id}","status":"{status}","timestamp":"{NOW_S}",
        "recipient_id":"{PHONE}"{rest}}}]"#
    ))
}

/// Returns a Messenger body with one event of the person.
pub(crate) fn event(rest: &str) -> String {
    format!(
        r#"{{"object":"page","entry":[{{"id":"{PAGE}","time":{NOW_S}000,"messaging":[{{
        "sender":{{"id":"psid-1"}},"recipient":{{"id":"{PAGE}"}},"timestamp":{NOW_S}000,{rest}}}]}}]}}"#
    )
}

/// Returns WhatsApp bodies with this word at every place for a text, each by its name.
pub(crate) fn whatsapp_with(word: &str) -> Vec<(&'static str, String)> {
    [plain(word), rich(word), others(word)].concat()
}

fn plain(w: &str) -> Vec<(&'static str, String)> {
    let media = |kind: &str| {
        format!(
            r#""type":"{kind}","{kind}":{{"caption":"{w}","filename":"{w}.pdf","id":"1",
            "mime_type":"image/jpeg","sha256":"x","url":"https://x/{w}"}}"#
        )
    };
    vec![
        ("text", said("t1", &format!(r#""type":"text","text":{{"body":"{w} \u00e9 {w}"}}"#))),
        ("image", said("t2", &media("image"))),
        ("video", said("t3", &media("video"))),
        ("document", said("t4", &media("document"))),
        ("audio", said("t5", &media("audio"))),
        ("sticker", said("t6", &media("sticker"))),
        (
            "reaction",
            said(
                "t7",
                &format!(r#""type":"reaction","reaction":{{"message_id":"m","emoji":"{w}"}}"#),
            ),
        ),
        (
            "location",
            said(
                "t8",
                &format!(
                    r#""type":"location","location":{{"latitude":1.5,"longitude":2,"name":"{w}",
                    "address":"{w}","url":"https://x/{w}"}}"#
                ),
            ),
        ),
        (
            "contacts",
            said(
                "t9",
                &format!(
                    r#""type":"contacts","contacts":[{{"name":{{"formatted_name":"{w}"}},
                    "phones":[{{"phone":"{w}"}}],"org":{{"company":"{w}"}}}}]"#
                ),
            ),
        ),
    ]
}

fn rich(w: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "order",
            said(
                "t10",
                &format!(
                    r#""type":"order","order":{{"text":"{w}","catalog_id":"{w}",
                    "product_items":[{{"product_retailer_id":"{w}","quantity":3}}]}}"#
                ),
            ),
        ),
        (
            "button",
            said("t11", &format!(r#""type":"button","button":{{"text":"{w}","payload":"{w}"}}"#)),
        ),
        (
            "interactive",
            said(
                "t12",
                &format!(
                    r#""type":"interactive","context":{{"from":"{NUMBER}","id":"x","note":"{w}"}},
                    "interactive":{{"type":"list_reply","list_reply":{{"id":"{w}","title":"{w}",
                    "description":"{w}"}},"button_reply":{{"id":"{w}","title":"{w}"}},
                    "nfm_reply":{{"response_json":"{{\"a\":\"{w}\"}}","body":"{w}"}}}}"#
                ),
            ),
        ),
        (
            "referral",
            said(
                "t13",
                &format!(
                    r#""type":"text","text":{{"body":"{w}"}},"referral":{{"source_type":"ad",
                    "source_id":"120","source_url":"https://fb.me/x","headline":"{w}","body":"{w}",
                    "media_type":"image","image_url":"https://x/{w}","video_url":"https://x/{w}",
                    "thumbnail_url":"https://x/{w}","ctwa_clid":"clid",
                    "welcome_message":{{"text":"{w}"}}}}"#
                ),
            ),
        ),
    ]
}

fn others(w: &str) -> Vec<(&'static str, String)> {
    let contact = format!(
        r#""contacts":[{{"profile":{{"name":"{w}","username":"{w}"}},"wa_id":"{PHONE}"}}]"#
    );
    let errors = format!(
        r#""errors":[{{"code":1,"title":"{w}","message":"{w}","error_data":{{"details":"{w}"}}}}]"#
    );
    vec![
        ("unsupported", said("t14", &format!(r#""type":"unsupported",{errors}"#))),
        (
            "named",
            about(&format!(
                r#"{contact},"messages":[{{"from":"{PHONE}","id":"t15","timestamp":"{NOW_S}",
            "type":"{w}","{w}":"{w}"}}]"#
            )),
        ),
        (
            "system",
            said(
                "t16",
                &format!(
                    r#""type":"system","system":{{"body":"{w}","type":"customer_identity_changed"}}"#
                ),
            ),
        ),
        ("status", step("s1", "sent", &format!(r#","biz_opaque_callback_data":"{w}",{errors}"#))),
        ("failed", step("s2", "failed", &format!(",{errors}"))),
        (
            "preferences",
            change(
                "user_preferences",
                &format!(
                    r#"{{"user_preferences":[{{"wa_id":"{PHONE}","detail":"{w}","value":"{w}"}}]}}"#
                ),
            ),
        ),
        (
            "template",
            change(
                "message_template_status_update",
                &format!(r#"{{"event":"{w}","message_template_name":"{w}","reason":"{w}"}}"#),
            ),
        ),
        ("account", change("account_update", &format!(r#"{{"event":"{w}","note":"{w}"}}"#))),
        ("unknown", format!(r#"{{"object":"{w}","{w}":["{w}",{{"{w}":"{w}"}}]}}"#)),
    ]
}

/// Returns Messenger bodies with this word at every place for a text.
pub(crate) fn messenger_with(word: &str) -> Vec<(&'static str, String)> {
    let w = word;
    vec![
        (
            "text",
            event(&format!(
                r#""message":{{"mid":"m1","text":"{w}","quick_reply":{{"payload":"{w}"}},
            "attachments":[{{"type":"image","payload":{{"url":"https://x/{w}","title":"{w}"}}}}]}}"#
            )),
        ),
        ("postback", event(&format!(r#""postback":{{"mid":"m2","title":"{w}","payload":"{w}"}}"#))),
        (
            "referral",
            event(&format!(
                r#""referral":{{"ref":"{w}","source":"ADS","ad_id":"7","type":"OPEN_THREAD",
            "ads_context_data":{{"ad_title":"{w}","photo_url":"https://x/{w}","flow_id":"{w}"}}}}"#
            )),
        ),
        (
            "echo",
            event(&format!(
                r#""message":{{"mid":"m3","is_echo":true,"text":"{w}","metadata":"{w}"}}"#
            )),
        ),
    ]
}

/// Returns fields of Twilio's form with this word at every place for a text.
pub(crate) fn twilio_with(word: &str) -> Vec<(&'static str, String)> {
    let mut fields: Vec<_> = [
        ("MessageSid", "SM1"),
        ("From", "whatsapp:+5215550001111"),
        ("To", "whatsapp:+5215512345678"),
        ("WaId", PHONE),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    for name in [
        "Body",
        "ProfileName",
        "ButtonText",
        "ButtonPayload",
        "ListTitle",
        "Label",
        "Address",
        "ReferralHeadline",
        "ReferralBody",
        "MediaUrl0",
        "ErrorMessage",
    ] {
        fields.push((name, format!("{word} ñ")));
    }
    fields
}
