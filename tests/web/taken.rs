//! What webhooks become: openings, receipts and prices, once however often they are sent.

use munadi::journal::file::scan;
use munadi::node::Files;
use munadi::types::proto::journal::v1::Decision;
use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::v1;
use prost::Message;

use crate::bodies::{ACCOUNT, NUMBER, PAGE, PHONE, USER_ID, about, event, said, step};
use crate::http::{raw, send};
use crate::stage::{NOW_S, OTHER_SECRET, Stage, TENANT, VERIFY_TOKEN, code_of, signed, whatsapp};

const PATH: &str = "/webhooks/whatsapp/all";

#[test]
fn a_platform_is_told_its_challenge_only_for_the_apps_own_token() {
    let stage = Stage::new();
    let ask = |kind: &str, name: &str, mode: &str, token: &str, challenge: &str| {
        let target = format!(
            "/webhooks/{kind}/{name}?hub.mode={mode}&hub.verify_token={token}&hub.challenge={challenge}"
        );
        let answer = send(stage.web.addr(), "GET", &target, &[], b"");
        (answer.status, answer.body().to_owned())
    };
    for kind in [("whatsapp", "all"), ("messenger", "fb")] {
        let answer = ask(kind.0, kind.1, "subscribe", VERIFY_TOKEN, "1158201444");
        assert_eq!(answer, (200, "1158201444".into()));
    }
    assert_eq!(ask("whatsapp", "all", "subscribe", "another", "1").0, 403);
    assert_eq!(ask("whatsapp", "all", "subscribe", "", "1").0, 403);
    assert_eq!(ask("whatsapp", "all", "unsubscribe", VERIFY_TOKEN, "1").0, 400);
    assert_eq!(ask("whatsapp", "all", "subscribe", VERIFY_TOKEN, "<script>").0, 400);
    assert_eq!(ask("whatsapp", "all", "subscribe", VERIFY_TOKEN, "").0, 400);
    assert_eq!(ask("whatsapp", "fb", "subscribe", VERIFY_TOKEN, "1").0, 404);
    stage.stop();
}

#[test]
fn the_first_message_opens_a_conversation_and_each_message_counts_once() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let text = r#""type":"text","text":{"body":"hola"}"#;
    for _ in 0..3 {
        assert_eq!(stage.post(PATH, &said("wamid.1", text)).status, 200);
    }
    assert_eq!(stage.post(PATH, &said("wamid.2", text)).status, 200);
    for status in ["sent", "sent", "delivered", "read"] {
        assert_eq!(stage.post(PATH, &step("wamid.3", status, "")).status, 200);
    }
    let chat = stage.conversation(shop, PHONE).unwrap();
    assert_eq!((chat.inbound_messages, chat.outbound_messages), (2, 1));
    assert_eq!(chat.entry_point(), v1::EntryPoint::Organic);
    assert_eq!(chat.open_time.unwrap().seconds, NOW_S);
    assert!(chat.first_reply_time.is_some());
    stage.stop();
}

#[test]
fn what_an_app_of_the_payers_own_tells_is_not_independent() {
    for (app, independent) in [("all", true), ("own", false)] {
        let stage = Stage::new();
        stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
        let text = r#""type":"text","text":{"body":"hola"}"#;
        let path = format!("/webhooks/whatsapp/{app}");
        assert_eq!(stage.post(&path, &said("wamid.1", text)).status, 200);
        let folder = stage.stop();
        let mut told = Vec::new();
        let scanned = scan(&Files::new(folder.path()).journal(), |block| {
            for bytes in block.decisions() {
                for fact in Decision::decode(bytes).unwrap().facts {
                    if let Some(Kind::ConversationOpened(fact)) = fact.kind {
                        told.push(fact.independent);
                    }
                }
            }
        });
        scanned.unwrap();
        assert_eq!(told, [independent], "{app}");
    }
}

#[test]
fn the_code_of_a_tap_leads_the_first_message_back_to_its_ad() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let code = code_of(&stage.tapped("viewer-1"));
    let text = format!(r#""type":"text","text":{{"body":"About the tacos\n[{code}]"}}"#);
    for _ in 0..2 {
        assert_eq!(stage.post(PATH, &said("wamid.1", &text)).status, 200);
    }
    let chat = stage.conversation(shop, PHONE).unwrap();
    let touch = chat.latest_touch.unwrap();
    assert_eq!((touch.ad_id, touch.match_kind()), (shop.ad, v1::MatchKind::PrefillCode));
    assert_eq!((chat.entry_point, chat.inbound_messages), (v1::EntryPoint::Ad as i32, 1));
    stage.stop();
}

#[test]
fn a_click_token_comes_back_in_messengers_ref_and_in_a_link_of_ours() {
    let stage = Stage::new();
    let page = v1::ChannelEndpoint {
        channel: v1::Channel::Messenger.into(),
        address: PAGE.into(),
        ..Default::default()
    };
    let shop = stage.shop(TENANT, page);
    let link = stage.tapped("viewer-1");
    let token = link.split_once("?ref=").unwrap().1;
    let came = event(&format!(
        r#""referral":{{"ref":"{token}","source":"SHORTLINK","type":"OPEN_THREAD"}}"#
    ));
    assert_eq!(stage.post("/webhooks/messenger/fb", &came).status, 200);
    let said = event(r#""message":{"mid":"m1","text":"hi"}"#);
    assert_eq!(stage.post("/webhooks/messenger/fb", &said).status, 200);
    let chat = stage.conversation(shop, "psid-1").unwrap();
    let touch = chat.latest_touch.unwrap();
    assert_eq!((touch.ad_id, touch.match_kind()), (shop.ad, v1::MatchKind::ClickToken));
    assert_eq!(chat.inbound_messages, 1);
    stage.stop();
}

#[test]
fn a_channels_referral_names_an_ad_of_ours() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    stage.tapped("viewer-1");
    let rest = format!(
        r#""type":"text","referral":{{"source_type":"ad","source_id":"{}",
        "source_url":"https://fb.me/x","ctwa_clid":"clid"}}"#,
        shop.ad
    );
    assert_eq!(stage.post(PATH, &said("wamid.1", &rest)).status, 200);
    let chat = stage.conversation(shop, PHONE).unwrap();
    assert_eq!(chat.entry_point(), v1::EntryPoint::Ad);
    stage.stop();
}

#[test]
fn twilios_form_opens_and_answers_a_conversation() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ""));
    let came = [
        ("MessageSid", "SM1"),
        ("From", "whatsapp:+5215550001111"),
        ("To", "whatsapp:+5215512345678"),
        ("WaId", PHONE),
        ("Body", "¿Qué tal? + & ="),
    ];
    let path = "/webhooks/twilio/tw";
    assert_eq!(stage.post_form(path, &came).status, 200);
    assert_eq!(stage.post_form(path, &came).status, 200);
    let step = [
        ("MessageSid", "SM2"),
        ("MessageStatus", "delivered"),
        ("From", "whatsapp:+5215512345678"),
        ("To", "whatsapp:+5215550001111"),
    ];
    assert_eq!(stage.post_form(path, &step).status, 200);
    let chat = stage.conversation(shop, PHONE).unwrap();
    assert_eq!((chat.inbound_messages, chat.outbound_messages), (1, 1));
    stage.stop();
}

#[test]
fn a_user_id_names_the_person_and_the_number_finds_them_still() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let body = about(&format!(
        r#""contacts":[{{"wa_id":"{PHONE}","user_id":"{USER_ID}"}}],"messages":[{{
        "from":"{PHONE}","id":"wamid.1","timestamp":"{NOW_S}","type":"text"}}]"#
    ));
    assert_eq!(stage.post(PATH, &body).status, 200);
    assert_eq!(stage.conversation(shop, USER_ID).unwrap().inbound_messages, 1);
    assert!(stage.conversation(shop, PHONE).is_none());
    stage.stop();
}

#[test]
fn who_was_known_by_the_number_goes_on_under_the_user_id_and_a_new_number() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    assert_eq!(stage.post(PATH, &said("wamid.1", r#""type":"text""#)).status, 200);
    let named = about(&format!(
        r#""contacts":[{{"wa_id":"{PHONE}","user_id":"{USER_ID}"}}],"messages":[{{
        "from":"{PHONE}","id":"wamid.2","timestamp":"{NOW_S}","type":"text"}}]"#
    ));
    assert_eq!(stage.post(PATH, &named).status, 200);
    let moved =
        r#""type":"system","system":{"wa_id":"5215550002222","type":"user_changed_number"}"#;
    assert_eq!(stage.post(PATH, &said("wamid.3", moved)).status, 200);
    let later = said("wamid.4", r#""type":"text""#).replace(PHONE, "5215550002222");
    assert_eq!(stage.post(PATH, &later).status, 200);
    for name in [PHONE, USER_ID, "5215550002222"] {
        assert_eq!(stage.conversation(shop, name).unwrap().inbound_messages, 3, "{name}");
    }
    stage.stop();
}

#[test]
fn a_volume_tier_is_noted_once() {
    let stage = Stage::new();
    stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let tier = crate::bodies::change(
        "account_update",
        r#"{"event":"VOLUME_BASED_PRICING_TIER_UPDATE","volume_tier_info":{
        "pricing_category":"UTILITY","tier":"25000001:50000000","effective_month":"2026-11",
        "region":"India"}}"#,
    );
    let before = stage.node.front().durable();
    assert_eq!(stage.post(PATH, &tier).status, 200);
    let after = stage.node.front().durable();
    assert!(after > before);
    assert_eq!(stage.post(PATH, &tier).status, 200);
    assert_eq!(stage.node.front().durable(), after);
    stage.stop();
}

#[test]
fn an_app_speaks_only_for_its_own_tenant_and_the_oldest_endpoint_counts() {
    let stage = Stage::new();
    let first = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let second = stage.shop(TENANT + 1, whatsapp(NUMBER, ACCOUNT));
    let body = said("wamid.1", r#""type":"text""#);
    assert_eq!(stage.post(PATH, &body).status, 200);
    assert!(stage.conversation(first, PHONE).is_some(), "the platform's app: the oldest");
    assert!(stage.conversation(second, PHONE).is_none());
    let signature = signed(OTHER_SECRET, body.as_bytes());
    let headers = [("x-hub-signature-256", &*signature)];
    let path = "/webhooks/whatsapp/rival";
    let answer = send(stage.web.addr(), "POST", path, &headers, body.as_bytes());
    assert_eq!(answer.status, 200);
    assert!(stage.conversation(second, PHONE).is_some(), "a tenant's app: its own");
    stage.stop();
}

#[test]
fn what_nobody_here_is_meant_by_or_knows_is_taken_and_stores_nothing() {
    let stage = Stage::new();
    let before = stage.node.front().durable();
    for body in [
        said("wamid.1", r#""type":"text""#),
        step("wamid.1", "delivered", ""),
        "{}".into(),
        "[]".into(),
        r#"{"object":"something","entry":[{"new":1}]}"#.into(),
        crate::bodies::change("new_field", r#"{"a":[1,2,{"b":null}]}"#),
    ] {
        assert_eq!(stage.post(PATH, &body).status, 200, "{body}");
    }
    assert_eq!(stage.node.front().durable(), before);
    stage.stop();
}

#[test]
fn one_connection_carries_many_posts_and_a_chunked_one() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let mut bytes = Vec::new();
    for id in ["wamid.1", "wamid.2"] {
        let body = said(id, r#""type":"text""#);
        let signature = signed(crate::stage::SECRET, body.as_bytes());
        bytes.extend(format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ).bytes());
    }
    let body = said("wamid.3", r#""type":"text""#);
    let signature = signed(crate::stage::SECRET, body.as_bytes());
    let (first, second) = body.split_at(100);
    bytes.extend(format!(
        "POST {PATH} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-hub-signature-256: {signature}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(), second.len()
    ).bytes());
    let answers = raw(stage.web.addr(), &bytes);
    assert_eq!(answers.whole.matches("HTTP/1.1 200 OK").count(), 3, "{}", answers.whole);
    assert_eq!(stage.conversation(shop, PHONE).unwrap().inbound_messages, 3);
    stage.stop();
}
