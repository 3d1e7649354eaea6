//! Revisions, counted by hand: what an outcome gave is taken off, and what it gives now is added.

use munadi::types::proto::journal::v1::{EventCredited, OutcomeRevised, PathTouch, Standing};
use munadi::types::proto::v1::{InvalidReason, Outcome, RevisionCause};

use crate::audit::{Finding, Ledger, ensure, known};

impl Ledger {
    /// Takes a charge given back: what follows its view and tap is invalid from here on.
    pub(crate) fn given_back(&mut self, fact: &EventCredited, at: i64) -> Finding {
        let reason = i32::from(InvalidReason::Invalidated);
        let view = self.view(known(&fact.showing)?)?;
        if view.seen && view.invalid == 0 {
            view.invalid = reason;
        }
        if view.tapped && view.tap_invalid == 0 {
            view.tap_invalid = reason;
        }
        self.books.entries.credited(fact, &self.rows, at)
    }

    pub(crate) fn revised(&mut self, fact: &OutcomeRevised) -> Finding {
        let none = Standing::default();
        let (before, after) =
            (fact.before.as_ref().unwrap_or(&none), fact.after.as_ref().unwrap_or(&none));
        ensure(fact.revision >= 2, || "a first row is no revision".into())?;
        ensure(before != after, || "it changes nothing".into())?;
        // A step hears of all that its opening went through at once.
        let is_step = matches!(fact.kind(), Outcome::FirstReply | Outcome::Qualified);
        let gone = |touch: &PathTouch| !after.path.iter().any(|it| it.view == touch.view);
        match fact.cause() {
            _ if is_step => {}
            RevisionCause::LateTouch => {
                ensure(before.path != after.path, || "its path is the same".into())?;
            }
            _ => {
                let any = before.path.iter().any(gone);
                ensure(any, || "no touch has left its path".into())?;
            }
        }
        for (by, standing) in [(-1, before), (1, after)] {
            let Some(showing) = standing.showing.filter(|_| standing.invalid == 0) else {
                continue;
            };
            let (ad, ms, kind) = (showing.ad, fact.event_ms, fact.kind());
            match kind {
                Outcome::Unspecified | Outcome::Qualified => {}
                Outcome::Conversation => self.count(ad, ms, 3, by),
                Outcome::FirstReply => self.count(ad, ms, 4, by),
                Outcome::Conversion => {
                    self.count(ad, ms, 5, by);
                    let account = &self.rows.accounts[&showing.account];
                    let ours = |value: &&munadi::types::proto::v1::Money| {
                        value.currency == account.currency
                    };
                    let value = standing.value.as_ref().filter(ours).map_or(0, |it| it.micros);
                    self.count(ad, ms, 6, by * value);
                }
            }
            self.steps.revise(kind, (ad, showing.campaign, ms), standing.match_kind, by);
        }
        Ok(())
    }
}
