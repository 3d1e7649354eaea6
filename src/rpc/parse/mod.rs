//! From the wire to the engine's nouns, one file per service: past here nothing is checked twice.
//!
//! Each refusal names the whole path of the field at fault and what to do.

pub(super) mod ad_sets;
mod adjustments;
pub(super) mod admin;
pub(super) mod ads;
pub(super) mod attributions;
mod audience;
pub(super) mod billing;
pub(super) mod campaigns;
pub(super) mod conversations;
pub(super) mod conversions;
mod creatives;
pub(super) mod events;
pub(super) mod experiments;
pub(super) mod explain;
mod field;
#[cfg(test)]
mod fuzz;
pub(super) mod imports;
pub(super) mod keys;
pub(super) mod models;
pub(super) mod mutations;
pub(super) mod places;
pub(super) mod rates;
pub(super) mod reconcile;
pub(super) mod reports;
pub(super) mod rules;
#[cfg(test)]
mod samples;
pub(super) mod sources;
#[cfg(feature = "columns")]
pub(super) mod tables;
mod targeting;
pub(super) mod viewers;
