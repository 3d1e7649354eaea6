//! Messages as platforms publish them: each file of `MUNADI_DATA` goes through the door, and what it became
//! is printed as a table. Without it nothing is looked at: the files are not ours to keep here.

use std::collections::BTreeMap;
use std::fs;

use munadi::channels::inbound::{Inbound, parse_whatsapp};
use munadi::types::time::Moment;

use crate::stage::{Stage, TENANT, whatsapp};

#[test]
fn every_published_message_is_taken_and_becomes_what_it_is() {
    let Some(folder) = std::env::var_os("MUNADI_DATA") else { return };
    let stage = Stage::at(1_600_000_000);
    stage.shop(TENANT, whatsapp("972123456789", "1122334455667"));
    stage.shop(TENANT, whatsapp("15550783881", "106540352242922"));
    let mut bodies = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).unwrap();
            let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            let file = path.file_stem().unwrap().to_string_lossy().into_owned();
            bodies
                .extend(all.into_iter().map(|(name, body)| (file.clone(), name, body.to_string())));
        }
    }
    assert!(bodies.len() > 40, "{} messages", bodies.len());
    // The journal's time never goes back.
    bodies.sort_by_key(|(file, name, body)| (latest(body), file.clone(), name.clone()));
    println!("| file | message | became | batches |\n|---|---|---|---|");
    for (file, name, body) in bodies {
        stage.clock.set(Moment((latest(&body) + 1) * 1_000).max(stage.node.now()));
        let before = stage.node.front().durable().0;
        let answer = stage.post("/webhooks/whatsapp/all", &body);
        assert_eq!(answer.status, 200, "{file} {name}");
        let became: Vec<_> = parse_whatsapp(body.as_bytes()).unwrap().iter().map(word).collect();
        let written = stage.node.front().durable().0 - before;
        println!("| {file} | {name} | {} | {written} |", became.join(", "));
    }
    stage.stop();
}

/// Returns the time that a message carries, seconds.
fn latest(body: &str) -> i64 {
    let numbers =
        body.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    numbers.filter(|number| (1_600_000_000..1_795_000_000).contains(number)).max().unwrap_or(0)
}

fn word(told: &Inbound<'_>) -> String {
    match told {
        Inbound::Message(told) => {
            let referral = told.referral.as_ref().map_or("", |_| " with referral");
            format!("message{referral}")
        }
        Inbound::Status(told) => {
            let category = told.category.as_str_name().trim_start_matches("MESSAGE_CATEGORY_");
            let status = told.status.as_str_name().trim_start_matches("MESSAGE_STATUS_");
            let priced = if told.pricing.is_some() { ", priced" } else { "" };
            format!("status {status} ({category}{priced})")
        }
        Inbound::Moved(_) => "moved".into(),
        Inbound::Tier(told) => format!("tier from {} to {} in {}", told.from, told.to, told.market),
        Inbound::Ignored => "ignored".into(),
        Inbound::Unknown => "unknown".into(),
    }
}
