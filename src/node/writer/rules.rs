//! Writes to the operator's lists, rules and rates, and what serving sees of them.

use std::sync::Arc;

use crate::decide::holdouts::Tests;
use crate::decide::mutate::mutate_lists;
use crate::node::indexer::Shown;
use crate::node::live::Live;
use crate::node::writer::{Reply, Writer};
use crate::state::traffic_rules::Filter;
use crate::tokens::experiment_key;
use crate::types::ids::Shard;
use crate::types::request::{ListChange, ListMutation};
use crate::types::time::Moment;

impl Writer {
    pub(super) fn write_lists(&mut self, mutation: &ListMutation, reply: Reply<u32>, now: Moment) {
        let written = mutate_lists(&self.live.catalog(), mutation);
        let answer = written.map(|written| {
            for decision in written.decisions {
                self.journal(Shard::CATALOG, decision, now);
            }
            match mutation.change {
                // Pricing asks the catalog itself.
                ListChange::Taxonomy(_) | ListChange::RateCards(_) | ListChange::VolumeTier(_) => {}
                ListChange::PolicyRules(_) => self.show_blocks(),
                ListChange::ExchangeRates(_) => self.show_exchange(now),
                ListChange::TrafficRules(_) => self.show_traffic(),
            }
            written.answer
        });
        self.answer(reply, answer);
    }

    fn show_blocks(&mut self) {
        let blocks = Arc::clone(self.live.catalog().rules.blocks());
        self.indexer.note(self.head, Shown::Blocks(blocks));
    }

    /// Shows serving the experiments that have not ended.
    pub(super) fn show_tests(&mut self, now: Moment) {
        let tests = self.live.open_tests(now);
        self.indexer.note(self.head, Shown::Tests(Arc::new(tests)));
    }

    fn show_exchange(&mut self, now: Moment) {
        let table = self.live.catalog().exchange.table_at(now);
        self.exchange_due = table.until();
        self.indexer.note(self.head, Shown::Exchange(Arc::new(table)));
    }

    fn show_traffic(&mut self) {
        let filter = Filter::of(self.live.catalog().traffic.all());
        self.indexer.note(self.head, Shown::Traffic(Arc::new(filter)));
    }

    /// Shows serving the exchange rates that time has brought into force.
    pub(super) fn show_due_exchange(&mut self, now: Moment) {
        if self.exchange_due.is_some_and(|due| due <= now) {
            self.show_exchange(now);
        }
    }
}

impl Live {
    /// Shows serving the operator's rules and rates, after recovery: everything in them is durable.
    pub(in crate::node) fn show_rules(&self, latest: Moment) {
        let catalog = self.catalog();
        self.blocks.store(Arc::clone(catalog.rules.blocks()));
        self.exchange.store(Arc::new(catalog.exchange.table_at(latest)));
        self.traffic.store(Arc::new(Filter::of(catalog.traffic.all())));
        drop(catalog);
        self.tests.store(Arc::new(self.open_tests(latest)));
    }

    fn open_tests(&self, now: Moment) -> Tests {
        let sealer = self.sealer.load();
        let key = |experiment| experiment_key(&sealer.ring().code, experiment);
        Tests::of(&self.catalog().holdouts, now, key)
    }
}
