//! What operators and advertisers ask of the ledger.

use crate::node::TransfersAsked;
use crate::report::transfers::Place;
use crate::rpc::limits::{INVALID_DAYS_MAX, INVOICES_DEFAULT, INVOICES_MAX, REASON_CHARS_MAX};
use crate::rpc::parse::field::{
    Path, at_most, ends_after, id, moment, optional_text, positive_money, required, text, variant,
};
use crate::rpc::parse::mutations::check_request_id;
use crate::rpc::parse::places::{List, foreign, page_size, page_size_within};
use crate::tokens::Sealer;
use crate::types::proto::v1;
use crate::types::proto::v1::{BillingEvent, TransferKind};
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Author, EventFilter, FundRequest, Invalidation, Scope};
use crate::types::time::{DAY_MS, Moment};

/// What an event that was charged is called, and how it is billed.
const BILLED: [(&str, BillingEvent); 3] = [
    ("impressions", BillingEvent::Impressions),
    ("taps", BillingEvent::LinkClicks),
    ("conversations", BillingEvent::Conversations),
];

/// Hexadecimal digits of a transfer's id.
const TRANSFER_DIGITS: usize = 32;

/// Returns a checked transfer.
pub(in crate::rpc) fn funding(
    wire: v1::FundAccountRequest,
    scope: Scope,
    body_hash: [u8; 16],
) -> Result<FundRequest, Refusal> {
    check_request_id(&wire.request_id)?;
    let account = id(wire.account_id, Path::root("account_id"))?;
    let transfer = transfer_id(&wire.transfer_id, Path::root("transfer_id"))?;
    let path = Path::root("kind");
    let kind: TransferKind = variant(wire.kind, path)?;
    let reasoned = match kind {
        TransferKind::Funding => false,
        TransferKind::Promo | TransferKind::Withdrawal => true,
        TransferKind::Unspecified | TransferKind::Charges | TransferKind::Credit => {
            let message = "is made by the engine alone: send FUNDING, PROMO or WITHDRAWAL";
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
    };
    let path = Path::root("amount");
    let amount = required(wire.amount, path)?;
    positive_money(&amount, path)?;
    let path = Path::root("reason");
    match reasoned {
        true => text(&wire.reason, REASON_CHARS_MAX, path)?,
        false => optional_text(&wire.reason, REASON_CHARS_MAX, path)?,
    }
    Ok(FundRequest {
        tenant: scope.tenant,
        request_id: wire.request_id,
        body_hash,
        by: Author::default(),
        account,
        transfer,
        kind,
        amount,
        reason: wire.reason,
    })
}

fn transfer_id(text: &str, path: Path) -> Result<u128, Refusal> {
    required((!text.is_empty()).then_some(()), path)?;
    let digits = text.len() == TRANSFER_DIGITS && text.bytes().all(|it| it.is_ascii_hexdigit());
    let number = u128::from_str_radix(text, 16).ok().filter(|number| digits && *number != 0);
    let message = "must be 32 hexadecimal digits, not all 0: 128 bits made by the caller";
    number.ok_or_else(|| path.refuse(Reason::FieldInvalid, message))
}

/// The list that a page of transfers belongs to.
pub(in crate::rpc) struct Transfers(List);

impl Transfers {
    /// Returns the token of the page after this place.
    pub(in crate::rpc) fn seal(&self, (at_ms, id): Place, sealer: &Sealer) -> String {
        self.0.seal_name(&format!("{at_ms} {id:032x}"), sealer)
    }

    fn open(&self, token: &str, sealer: &Sealer) -> Result<Option<Place>, Refusal> {
        let name = self.0.open_name(token, sealer)?;
        if name.is_empty() {
            return Ok(None);
        }
        let place = name.split_once(' ').and_then(|(at_ms, id)| {
            Some((at_ms.parse().ok()?, u128::from_str_radix(id, 16).ok()?))
        });
        place.map(Some).ok_or_else(foreign)
    }
}

/// Returns the list that a page of transfers belongs to, and which transfers.
pub(in crate::rpc) fn transfers(
    wire: &v1::ListTransfersRequest,
    scope: Scope,
    sealer: &Sealer,
) -> Result<(Transfers, TransfersAsked), Refusal> {
    let account = id(wire.account_id, Path::root("account_id"))?;
    let path = Path::root("end_time");
    let start = moment(wire.start_time, Path::root("start_time"))?.unwrap_or_default();
    let end = moment(wire.end_time, path)?;
    ends_after(start, end, path)?;
    let span = [start.0, end.map_or(0, |end| end.0)].map(i64::cast_unsigned);
    let whose = [scope.tenant.into(), scope.any.into(), account];
    let list = Transfers(List::new("ListTransfers", &[whose.as_slice(), &span].concat()));
    let (limit, after) = (page_size(wire.page_size)?, list.open(&wire.page_token, sealer)?);
    Ok((list, TransfersAsked { account, start, end, after, limit }))
}

/// Returns the list that a page of invoices belongs to, the month that it ends before, and its size.
pub(in crate::rpc) fn invoices(
    wire: &v1::ListInvoicesRequest,
    scope: Scope,
    sealer: &Sealer,
) -> Result<(List, i32, usize), Refusal> {
    let account = id(wire.account_id, Path::root("account_id"))?;
    let list = List::new("ListInvoices", &[scope.tenant.into(), scope.any.into(), account]);
    let limit = page_size_within(wire.page_size, INVOICES_DEFAULT, INVOICES_MAX)?;
    let before = match list.open(&wire.page_token, sealer)? {
        0 => i32::MAX,
        month => i32::try_from(month).map_err(|_| foreign())?,
    };
    Ok((list, before, limit))
}

/// Returns a checked finding of invalid events.
pub(in crate::rpc) fn invalidation(
    wire: v1::InvalidateEventsRequest,
    scope: Scope,
    body_hash: [u8; 16],
) -> Result<Invalidation, Refusal> {
    check_request_id(&wire.request_id)?;
    let filter = filter(required(wire.filter, Path::root("filter"))?)?;
    text(&wire.reason, REASON_CHARS_MAX, Path::root("reason"))?;
    let (tenant, request_id) = (scope.tenant, wire.request_id);
    let (reason, dry_run) = (wire.reason, wire.dry_run);
    let by = Author::default();
    Ok(Invalidation { tenant, request_id, body_hash, by, filter, reason, dry_run })
}

fn filter(wire: v1::EventFilter) -> Result<EventFilter, Refusal> {
    let path = Path::root("filter");
    let named = [wire.account_id, wire.campaign_id, wire.ad_set_id, wire.ad_id];
    if named.iter().all(|id| *id == 0) && wire.feed_id == 0 {
        let message = "names nobody: send an account, campaign, ad set, ad or feed";
        return Err(path.refuse(Reason::FieldMissing, message));
    }
    let (start_path, end_path) = (path.field("start_time"), path.field("end_time"));
    let start = required(moment(wire.start_time, start_path)?, start_path)?;
    let end = required(moment(wire.end_time, end_path)?, end_path)?;
    if end <= start {
        let message = "is not after start_time: send a later end";
        return Err(end_path.refuse(Reason::EndBeforeStart, message));
    }
    if end.0 - start.0 > INVALID_DAYS_MAX * DAY_MS {
        let message = format!("is more than {INVALID_DAYS_MAX} days after start_time: send less");
        return Err(end_path.refuse(Reason::TooLarge, message));
    }
    let path = path.field("billed_events");
    at_most(wire.billed_events.len(), BILLED.len(), path)?;
    let mut billed = Vec::new();
    for (index, name) in wire.billed_events.iter().enumerate() {
        let known = BILLED.iter().find(|(known, _)| known == name);
        let message = "is no billed event: send impressions, taps or conversations";
        let (_, event) =
            known.ok_or_else(|| path.at(index).refuse(Reason::FieldInvalid, message))?;
        billed.push(*event);
    }
    Ok(EventFilter {
        account: wire.account_id,
        campaign: wire.campaign_id,
        ad_set: wire.ad_set_id,
        ad: wire.ad_id,
        feed: wire.feed_id,
        start: Moment(start.0),
        end: Moment(end.0),
        billed,
        taps_per_viewer_min: wire.taps_per_viewer_min,
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::rpc::parse::samples::sealer;

    const SCOPE: Scope = Scope { tenant: 0, any: true };

    fn good_funding() -> v1::FundAccountRequest {
        v1::FundAccountRequest {
            request_id: "f".into(),
            account_id: 1,
            transfer_id: "00000000000000000000000000000aBc".into(),
            kind: TransferKind::Funding.into(),
            amount: Some(v1::Money { micros: 5, currency: "MXN".into() }),
            reason: String::new(),
        }
    }

    #[test]
    fn each_field_of_a_transfer_is_refused_by_its_path() {
        let good = funding(good_funding(), SCOPE, [0; 16]).unwrap();
        assert_eq!((good.transfer, good.amount.micros), (0xabc, 5));
        let check = |field: &str, reason: Reason, spoil: &dyn Fn(&mut v1::FundAccountRequest)| {
            let mut wire = good_funding();
            spoil(&mut wire);
            let refusal = funding(wire, SCOPE, [0; 16]).unwrap_err();
            assert_eq!((&*refusal.field, refusal.reason), (field, reason));
        };
        check("request_id", Reason::FieldMissing, &|wire| wire.request_id.clear());
        check("account_id", Reason::FieldMissing, &|wire| wire.account_id = 0);
        check("transfer_id", Reason::FieldMissing, &|wire| wire.transfer_id.clear());
        for bad in
            ["abc", &"0".repeat(32), &"g".repeat(32), &"1".repeat(33), &format!("+{:031}", 1)]
        {
            let spoil = |wire: &mut v1::FundAccountRequest| wire.transfer_id = bad.to_owned();
            check("transfer_id", Reason::FieldInvalid, &spoil);
        }
        check("kind", Reason::FieldMissing, &|wire| wire.kind = 0);
        check("kind", Reason::FieldInvalid, &|wire| wire.kind = TransferKind::Charges.into());
        check("kind", Reason::FieldInvalid, &|wire| wire.kind = 77);
        check("amount", Reason::FieldMissing, &|wire| wire.amount = None);
        for bad in [0, -1, i64::MIN, i64::MAX, 1_000_000_000_000_001] {
            let spoil = |wire: &mut v1::FundAccountRequest| {
                wire.amount.as_mut().unwrap().micros = bad;
            };
            check("amount.micros", Reason::MoneyInvalid, &spoil);
        }
        let spoil = |wire: &mut v1::FundAccountRequest| {
            wire.amount.as_mut().unwrap().currency = "XXX".into();
        };
        check("amount.currency", Reason::CurrencyInvalid, &spoil);
        check("reason", Reason::FieldMissing, &|wire| wire.kind = TransferKind::Promo.into());
        check("reason", Reason::TooLarge, &|wire| wire.reason = "x".repeat(201));
    }

    fn second(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn good_finding() -> v1::InvalidateEventsRequest {
        v1::InvalidateEventsRequest {
            request_id: "i".into(),
            filter: Some(v1::EventFilter {
                feed_id: 7,
                start_time: second(0),
                end_time: second(95 * 86_400),
                billed_events: vec!["taps".into()],
                ..v1::EventFilter::default()
            }),
            reason: "bots".into(),
            dry_run: true,
        }
    }

    #[test]
    fn each_field_of_a_finding_is_refused_by_its_path() {
        let good = invalidation(good_finding(), SCOPE, [0; 16]).unwrap();
        assert_eq!(good.filter.billed, [BillingEvent::LinkClicks]);
        let check = |field: &str, reason: Reason, spoil: fn(&mut v1::EventFilter)| {
            let mut wire = good_finding();
            spoil(wire.filter.as_mut().unwrap());
            let refusal = invalidation(wire, SCOPE, [0; 16]).unwrap_err();
            assert_eq!((&*refusal.field, refusal.reason), (field, reason));
        };
        check("filter", Reason::FieldMissing, |wire| wire.feed_id = 0);
        check("filter.start_time", Reason::FieldMissing, |wire| wire.start_time = None);
        check("filter.end_time", Reason::FieldMissing, |wire| wire.end_time = None);
        check("filter.end_time", Reason::EndBeforeStart, |wire| wire.end_time = second(0));
        check("filter.end_time", Reason::TooLarge, |wire| wire.end_time = second(95 * 86_400 + 1));
        check("filter.billed_events[0]", Reason::FieldInvalid, |wire| {
            wire.billed_events = vec!["TAPS".into()];
        });
        check("filter.billed_events", Reason::TooLarge, |wire| {
            wire.billed_events = vec!["taps".into(); 4];
        });
        for (field, wire) in [
            ("filter", v1::InvalidateEventsRequest { filter: None, ..good_finding() }),
            ("reason", v1::InvalidateEventsRequest { reason: String::new(), ..good_finding() }),
        ] {
            let refusal = invalidation(wire, SCOPE, [0; 16]).unwrap_err();
            assert_eq!((&*refusal.field, refusal.reason), (field, Reason::FieldMissing));
        }
    }

    #[test]
    fn a_page_of_transfers_leads_on_in_its_own_list_only() {
        let sealer = sealer();
        let wire = v1::ListTransfersRequest { account_id: 5, ..Default::default() };
        let (list, asked) = transfers(&wire, SCOPE, &sealer).unwrap();
        assert_eq!((asked.limit, asked.after), (100, None));
        let page_token = list.seal((-7, u128::MAX), &sealer);
        let next = v1::ListTransfersRequest { page_token, ..wire };
        assert_eq!(transfers(&next, SCOPE, &sealer).unwrap().1.after, Some((-7, u128::MAX)));
        let other = v1::ListTransfersRequest { account_id: 6, ..next };
        let refusal = transfers(&other, SCOPE, &sealer).map(|_| ()).unwrap_err();
        assert_eq!(refusal.reason, Reason::CursorForeign);
        let backwards = v1::ListTransfersRequest {
            account_id: 5,
            start_time: second(5),
            end_time: second(5),
            ..Default::default()
        };
        let refusal = transfers(&backwards, SCOPE, &sealer).map(|_| ()).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::EndBeforeStart, "end_time"));
    }

    #[test]
    fn invoices_come_in_pages_of_a_year() {
        let wire = v1::ListInvoicesRequest { account_id: 5, ..Default::default() };
        let (_, before, limit) = invoices(&wire, SCOPE, &sealer()).unwrap();
        assert_eq!((before, limit), (i32::MAX, 12));
        let wire = v1::ListInvoicesRequest { page_size: 121, ..wire };
        assert_eq!(invoices(&wire, SCOPE, &sealer()).unwrap_err().field, "page_size");
    }
}
