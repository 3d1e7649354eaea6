//! The funnel's steps, counted by hand: who did what for the first time in a campaign, and what it cost.

use std::collections::{BTreeMap, BTreeSet};

use munadi::types::proto::journal::v1::fact::Kind;
use munadi::types::proto::journal::v1::{ConversationTouch, MessagePriced, Showing};
use munadi::types::proto::v1::{Outcome, PriceReason, ReportRow};

use crate::audit::{Finding, ensure, known};

const TOUCH_MEMORY_MS: i64 = 29 * 24 * 3_600_000;

/// Figures by name; those that are 0 are left out.
pub(crate) type Figures = BTreeMap<String, i64>;

/// What was counted of the steps.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// By ad and hour.
    pub(crate) hours: BTreeMap<(u64, i64), (Figures, Vec<u32>)>,
    /// When viewers tapped, and when they were credited with a conversion, by campaign: validly.
    taps: BTreeMap<(u64, u64), Vec<i64>>,
    sales: BTreeMap<(u64, u64), Vec<i64>>,
    /// Conversation, campaign and step.
    done: BTreeSet<(u64, u64, &'static str)>,
    /// The campaign of each ad.
    campaigns: BTreeMap<u64, u64>,
}

impl Steps {
    /// Counts a fact, and checks whom it says to be new.
    pub(crate) fn note(&mut self, kind: &Kind, at: i64) -> Finding {
        match kind {
            Kind::Tapped(fact) => {
                let showing = known(&fact.showing)?;
                self.tap(showing, fact.event_ms, at, fact.invalid == 0, fact.new_person)
            }
            Kind::ClickMatched(fact) => {
                let (showing, valid) = (known(&fact.showing)?, fact.invalid == 0);
                if fact.implied_tap {
                    self.tap(showing, fact.touch_ms, at, valid, fact.new_tap_person)?;
                } else {
                    ensure(!fact.new_tap_person, || "a new person of a known tap".into())?;
                }
                let ad = showing.ad;
                self.campaigns.insert(ad, showing.campaign);
                if valid {
                    self.add(ad, fact.event_ms, &format!("match {}", fact.match_kind), 1);
                }
                self.step(fact.conversation, "opened", (ad, fact.event_ms), valid, fact.new_person)
            }
            Kind::ConversionCredited(fact) => {
                let showing = known(&fact.showing)?;
                let sales = self.sales.entry((showing.viewer, showing.campaign)).or_default();
                let new = is_new(sales, at, fact.invalid == 0, fact.new_person)?;
                if fact.invalid == 0 {
                    sales.push(at);
                }
                self.add(showing.ad, fact.event_ms, "converted people", new);
                Ok(())
            }
            Kind::MessageRecorded(fact) => {
                let (chat, ms) = (fact.conversation, fact.event_ms);
                self.wait(fact.first_reply_ad, ms, fact.reply_after_s);
                self.count(chat, "replied", (fact.first_reply_ad, ms), fact.new_reply_person)?;
                self.count(chat, "wrote", (fact.wrote_ad, ms), fact.new_wrote_person)?;
                self.count(chat, "qualified", (fact.qualified_ad, ms), fact.new_qualified_person)
            }
            Kind::OutboxSettled(fact) => {
                let (chat, reply_ms) = (fact.conversation, fact.first_reply_ms);
                let ads = [fact.first_reply_ad, fact.wrote_ad, fact.qualified_ad];
                let touch = fact.touch.clone().unwrap_or_default();
                ensure(ads.iter().all(|ad| [0, touch.ad].contains(ad)), || "another ad".into())?;
                let ConversationTouch { event_ms: ms, .. } = touch;
                self.wait(fact.first_reply_ad, reply_ms, fact.reply_after_s);
                self.count(chat, "replied", (ads[0], reply_ms), fact.new_reply_person)?;
                self.count(chat, "wrote", (ads[1], ms), fact.new_wrote_person)?;
                self.count(chat, "qualified", (ads[2], ms), fact.new_qualified_person)
            }
            Kind::MessagePriced(fact) => {
                self.price(fact);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds what an outcome gives after a revision, or takes off what it gave before.
    pub(crate) fn revise(
        &mut self,
        kind: Outcome,
        (ad, campaign, ms): (u64, u64, i64),
        match_kind: i32,
        by: i64,
    ) {
        self.campaigns.insert(ad, campaign);
        match kind {
            Outcome::Conversation => self.add(ad, ms, &format!("match {match_kind}"), by),
            Outcome::Qualified => self.add(ad, ms, "qualified", by),
            Outcome::Unspecified | Outcome::FirstReply | Outcome::Conversion => {}
        }
        let key = (ad, ms.div_euclid(3_600_000));
        if let Some((figures, waits)) = self.hours.get_mut(&key) {
            figures.retain(|_, count| *count != 0);
            if figures.is_empty() && waits.is_empty() {
                self.hours.remove(&key);
            }
        }
    }

    fn add(&mut self, ad: u64, ms: i64, name: &str, by: i64) {
        // An hour in which nothing counted is in no report.
        if by == 0 {
            return;
        }
        let figures = &mut self.hours.entry((ad, ms.div_euclid(3_600_000))).or_default().0;
        *figures.entry(name.to_owned()).or_default() += by;
    }

    fn tap(&mut self, showing: &Showing, ms: i64, at: i64, valid: bool, told: bool) -> Finding {
        let taps = self.taps.entry((showing.viewer, showing.campaign)).or_default();
        let new = is_new(taps, at, valid, told)?;
        if valid {
            taps.push(ms);
        }
        self.add(showing.ad, ms, "tapped people", new);
        Ok(())
    }

    fn wait(&mut self, ad: u64, ms: i64, wait: u32) {
        if ad != 0 {
            self.hours.entry((ad, ms.div_euclid(3_600_000))).or_default().1.push(wait);
        }
    }

    /// Counts a step in events and in people.
    fn count(
        &mut self,
        chat: u64,
        step: &'static str,
        (ad, ms): (u64, i64),
        told: bool,
    ) -> Finding {
        if ad != 0 && step != "replied" {
            self.add(ad, ms, step, 1);
        }
        self.step(chat, step, (ad, ms), ad != 0, told)
    }

    /// Counts a step in people.
    fn step(
        &mut self,
        chat: u64,
        step: &'static str,
        (ad, ms): (u64, i64),
        done: bool,
        told: bool,
    ) -> Finding {
        if !done {
            return ensure(!told, || format!("a new person who never {step}"));
        }
        let campaign = self.campaigns.get(&ad).ok_or("a step of an ad that nobody tapped")?;
        let new = self.done.insert((chat, *campaign, step));
        ensure(new == told, || format!("whether a person {step} for the first time is {new}"))?;
        self.add(ad, ms, &format!("{step} people"), new.into());
        Ok(())
    }

    fn price(&mut self, fact: &MessagePriced) {
        let Some(ad) = Some(fact.ad).filter(|ad| *ad != 0) else { return };
        let no_rate = fact.amount != 0 && fact.account_amount == 0;
        if no_rate || fact.reason() == PriceReason::Unpriced {
            return self.add(ad, fact.event_ms, "unpriced", 1);
        }
        for (what, by) in
            [("messages", 1), ("free", i64::from(fact.amount == 0)), ("cost", fact.account_amount)]
        {
            self.add(ad, fact.event_ms, &format!("{what} {}", fact.category), by);
        }
    }

    /// Compares one ad and hour with its row.
    pub(crate) fn check(&self, key: (u64, i64), row: &ReportRow) -> Finding {
        let (mut counted, mut waits) = self.hours.get(&key).cloned().unwrap_or_default();
        counted.retain(|_, count| *count != 0);
        let told = figures_of(row);
        ensure(told == counted, || format!("report {key:?}: {told:?}, counted {counted:?}"))?;
        waits.sort_unstable();
        let exact = waits.len().checked_sub(1).map(|last| waits[last / 2]);
        let told = row.median_first_reply_s;
        let near = match (exact, told) {
            (Some(exact), Some(told)) => exact.abs_diff(told) <= exact / 32,
            _ => exact == told,
        };
        ensure(near, || format!("report {key:?}: a median wait of {told:?}, counted {exact:?}"))
    }
}

/// Tells, as a number, whether somebody is new to a campaign. What is older than the memory may be known or not.
fn is_new(times: &[i64], at: i64, valid: bool, told: bool) -> Result<i64, String> {
    let remembered = times.iter().any(|ms| *ms >= at - TOUCH_MEMORY_MS);
    let must = valid && times.is_empty();
    let may = valid && !remembered;
    ensure(!must || told, || "somebody new is told as known".into())?;
    ensure(!told || may, || "somebody known is told as new".into())?;
    Ok(told.into())
}

fn figures_of(row: &ReportRow) -> Figures {
    let people = row.people.unwrap_or_default();
    let mut told: Figures = [
        ("tapped people", people.tapped),
        ("opened people", people.opened),
        ("wrote", row.first_messages),
        ("wrote people", people.wrote),
        ("replied people", people.replied),
        ("qualified", row.qualified),
        ("qualified people", people.qualified),
        ("converted people", people.converted),
        ("unpriced", row.unpriced_messages),
    ]
    .map(|(name, count)| (name.to_owned(), count as i64))
    .into();
    for matched in &row.matches {
        told.insert(format!("match {}", matched.kind), matched.conversations as i64);
    }
    for spend in &row.messages {
        told.insert(format!("messages {}", spend.category), spend.messages as i64);
        told.insert(format!("free {}", spend.category), spend.free_messages as i64);
        told.insert(format!("cost {}", spend.category), spend.cost_micros);
    }
    told.retain(|_, count| *count != 0);
    told
}
