//! A node on a folder with its own threads, its clock moved by hand, and a crowd that keeps it busy.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use munadi::channels::{Channel, FoundClick, find_click};
use munadi::journal::file::Options;
use munadi::node::clock::{Clock, MovedClock};
use munadi::node::{Node, NodeOptions, Pending, StartError};
use munadi::report::query::Query;
use munadi::tokens::{contact_number, conversation_id, viewer_number};
use munadi::types::proto::v1;
use munadi::types::proto::v1::slot::Filling;
use munadi::types::proto::v1::{BillingEvent, EntryPoint, EventKind, Targeting};
use munadi::types::request::{
    AdRequest, Change, Chat, Claim, Incoming, Opening, Policy, Profile, Resource, Verdict,
};
use munadi::types::time::MINUTE_MS;
use munadi::types::token::ClickToken;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::stage::{ALL, FEED, Offer, Shop, Shown, Stage, at, event, letters, near};

/// Bytes of a segment: it is written full of zeroes first.
const SEGMENT_BYTES: u64 = 256 << 10;

/// A day's budget that no crowd spends, micros.
const ENDLESS: i64 = 500_000_000_000_000;

/// Events that a crowd reports together, and reports on their way at once.
const PER_CALL: usize = 500;
const CALLS_AT_ONCE: usize = 4;

/// Rounds of the writer after which every conversation must have found its ad.
const ROUNDS_MAX: usize = 10_000;

/// What a crowd did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Crowd {
    pub(crate) impressions: u64,
    pub(crate) taps: u64,
    pub(crate) chats: u64,
    /// Charged at once, micros: conversations cost something later.
    pub(crate) charged: i64,
}

impl Crowd {
    pub(crate) fn events(self) -> u64 {
        self.impressions + self.taps + self.chats
    }
}

/// A running node and its folder.
pub(crate) struct Site {
    pub(crate) node: Arc<Node>,
    pub(crate) clock: Arc<MovedClock>,
    runtime: Runtime,
    /// Dropped last.
    pub(crate) room: TempDir,
}

/// Starts a node on a folder.
pub(crate) fn start(dir: &Path, clock: &Arc<MovedClock>) -> Node {
    started(dir, clock, SEGMENT_BYTES)
}

fn started(dir: &Path, clock: &Arc<MovedClock>, segment_bytes: u64) -> Node {
    opened(dir, clock, segment_bytes).unwrap()
}

/// Starts a node on a folder with segments of so many bytes, if it can be.
pub(crate) fn opened(
    dir: &Path,
    clock: &Arc<MovedClock>,
    segment_bytes: u64,
) -> Result<Node, StartError> {
    let journal = Options { segment_bytes, ..Options::default() };
    let options =
        NodeOptions { feeds: vec![FEED], watch: false, journal, ..NodeOptions::default() };
    Node::start(dir, Arc::clone(clock) as Arc<_>, &options)
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::of(SEGMENT_BYTES)
    }

    /// Starts a node whose journal has segments of so many bytes.
    pub(crate) fn of(segment_bytes: u64) -> Self {
        let room = tempfile::tempdir().unwrap();
        let clock = Arc::new(MovedClock::at(at("2026-11-23T12:00:00Z")));
        Self::again(room, clock, segment_bytes)
    }

    /// Starts a node on a folder that another has left.
    pub(crate) fn again(room: TempDir, clock: Arc<MovedClock>, segment_bytes: u64) -> Self {
        let node = Arc::new(started(&room.path().join("node"), &clock, segment_bytes));
        let runtime = Builder::new_current_thread().build().unwrap();
        Self { node, clock, runtime, room }
    }

    /// Returns a folder in the room; the node's own is `node`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Stops the node; its folder stays.
    pub(crate) fn stop(self) -> (TempDir, Arc<MovedClock>) {
        let Self { node, clock, room, .. } = self;
        Arc::into_inner(node).expect("nobody else holds the node").stop().unwrap();
        (room, clock)
    }

    /// Waits for an answer of the node.
    pub(crate) fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    pub(crate) fn viewer(&self, name: &str) -> u64 {
        viewer_number(self.node.opener().ring().link(FEED).unwrap(), name)
    }

    fn create(&self, tenant: u32, name: &str, row: Resource) -> u64 {
        let write = Stage::writing(tenant, name, Change::Create(row));
        self.wait(self.node.mutate(write)).unwrap().id()
    }

    /// Creates an advertiser with one live ad, which is shown in one country.
    pub(crate) fn shop(&self, country: &str, offer: &Offer) -> Shop {
        let (tenant, name) = (offer.tenant, |what: &str| format!("{country} {what}"));
        let row = Resource::Account(offer.account_row());
        let account = self.create(tenant, &name("account"), row);
        let business =
            v1::Business { account_id: account, name: "Tacos".into(), ..Default::default() };
        let business = self.create(tenant, &name("business"), Resource::Business(business));
        let endpoint = v1::ChannelEndpoint {
            business_id: business,
            channel: v1::Channel::Telegram.into(),
            address: format!("tacos_{}_bot", country.to_lowercase()),
            ..Default::default()
        };
        let endpoint = self.create(tenant, &name("endpoint"), Resource::Endpoint(endpoint));
        let row = Resource::Campaign(offer.campaign_row(account));
        let campaign = self.create(tenant, &name("campaign"), row);
        let targeting =
            Targeting { countries: vec![country.to_owned()], ..offer.targeting.clone() };
        let row = v1::AdSet { targeting: Some(targeting), ..offer.ad_set_row(campaign) };
        let ad_set = self.create(tenant, &name("ad set"), Resource::AdSet(row));
        let row = Resource::Ad(offer.ad_row(ad_set, endpoint));
        let ad = self.create(tenant, &name("ad"), row);
        Shop { tenant, account, business, endpoint, campaign, ad_set, ad }
    }

    /// Returns what a viewer is shown in a tray with one place for an ad; `None`: nothing.
    pub(crate) fn show(&self, country: &str, name: &str) -> Option<Shown> {
        let request = AdRequest {
            placement: v1::Placement::Status,
            viewer: Some(self.viewer(name)),
            profile: Profile { country: letters(country), ..Profile::default() },
            posts: 3,
            positions: Vec::new(),
            named: true,
            ads_in_session: 0,
        };
        let policy = Policy { floor_cpm_micros: 10_000, ..near() };
        let slots = self.node.request_ads(FEED, &policy, &request).slots();
        let ad = slots.into_iter().find_map(|slot| match slot.filling {
            Some(Filling::Ad(ad)) => Some(ad),
            _ => None,
        })?;
        let sealer = self.node.opener();
        let token = sealer.open_view(&ad.view_token, self.clock.now().seconds()).unwrap();
        Some(Shown { ad, token })
    }

    /// Returns the click in a shown ad's link.
    pub(crate) fn click(&self, shown: &Shown) -> ClickToken {
        let Some(FoundClick::Token(text)) = find_click(Channel::Telegram, &shown.ad.chat_link)
        else {
            panic!("no token in {}", shown.ad.chat_link)
        };
        self.node.opener().open_click_text(text, self.clock.now().seconds()).unwrap()
    }

    /// Returns the opening of a chat that a click led to.
    pub(crate) fn opening(&self, shop: &Shop, contact: &str, click: ClickToken) -> Incoming {
        let sealer = self.node.opener();
        let number = contact_number(&sealer.ring().contact, shop.endpoint, contact);
        let chat = Chat {
            tenant: shop.tenant,
            business: shop.business,
            endpoint: shop.endpoint,
            id: conversation_id(shop.business, shop.endpoint, number),
            at: None,
            country: 0,
            independent: true,
        };
        let opening = Opening::by_message(EntryPoint::Ad, Some(Claim::Click(click)));
        Incoming::Opened { chat, opening }
    }

    pub(crate) fn record(&self, items: Vec<Incoming>) -> Vec<Verdict> {
        self.wait(self.node.record(items).unwrap()).unwrap()
    }

    /// Returns impressions, taps, conversations and spend of everything.
    pub(crate) fn reported(&self) -> (u64, u64, u64, i64) {
        let query = Query { end_hour: u32::MAX, limit: 10, ..Query::default() };
        let rows = self.node.front().report(ALL, &query, self.clock.now()).unwrap().0.rows;
        let row = rows.first().cloned().unwrap_or_default();
        (row.impressions, row.taps, row.conversations, row.spend_micros)
    }
}

/// The crowd.
impl Site {
    /// Opens three shops, each in a country of its own: one pays for impressions, one for taps, one for
    /// conversations.
    pub(crate) fn shops(&self) -> [(&'static str, Shop); 3] {
        let billings = [
            ("MX", BillingEvent::Impressions),
            ("BR", BillingEvent::LinkClicks),
            ("IN", BillingEvent::Conversations),
        ];
        billings.map(|(country, billing)| {
            let offer = Offer { billing, campaign: (Some(ENDLESS), None), ..Offer::default() };
            (country, self.shop(country, &offer))
        })
    }

    /// Lets viewers who come once look at ads until so many events are recorded, some of them tap, and some of
    /// those write. The clock moves on by a minute with every report.
    pub(crate) fn crowd(&self, shops: &[(&str, Shop)], events: u64) -> Crowd {
        let (mut done, mut items) = (Crowd::default(), Vec::new());
        let mut waiting: VecDeque<Pending<Vec<Verdict>>> = VecDeque::new();
        let mut number = 0;
        while done.events() < events {
            number += 1;
            assert!(number <= 2 * events, "most viewers are shown something: {done:?}");
            let (country, shop) = &shops[number as usize % shops.len()];
            let name = format!("viewer {number}");
            if let Some(shown) = self.show(country, &name) {
                self.visit(&shown, shop, &name, number, &mut items, &mut done);
            }
            if items.len() >= PER_CALL || done.events() >= events {
                if waiting.len() == CALLS_AT_ONCE {
                    done.charged += self.charged(waiting.pop_front());
                }
                waiting.push_back(self.node.record(std::mem::take(&mut items)).unwrap());
                self.clock.set(self.clock.now().plus_ms(MINUTE_MS));
            }
        }
        while !waiting.is_empty() {
            done.charged += self.charged(waiting.pop_front());
        }
        done
    }

    /// Adds what one viewer does.
    fn visit(
        &self,
        shown: &Shown,
        shop: &Shop,
        name: &str,
        number: u64,
        items: &mut Vec<Incoming>,
        done: &mut Crowd,
    ) {
        items.push(event(shown, EventKind::Impression));
        done.impressions += 1;
        if number.is_multiple_of(4) {
            items.push(event(shown, EventKind::Tap));
            done.taps += 1;
        }
        if number.is_multiple_of(8) {
            items.push(self.opening(shop, name, self.click(shown)));
            done.chats += 1;
        }
    }

    /// Waits until so many conversations have found their ads.
    pub(crate) fn deliver(&self, chats: u64) {
        for _ in 0..ROUNDS_MAX {
            if self.reported().2 == chats {
                return;
            }
            self.wait(self.node.settled()).unwrap();
        }
        panic!("{:?}, and {chats} were opened", self.reported());
    }

    fn charged(&self, pending: Option<Pending<Vec<Verdict>>>) -> i64 {
        let verdicts = self.wait(pending.expect("one waits")).unwrap();
        let charged = |verdict: &Verdict| match verdict {
            Verdict::Recorded { charged, invalid: None } => *charged,
            other => panic!("not recorded: {other:?}"),
        };
        verdicts.iter().map(charged).sum()
    }
}
