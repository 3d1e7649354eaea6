//! What a minute of pacing costs a node with many budgets: the CPU time of its writer, which is also
//! where events wait meanwhile.

use std::error::Error;
use std::sync::mpsc::channel;

use cpu_time::ThreadTime;
use munadi::journal::memory::MemoryLog;
use munadi::node::open;
use munadi::node::writer::{Work, Writer};
use munadi::tokens::KeyRing;
use munadi::types::ids::JournalId;
use munadi::types::proto::v1::{
    Account, AdSet, BidStrategy, BillingEvent, Budget, Campaign, Money, Objective,
};
use munadi::types::request::{Author, Change, Mutation, Resource};
use munadi::types::time::{MINUTE_MS, Moment};

/// Midnight of a Monday.
const BEGIN: Moment = Moment(1_795_392_000_000);
/// The first is none: it reads the catalog.
const MINUTES: usize = 20;
const TENANT: u32 = 1;
const CURRENCY: &str = "MXN";

/// CPU time of a minute's pacing, microseconds a budget.
#[derive(Clone, Copy)]
pub(crate) struct MinuteCost {
    pub(crate) budgets: usize,
    /// Of the minute in the middle, and of the dearest.
    pub(crate) median: f64,
    pub(crate) most: f64,
    /// Of a node without budgets, microseconds in all.
    pub(crate) without: f64,
}

/// Measures campaigns with a budget and an ad set each, all of which move: nobody asks for their ads, so
/// each minute raises their bids and is journaled.
pub(crate) fn run(budgets: usize) -> Result<MinuteCost, Box<dyn Error>> {
    let (without, _) = minutes(0)?;
    let (median, most) = minutes(budgets)?;
    let each = |all: f64| (all - without) / budgets as f64;
    Ok(MinuteCost { budgets, median: each(median), most: each(most), without })
}

/// Returns the CPU time of the minute in the middle and of the dearest, microseconds.
fn minutes(budgets: usize) -> Result<(f64, f64), Box<dyn Error>> {
    let mut byte = 0;
    let mut random = |buffer: &mut [u8]| {
        byte += 1;
        buffer.fill(byte);
    };
    let ring = KeyRing::generate(&mut random, BEGIN.seconds());
    let log = Box::new(MemoryLog::new(JournalId([1; 16])));
    let (_front, mut writer, _) = open(log, ring, 7, None)?;
    found(&mut writer, budgets)?;
    let mut times = Vec::with_capacity(MINUTES);
    for minute in 0..=MINUTES as i64 {
        let now = BEGIN.plus_ms((minute + 1) * MINUTE_MS);
        let begun = ThreadTime::now();
        settle(&mut writer, now);
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() - 1]))
}

fn settle(writer: &mut Writer, now: Moment) {
    writer.step(now, []);
    while !writer.is_idle() {
        writer.step(now, []);
    }
}

/// Writes an account with so many campaigns.
fn found(writer: &mut Writer, budgets: usize) -> Result<(), Box<dyn Error>> {
    let account = Account {
        name: "Tacos el Rey".into(),
        currency: CURRENCY.into(),
        time_zone: "UTC".into(),
        ..Account::default()
    };
    let account_id = create(writer, "account", vec![Resource::Account(account)])?[0];
    let daily = Some(Money { micros: 1_000_000_000, currency: CURRENCY.into() });
    let campaign = Campaign {
        account_id,
        name: "Lunch".into(),
        objective: Objective::OutcomeEngagement.into(),
        budget: Some(Budget { daily, lifetime: None }),
        ..Campaign::default()
    };
    let campaigns = vec![Resource::Campaign(campaign); budgets];
    let ad_set = |campaign_id: &u64| {
        let ad_set = AdSet {
            campaign_id: *campaign_id,
            name: "Mexico".into(),
            billing_event: BillingEvent::Impressions.into(),
            bid_strategy: BidStrategy::LowestCostWithoutCap.into(),
            ..AdSet::default()
        };
        Resource::AdSet(ad_set)
    };
    let ad_sets = create(writer, "campaign", campaigns)?.iter().map(ad_set).collect();
    create(writer, "ad set", ad_sets)?;
    Ok(())
}

/// Writes these and returns their ids.
fn create(
    writer: &mut Writer,
    name: &str,
    rows: Vec<Resource>,
) -> Result<Vec<u64>, Box<dyn Error>> {
    let (sender, answers) = channel();
    let work = rows.into_iter().enumerate().map(|(number, row)| {
        let sender = sender.clone();
        let mutation = Mutation {
            tenant: TENANT,
            any_tenant: false,
            request_id: format!("{name} {number}"),
            body_hash: [0; 16],
            by: Author::default(),
            validate_only: false,
            change: Change::Create(row),
            approve: true,
        };
        // Whoever waits has gone if it can't be sent.
        let reply = Box::new(move |answer| drop(sender.send(answer)));
        Work::Mutate(Box::new(mutation), reply)
    });
    writer.step(BEGIN, work);
    settle(writer, BEGIN);
    drop(sender);
    answers
        .into_iter()
        .map(|answer| Ok(answer.map_err(|refusal| refusal.message.into_owned())?.id()))
        .collect()
}
