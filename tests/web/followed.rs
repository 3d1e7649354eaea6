//! Links that are followed more often than people do: each leads to its chat, and few count.

use munadi::types::request::{Resource, ResourceKind};
use munadi::web::limits::LINK_TAPS_BURST;

use crate::bodies::{ACCOUNT, NUMBER};
use crate::full::BROWSER;
use crate::http::raw;
use crate::stage::{ALL, Stage, TENANT, wait, whatsapp};

/// How often the link is followed: by the time that so many count, half a minute would have passed.
const TIMES: usize = 4 * LINK_TAPS_BURST as usize;

#[test]
fn a_link_that_a_machine_follows_leads_to_its_chat_each_time_and_counts_only_so_often() {
    let stage = Stage::new();
    let shop = stage.shop(TENANT, whatsapp(NUMBER, ACCOUNT));
    let source = stage.source(shop);
    let one = format!("GET /c/{} HTTP/1.1\r\nhost: x\r\nuser-agent: {BROWSER}\r\n", source.code);
    let mut requests = format!("{one}\r\n").repeat(TIMES - 1);
    requests += &format!("{one}connection: close\r\n\r\n");
    let answers = raw(stage.web.addr(), requests.as_bytes()).whole;
    assert_eq!(answers.matches("HTTP/1.1 302 ").count(), TIMES);
    let chat = format!("https://wa.me/{NUMBER}?text=");
    assert_eq!(answers.matches(&chat).count(), TIMES);
    wait(stage.node.settled()).unwrap();
    let Ok(Resource::Source(row)) = stage.node.get(ALL, ResourceKind::Source, source.id) else {
        panic!("the source is there");
    };
    assert!((u64::from(LINK_TAPS_BURST)..TIMES as u64).contains(&row.taps), "{}", row.taps);
    stage.stop();
}
