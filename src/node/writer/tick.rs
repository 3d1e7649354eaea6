//! What time makes due: grants of a new day, and the minute's counts of serving.

use crate::decide::purse::{LineId, Terms, grant};
use crate::node::live::lines;
use crate::node::writer::Writer;
use crate::node::writer::keys::USES_STEP_MS;
use crate::state::purses::Line;
use crate::types::day::day_of;
use crate::types::dice::Dice;
use crate::types::ids::{Shard, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{Granted, LineKind, ServedMinute};
use crate::types::time::Moment;

/// Grants given in one round, so that a midnight of millions of campaigns does not hold up events.
const GRANTS_PER_STEP: usize = 4_096;

impl Writer {
    /// Does what time has made due.
    pub(super) fn tick(&mut self, now: Moment) {
        if now.minute() > self.minute {
            self.count_minute(now);
            self.note_key_uses(USES_STEP_MS, now);
        }
        self.show_due_exchange(now);
        let mut given = 0;
        while given < GRANTS_PER_STEP
            && let Some((until_ms, line)) = self.due.first().copied()
            && until_ms <= now.0
        {
            self.due.pop_first();
            given += 1;
            let terms = self.terms_of(line);
            if let Some(granted) = terms.and_then(|terms| self.granted(line, terms, now)) {
                self.journal_grant(line, granted, now);
            }
        }
        if given > 0 {
            // Charges on a grant stand behind it in the journal.
            self.cut();
        }
        // A day is paced by what it is granted.
        self.pace(now);
    }

    /// Journals what serving counted since the last minute.
    pub(super) fn count_minute(&mut self, now: Moment) {
        let minute = if self.minute == 0 { now.minute() } else { self.minute };
        self.minute = self.minute.max(now.minute());
        self.seal_ledgers(minute, now);
        for (shard, fact) in self.live.counts.drain(minute) {
            self.pacer.note_served(&self.live, &fact);
            if let Some(shard) = Shard::new(shard as u8) {
                self.journal(shard, vec![Kind::ServedMinute(fact)], now);
            }
        }
    }

    /// Steps the controllers of a slice of budgets, and builds the rows anew that multipliers outgrow. What
    /// was shown before stands until a step is in the journal.
    fn pace(&mut self, now: Moment) {
        let mut stepped = self.pacer.step(&self.live, now);
        for (shard, facts) in stepped.facts(now.minute()) {
            self.journal(shard, facts, now);
        }
        self.pacer.show_all(&self.live, &stepped);
        let mut ads = self.pacer.take_outgrown(&self.live);
        ads.retain(|ad| self.indexer.is_live(*ad));
        self.refresh(ads);
    }

    /// Journals the seal of all transfers if there is a new one. Nothing was decided since the last batch was
    /// cut, so it is of earlier batches only.
    fn seal_ledgers(&mut self, minute: u32, now: Moment) {
        let seal = self.live.seal_of_ledgers();
        if seal == self.sealed {
            return;
        }
        self.sealed = seal;
        metrics::counter!("munadi_ledger_seals_total").increment(1);
        let fact = ServedMinute {
            minute,
            ledger_hash: seal.hash,
            ledger_transfers: seal.transfers,
            ..ServedMinute::default()
        };
        if let Some(shard) = Shard::new(0) {
            self.journal(shard, vec![Kind::ServedMinute(fact)], now);
        }
    }

    /// Returns a line's budget for the day, to be journaled; shows serving one that has none.
    pub(super) fn granted(&mut self, line: LineId, terms: Terms, now: Moment) -> Option<Granted> {
        if !terms.limited() {
            self.live.board_line(line).set(i64::MAX, i64::MAX);
            return None;
        }
        let catalog = self.live.catalog();
        let day = day_of(catalog.zone_of(line.account)?, now);
        let purses = self.live.purses(line.account);
        let purse = purses.purses.get(&line.account);
        grant(line, terms, purse, day, self.dice.roll().max(1))
    }

    /// Journals a grant, and notes when it ends.
    pub(super) fn journal_grant(&mut self, line: LineId, granted: Granted, now: Moment) {
        self.due.insert((granted.until_ms, line));
        self.journal(shard_of(line.id), vec![Kind::Granted(granted)], now);
    }

    /// Lists when each line's grant ends, after recovery: at once for one that has none, or whose budget
    /// was written just before the end and not granted any more.
    pub(super) fn list_due(&mut self) {
        let lines = lines(&self.live.catalog());
        for (line, _) in lines.into_iter().filter(|(_, terms)| terms.limited()) {
            // Not those of the list, which knows of no money.
            let Some(terms) = self.terms_of(line) else { continue };
            let purses = self.live.purses(line.account);
            let known = purses.purses.get(&line.account);
            let known = known.and_then(|purse| purse.line(line.kind, line.id));
            let grant = known.and_then(Line::current).filter(|grant| terms.fits(known, grant));
            self.due.insert((grant.map_or(i64::MIN, |grant| grant.until_ms), line));
        }
    }

    /// Returns what a line's budget allows now.
    pub(super) fn terms_of(&self, line: LineId) -> Option<Terms> {
        let catalog = self.live.catalog();
        match line.kind {
            LineKind::Unspecified => None,
            LineKind::Account => {
                let row = catalog.accounts.get(line.id)?;
                Some(Terms::of_account(&row, self.live.purses(line.id).purses.get(&line.id)))
            }
            LineKind::Campaign => {
                catalog.campaigns.get(line.id).map(|row| Terms::of_campaign(&row))
            }
            LineKind::AdSet => catalog.ad_sets.get(line.id).map(|row| Terms::of_ad_set(&row)),
        }
    }
}
