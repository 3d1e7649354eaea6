//! What a recount tells in sum.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::audit::recount::{Counts, Recount};

impl Recount {
    /// Returns the sums over all ads and hours.
    pub(in crate::cli::audit) fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for counts in self.ads.values() {
            totals.impressions += counts.impressions;
            totals.taps += counts.taps;
            totals.conversations += counts.conversations;
            totals.first_replies += counts.first_replies;
            totals.conversions += counts.conversions;
        }
        totals
    }

    /// Returns the currencies of accounts.
    pub(in crate::cli::audit) fn currencies(self) -> BTreeMap<u64, String> {
        self.currencies
    }

    /// Returns what an account's ads cost.
    pub(in crate::cli::audit) fn spend_of(&self, account: u64) -> i64 {
        let theirs =
            self.ads.iter().filter(|((ad, _), _)| self.ad_accounts.get(ad) == Some(&account));
        theirs.map(|(_, counts)| counts.spend).sum()
    }

    /// Sums a figure of each account by the account's currency.
    pub(in crate::cli::audit) fn by_currency(
        &self,
        figure: impl Fn(u64) -> i64,
    ) -> BTreeMap<String, i64> {
        let mut accounts: BTreeSet<u64> = self.ad_accounts.values().copied().collect();
        accounts.extend(self.invoices.keys().map(|(account, _)| *account));
        let mut sums = BTreeMap::new();
        for account in accounts {
            let currency = self.currencies.get(&account).map_or("?", String::as_str);
            *sums.entry(currency.to_owned()).or_default() += figure(account);
        }
        sums
    }
}
