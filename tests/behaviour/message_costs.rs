//! What the messages of ads' conversations cost in reports: by category, beside the media, row by row.

use munadi::tokens::message_number;
use munadi::types::proto::journal::v1::ExchangeRatesPut;
use munadi::types::proto::v1::MessageCategory::{Authentication, Marketing, Service, Utility};
use munadi::types::proto::v1::{
    Channel, Dimension, Direction, EntryPoint, ExchangeRate, MessageCategory, MessageSpend,
    MessageStatus, Money, RateCard, ReportRow,
};
use munadi::types::request::{Chat, Claim, Incoming, ListChange, Opening, Receipt, Resource};
use munadi::types::time::{DAY_MS, HOUR_MS, Moment};

use crate::stage::{Offer, Shop, Stage, at, charged, letters};

/// The midnight at which dearer cards begin.
const DEARER: &str = "2026-11-10T00:00:00Z";

/// A card in the account's currency.
fn card(channel: Channel, category: MessageCategory, micros: i64, from: &str) -> RateCard {
    RateCard {
        channel: channel.into(),
        market: "Mexico".into(),
        countries: vec!["MX".into()],
        category: category.into(),
        price: Some(Money { micros, currency: "MXN".into() }),
        valid_from: Some(prost_types::Timestamp { seconds: at(from).0 / 1_000, nanos: 0 }),
        ..RateCard::default()
    }
}

fn cards() -> Vec<RateCard> {
    let october = "2026-10-01T00:00:00Z";
    vec![
        card(Channel::Whatsapp, Utility, 160_000, october),
        card(Channel::Whatsapp, Utility, 200_000, DEARER),
        card(Channel::Whatsapp, Marketing, 600_000, october),
        card(Channel::Telegram, Utility, 50_000, october),
    ]
}

/// Three ads of one account: two on WhatsApp in one campaign, one on Telegram in another.
pub(crate) struct Town {
    pub(crate) stage: Stage,
    shops: [Shop; 3],
    /// What the media cost, by ad.
    media: [i64; 3],
}

impl Town {
    /// Opens the shops in the evening before the dearer cards; each ad is tapped once, and a chat opened with it
    /// by "a", "b" and "c".
    fn open() -> Self {
        let mut stage = Stage::at("2026-11-09T22:00:00Z");
        assert_eq!(stage.write_lists("cards", ListChange::RateCards(cards())), Ok(4));
        let whatsapp = Offer { channel: Channel::Whatsapp, ..Offer::default() };
        let one = stage.shop(&whatsapp);
        let first = Self::click(&mut stage, &one, whatsapp.channel, ("a", false));
        // Another ad of the campaign outbids the first, and one on another channel both.
        let dearer = Offer { bid: 2_000_000, ..whatsapp };
        let ad_set = stage.create(one.tenant, Resource::AdSet(dearer.ad_set_row(one.campaign)));
        let ad = stage.create(one.tenant, Resource::Ad(dearer.ad_row(ad_set, one.endpoint)));
        let two = Shop { ad_set, ad, ..one };
        let second = Self::click(&mut stage, &two, dearer.channel, ("b", true));
        let telegram = Offer { bid: 4_000_000, ..Offer::default() };
        let three = stage.shop_in(one.account, &telegram);
        let third = Self::click(&mut stage, &three, telegram.channel, ("c", false));
        Self { stage, shops: [one, two, three], media: [first, second, third] }
    }

    /// Lives a night in which messages are charged and free for every reason that there is today: by cards of the
    /// operator and built-in ones, before and behind a dearer card's start, of an ad and of none.
    pub(crate) fn of_every_price() -> Self {
        let mut town = Self::open();
        town.send(0, "a", "a1", Service);
        town.send(0, "a", "a2", Utility);
        town.send(1, "b", "b1", Service);
        town.send(2, "c", "c1", Utility);
        town.open_without_ad("nobody's");
        town.send(0, "nobody's", "n1", Marketing);
        town.stage.now = at(DEARER);
        town.send(0, "a", "a3", Utility);
        town.deliver(0, "a", "a4", Marketing, letters("GB"));
        // A built-in card is in another currency: 0.0085 USD at 0.05 USD for one MXN.
        let rate = ExchangeRate { currency: "MXN".into(), rate_micros: 50_000, valid_from: None };
        let rates = ExchangeRatesPut { settlement_currency: "USD".into(), rates: vec![rate] };
        assert_eq!(town.stage.write_lists("rates", ListChange::ExchangeRates(rates)), Ok(1));
        town.send(0, "a", "a5", Authentication);
        town
    }

    fn open_without_ad(&mut self, contact: &str) {
        let opening = Opening::by_message(EntryPoint::BusinessProfile, None);
        let chat = mexican(&self.stage, &self.shops[0], contact);
        charged(&self.stage.record(Incoming::Opened { chat, opening }));
    }

    /// Lets a viewer see and tap the ad, and open a chat by it; returns what that cost.
    fn click(
        stage: &mut Stage,
        shop: &Shop,
        channel: Channel,
        (contact, free_entry): (&str, bool),
    ) -> i64 {
        let shown = stage.show(contact);
        assert_eq!(shown.ad.ad_id, shop.ad);
        let media = stage.see(&shown) + stage.tap(&shown);
        let claim = match channel {
            Channel::Telegram => Claim::Click(stage.click(&shown)),
            _ => Claim::Code(stage.code(&shown)),
        };
        let opening = Opening { free_entry, ..Opening::by_message(EntryPoint::Ad, Some(claim)) };
        let chat = mexican(stage, shop, contact);
        charged(&stage.record(Incoming::Opened { chat, opening }));
        stage.settle();
        media
    }

    /// Sends a message of the business; it is delivered now.
    fn send(&mut self, shop: usize, contact: &str, id: &str, category: MessageCategory) {
        self.deliver(shop, contact, id, category, letters("MX"));
    }

    fn deliver(
        &mut self,
        shop: usize,
        contact: &str,
        id: &str,
        category: MessageCategory,
        country: u16,
    ) {
        let (stage, shop) = (&mut self.stage, &self.shops[shop]);
        let message = message_number(&stage.ring.contact, shop.endpoint, id);
        let delivered = Receipt::delivered(message, Direction::Outbound, category);
        let receipt = Receipt { template: category != Service, ..delivered };
        let chat = Chat { country, ..mexican(stage, shop, contact) };
        charged(&stage.record(Incoming::Message { chat, receipt }));
    }

    fn row(&self, dimensions: &[Dimension], of: impl Fn(&ReportRow) -> bool) -> Costs {
        let rows = self.stage.report(dimensions).rows;
        let mut fitting = rows.iter().filter(|row| of(row));
        let row = fitting.next().expect("a row");
        assert!(fitting.next().is_none(), "one row");
        Costs::of(row)
    }

    fn ad(&self, shop: usize) -> Costs {
        self.row(&[Dimension::Ad], |row| row.ad_id == self.shops[shop].ad)
    }
}

fn mexican(stage: &Stage, shop: &Shop, contact: &str) -> Chat {
    Chat { country: letters("MX"), ..stage.chat(shop, contact) }
}

/// What a row says of messages.
#[derive(Debug, Default, Eq, PartialEq)]
struct Costs {
    /// Category, messages, free ones, micros.
    messages: Vec<(MessageCategory, u64, u64, i64)>,
    whole: i64,
    unpriced: u64,
    media: i64,
    per_conversation: Option<i64>,
    per_reply: Option<i64>,
}

impl Costs {
    fn of(row: &ReportRow) -> Self {
        let told =
            |it: &MessageSpend| (it.category(), it.messages, it.free_messages, it.cost_micros);
        Self {
            messages: row.messages.iter().map(told).collect(),
            whole: row.message_cost_micros,
            unpriced: row.unpriced_messages,
            media: row.spend_micros,
            per_conversation: row.cost_per_conversation_micros,
            per_reply: row.cost_per_reply_micros,
        }
    }
}

#[test]
fn a_card_that_begins_at_midnight_prices_what_is_delivered_from_that_millisecond_on() {
    let mut town = Town::open();
    let midnight = at(DEARER);
    town.stage.now = midnight.plus_ms(-1);
    town.send(0, "a", "late", Utility);
    town.stage.now = midnight;
    town.send(0, "a", "early", Utility);
    town.send(0, "a", "marketing", Marketing);
    let of = |hour_ms: i64| {
        let start = Some(prost_types::Timestamp { seconds: hour_ms / 1_000, nanos: 0 });
        let ad = town.shops[0].ad;
        town.row(&[Dimension::Ad, Dimension::Hour], |row| row.ad_id == ad && row.period == start)
    };
    assert_eq!(of(midnight.0 - HOUR_MS).messages, [(Utility, 1, 0, 160_000)]);
    let expected = [(Marketing, 1, 0, 600_000), (Utility, 1, 0, 200_000)];
    assert_eq!(of(midnight.0).messages, expected);
    let day = town.row(&[Dimension::Ad, Dimension::Day], |row| {
        let start = row.period.as_ref().map(Moment::from);
        row.ad_id == town.shops[0].ad && start == Some(midnight)
    });
    assert_eq!((day.whole, day.media), (800_000, 0), "the media was yesterday's");
}

#[test]
fn what_is_free_is_counted_and_costs_nothing_and_what_has_no_card_is_in_no_sum() {
    let mut town = Town::open();
    // "b" came by the free entry point: the answer opens 72 hours in which all is free.
    town.send(1, "b", "answer", Service);
    let answered = town.stage.now;
    town.stage.now = answered.plus_ms(3 * DAY_MS - 1);
    town.send(1, "b", "last free", Marketing);
    town.stage.now = answered.plus_ms(3 * DAY_MS);
    town.send(1, "b", "first charged", Marketing);
    town.deliver(1, "b", "abroad", Marketing, letters("GB"));
    let told = town.ad(1);
    assert_eq!(told.messages, [(Marketing, 2, 1, 600_000), (Service, 1, 1, 0)]);
    assert_eq!((told.whole, told.unpriced), (600_000, 1));
    // "a" has no free entry point; a reply is one of the thousand that are free.
    town.send(0, "a", "reply", Service);
    town.send(0, "a", "marketing", Marketing);
    let told = town.ad(0);
    assert_eq!(told.messages, [(Marketing, 1, 0, 600_000), (Service, 1, 1, 0)]);
    assert_eq!(told.unpriced, 0);
}

#[test]
fn what_was_only_sent_or_failed_costs_nothing_and_a_message_is_in_a_row_once() {
    let mut town = Town::open();
    let (shop, now) = (town.shops[0], town.stage.now);
    let tell = |town: &mut Town, status| {
        let message = message_number(&town.stage.ring.contact, shop.endpoint, "m");
        let delivered = Receipt::delivered(message, Direction::Outbound, Utility);
        let receipt = Receipt { status, template: true, ..delivered };
        let chat = mexican(&town.stage, &shop, "a");
        town.stage.record(Incoming::Message { chat, receipt });
    };
    for status in [MessageStatus::Sent, MessageStatus::Failed] {
        tell(&mut town, status);
    }
    assert_eq!(town.ad(0).messages, []);
    for status in [MessageStatus::Delivered, MessageStatus::Read, MessageStatus::Delivered] {
        town.stage.now = town.stage.now.plus_ms(HOUR_MS);
        tell(&mut town, status);
    }
    assert_eq!(town.ad(0).messages, [(Utility, 1, 0, 160_000)]);
    assert_eq!(town.stage.now, now.plus_ms(3 * HOUR_MS), "read behind the dearer card's start");
}

#[test]
fn rows_of_ads_campaigns_and_channels_have_their_own_messages_and_nobody_elses() {
    let mut town = Town::open();
    town.send(0, "a", "a1", Service);
    town.send(0, "a", "a2", Utility);
    town.send(1, "b", "b1", Service);
    town.send(2, "c", "c1", Utility);
    // Somebody who came by the profile costs, but no ad.
    town.open_without_ad("nobody's");
    town.send(0, "nobody's", "n1", Marketing);
    // And a template to somebody who never wrote.
    town.send(0, "stranger", "s1", Marketing);
    // A conversation goes on a day later, outside its window: it is still the ad's.
    town.stage.now = town.stage.now.plus_ms(2 * DAY_MS);
    town.send(0, "a", "a3", Marketing);
    check_rows(&town);
    let outside = |town: &Town, contact: &str| {
        let chat = town.stage.conversation(&town.shops[0], contact);
        let chat = town.stage.front.with_prices(chat, town.stage.now);
        let costs = chat.message_costs.into_iter();
        costs.map(|it| (it.category(), it.cost.unwrap_or_default().micros)).collect::<Vec<_>>()
    };
    assert_eq!(outside(&town, "nobody's"), [(Marketing, 600_000)]);
    assert_eq!(outside(&town, "stranger"), [(Marketing, 600_000)]);
    // It is a fold of the journal, with a checkpoint and without.
    let Town { stage, shops, media } = town;
    let town = Town { stage: stage.restarted(), shops, media };
    check_rows(&town);
    let Town { stage, .. } = town;
    let checkpoint = stage.checkpoint();
    let Stage { disk, ring, now, .. } = stage;
    let stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    check_rows(&Town { stage, shops, media });
}

fn check_rows(town: &Town) {
    let [one, two, three] = town.media;
    let costs = |messages: &[(MessageCategory, u64, u64, i64)], whole, media, people| Costs {
        messages: messages.to_vec(),
        whole,
        unpriced: 0,
        media,
        per_conversation: Some((media + whole) / people),
        per_reply: Some((media + whole) / people),
    };
    let first = [(Marketing, 1, 0, 600_000), (Utility, 1, 0, 160_000), (Service, 1, 1, 0)];
    assert_eq!(town.ad(0), costs(&first, 760_000, one, 1));
    assert_eq!(town.ad(1), costs(&[(Service, 1, 1, 0)], 0, two, 1));
    let on_telegram = costs(&[(Utility, 1, 0, 50_000)], 50_000, three, 1);
    assert_eq!(town.ad(2), on_telegram);
    // The campaign, and the channel, have the messages of both ads.
    let both = [(Marketing, 1, 0, 600_000), (Utility, 1, 0, 160_000), (Service, 2, 2, 0)];
    let both = || costs(&both, 760_000, one + two, 2);
    let campaign = |shop: usize| {
        let campaign = town.shops[shop].campaign;
        town.row(&[Dimension::Campaign], |row| row.campaign_id == campaign)
    };
    assert_eq!((campaign(0), campaign(2)), (both(), on_telegram));
    let channel =
        |channel| town.row(&[Dimension::Channel], |row| row.channel() == channel).messages;
    assert_eq!(channel(Channel::Whatsapp), both().messages);
    assert_eq!(channel(Channel::Telegram), [(Utility, 1, 0, 50_000)]);
    let whole = town.row(&[], |_| true);
    let all = [(Marketing, 1, 0, 600_000), (Utility, 2, 0, 210_000), (Service, 2, 2, 0)];
    assert_eq!(whole, costs(&all, 810_000, one + two + three, 3));
}
