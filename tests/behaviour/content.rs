//! No content: no message about conversations has a field that could hold a message's text.

use std::collections::{BTreeMap, BTreeSet};

use munadi::types::proto::DESCRIPTORS;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

/// Services that hear of conversations.
const SERVICES: [&str; 5] = [
    "ConversationService",
    "EventService",
    "AttributionService",
    "ConversionService",
    "ImportService",
];

/// What is journaled of conversations.
const FACTS: [&str; 17] = [
    "ConversationOpened",
    "MessageRecorded",
    "MessagePriced",
    "ContactMoved",
    "SourceTapped",
    "Converted",
    "OutboxSettled",
    "OutcomeNoted",
    "OutcomeDeclined",
    "ClickMatched",
    "ConversionCredited",
    "ConversionPushPut",
    "ReferralNoted",
    "StepCredited",
    "OutcomeRevised",
    "Standing",
    "TouchRevised",
];

/// Every text or bytes that these messages may carry, and why none of them is a message's text.
const ALLOWED: [(&str, &str); 75] = [
    ("v1.AdEvent.network", "an address; only a keyed hash of its network is kept"),
    ("v1.AdEvent.user_agent", "looked at for invalid traffic at the door, and not kept"),
    ("v1.AdEvent.view_token", "sealed by the engine; anything else does not open"),
    ("v1.AttributionRow.event_id", "the caller's id of a sale, 128 characters at most"),
    ("v1.AttributionRow.name", "the name of a kind of event, 64 characters at most"),
    ("v1.ConversationEvent.country", "two letters of ISO 3166-1, checked against the list"),
    ("v1.ConversationKey.contact", "a pseudonym; only a keyed hash of it is kept"),
    ("v1.Conversion.adjustment_id", "the caller's id of a correction, 128 characters at most"),
    ("v1.Conversion.click_token", "sealed by the engine; anything else does not open"),
    ("v1.Conversion.event_id", "the caller's id of a sale, 128 characters at most"),
    ("v1.Conversion.name", "the name of a kind of event, 64 characters at most"),
    ("v1.ImportResult.field", "the path of a field, written by the engine"),
    ("v1.ImportResult.message", "what was wrong with an event, written by the engine"),
    ("v1.ImportResult.reason", "a stable name, written by the engine"),
    ("v1.ImportedEvent.currency", "three letters of ISO 4217, the account's own"),
    ("v1.ImportedEvent.event_id", "another system's id, 128 characters at most"),
    ("v1.ImportedEvent.impression_event_id", "another system's id; only a hash of it is kept"),
    ("v1.ImportedEvent.name", "the name of a kind of event, 64 characters at most"),
    ("v1.ImportedEvent.tap_event_id", "another system's id; only a hash of it is kept"),
    ("v1.ImportedEvent.viewer", "a pseudonym; only a keyed hash of it is kept"),
    ("v1.ItemResult.field", "the path of a field, written by the engine"),
    ("v1.ItemResult.message", "what was wrong with a request, written by the engine"),
    ("v1.ItemResult.reason", "a stable name, written by the engine"),
    ("v1.MessageReceipt.message_id", "the channel's id; only a keyed hash of it is kept"),
    ("v1.Money.currency", "three letters of ISO 4217, checked against the list"),
    ("v1.Opened.click_token", "sealed by the engine; anything else does not open"),
    ("v1.Opened.prefill_code", "ten characters of base32; anything else is refused"),
    ("v1.PullAttributionsRequest.cursor", "sealed by the engine; anything else does not open"),
    ("v1.PullAttributionsResponse.cursor", "sealed by the engine"),
    ("v1.RecordConversationEventsRequest.request_id", "64 characters at most, not kept"),
    ("v1.RecordConversionsRequest.request_id", "64 characters at most, not kept"),
    ("v1.RecordEventsRequest.request_id", "64 characters at most, not kept"),
    ("v1.ConversionDeadLetter.event_id", "the caller's id of a sale, 128 characters at most"),
    ("v1.ConversionPayload.event_id", "the caller's id of a sale, 128 characters at most"),
    ("v1.ConversionPayload.payload", "written by the engine from a closed struct without texts"),
    (
        "v1.ConversionPayload.test_event_code",
        "letters, digits, hyphens and underscores, 64 at most",
    ),
    ("v1.ConversionPush.test_event_code", "letters, digits, hyphens and underscores, 64 at most"),
    ("v1.ConversionPush.url", "an https URL of the advertiser's, checked as one"),
    ("v1.CompareModelsResponse.currency", "three letters of ISO 4217, from the account"),
    (
        "v1.ReconcileRequest.ndjson",
        "ids, values and times; a line with any other key is refused, and nothing is kept",
    ),
    ("v1.ReconcileRow.event_id", "the caller's id of a sale, 128 characters at most"),
    ("v1.ReconcileRow.field", "the path of a field, written by the engine"),
    ("v1.ReconcileRow.field_reason", "a stable name, written by the engine"),
    ("v1.ReconcileRow.message", "what was wrong with a line, written by the engine"),
    ("v1.Experiment.etag", "a number, written by the engine"),
    ("v1.Experiment.name", "what an advertiser calls an experiment, 100 characters at most"),
    ("v1.ViewerRef.viewer_id", "a pseudonym; only a keyed hash of it is kept"),
    ("v1.CreateTestClickResponse.chat_link", "written by the engine from the ad"),
    ("v1.CreateTestClickResponse.click_token", "sealed by the engine"),
    ("v1.CreateTestClickResponse.prefill_code", "ten characters, made by the engine"),
    ("v1.CreateTestClickResponse.view_token", "sealed by the engine"),
    ("v1.ListDeadLettersRequest.page_token", "sealed by the engine; anything else does not open"),
    ("v1.ListDeadLettersResponse.next_page_token", "sealed by the engine"),
    (
        "v1.PullConversionPayloadsRequest.cursor",
        "sealed by the engine; anything else does not open",
    ),
    ("v1.PullConversionPayloadsRequest.test_event_code", "letters, digits, hyphens, underscores"),
    ("v1.PullConversionPayloadsResponse.cursor", "sealed by the engine"),
    ("v1.SetConversionPushRequest.request_id", "64 characters at most, of the caller's own"),
    ("v1.SetConversionPushRequest.test_event_code", "letters, digits, hyphens and underscores"),
    ("v1.SetConversionPushRequest.url", "an https URL of the advertiser's, checked as one"),
    ("v1.SetConversionPushResponse.signing_secret", "derived by the engine"),
    ("v1.ListConversationsRequest.page_token", "sealed by the engine; anything else does not open"),
    ("v1.ListConversationsResponse.next_page_token", "sealed by the engine"),
    ("journal.v1.MessagePriced.currency", "three letters of ISO 4217, from a rate card"),
    ("journal.v1.MessagePriced.market", "a market's name, from a rate card"),
    ("v1.Opened.channel_click_id", "the channel's id of a click, 512 characters at most"),
    ("v1.Opened.channel_ad_id", "the channel's id of an ad, 64 characters at most"),
    ("v1.ContactChanged.previous_contact", "a pseudonym; only a keyed hash of it is kept"),
    ("journal.v1.ConversionPushPut.url", "an https URL of the advertiser's, checked as one"),
    ("journal.v1.ConversionPushPut.test_event_code", "letters, digits, hyphens and underscores"),
    ("journal.v1.ReferralNoted.channel_click_id", "the channel's id of a click, 512 at most"),
    ("journal.v1.ReferralNoted.channel_ad_id", "the channel's id of an ad, 64 at most"),
    ("journal.v1.Converted.*", "event_id and name of a sale, as above"),
    ("journal.v1.ConversionCredited.*", "event_id and name of a sale, as above"),
    ("journal.v1.OutcomeDeclined.*", "event_id and name of a sale, as above"),
    ("journal.v1.OutcomeRevised.*", "event_id and name of a sale, as above"),
];

/// Collects the texts of a message and of all messages in it.
fn texts(message: &MessageDescriptor, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        match field.kind() {
            Kind::String | Kind::Bytes => {
                found.insert(field.full_name().to_owned());
            }
            Kind::Message(inner) => texts(&inner, seen, found),
            _ => {}
        }
    }
}

#[test]
fn no_field_of_a_conversation_could_hold_a_messages_text() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for service in SERVICES {
        let service = pool.get_service_by_name(&format!("munadi.v1.{service}")).unwrap();
        for method in service.methods() {
            texts(&method.input(), &mut seen, &mut found);
            texts(&method.output(), &mut seen, &mut found);
        }
    }
    for fact in FACTS {
        let fact = pool.get_message_by_name(&format!("munadi.journal.v1.{fact}")).unwrap();
        texts(&fact, &mut seen, &mut found);
    }
    assert!(found.contains("munadi.v1.ConversationKey.contact"), "the walk finds what is there");
    let mut used = BTreeMap::new();
    for text in &found {
        let name = text.strip_prefix("munadi.").unwrap_or(text);
        let owner = format!("{}.*", name.rsplit_once('.').unwrap().0);
        let allowed = ALLOWED.iter().find(|(allowed, _)| *allowed == name || *allowed == owner);
        let (allowed, reason) = allowed.unwrap_or_else(|| {
            panic!("{text} could hold a message's text: take it out, or say here why it can't")
        });
        *used.entry(*allowed).or_insert(0) += 1;
        assert!(reason.len() > 10, "{allowed}: say why");
        if allowed.ends_with('*') {
            assert!(name.ends_with(".event_id") || name.ends_with(".name"), "{text}");
        }
    }
    let unused: Vec<_> = ALLOWED.iter().filter(|(name, _)| !used.contains_key(name)).collect();
    assert!(unused.is_empty(), "no longer there: {unused:?}");
}

#[test]
fn the_walk_finds_a_text_wherever_it_is() {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    // An ad's own text is one: if it came into a conversation, the test above would fail.
    let ad = pool.get_message_by_name("munadi.v1.CreateAdRequest").unwrap();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    texts(&ad, &mut seen, &mut found);
    assert!(found.contains("munadi.v1.Creative.primary_text"), "{found:?}");
}
