//! A conversion that was reported before is retracted, or worth something else.

use crate::decide::Decided;
use crate::decide::chats::{finish, not_found, owned};
use crate::decide::revise::adjusted as revised;
use crate::state::catalog::Catalog;
use crate::state::credit::{CREDIT_MEMORY_MS, Credit, adjusted_content};
use crate::state::revisions::{ADJUSTMENTS_MAX, Adjusted};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::Adjustment;
use crate::types::time::{DAY_MS, Moment};

/// What is known of the conversion.
#[derive(Clone, Copy, Debug)]
pub struct KnownSale<'a> {
    /// Its newest row; `None`: it has none.
    pub newest: Option<&'a Credit>,
    /// The adjustments that counted.
    pub adjusted: &'a [Adjusted],
    /// Whether it was reported: its row may still be on its way.
    pub reported: bool,
}

/// Judges an adjustment.
pub fn adjusted(
    catalog: &Catalog,
    known: &KnownSale<'_>,
    adjustment: &Adjustment,
    now: Moment,
) -> Decided {
    finish(judged(catalog, known, adjustment, now))
}

fn judged(
    catalog: &Catalog,
    known: &KnownSale<'_>,
    adjustment: &Adjustment,
    now: Moment,
) -> Result<Option<Vec<Kind>>, Refusal> {
    let Adjustment { tenant, account, value, .. } = adjustment;
    owned(catalog, *account, *tenant).map_err(|_| not_found("account_id", "no such account"))?;
    let Some(credit) = known.newest else {
        return Err(match known.reported {
            true => Refusal::new(
                Reason::Busy,
                "event_id",
                "the conversion is still on its way: send the adjustment again in a moment",
            ),
            false => not_found("event_id", "the account has no such conversion"),
        });
    };
    let number = number_of(adjustment);
    let content = adjusted_content(value.as_ref());
    if let Some(earlier) = known.adjusted.iter().find(|it| it.adjustment == number) {
        let message = "this adjustment_id was used for another adjustment; choose a new one";
        let reused = Refusal::new(Reason::IdReused, "adjustment_id", message);
        return if earlier.content == content { Ok(None) } else { Err(reused) };
    }
    if credit.row.withdrawn {
        let message = "the conversion was retracted: report a new one under an id of its own";
        return Err(Refusal::new(Reason::ConversionRetracted, "event_id", message));
    }
    if credit.event_ms() < now.0 - CREDIT_MEMORY_MS {
        let days = CREDIT_MEMORY_MS / DAY_MS;
        let message = format!("happened more than {days} days ago: it can't be adjusted any more");
        return Err(Refusal::new(Reason::EventTooOld, "event_id", message));
    }
    if known.adjusted.len() >= ADJUSTMENTS_MAX {
        let message = format!("the conversion has {ADJUSTMENTS_MAX} adjustments already");
        return Err(Refusal::new(Reason::TooLarge, "adjustment_id", message));
    }
    if let Some(value) = value {
        same_currency(catalog, *account, credit, &value.currency)?;
    }
    let fact = revised(credit, value.clone(), number);
    Ok(fact.map(|fact| vec![Kind::OutcomeRevised(Box::new(fact))]))
}

/// Refuses another currency than the conversion had; one without a value has the account's.
fn same_currency(
    catalog: &Catalog,
    account: u64,
    credit: &Credit,
    currency: &str,
) -> Result<(), Refusal> {
    let had = credit.row.value.as_ref().map(|value| value.currency.as_str());
    let had = had.or_else(|| catalog.currency_of(account)).unwrap_or_default();
    if had == currency {
        return Ok(());
    }
    let message = format!("is {currency}, but the conversion is in {had}: send its value in that");
    Err(Refusal::new(Reason::CurrencyInvalid, "value.currency", message))
}

/// Names an adjustment; never 0.
fn number_of(adjustment: &Adjustment) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"munadi adjustment").update(&adjustment.account.to_be_bytes());
    hasher.update(&(adjustment.event_id.len() as u64).to_be_bytes());
    hasher.update(adjustment.event_id.as_bytes()).update(adjustment.adjustment_id.as_bytes());
    let mut half = [0; 8];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_be_bytes(half).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::credit::Shown;
    use crate::state::{Stamp, credit::timestamp};
    use crate::types::ids::{IdKind, mint};
    use crate::types::ids::{Seq, Shard};
    use crate::types::proto::journal::v1::AccountPut;
    use crate::types::proto::v1::{Account, AttributionRow, Money, Outcome};

    const ACCOUNT: u64 = mint(IdKind::Account, 1);
    const NOW: Moment = Moment(200 * DAY_MS);

    fn catalog() -> Catalog {
        let account = Account { id: ACCOUNT, currency: "MXN".into(), ..Account::default() };
        let put = AccountPut { tenant: 4, account: Some(account) };
        let mut catalog = Catalog::default();
        let stamp = Stamp { shard: Shard::CATALOG, seq: Seq(1), at: Moment(0) };
        catalog.apply(stamp, &Kind::AccountPut(Box::new(put)));
        catalog
    }

    fn money(micros: i64, currency: &str) -> Option<Money> {
        Some(Money { micros, currency: currency.into() })
    }

    fn sale(age_ms: i64) -> Credit {
        let row = AttributionRow {
            outcome_id: 9,
            revision: 1,
            outcome: Outcome::Conversion.into(),
            account_id: ACCOUNT,
            value: money(5, "MXN"),
            event_time: Some(timestamp(NOW.0 - age_ms)),
            ..AttributionRow::default()
        };
        let (seq, at_ms, click, path, judged_ms) = (1, NOW.0, 0, Vec::new(), 0);
        Credit { seq, at_ms, click, row, path, judged_ms, shown: Shown::default() }
    }

    fn asked(id: &str, value: Option<Money>) -> Adjustment {
        let (event_id, adjustment_id) = ("order".to_owned(), id.to_owned());
        Adjustment { tenant: 4, account: ACCOUNT, event_id, adjustment_id, value }
    }

    fn refused(known: &KnownSale<'_>, asked: &Adjustment) -> (Reason, String) {
        match adjusted(&catalog(), known, asked, NOW) {
            Decided::Refused(refusal) => (refusal.reason, refusal.field.into_owned()),
            decided => panic!("{decided:?}"),
        }
    }

    #[test]
    fn each_fault_of_an_adjustment_has_its_reason() {
        let young = sale(0);
        let of = |newest| KnownSale { newest, adjusted: &[], reported: true };
        let known = of(Some(&young));
        let more = asked("a", money(6, "MXN"));
        let foreign = Adjustment { tenant: 5, ..more.clone() };
        assert_eq!(refused(&known, &foreign), (Reason::NotFound, "account_id".into()));
        assert_eq!(refused(&of(None), &more), (Reason::Busy, "event_id".into()));
        let unknown = KnownSale { reported: false, ..of(None) };
        assert_eq!(refused(&unknown, &more), (Reason::NotFound, "event_id".into()));
        let dollars = asked("a", money(6, "USD"));
        assert_eq!(refused(&known, &dollars), (Reason::CurrencyInvalid, "value.currency".into()));
        let old = sale(CREDIT_MEMORY_MS + 1);
        assert_eq!(refused(&of(Some(&old)), &more), (Reason::EventTooOld, "event_id".into()));
        let mut gone = sale(0);
        gone.row.withdrawn = true;
        let reason = (Reason::ConversionRetracted, "event_id".into());
        assert_eq!(refused(&of(Some(&gone)), &more), reason);
        let many = [Adjusted { adjustment: 1, content: 1 }; ADJUSTMENTS_MAX];
        let full = KnownSale { adjusted: &many, ..known };
        assert_eq!(refused(&full, &more), (Reason::TooLarge, "adjustment_id".into()));
    }

    #[test]
    fn an_adjustment_counts_once_and_its_id_says_one_thing() {
        let (young, catalog) = (sale(CREDIT_MEMORY_MS), catalog());
        let known = KnownSale { newest: Some(&young), adjusted: &[], reported: true };
        let less = asked("a", money(4, "MXN"));
        let Decided::Facts(facts) = adjusted(&catalog, &known, &less, NOW) else { panic!() };
        let [Kind::OutcomeRevised(fact)] = &facts[..] else { panic!("{facts:?}") };
        assert_eq!((fact.revision, fact.withdrawn), (2, false));
        assert_eq!(fact.after.as_ref().unwrap().value, money(4, "MXN"));
        let content = adjusted_content(money(4, "MXN").as_ref());
        let before = [Adjusted { adjustment: fact.adjustment, content }];
        let known = KnownSale { adjusted: &before, ..known };
        assert_eq!(adjusted(&catalog, &known, &less, NOW), Decided::Already);
        let other = asked("a", None);
        assert_eq!(refused(&known, &other), (Reason::IdReused, "adjustment_id".into()));
        let same = asked("b", money(5, "MXN"));
        assert_eq!(adjusted(&catalog, &known, &same, NOW), Decided::Already, "it changes nothing");
    }
}
