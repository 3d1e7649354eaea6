//! Journals that chance made, and the state that they come to: for the tests of loading and replaying.

use prost::Message;

use crate::journal::memory::MemoryLog;
use crate::journal::{BlockBuilder, Outcome, ShardLog};
use crate::node::counts::Counts;
use crate::node::dice::SeededDice;
use crate::node::live::Live;
use crate::node::recover::fold;
use crate::state::{Stamp, State};
use crate::tokens::{KeyRing, Sealer};
use crate::types::dice::Dice;
use crate::types::ids::{BatchNo, IdKind, JournalId, SHARDS_ALL, Seq, SeqVector, Shard, mint};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    AccountPut, Charge, ClickMatched, ConversionsPushed, Decision, Fact, FeedRow, FeedbackGiven,
    Funded, Granted, ImpressionSeen, LineKind, MarketRow, MessageRecorded, OutcomeNoted, PaceRow,
    Reason, RequestAnswered, ServedMinute, ServedRow, Showing, SourceTapped, Tapped, ViewerErased,
    Watched,
};
use crate::types::proto::v1::{Account, EventKind, Outcome as Happened, TransferKind};
use crate::types::time::{DAY_MS, MINUTE_MS, Moment};

/// The journal's name.
pub(in crate::node) const JOURNAL: JournalId = JournalId([7; 16]);

const BEGIN_MS: i64 = 20_000 * DAY_MS;

/// Returns a journal of this many facts and a few more. A shorter one of the same seed is its beginning.
pub(in crate::node) fn log_of(seed: u64, facts: u64) -> MemoryLog {
    let (mut log, mut dice) = (MemoryLog::new(JOURNAL), SeededDice::new(seed));
    let (mut made, mut at_ms) = (0, BEGIN_MS);
    while made < facts {
        let shard = Shard::new((dice.roll() % SHARDS_ALL as u64) as u8).unwrap();
        let mut decisions = Vec::new();
        for _ in 0..1 + dice.roll() % 8 {
            at_ms += (dice.roll() % 60_000) as i64;
            let count = 1 + dice.roll() % 3;
            let facts = (0..count).map(|_| Fact { kind: Some(kind(&mut dice, shard, at_ms)) });
            let decision = Decision { at_ms, facts: facts.collect() };
            decisions.push((decision.encode_to_vec(), count as u32));
            made += count;
        }
        append(&mut log, shard, &decisions);
    }
    log
}

/// Appends a block of decisions, each with the number of its facts.
pub(in crate::node) fn append(log: &mut MemoryLog, shard: Shard, decisions: &[(Vec<u8>, u32)]) {
    let (tail, durable) = (log.tail(shard).unwrap(), log.last_batch());
    let mut builder = BlockBuilder::new(shard, tail.next);
    for (bytes, facts) in decisions {
        builder.push(bytes, *facts);
    }
    let block = builder.seal(JOURNAL, BatchNo(durable.0 + 1), durable, tail.hash);
    log.submit(block);
    assert_eq!(log.completed().map(|it| it.outcome), Some(Outcome::Done));
}

/// Returns any fact of a shard: between them they touch every kind of part.
fn kind(dice: &mut SeededDice, shard: Shard, at_ms: i64) -> Kind {
    let below = &mut |end: u64| dice.roll() % end;
    let home = u64::from(shard.number()) << 58;
    match below(14) {
        _ if shard == Shard::CATALOG => of_catalog(below),
        0..=7 => of_showing(below, home, at_ms),
        8 => Kind::ServedMinute(minute(below, at_ms)),
        _ => of_others(below, home, at_ms),
    }
}

fn of_catalog(below: &mut dyn FnMut(u64) -> u64) -> Kind {
    let id = mint(IdKind::Account, 1 + below(60));
    if below(2) == 0 {
        let account = Some(Account { id, ..Account::default() });
        return Kind::AccountPut(Box::new(AccountPut { tenant: 3, account }));
    }
    let request_id = format!("request {}", below(50));
    Kind::RequestAnswered(RequestAnswered { request_id, ..RequestAnswered::default() })
}

fn viewer(below: &mut dyn FnMut(u64) -> u64, home: u64) -> u64 {
    home | below(3) << 48 | below(20)
}

fn conversation(below: &mut dyn FnMut(u64) -> u64, home: u64) -> u64 {
    home | below(3) << 48 | 1 << 40 | below(15)
}

/// Returns an id of any of the kind's first chunks.
fn any_of(below: &mut dyn FnMut(u64) -> u64, kind: IdKind) -> u64 {
    mint(kind, 1 + below(3_000))
}

/// Returns a fact of something that was shown.
fn of_showing(below: &mut dyn FnMut(u64) -> u64, home: u64, at_ms: i64) -> Kind {
    let event_ms = at_ms - below(90_000_000) as i64;
    let showing = Some(Showing {
        view: 1 + below(1 << 40),
        viewer: viewer(below, home),
        ad: any_of(below, IdKind::Ad),
        account: any_of(below, IdKind::Account),
        ad_set: mint(IdKind::AdSet, 1 + below(9)),
        campaign: mint(IdKind::Campaign, 1 + below(9)),
        feed: below(4) as u32,
        issued_s: (event_ms / 1_000) as u32,
        ..Showing::default()
    });
    let (amount, day, account_grant) = (below(900) as i64, 20_000 + below(3) as i32, 1 + below(6));
    let charge = Charge { amount, day, account_grant, ..Charge::default() };
    let charge = Some(charge).filter(|charge| charge.amount > 200);
    let endpoint = any_of(below, IdKind::Endpoint);
    match below(8) {
        0..=3 => Kind::ImpressionSeen(ImpressionSeen {
            showing,
            event_ms,
            charge,
            experiment: below(3) as u32,
            cap_hours: below(2) as u32 * 24,
            placement: below(3) as u32,
            country: 0x4D58 + below(3) as u32,
            ..ImpressionSeen::default()
        }),
        4 => {
            let event_kind = EventKind::Viewable as u32;
            Kind::Watched(Watched { showing, event_ms, event_kind, ..Watched::default() })
        }
        5 => {
            let code = 1 + below(1 << 40);
            let tapped = Tapped { showing, event_ms, charge, ..Tapped::default() };
            Kind::Tapped(Tapped { code, endpoint, ..tapped })
        }
        6 => Kind::ClickMatched(ClickMatched {
            outcome: home | below(1 << 50),
            showing,
            conversation: conversation(below, home),
            event_ms,
            touch_ms: event_ms,
            charge,
            endpoint,
            ..ClickMatched::default()
        }),
        _ => {
            let event_kind = EventKind::HideAd as u32;
            let given = FeedbackGiven { showing, event_ms, ..FeedbackGiven::default() };
            Kind::FeedbackGiven(FeedbackGiven { event_kind, ..given })
        }
    }
}

/// Returns a fact of money, of a message, or of a viewer.
fn of_others(below: &mut dyn FnMut(u64) -> u64, home: u64, at_ms: i64) -> Kind {
    let account = any_of(below, IdKind::Account);
    let endpoint = any_of(below, IdKind::Endpoint);
    let viewer = viewer(below, home);
    let amount = below(900) as i64;
    match below(8) {
        0 => Kind::Granted(Granted {
            grant: 1 + below(6),
            account,
            line_kind: LineKind::Account.into(),
            line: account,
            day: 20_000 + below(3) as i32,
            amount,
            until_ms: at_ms + DAY_MS,
            ..Granted::default()
        }),
        1 => {
            let (transfer, kind) = (vec![below(256) as u8; 16], TransferKind::Funding.into());
            let funded = Funded { transfer, account, kind, amount, ..Funded::default() };
            Kind::Funded(Box::new(funded))
        }
        2 => Kind::OutcomeNoted(OutcomeNoted {
            outcome: home | below(1 << 50),
            viewer,
            account,
            kind: Happened::Conversion.into(),
            event_ms: at_ms,
            ..OutcomeNoted::default()
        }),
        3 if below(4) == 0 => Kind::ViewerErased(ViewerErased { viewer }),
        3 => {
            let pushed = ConversionsPushed { account, ..ConversionsPushed::default() };
            Kind::ConversionsPushed(Box::new(pushed))
        }
        4 => {
            let (source, event_ms) = (any_of(below, IdKind::Source), at_ms);
            Kind::SourceTapped(SourceTapped { source, endpoint, event_ms, country: 0 })
        }
        _ => Kind::MessageRecorded(MessageRecorded {
            conversation: conversation(below, home),
            account,
            endpoint,
            message: 1 + below(1 << 40),
            event_ms: at_ms,
            first_reply_ad: any_of(below, IdKind::Ad) * below(2),
            ..MessageRecorded::default()
        }),
    }
}

/// Returns a minute of ads of several chunks, feeds, paces and markets.
fn minute(below: &mut dyn FnMut(u64) -> u64, at_ms: i64) -> ServedMinute {
    let rows = (0..1 + below(4)).map(|_| ServedRow {
        ad: mint(IdKind::Ad, 1 + below(3_000)),
        served: below(9) as u32,
        passed: vec![Reason { reason: 1 + below(12) as u32, count: 1 }],
        ..ServedRow::default()
    });
    let rows = rows.collect();
    let feeds = vec![FeedRow { feed: below(3) as u32, requests: 2, ..FeedRow::default() }];
    let log_mu = -(below(65_536) as i32);
    let paces = vec![PaceRow { ad_set: below(9), log_mu, ..PaceRow::default() }];
    let markets = vec![MarketRow { country: below(3) as u32, requests: 1 }];
    let minute = (at_ms / MINUTE_MS) as u32;
    ServedMinute { minute, rows, feeds, paces, markets, ..ServedMinute::default() }
}

/// Returns a state without facts.
pub(in crate::node) fn empty() -> Live {
    let ring = KeyRing::generate(&mut |bytes: &mut [u8]| bytes.fill(7), 0);
    Live::new(Sealer::new(ring), Counts::new(|| SeededDice::new(1)))
}

/// Calls `visit` with each fact of a journal, in its order.
pub(in crate::node) fn each(log: &MemoryLog, mut visit: impl FnMut(Stamp, &Kind)) {
    let read = log.read_from(&SeqVector::default(), &mut |block| {
        fold(block, &mut visit).unwrap();
        std::ops::ControlFlow::Continue(())
    });
    read.unwrap();
}

/// Returns the state that one fact after the other comes to, and the pure fold of them.
pub(in crate::node) fn one_by_one(log: &MemoryLog) -> (Live, State) {
    let (live, mut state) = (empty(), State::default());
    let mut latest = Moment(0);
    each(log, |stamp, fact| {
        live.apply(stamp, fact);
        state.apply(stamp, fact);
        live.progress.note_applied(stamp.shard, stamp.seq);
        latest = latest.max(stamp.at);
    });
    live.progress.note_head(log.last_batch(), latest);
    (live, state)
}

/// Returns a state's checkpoint: equal states of equal pasts have equal ones, to the order in which their maps lie.
pub(in crate::node) fn checkpoint_of(live: &Live) -> Vec<u8> {
    let mut bytes = Vec::new();
    live.write_checkpoint(JOURNAL, &mut bytes).unwrap();
    bytes
}

/// Notes how far a replay has come, as recovery does.
pub(in crate::node) fn note_ends(live: &Live, ends: &SeqVector) {
    let ends = Shard::all().zip(ends.0).filter(|(_, end)| *end > Seq(0));
    ends.for_each(|(shard, end)| live.progress.note_applied(shard, end));
}
