//! Where conversions are sent, and what became of them on their way.

use prost::Message;

use crate::decide::mutate::{answer_to, for_answer, other_method};
use crate::decide::noted::{Changed, noted, without_secrets};
use crate::decide::outbound::set_push;
use crate::node::outbound::{MADE, push_of};
use crate::node::writer::{Reply, Writer};
use crate::types::ids::{Shard, shard_of};
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{ConversionPushPut, ConversionsPushed, RequestAnswered};
use crate::types::proto::v1::{ConversionPush, SetConversionPushResponse};
use crate::types::refusal::Refusal;
use crate::types::request::PushChange;
use crate::types::time::Moment;

impl Writer {
    pub(super) fn set_push(
        &mut self,
        change: &PushChange,
        reply: Reply<SetConversionPushResponse>,
        now: Moment,
    ) {
        let answer = self.push_set(change, now);
        self.answer(reply, answer);
    }

    fn push_set(
        &mut self,
        change: &PushChange,
        now: Moment,
    ) -> Result<SetConversionPushResponse, Refusal> {
        let (put, new_key) = {
            let catalog = self.live.catalog();
            let (tenant, hash) = (change.scope.tenant, &change.body_hash);
            if let Some(known) = answer_to(&catalog, tenant, &change.request_id, hash)? {
                return SetConversionPushResponse::decode(known).map_err(|_| other_method());
            }
            set_push(&catalog, change, now)?
        };
        // The secret itself is nowhere on disk: it is derived again for the answer.
        let signing_secret = if new_key { MADE.to_owned() } else { String::new() };
        let answer = SetConversionPushResponse { push: Some(push_of(&put)), signing_secret };
        let answered = RequestAnswered {
            tenant: change.scope.tenant,
            request_id: change.request_id.clone(),
            body_hash: change.body_hash.to_vec(),
            answer: answer.encode_to_vec(),
        };
        for_answer(&self.live.catalog(), change.scope.any, &answered, now)?;
        let noted = self.noted_push(change, &put);
        let mut facts = vec![Kind::ConversionPushPut(Box::new(put))];
        facts.extend(noted);
        facts.push(Kind::RequestAnswered(answered));
        self.journal(Shard::CATALOG, facts, now);
        Ok(answer)
    }

    /// Returns what the log of changes is told: where to without what may be secret in it.
    fn noted_push(&self, change: &PushChange, put: &ConversionPushPut) -> Option<Kind> {
        let shown = |put: &ConversionPushPut| {
            let push = push_of(put);
            ConversionPush { url: without_secrets(&push.url), ..push }.encode_to_vec()
        };
        let catalog = self.live.catalog();
        let before = catalog.pushes.get(&change.account);
        let changed = Changed {
            request_id: change.request_id.clone(),
            subject: change.account.to_string(),
            owner: catalog.tenant_of(change.account).unwrap_or_default(),
            kind: "munadi.v1.ConversionPush",
            before: before.map_or_else(Vec::new, |known| shown(&known.0)),
            after: shown(put),
        };
        noted(&change.by, changed)
    }

    pub(super) fn pushed(&mut self, fact: Box<ConversionsPushed>, reply: Reply<()>, now: Moment) {
        self.journal(shard_of(fact.account), vec![Kind::ConversionsPushed(fact)], now);
        self.answer(reply, Ok(()));
    }
}
