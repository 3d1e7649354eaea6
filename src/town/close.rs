//! The day's end: asks the reports and attributions through their doors, and holds them against what
//! the town counted itself.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::town::error::TownError;
use crate::town::funnel::{ChannelRow, by_channel, by_match};
use crate::town::life::Town;
use crate::town::lines::Kind;
use crate::town::measured::{LiftReport, ModelsReport};
use crate::town::wire::{moment, timestamp};
use crate::types::proto::v1::{self, Dimension, EventKind};
use crate::types::time::{HOUR_MS, MINUTE_MS, Moment};

/// Rows of one page.
const PAGE: u32 = 10_000;

/// How far past the last deed the clock must stand before the figures are asked for: what was served in
/// a minute is journaled when it is over, and attributions are told up to the last closed one.
const CLOSING_MS: i64 = 2 * MINUTE_MS;

/// What one day came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DayReport {
    /// Trays that were asked for.
    pub requests: u64,
    /// Ads that were handed out.
    pub ads_served: u64,
    /// Ads of which the first frame was drawn.
    pub impressions: u64,
    /// Ads that stayed in view.
    pub viewable: u64,
    /// Ads that were tapped.
    pub taps: u64,
    /// Conversations that an ad led to.
    pub conversations: u64,
    /// Conversations of those that were answered.
    pub first_replies: u64,
    /// Leads and sales that an ad led to.
    pub conversions: u64,
    /// The plain sum of all charges, over all currencies: for comparing two runs, not for reading.
    pub spend_micros: i64,
    /// What was charged, by currency.
    pub spend_by_currency: BTreeMap<String, i64>,
    /// What was delivered beyond budgets and not charged, by currency.
    pub over_delivered_by_currency: BTreeMap<String, i64>,
    /// What was charged above a budget, in the account's own days and over a line's life.
    pub over_budget_micros: i64,
    /// Slots left empty, by reason.
    pub empty_slots_by_reason: BTreeMap<String, u64>,
    /// Events, messages and sales that were sent.
    pub events: u64,
    /// Those of them that had been counted before.
    pub events_already: u64,
    /// Those of them that were refused, by reason.
    pub events_refused: BTreeMap<String, u64>,
    /// Batches that had to be sent again because the disk was too slow for the door's deadline. The
    /// town's own counts are not compared then; the audit's are.
    pub sent_again: u64,
    /// Rows of the attributions: credited and declined outcomes.
    pub attributions: u64,
    /// Outcomes that no ad was credited with, by reason.
    pub declined: BTreeMap<String, u64>,
    /// Where the node's reports differ from what the town counted; must be empty.
    pub differences: Vec<String>,
    /// Each campaign, in the order of the reports.
    pub campaigns: Vec<CampaignRow>,
    /// The way from a tap to a sale, by channel.
    pub channels: Vec<ChannelRow>,
    /// Conversations that an ad led to, by what proved it.
    pub matches: BTreeMap<String, u64>,
    /// Who earned the outcomes of the account with the most of them, by all models; `None`: nobody has any.
    pub models: Option<ModelsReport>,
    /// What the town's experiment has shown; `None`: there is none.
    pub lift: Option<LiftReport>,
    /// What one of the town's printed codes leads to. Another in each run.
    #[serde(skip)]
    pub printed_link: String,
}

/// What one campaign came to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct CampaignRow {
    /// The engine's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// ISO 4217 of its money.
    pub currency: String,
    /// Ads of which the first frame was drawn.
    pub impressions: u64,
    /// Ads that were tapped.
    pub taps: u64,
    /// Conversations that its ads led to.
    pub conversations: u64,
    /// Conversations of those that were answered.
    pub first_replies: u64,
    /// Leads and sales that its ads led to.
    pub conversions: u64,
    /// What was charged.
    pub spend_micros: i64,
    /// What one conversation cost; `None` where there was none.
    pub cost_per_conversation_micros: Option<i64>,
}

/// The journal's own view of the feed's day.
struct Served {
    requests: u64,
    ads_served: u64,
}

impl Town {
    /// Moves the clock past the day's last minute and asks for its figures.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn close(&mut self) -> Result<DayReport, TownError> {
        self.jump_to(self.now().plus_ms(CLOSING_MS)).await;
        let (attributions, declined) = self.pull_attributions().await?;
        let (rows, served) = self.query(Dimension::Campaign).await?;
        let (channels, _) = self.query(Dimension::Channel).await?;
        let (models, lift) = (self.compare_models(&rows).await?, self.lift().await?);
        let mut report = DayReport {
            requests: self.tally.requests,
            ads_served: self.tally.ads_served,
            over_budget_micros: self.tally.over_budget(&self.founded),
            empty_slots_by_reason: self.tally.empty_slots.clone(),
            events: self.tally.sent,
            events_already: self.tally.already,
            events_refused: self.tally.refused.clone(),
            attributions,
            declined,
            channels: by_channel(&channels),
            matches: by_match(&channels),
            models,
            lift,
            printed_link: self.printed_link(),
            ..DayReport::default()
        };
        rows.iter().for_each(|row| report.add(row, self.campaign_row(row)));
        report.sent_again = self.tally.sent_again;
        if report.sent_again == 0 {
            report.differences = self.differences(&rows, &served);
        }
        Ok(report)
    }

    /// Reads all attribution rows and books what conversations cost. Returns how many rows there are,
    /// and why some are nobody's.
    async fn pull_attributions(&mut self) -> Result<(u64, BTreeMap<String, u64>), TownError> {
        const CALL: &str = "PullAttributions";
        let request = v1::PullAttributionsRequest::default();
        let answer = self.doors().attributions.pull_attributions(request).await;
        let mut stream = answer.map_err(TownError::refused(CALL))?.into_inner();
        let (mut pulled, mut declined) = (0, BTreeMap::new());
        while let Some(page) = stream.message().await.map_err(TownError::refused(CALL))? {
            for row in page.rows {
                pulled += 1;
                if row.decline_reason() == v1::DeclineReason::Unspecified {
                    self.book(&row);
                } else {
                    let name = row.decline_reason().as_str_name();
                    let name = name.trim_start_matches("DECLINE_REASON_").to_owned();
                    *declined.entry(name).or_default() += 1;
                }
            }
        }
        Ok((pulled, declined))
    }

    fn book(&mut self, row: &v1::AttributionRow) {
        let Some(home) = self.founded.ads.get(&row.ad_id).copied() else {
            return;
        };
        let at = row.journal_minute.as_ref().map_or(Moment(0), moment);
        self.tally.charge(&home, at, row.charged_micros);
    }

    /// Asks for the whole day, a row for each campaign or channel.
    async fn query(
        &mut self,
        dimension: Dimension,
    ) -> Result<(Vec<v1::ReportRow>, Served), TownError> {
        const CALL: &str = "QueryReport";
        let mut rows = Vec::new();
        let mut request = v1::QueryReportRequest {
            dimensions: vec![dimension.into()],
            // The span is cut to whole hours; the running one belongs to the day too.
            end_time: Some(timestamp(self.now().plus_ms(HOUR_MS))),
            page_size: PAGE,
            ..Default::default()
        };
        loop {
            let answer = self.doors().reports.query_report(request.clone()).await;
            let page = answer.map_err(TownError::refused(CALL))?.into_inner();
            rows.extend(page.rows);
            if page.next_page_token.is_empty() {
                let (requests, ads_served) = (page.requests, page.ads_served);
                return Ok((rows, Served { requests, ads_served }));
            }
            request.page_token = page.next_page_token;
        }
    }

    fn printed_link(&self) -> String {
        let first = self.founded.sources.first_key_value();
        first.map(|(_, source)| source.link.clone()).unwrap_or_default()
    }

    fn campaign_row(&self, row: &v1::ReportRow) -> CampaignRow {
        let name = self.founded.campaigns.get(&row.campaign_id);
        let conversations = i64::try_from(row.conversations).unwrap_or(i64::MAX);
        CampaignRow {
            id: row.campaign_id,
            name: name.map(|(_, name)| name.clone()).unwrap_or_default(),
            currency: row.currency.clone(),
            impressions: row.impressions,
            taps: row.taps,
            conversations: row.conversations,
            first_replies: row.first_replies,
            conversions: row.conversions,
            spend_micros: row.spend_micros,
            cost_per_conversation_micros: row.spend_micros.checked_div(conversations),
        }
    }

    /// Returns each figure in which the node's reports and the town's own count differ.
    fn differences(&self, rows: &[v1::ReportRow], served: &Served) -> Vec<String> {
        let mut differences = Vec::new();
        let mut hold = |what: String, reported: i128, counted: i128| {
            if reported != counted {
                differences.push(format!("{what}: reported {reported}, counted {counted}"));
            }
        };
        let sum = |of: fn(&v1::ReportRow) -> u64| rows.iter().map(|row| i128::from(of(row))).sum();
        let recorded = |kind| self.tally.recorded.get(&kind).map_or(0, |&count| i128::from(count));
        hold("requests".into(), served.requests.into(), self.tally.requests.into());
        hold("ads served".into(), served.ads_served.into(), self.tally.ads_served.into());
        hold("impressions".into(), sum(|row| row.impressions), recorded(EventKind::Impression));
        hold("viewable".into(), sum(|row| row.viewable), recorded(EventKind::Viewable));
        let reported: BTreeMap<u64, i64> =
            rows.iter().map(|row| (row.campaign_id, row.spend_micros)).collect();
        for &campaign in self.founded.campaigns.keys() {
            let spend = reported.get(&campaign).copied().unwrap_or_default();
            let counted = self.tally.charged(Kind::Campaign, campaign);
            hold(format!("spend of campaign {campaign}"), spend.into(), counted.into());
        }
        differences
    }
}

impl DayReport {
    fn add(&mut self, row: &v1::ReportRow, campaign: CampaignRow) {
        self.impressions += row.impressions;
        self.viewable += row.viewable;
        self.taps += row.taps;
        self.conversations += row.conversations;
        self.first_replies += row.first_replies;
        self.conversions += row.conversions;
        self.spend_micros += row.spend_micros;
        *self.spend_by_currency.entry(row.currency.clone()).or_default() += row.spend_micros;
        *self.over_delivered_by_currency.entry(row.currency.clone()).or_default() +=
            row.over_delivered_micros;
        self.campaigns.push(campaign);
    }
}
