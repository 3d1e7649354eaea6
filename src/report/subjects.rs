//! What a question is about: the ads that it asks for, with what their rows need of the catalog.

use std::sync::Arc;

use crate::report::noise::Noise;
use crate::report::query::{Query, holds};
use crate::report::rows::Key;
use crate::state::catalog::{Catalog, Family};
use crate::tokens::{Secret, noise_key};
use crate::types::iso::{currency_at, currency_index};
use crate::types::proto::v1::Dimension;
use crate::types::request::Scope;

/// What is the same for all ads of an account.
#[derive(Debug)]
struct Owner {
    account: u64,
    zone: String,
    /// Its place among currencies.
    currency: u8,
    noise: Option<Noise>,
}

/// An ad that a question is about.
#[derive(Clone, Debug)]
pub struct Subject {
    family: Family,
    owner: Arc<Owner>,
    channel: i32,
    creative: i32,
}

/// Looks up ads for one question and caller.
#[derive(Debug)]
pub struct Subjects<'a> {
    query: &'a Query,
    scope: Scope,
    catalog: &'a Catalog,
    secret: Option<&'a Secret>,
    has_channel: bool,
    /// The account of the last ad: mostly the next one's too.
    owner: Option<Arc<Owner>>,
}

impl<'a> Subjects<'a> {
    /// Looks up without any noise.
    pub fn new(query: &'a Query, scope: Scope, catalog: &'a Catalog) -> Self {
        let has_channel = query.has(Dimension::Channel);
        Self { query, scope, catalog, secret: None, has_channel, owner: None }
    }

    /// Gives accounts the noise that they ask for, under keys made of a secret.
    #[must_use]
    pub fn with_noise(self, secret: &'a Secret) -> Self {
        let secret = self.query.is_of_people().then_some(secret);
        Self { secret, ..self }
    }

    /// Returns an ad if the caller may see it and the question is about it.
    pub fn of(&mut self, ad: u64) -> Option<Subject> {
        let (query, catalog) = (self.query, self.catalog);
        let family = catalog.family(ad)?;
        let account = family.account;
        let filters = &query.filters;
        let asked = (query.account == 0 || query.account == account)
            && (query.campaign == 0 || query.campaign == family.campaign)
            && holds(&filters.campaigns, &family.campaign)
            && holds(&filters.ad_sets, &family.ad_set)
            && holds(&filters.ads, &ad);
        if !asked {
            return None;
        }
        let owner = self.owner(account)?;
        let channel = if self.has_channel || !filters.channels.is_empty() {
            catalog.endpoints.get(family.endpoint).map_or(0, |endpoint| endpoint.channel)
        } else {
            0
        };
        let creative = || catalog.ads.get(ad)?.creative.map(|creative| creative.format);
        let creative = if query.has(Dimension::CreativeType) { creative() } else { None };
        holds(&filters.channels, &channel).then_some(Subject {
            family,
            owner,
            channel: if self.has_channel { channel } else { 0 },
            creative: creative.unwrap_or_default(),
        })
    }

    /// Returns an account if the caller may see it.
    fn owner(&mut self, account: u64) -> Option<Arc<Owner>> {
        if let Some(known) = self.owner.as_ref().filter(|known| known.account == account) {
            return Some(Arc::clone(known));
        }
        let catalog = self.catalog;
        let theirs = self.scope.any || catalog.tenant_of(account) == Some(self.scope.tenant);
        if !theirs {
            return None;
        }
        let noise = self.secret.and_then(|secret| {
            let row = catalog.accounts.get(account)?;
            Noise::of(account, row.report_noise.as_ref(), noise_key(secret, account))
        });
        let owner = Arc::new(Owner {
            account,
            zone: catalog.zone_of(account)?.to_owned(),
            currency: currency_index(catalog.currency_of(account)?)?,
            noise,
        });
        self.owner = Some(Arc::clone(&owner));
        Some(owner)
    }
}

impl Subject {
    /// Returns the key of the ad's rows, without what hours and cells add.
    pub(super) fn key(&self, query: &Query) -> Key {
        let of = |dimension, id: u64| if query.has(dimension) { id } else { 0 };
        Key {
            account: of(Dimension::Account, self.family.account),
            campaign: of(Dimension::Campaign, self.family.campaign),
            ad_set: of(Dimension::AdSet, self.family.ad_set),
            ad: of(Dimension::Ad, self.family.ad),
            channel: self.channel,
            creative: self.creative,
            currency: self.owner.currency,
            ..Key::default()
        }
    }

    pub(super) const fn ad(&self) -> u64 {
        self.family.ad
    }

    pub(super) fn zone(&self) -> &str {
        &self.owner.zone
    }

    pub(super) fn currency(&self) -> &'static str {
        currency_at(self.owner.currency).unwrap_or_default()
    }

    pub(super) fn noise(&self) -> Option<&Noise> {
        self.owner.noise.as_ref()
    }
}
