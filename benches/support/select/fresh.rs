//! How soon a node shows what it has acknowledged: new ads, and ads that were paused.

use std::time::{Duration, Instant};

use munadi::types::proto::v1;
use munadi::types::proto::v1::slot::Filling;
use munadi::types::request::{AdRequest, Change, Policy, Resource};

use crate::Failure;
use crate::support::market::{FEED, Market};
use crate::support::select::facts::{self, COUNTRY_CODES};
use crate::support::select::spec::{Query, Source, Spec, Workload};

/// A change that is not seen after this long was lost.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const DAILY: i64 = 10_000_000_000_000;

/// How long changes took to be seen: median and longest, ms.
pub(crate) struct Freshness {
    pub(crate) ads: usize,
    pub(crate) rounds: usize,
    pub(crate) insert: (f64, f64),
    pub(crate) pause: (f64, f64),
}

/// Adds and pauses an ad in as many countries as rounds are asked for, beside other ads elsewhere.
pub(crate) fn measure(ads: usize, rounds: usize, seed: u64) -> Result<Freshness, Failure> {
    let rounds = rounds.min(COUNTRY_CODES.len() - 1);
    let town = Town::found()?;
    // All others are in the first country.
    let others =
        Source::ads(Workload::Easy, seed, ads).map(|spec| Spec { country: 1, city: 0, ..spec });
    town.advertise(others)?;
    let (mut inserts, mut pauses) = (Vec::new(), Vec::new());
    for country in (2..).take(rounds) {
        let (ad, acknowledged) = town.add(&plain(country))?;
        inserts.push(town.wait(country, acknowledged, |shown| shown == Some(ad))?);
        let acknowledged = town.pause(ad)?;
        pauses.push(town.wait(country, acknowledged, |shown| shown.is_none())?);
    }
    Ok(Freshness { ads, rounds, insert: summary(inserts), pause: summary(pauses) })
}

/// Returns an ad for everybody in a country.
fn plain(country: u8) -> Spec {
    Spec { country, ..Spec::worldwide() }
}

fn summary(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    (ms(times.get(times.len() / 2)), ms(times.last()))
}

/// A node with one business.
struct Town {
    market: Market,
    campaign: u64,
    endpoint: u64,
    _folder: tempfile::TempDir,
}

impl Town {
    fn found() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let market = Market::open(folder.path())?;
        let account_id = create_one(
            &market,
            Resource::Account(v1::Account {
                name: "Bakers".into(),
                currency: facts::CURRENCY.into(),
                time_zone: "America/Mexico_City".into(),
                ..Default::default()
            }),
        )?;
        let business = v1::Business { account_id, name: "Panaderia".into(), ..Default::default() };
        let business_id = create_one(&market, Resource::Business(business))?;
        let endpoint = create_one(
            &market,
            Resource::Endpoint(v1::ChannelEndpoint {
                business_id,
                channel: v1::Channel::Whatsapp.into(),
                address: "5215512345678".into(),
                ..Default::default()
            }),
        )?;
        let budget = v1::Budget { daily: Some(facts::money(DAILY)), lifetime: None };
        let campaign = v1::Campaign { account_id, budget: Some(budget), ..Default::default() };
        let campaign = create_one(&market, Resource::Campaign(campaign))?;
        Ok(Self { market, campaign, endpoint, _folder: folder })
    }

    /// Creates these ads and waits until all are live.
    fn advertise(&self, specs: impl Iterator<Item = Spec>) -> Result<(), Failure> {
        let sets = self.market.create(specs.map(|spec| self.ad_set(&spec)).collect())?;
        let ads = self.market.create(sets.into_iter().map(|set| self.ad(set)).collect())?;
        self.market.wait_for(ads.len())
    }

    fn ad_set(&self, spec: &Spec) -> Resource {
        Resource::AdSet(v1::AdSet { campaign_id: self.campaign, ..facts::ad_set(spec) })
    }

    fn ad(&self, ad_set_id: u64) -> Resource {
        Resource::Ad(v1::Ad { ad_set_id, ..facts::ad(ad_set_id, self.endpoint) })
    }

    fn add(&self, spec: &Spec) -> Result<(u64, Instant), Failure> {
        let ad_set = create_one(&self.market, self.ad_set(spec))?;
        let ad = create_one(&self.market, self.ad(ad_set))?;
        Ok((ad, Instant::now()))
    }

    fn pause(&self, id: u64) -> Result<Instant, Failure> {
        let configured_status = v1::ConfiguredStatus::Paused.into();
        let ad = v1::Ad { id, configured_status, ..Default::default() };
        let fields = vec!["configured_status".to_owned()];
        self.market.write([Change::Update(Resource::Ad(ad), fields)])?;
        Ok(Instant::now())
    }

    /// Asks until the country's viewers see what they should.
    fn wait(
        &self,
        country: u8,
        since: Instant,
        seen: impl Fn(Option<u64>) -> bool,
    ) -> Result<Duration, Failure> {
        let request = AdRequest {
            placement: v1::Placement::Status,
            viewer: None,
            named: false,
            profile: facts::profile(&viewer(country)),
            posts: 20,
            positions: Vec::new(),
            ads_in_session: 0,
        };
        loop {
            let answer = self.market.node.request_ads(FEED, &Policy::default(), &request);
            let waited = since.elapsed();
            let shown = answer.slots().iter().find_map(|slot| match &slot.filling {
                Some(Filling::Ad(ad)) => Some(ad.ad_id),
                _ => None,
            });
            if seen(shown) {
                return Ok(waited);
            }
            if waited > SEEN_WITHIN {
                return Err("a change was not seen".into());
            }
        }
    }
}

fn create_one(market: &Market, resource: Resource) -> Result<u64, Failure> {
    Ok(market.create(vec![resource])?[0])
}

fn viewer(country: u8) -> Query {
    let mut viewer = Source::queries(Workload::Easy, 0, 1).remove(0);
    (viewer.country, viewer.city) = (country, 0);
    viewer
}
