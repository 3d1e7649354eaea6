//! Compiles the protobuf files with protox: no protoc is needed on the machine.

use std::path::PathBuf;

use prost::Message;

const FILES: [&str; 14] = [
    "munadi/v1/common.proto",
    "munadi/v1/campaign_service.proto",
    "munadi/v1/ad_service.proto",
    "munadi/v1/admin_service.proto",
    "munadi/v1/explain_service.proto",
    "munadi/v1/event_service.proto",
    "munadi/v1/conversation_service.proto",
    "munadi/v1/conversion_service.proto",
    "munadi/v1/report_service.proto",
    "munadi/v1/attribution_service.proto",
    "munadi/v1/billing_service.proto",
    "munadi/v1/experiment.proto",
    "munadi/v1/import_service.proto",
    "munadi/journal/v1/facts.proto",
];

/// Facts too large to lie beside the small ones that every event makes.
const BOXED: [&str; 30] = [
    "account_put",
    "business_put",
    "endpoint_put",
    "campaign_put",
    "ad_set_put",
    "ad_put",
    "taxonomy_put",
    "policy_rules_put",
    "exchange_rates_put",
    "traffic_rules_put",
    "rate_cards_put",
    "volume_tier_put",
    "entry_source_put",
    "conversion_push_put",
    "conversions_pushed",
    "message_priced",
    "referral_noted",
    "funded",
    "event_credited",
    "converted",
    "conversion_credited",
    "outcome_declined",
    "experiment_put",
    "step_credited",
    "outcome_revised",
    "touch_revised",
    "ghost_noted",
    "change_noted",
    "api_key_put",
    "api_keys_used",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let boxed = |builder: tonic_prost_build::Builder, fact: &&str| {
        builder.boxed(format!(".munadi.journal.v1.Fact.kind.{fact}"))
    };
    let builder = BOXED.iter().fold(tonic_prost_build::configure(), boxed);
    builder
        .bytes(".munadi.v1.PlacedAd.view_token")
        .bytes(".munadi.v1.AdEvent.view_token")
        .bytes(".munadi.v1.AdRequest.frequency_token")
        .bytes(".munadi.v1.RequestAdsResponse.frequency_token")
        .bytes(".munadi.v1.StreamAdsResponse.frequency_token")
        .compile_fds(descriptors)?;
    Ok(())
}
