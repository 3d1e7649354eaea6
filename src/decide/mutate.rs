//! Writes to the catalog: what a create or update becomes, judged against what stands above it.

mod budgets;
mod experiments;
pub mod listed;
mod lists;
mod merge;
mod review;
mod room;
mod story;
mod touched;

use prost::Message;

pub use budgets::Spent;
pub use experiments::{EXPERIMENT_DAYS_MAX, EXPERIMENTS_MAX, EXPERIMENTS_OPEN_MAX};
pub use lists::{LIST_ENTRIES_MAX, WrittenLists, mutate_lists};
pub use room::{THINGS_OF_TENANT_MAX, for_answer};
pub use story::{SAFE_BOTTOM_PERCENT, SAFE_TOP_PERCENT, STORY_PIXELS_MIN};
pub use touched::touched;

use crate::channels::{Channel, check_ice_breakers};
use crate::decide::noted::{Changed, encoded, noted, of_resource};
use crate::decide::purse::LineId;
use crate::state::catalog::{Answered, Catalog};
use crate::state::{CHUNKS_MAX, PER_CHUNK};
use crate::types::ids::IdKind;
use crate::types::proto::journal::v1::fact::Kind;
use crate::types::proto::journal::v1::{
    AccountPut, AdPut, AdSetPut, BusinessPut, CampaignPut, EndpointPut, EntrySourcePut,
    ExperimentPut, RequestAnswered,
};
use crate::types::proto::v1::{
    Account, Ad, AdSet, Budget, Business, Campaign, ChannelEndpoint, ConfiguredStatus, EntrySource,
    Experiment, Money,
};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Mutation, Resource};
use crate::types::time::{Moment, SECOND_MS};
use crate::types::token::PrefillCode;

/// Most things of one kind: what the chunks of purses, tallies and the board hold.
pub const THINGS_MAX: u64 = CHUNKS_MAX as u64 * PER_CHUNK - 1;

/// What a write becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// What to journal; empty when the answer is remembered or only judged.
    pub facts: Vec<Kind>,
    /// What to answer.
    pub answer: Resource,
}

/// Judges one write. `spent` tells what was charged on a budget line: no budget is lowered below it.
/// `code` is what a new entry source is named by.
///
/// # Errors
/// With the field at fault; nothing is changed then.
pub fn mutate(
    catalog: &Catalog,
    mutation: &Mutation,
    spent: &dyn Fn(LineId) -> Spent,
    code: PrefillCode,
    now: Moment,
) -> Result<Written, Refusal> {
    if let Some(known) = catalog.answered(mutation.tenant, &mutation.request_id) {
        return same_body(known, &mutation.body_hash)
            .and_then(|answer| remembered(&mutation.change, answer))
            .map(|answer| Written { facts: Vec::new(), answer });
    }
    let desk = Desk { catalog, mutation, spent, code, now };
    let answer = match &mutation.change {
        Change::Create(resource) => desk.create(resource.clone())?,
        Change::Update(resource, mask) => desk.update(resource, mask)?,
        Change::Review { ad, etag, review } => desk.review(*ad, etag, review)?,
    };
    if mutation.validate_only {
        return Ok(Written { facts: Vec::new(), answer });
    }
    let answered = RequestAnswered {
        tenant: mutation.tenant,
        request_id: mutation.request_id.clone(),
        body_hash: mutation.body_hash.to_vec(),
        answer: encoded(&answer),
    };
    for_answer(catalog, mutation.any_tenant, &answered, now)?;
    let changed = of_resource(catalog, &answer, mutation.tenant);
    let request_id = mutation.request_id.clone();
    let noted = noted(&mutation.by, Changed { request_id, ..changed });
    let mut facts = vec![desk.put(&answer)];
    facts.extend(noted);
    facts.push(Kind::RequestAnswered(answered));
    Ok(Written { facts, answer })
}

struct Desk<'a> {
    catalog: &'a Catalog,
    mutation: &'a Mutation,
    spent: &'a dyn Fn(LineId) -> Spent,
    code: PrefillCode,
    now: Moment,
}

impl Desk<'_> {
    fn create(&self, resource: Resource) -> Result<Resource, Refusal> {
        let time = Some(crate::state::credit::timestamp(self.now.0));
        let created = match resource {
            Resource::Account(row) => Resource::Account(Account {
                id: self.catalog.accounts.next_id(),
                create_time: time,
                ..row
            }),
            Resource::Business(row) => Resource::Business(Business {
                id: self.catalog.businesses.next_id(),
                create_time: time,
                ..row
            }),
            Resource::Endpoint(row) => Resource::Endpoint(ChannelEndpoint {
                id: self.catalog.endpoints.next_id(),
                create_time: time,
                ..row
            }),
            Resource::Campaign(row) => Resource::Campaign(Campaign {
                id: self.catalog.campaigns.next_id(),
                create_time: time,
                ..row
            }),
            Resource::AdSet(row) => Resource::AdSet(AdSet {
                id: self.catalog.ad_sets.next_id(),
                create_time: time,
                ..row
            }),
            Resource::Ad(mut row) => {
                self.await_review(&mut row);
                Resource::Ad(Ad { id: self.catalog.ads.next_id(), create_time: time, ..row })
            }
            Resource::Source(row) => Resource::Source(EntrySource {
                id: self.catalog.sources.next_id(),
                code: self.code.to_string(),
                create_time: time,
                ..row
            }),
            Resource::Experiment(row) => Resource::Experiment(Experiment {
                id: self.catalog.experiments.next_id(),
                create_time: time,
                ..self.begun(row)?
            }),
        };
        let stamped = merge::stamp(created, 1, self.now);
        let Mutation { tenant, any_tenant, .. } = *self.mutation;
        room::for_thing(self.catalog, (tenant, any_tenant), (kind_of(&stamped), stamped.id()))?;
        self.judge(&stamped, &[])?;
        self.judge_shape(&stamped, &[])?;
        Ok(stamped)
    }

    fn update(&self, wanted: &Resource, mask: &[String]) -> Result<Resource, Refusal> {
        let (current, revision) = self.changeable(wanted, "id")?;
        let mut merged = merge::merge(current, wanted, mask)?;
        let looks = |field: &String| field == "creative" || field == "destination";
        if let Resource::Ad(row) = &mut merged
            && mask.iter().any(looks)
        {
            self.await_review(row);
        }
        if let Resource::Experiment(row) = &mut merged
            && mask.iter().any(|field| field == "end_time")
        {
            self.end_anew(row)?;
        }
        let stamped = merge::stamp(merged, revision + 1, self.now);
        self.judge(&stamped, mask)?;
        self.judge_shape(&stamped, mask)?;
        Ok(stamped)
    }

    /// Returns the newest version of what is to be changed, and its revision.
    fn changeable(
        &self,
        wanted: &Resource,
        field: &'static str,
    ) -> Result<(Resource, u64), Refusal> {
        let current = self.current(wanted, field)?;
        let (revision, status) = merge::revision_and_status(&current);
        let etag = merge::etag(wanted);
        if !etag.is_empty() && etag != revision.to_string() {
            let message = "somebody changed it since; get it again and repeat the change";
            return Err(Refusal::new(Reason::EtagMismatch, "etag", message));
        }
        if status == ConfiguredStatus::Archived {
            return Err(Refusal::new(Reason::Archived, field, "archived things can't be changed"));
        }
        Ok((current, revision))
    }

    fn current(&self, wanted: &Resource, field: &'static str) -> Result<Resource, Refusal> {
        let catalog = self.catalog;
        let (kind, id) = (kind_of(wanted), wanted.id());
        let account = catalog.account_of(kind, id).ok_or_else(|| not_found(field))?;
        self.own(account, field)?;
        let found = match wanted {
            Resource::Account(_) => catalog.accounts.get(id).map(Resource::Account),
            Resource::Business(_) => catalog.businesses.get(id).map(Resource::Business),
            Resource::Endpoint(_) => catalog.endpoints.get(id).map(Resource::Endpoint),
            Resource::Campaign(_) => catalog.campaigns.get(id).map(Resource::Campaign),
            Resource::AdSet(_) => catalog.ad_sets.get(id).map(Resource::AdSet),
            Resource::Ad(_) => catalog.ads.get(id).map(Resource::Ad),
            Resource::Source(_) => catalog.sources.get(id).map(Resource::Source),
            Resource::Experiment(_) => catalog.experiments.get(id).map(Resource::Experiment),
        };
        found.ok_or_else(|| not_found(field))
    }

    /// Checks a new version against what stands above it. `mask` names what an update changes; a create
    /// has none.
    fn judge(&self, resource: &Resource, mask: &[String]) -> Result<(), Refusal> {
        match resource {
            Resource::Account(row) => self.judge_account(row, mask),
            Resource::Business(row) => self.own(row.account_id, "business.account_id").map(drop),
            Resource::Endpoint(row) => {
                let field = "channel_endpoint.business_id";
                let account = self.account_of(IdKind::Business, row.business_id, field)?;
                self.own(account, field).map(drop)
            }
            Resource::Campaign(row) => self.judge_campaign(row, mask),
            Resource::AdSet(row) => self.judge_ad_set(row, mask),
            Resource::Ad(row) => self.judge_ad(row),
            Resource::Source(row) => {
                let field = "entry_source.endpoint_id";
                let account = self.account_of(IdKind::Endpoint, row.endpoint_id, field)?;
                self.own(account, field).map(drop)
            }
            Resource::Experiment(row) => self.judge_experiment(row),
        }
    }

    fn judge_ad_set(&self, row: &AdSet, mask: &[String]) -> Result<(), Refusal> {
        let field = "ad_set.campaign_id";
        let account = self.account_of(IdKind::Campaign, row.campaign_id, field)?;
        let currency = self.own(account, field)?;
        unarchived(self.catalog.is_archived(IdKind::Campaign, row.campaign_id), field)?;
        self.judge_prices(row, currency, mask)?;
        listed::listed(&self.catalog.lists, row)?;
        self.judge_times(row, mask)
    }

    /// Refuses an end before the start, or one that has passed already.
    fn judge_times(&self, row: &AdSet, mask: &[String]) -> Result<(), Refusal> {
        let seconds =
            |time: &Option<prost_types::Timestamp>| time.as_ref().map(|time| time.seconds);
        let (field, now) = ("ad_set.end_time", self.now.0.div_euclid(SECOND_MS));
        match (seconds(&row.start_time), seconds(&row.end_time)) {
            (Some(start), Some(end)) if end <= start => {
                let message = "the end must come after the start";
                Err(Refusal::new(Reason::EndBeforeStart, field, message))
            }
            (_, Some(end)) if end <= now && budgets::touches(mask, &["end_time"]) => {
                let message = format!(
                    "is in the past: send a second after {now}, or pause the ad set to end it now"
                );
                Err(Refusal::new(Reason::FieldInvalid, field, message))
            }
            _ => Ok(()),
        }
    }

    fn judge_ad(&self, row: &Ad) -> Result<(), Refusal> {
        let field = "ad.ad_set_id";
        let account = self.account_of(IdKind::AdSet, row.ad_set_id, field)?;
        self.own(account, field)?;
        unarchived(self.catalog.is_archived(IdKind::AdSet, row.ad_set_id), field)?;
        let field = "ad.destination.endpoint_id";
        let endpoint = row.destination.as_ref().map_or(0, |chat| chat.endpoint_id);
        if self.account_of(IdKind::Endpoint, endpoint, field)? != account {
            let message =
                "the endpoint belongs to another account's business; name one of this account";
            return Err(Refusal::new(Reason::EndpointForeign, field, message));
        }
        self.judge_ice_breakers(row, endpoint)?;
        self.of_one_business(row, endpoint)
    }

    fn judge_ice_breakers(&self, row: &Ad, endpoint: u64) -> Result<(), Refusal> {
        let chat = row.destination.as_ref().filter(|chat| !chat.ice_breakers.is_empty());
        let endpoint = chat.and_then(|_| self.catalog.endpoints.get(endpoint));
        let channel = endpoint.and_then(|endpoint| Channel::from_number(endpoint.channel as u8));
        let Some((chat, channel)) = chat.zip(channel) else { return Ok(()) };
        let has_text = !chat.prefilled_text.is_empty();
        check_ice_breakers(channel, has_text, chat.ice_breakers.len()).map_err(|error| {
            let field = "ad.destination.ice_breakers";
            Refusal::new(Reason::FieldInvalid, field, error.to_string())
        })
    }

    /// Refuses an ad of another business than the ad set's first: ads of one ad set are kept apart from
    /// others by their business.
    fn of_one_business(&self, row: &Ad, endpoint: u64) -> Result<(), Refusal> {
        let business = self.catalog.parent_of(IdKind::Endpoint, endpoint);
        let mut others = self.catalog.ads_of_ad_set(row.ad_set_id).filter(|ad| *ad != row.id);
        let first = others.next().and_then(|ad| self.catalog.business_of_ad(ad));
        match first {
            Some(first) if business != Some(first) => {
                let message = format!(
                    "the ad set's ads are of business {first}: name an endpoint of it, or make \
                     another ad set"
                );
                let field = "ad.destination.endpoint_id";
                Err(Refusal::new(Reason::FieldInvalid, field, message))
            }
            _ => Ok(()),
        }
    }

    /// Returns the currency of an account of the caller's tenant. Foreign and unknown ids are told apart
    /// for nobody.
    fn own(&self, account: u64, field: &'static str) -> Result<&str, Refusal> {
        let owner = self.catalog.tenant_of(account);
        let ours = self.mutation.any_tenant || owner == Some(self.mutation.tenant);
        let found = self.catalog.currency_of(account).filter(|_| ours);
        found.ok_or_else(|| not_found(field))
    }

    fn account_of(&self, kind: IdKind, id: u64, field: &'static str) -> Result<u64, Refusal> {
        self.catalog.account_of(kind, id).ok_or_else(|| not_found(field))
    }

    fn put(&self, resource: &Resource) -> Kind {
        match resource.clone() {
            Resource::Account(row) => {
                let tenant = self.catalog.tenant_of(row.id).unwrap_or(self.mutation.tenant);
                Kind::AccountPut(Box::new(AccountPut { tenant, account: Some(row) }))
            }
            Resource::Business(row) => {
                Kind::BusinessPut(Box::new(BusinessPut { business: Some(row) }))
            }
            Resource::Endpoint(row) => {
                Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(row) }))
            }
            Resource::Campaign(row) => {
                Kind::CampaignPut(Box::new(CampaignPut { campaign: Some(row) }))
            }
            Resource::AdSet(row) => Kind::AdSetPut(Box::new(AdSetPut { ad_set: Some(row) })),
            Resource::Ad(row) => Kind::AdPut(Box::new(AdPut { ad: Some(row) })),
            Resource::Source(row) => {
                Kind::EntrySourcePut(Box::new(EntrySourcePut { source: Some(row) }))
            }
            Resource::Experiment(row) => {
                Kind::ExperimentPut(Box::new(ExperimentPut { experiment: Some(row) }))
            }
        }
    }
}

const fn kind_of(resource: &Resource) -> IdKind {
    match resource {
        Resource::Account(_) => IdKind::Account,
        Resource::Business(_) => IdKind::Business,
        Resource::Endpoint(_) => IdKind::Endpoint,
        Resource::Campaign(_) => IdKind::Campaign,
        Resource::AdSet(_) => IdKind::AdSet,
        Resource::Ad(_) => IdKind::Ad,
        Resource::Source(_) => IdKind::Source,
        Resource::Experiment(_) => IdKind::Experiment,
    }
}

fn not_found(field: &'static str) -> Refusal {
    Refusal::new(Reason::NotFound, field, "no such id")
}

fn unarchived(archived: bool, field: &'static str) -> Result<(), Refusal> {
    if archived {
        let message = "nothing can be put under an archived one";
        return Err(Refusal::new(Reason::Archived, field, message));
    }
    Ok(())
}

fn budget_in(budget: Option<&Budget>, currency: &str, field: &str) -> Result<(), Refusal> {
    let Some(budget) = budget else { return Ok(()) };
    in_currency(budget.daily.as_ref(), currency, &format!("{field}.daily"))?;
    in_currency(budget.lifetime.as_ref(), currency, &format!("{field}.lifetime"))
}

fn in_currency(money: Option<&Money>, currency: &str, field: &str) -> Result<(), Refusal> {
    match money {
        Some(money) if money.currency != currency => {
            let message = format!("must be in the account's currency, {currency}");
            Err(Refusal::new(Reason::CurrencyInvalid, format!("{field}.currency"), message))
        }
        _ => Ok(()),
    }
}

/// Decodes a remembered answer as the kind that was asked for. The body's hash covers the method, so
/// the kind is the same.
fn remembered(change: &Change, answer: &[u8]) -> Result<Resource, Refusal> {
    let like = match change {
        Change::Create(like) | Change::Update(like, _) => like,
        Change::Review { .. } => &Resource::Ad(Ad::default()),
    };
    let decoded = match like {
        Resource::Account(_) => Account::decode(answer).map(Resource::Account),
        Resource::Business(_) => Business::decode(answer).map(Resource::Business),
        Resource::Endpoint(_) => ChannelEndpoint::decode(answer).map(Resource::Endpoint),
        Resource::Campaign(_) => Campaign::decode(answer).map(Resource::Campaign),
        Resource::AdSet(_) => AdSet::decode(answer).map(Resource::AdSet),
        Resource::Ad(_) => Ad::decode(answer).map(Resource::Ad),
        Resource::Source(_) => EntrySource::decode(answer).map(Resource::Source),
        Resource::Experiment(_) => Experiment::decode(answer).map(Resource::Experiment),
    };
    decoded.map_err(|_| other_method())
}

/// Returns the remembered answer to a write, `None` for a new one.
///
/// # Errors
/// `RequestIdReused` when the id came with another method or body.
pub fn answer_to<'a>(
    catalog: &'a Catalog,
    tenant: u32,
    request_id: &str,
    body_hash: &[u8; 16],
) -> Result<Option<&'a [u8]>, Refusal> {
    catalog.answered(tenant, request_id).map(|known| same_body(known, body_hash)).transpose()
}

/// Returns the remembered answer to the same request; another body is refused.
fn same_body<'a>(known: &'a Answered, body_hash: &[u8; 16]) -> Result<&'a [u8], Refusal> {
    if known.body_hash == body_hash {
        return Ok(&known.answer);
    }
    let message = "this request_id was used with another body; choose a new one";
    Err(Refusal::new(Reason::RequestIdReused, "request_id", message))
}

/// Returns what an id is refused with that was used for another method.
pub fn other_method() -> Refusal {
    Refusal::new(Reason::RequestIdReused, "request_id", "this id was used for another method")
}
