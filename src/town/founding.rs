//! Creates the list of businesses through the advertisers' door, has the operator review their ads, and
//! remembers what the town must know of them: whose chat an ad opens, and which budgets must hold.

use std::collections::BTreeMap;

use crate::town::chat_link::proof_in;
use crate::town::create::create;
use crate::town::doors::{Door, Doors};
use crate::town::error::TownError;
use crate::town::lines::{Kind, Line as ListLine};
use crate::types::money::Micros;
use crate::types::proto::v1;
use crate::types::proto::v1::campaign_service_client::CampaignServiceClient;
use crate::types::proto::v1::opened::Proof;
use crate::types::request::Resource;

/// Where an ad belongs, and whose chat it opens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct AdHome {
    pub(crate) account: u64,
    pub(crate) campaign: u64,
    pub(crate) ad_set: u64,
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    /// A [`v1::Channel`].
    pub(crate) channel: i32,
}

/// What must not be overspent: an account, a campaign or an ad set.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct BudgetLine {
    pub(crate) account: u64,
    pub(crate) daily: Option<Micros>,
    pub(crate) lifetime: Option<Micros>,
}

/// An account, as the town must know it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Purse {
    /// Which of the town's advertisers owns it.
    pub(crate) tenant: usize,
    pub(crate) name: String,
    pub(crate) currency: String,
    pub(crate) time_zone: String,
}

/// Where anyone may write to a business.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Shop {
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    /// A [`v1::Channel`].
    pub(crate) channel: i32,
    /// What its account counts in.
    pub(crate) currency: String,
}

/// The businesses of the town, by the engine's ids.
#[derive(Debug, Default)]
pub(crate) struct Founded {
    pub(crate) ads: BTreeMap<u64, AdHome>,
    pub(crate) accounts: BTreeMap<u64, Purse>,
    /// Names of campaigns, with their accounts.
    pub(crate) campaigns: BTreeMap<u64, (u64, String)>,
    /// Of accounts, campaigns and ad sets.
    pub(crate) budgets: BTreeMap<(Kind, u64), BudgetLine>,
    /// By country of the ads that lead there; in the order of the list.
    pub(crate) shops: BTreeMap<String, Vec<Shop>>,
    /// The countries that each ad set is shown in; empty: all.
    pub(crate) countries: BTreeMap<u64, Vec<String>>,
    /// By endpoint.
    pub(crate) endpoints: BTreeMap<u64, Line>,
    /// The printed code of each endpoint.
    pub(crate) sources: BTreeMap<u64, Source>,
    /// In the order of the list.
    pub(crate) experiments: Vec<u64>,
}

/// A printed code, as whoever scans it meets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Source {
    /// What the chat that it opens gives back.
    pub(crate) proof: Option<Proof>,
    /// What is printed.
    pub(crate) link: String,
}

/// How a channel calls an endpoint.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Line {
    /// A [`v1::Channel`].
    pub(crate) channel: i32,
    pub(crate) address: String,
    /// The channel's own number of it.
    pub(crate) account: String,
}

/// Creates every line of the list in its order, and a printed code for each endpoint if asked to. `name` makes
/// the request ids, so that the same list under the same name is created once.
///
/// # Errors
/// When a line is refused, or names something that no earlier line creates.
pub(crate) async fn found(
    doors: &mut Doors,
    name: &str,
    lines: &[ListLine],
    with_sources: bool,
) -> Result<Founded, TownError> {
    let mut founder = Founder { name, ids: BTreeMap::new(), parents: BTreeMap::new() };
    let mut founded = Founded::default();
    for (number, line) in lines.iter().enumerate() {
        let resource = founder.with_parents(line)?;
        let label = format!("{} {}", Kind::of(&resource).name(), line.reference);
        let door = doors.campaigns.get_mut(line.tenant).ok_or_else(|| TownError::Missing {
            reference: label.clone(),
            missing: format!("advertiser {}", line.tenant),
        })?;
        let request_id = format!("{}-{number}", founder.name);
        let created = create(door, request_id, resource)
            .await
            .map_err(|status| TownError::Line { reference: label, status: Box::new(status) })?;
        if let Resource::Endpoint(endpoint) = &created
            && with_sources
        {
            let source = print(door, &format!("{}-{number}", founder.name), endpoint).await?;
            founded.sources.insert(endpoint.id, source);
        }
        if let Resource::Ad(ad) = &created {
            approve(doors, &founder, number, ad.id).await?;
        }
        founder.remember(line, &created);
        founded.remember(&founder, line.tenant, created);
    }
    Ok(founded)
}

/// Prints a code that leads to an endpoint.
async fn print(
    door: &mut CampaignServiceClient<Door>,
    name: &str,
    endpoint: &v1::ChannelEndpoint,
) -> Result<Source, TownError> {
    let source = v1::EntrySource {
        endpoint_id: endpoint.id,
        name: format!("{name}, at the door"),
        entry_point: v1::EntryPoint::QrCode.into(),
        prefilled_text: "Hola!".to_owned(),
        ..Default::default()
    };
    let request = v1::CreateEntrySourceRequest {
        request_id: format!("{name}-source"),
        entry_source: Some(source),
        ..Default::default()
    };
    let answer = door.create_entry_source(request).await;
    let answer = answer.map_err(TownError::refused("CreateEntrySource"))?.into_inner();
    let id = answer.entry_source.unwrap_or_default().id;
    let request = v1::GetEntryKitRequest { id, ..Default::default() };
    let kit = door.get_entry_kit(request).await.map_err(TownError::refused("GetEntryKit"))?;
    let v1::GetEntryKitResponse { link, chat_link, .. } = kit.into_inner();
    Ok(Source { proof: proof_in(endpoint.channel, &chat_link), link })
}

/// Reviews an ad as the operator, who finds nothing wrong with it: the town's ads don't wait.
async fn approve(
    doors: &mut Doors,
    founder: &Founder<'_>,
    number: usize,
    ad_id: u64,
) -> Result<(), TownError> {
    let state = v1::ReviewState::Approved.into();
    let review = Some(v1::Review { state, ..Default::default() });
    let request_id = format!("{}-{number}-review", founder.name);
    let request = v1::ReviewAdRequest { request_id, ad_id, review, etag: String::new() };
    let answer = doors.admin.review_ad(request).await;
    let failed = |status| TownError::Refused { call: "ReviewAd", status: Box::new(status) };
    answer.map(drop).map_err(failed)
}

/// The engine's ids of what was created so far.
struct Founder<'a> {
    name: &'a str,
    ids: BTreeMap<(Kind, String), u64>,
    /// The parent of each id that has one. An id is unique among its kind only.
    parents: BTreeMap<(Kind, u64), u64>,
}

impl Founder<'_> {
    fn id(&self, line: &ListLine, kind: Kind, reference: &str) -> Result<u64, TownError> {
        self.ids.get(&(kind, reference.to_owned())).copied().ok_or_else(|| TownError::Missing {
            reference: format!("{} {}", Kind::of(&line.resource).name(), line.reference),
            missing: format!("{} {reference:?}", kind.name()),
        })
    }

    /// Returns the line's resource with the engine's ids of its parent and endpoint.
    fn with_parents(&self, line: &ListLine) -> Result<Resource, TownError> {
        let mut resource = line.resource.clone();
        let Some(parent) = Kind::of(&resource).parent() else {
            return Ok(resource);
        };
        let parent = self.id(line, parent, &line.parent)?;
        match &mut resource {
            Resource::Account(_) => {}
            Resource::Business(business) => business.account_id = parent,
            Resource::Endpoint(endpoint) => endpoint.business_id = parent,
            Resource::Campaign(campaign) => campaign.account_id = parent,
            Resource::AdSet(ad_set) => ad_set.campaign_id = parent,
            Resource::Ad(ad) => {
                ad.ad_set_id = parent;
                let endpoint = self.id(line, Kind::Endpoint, &line.endpoint)?;
                ad.destination.get_or_insert_default().endpoint_id = endpoint;
            }
            Resource::Source(source) => source.endpoint_id = parent,
            Resource::Experiment(experiment) => experiment.account_id = parent,
        }
        Ok(resource)
    }

    fn remember(&mut self, line: &ListLine, created: &Resource) {
        let (id, parent) = match created {
            Resource::Account(account) => (account.id, 0),
            Resource::Business(business) => (business.id, business.account_id),
            Resource::Endpoint(endpoint) => (endpoint.id, endpoint.business_id),
            Resource::Campaign(campaign) => (campaign.id, campaign.account_id),
            Resource::AdSet(ad_set) => (ad_set.id, ad_set.campaign_id),
            Resource::Ad(ad) => (ad.id, ad.ad_set_id),
            Resource::Source(source) => (source.id, source.endpoint_id),
            Resource::Experiment(experiment) => (experiment.id, experiment.account_id),
        };
        let kind = Kind::of(created);
        self.ids.insert((kind, line.reference.clone()), id);
        self.parents.insert((kind, id), parent);
    }

    fn parent(&self, kind: Kind, id: u64) -> u64 {
        self.parents.get(&(kind, id)).copied().unwrap_or_default()
    }
}

impl Founded {
    /// Takes in what was founded later.
    pub(crate) fn join(&mut self, later: Self) {
        let Self {
            ads,
            accounts,
            campaigns,
            budgets,
            shops,
            countries,
            endpoints,
            sources,
            experiments,
        } = later;
        self.ads.extend(ads);
        self.accounts.extend(accounts);
        self.campaigns.extend(campaigns);
        self.budgets.extend(budgets);
        for (country, more) in shops {
            self.shops.entry(country).or_default().extend(more);
        }
        self.countries.extend(countries);
        self.endpoints.extend(endpoints);
        self.sources.extend(sources);
        self.experiments.extend(experiments);
    }

    fn remember(&mut self, founder: &Founder<'_>, tenant: usize, created: Resource) {
        match created {
            Resource::Account(account) => {
                let lifetime = account.spend_limit.map(|money| Micros(money.micros));
                let line = BudgetLine { account: account.id, daily: None, lifetime };
                self.budgets.insert((Kind::Account, account.id), line);
                let v1::Account { name, currency, time_zone, .. } = account;
                let purse = Purse { tenant, name, currency, time_zone };
                self.accounts.insert(account.id, purse);
            }
            Resource::Campaign(campaign) => {
                let line = budget_line(campaign.account_id, campaign.budget.as_ref());
                self.budgets.insert((Kind::Campaign, campaign.id), line);
                self.campaigns.insert(campaign.id, (campaign.account_id, campaign.name));
            }
            Resource::AdSet(ad_set) => {
                let account = founder.parent(Kind::Campaign, ad_set.campaign_id);
                let line = budget_line(account, ad_set.budget.as_ref());
                self.budgets.insert((Kind::AdSet, ad_set.id), line);
                self.countries.insert(ad_set.id, countries(&ad_set));
            }
            Resource::Ad(ad) => self.remember_ad(founder, &ad),
            Resource::Endpoint(endpoint) => {
                let v1::ChannelEndpoint { id, channel, address, channel_account_id, .. } = endpoint;
                self.endpoints.insert(id, Line { channel, address, account: channel_account_id });
            }
            Resource::Experiment(experiment) => self.experiments.push(experiment.id),
            Resource::Business(_) | Resource::Source(_) => {}
        }
    }

    fn remember_ad(&mut self, founder: &Founder<'_>, ad: &v1::Ad) {
        let endpoint = ad.destination.as_ref().map_or(0, |destination| destination.endpoint_id);
        let campaign = founder.parent(Kind::AdSet, ad.ad_set_id);
        let business = founder.parent(Kind::Endpoint, endpoint);
        let account = founder.parent(Kind::Campaign, campaign);
        let channel = self.endpoints.get(&endpoint).map_or(0, |line| line.channel);
        let home = AdHome { account, campaign, ad_set: ad.ad_set_id, business, endpoint, channel };
        self.ads.insert(ad.id, home);
        let purse = self.accounts.get(&account);
        let currency = purse.map(|purse| purse.currency.clone()).unwrap_or_default();
        for country in self.countries.get(&ad.ad_set_id).into_iter().flatten() {
            let shops = self.shops.entry(country.clone()).or_default();
            if !shops.iter().any(|shop| shop.endpoint == endpoint) {
                shops.push(Shop { business, endpoint, channel, currency: currency.clone() });
            }
        }
    }
}

fn countries(ad_set: &v1::AdSet) -> Vec<String> {
    ad_set.targeting.as_ref().map(|targeting| targeting.countries.clone()).unwrap_or_default()
}

fn budget_line(account: u64, budget: Option<&v1::Budget>) -> BudgetLine {
    let micros = |money: &Option<v1::Money>| money.as_ref().map(|money| Micros(money.micros));
    BudgetLine {
        account,
        daily: budget.and_then(|budget| micros(&budget.daily)),
        lifetime: budget.and_then(|budget| micros(&budget.lifetime)),
    }
}
