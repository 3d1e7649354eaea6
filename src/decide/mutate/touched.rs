//! Which ads a write concerns: what serving knows of them is old.

use crate::state::catalog::Catalog;
use crate::types::request::Resource;

/// Returns the ads whose serving a new version may change: an ad itself, all ads of an ad set, and all
/// below a campaign, business or account. The version is applied already.
pub fn touched<'a>(catalog: &'a Catalog, written: &Resource) -> Box<dyn Iterator<Item = u64> + 'a> {
    let of_campaign = |campaign: u64| {
        catalog.ad_sets_of_campaign(campaign).flat_map(|ad_set| catalog.ads_of_ad_set(ad_set))
    };
    let of_account =
        move |account: u64| catalog.campaigns_of_account(account).flat_map(of_campaign);
    match written {
        Resource::Ad(row) => Box::new(std::iter::once(row.id)),
        Resource::AdSet(row) => Box::new(catalog.ads_of_ad_set(row.id)),
        Resource::Campaign(row) => Box::new(of_campaign(row.id)),
        Resource::Account(row) => Box::new(of_account(row.id)),
        Resource::Business(row) => {
            let id = row.id;
            let ours = move |ad: &u64| catalog.business_of_ad(*ad) == Some(id);
            Box::new(of_account(row.account_id).filter(ours))
        }
        // An endpoint has one version, and no ad before it is made; a source has no ads, and an experiment's
        // are in the index as they were.
        Resource::Endpoint(_) | Resource::Source(_) | Resource::Experiment(_) => {
            Box::new(std::iter::empty())
        }
    }
}
