//! The ledger: money comes in once, is spent only while it lasts, and is given back for invalid events.

use std::cell::RefCell;
use std::ops::ControlFlow;

use munadi::journal::ShardLog;
use munadi::journal::memory::MemoryLog;
use munadi::node::TransfersAsked;
use munadi::node::clock::{Clock, SystemClock};
use munadi::node::writer::Work;
use munadi::report::invoices::Asked;
use munadi::types::ids::SeqVector;
use munadi::types::proto::v1;
use munadi::types::proto::v1::billing_service_client::BillingServiceClient;
use munadi::types::proto::v1::{
    Account, Balance, BillingMode, EventKind, FundAccountResponse, InvalidateEventsResponse,
    LedgerAccount, Money, NoAdReason, Transfer, TransferKind,
};
use munadi::types::refusal::{Reason, Refusal};
use munadi::types::request::{Author, EventFilter, FundRequest, Invalidation, Resource, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, MINUTE_MS, Moment};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{Desk, OPERATOR, RIVALS, STATUS, TACOS, calls, event, first_ad, open_shop, tray};
use crate::stage::{ALL, Offer, Shop, Stage, TENANT};

const MXN: i64 = 1_000_000;

/// Opens a shop whose account has only what is paid in.
fn prepaid(stage: &mut Stage, offer: &Offer) -> Shop {
    let row = Account { billing_mode: BillingMode::Prepaid.into(), ..offer.account_row() };
    let account = stage.create(TENANT, Resource::Account(row));
    stage.shop_in(account, offer)
}

fn order(account: u64, transfer: u128, kind: TransferKind, micros: i64) -> FundRequest {
    FundRequest {
        tenant: 0,
        request_id: format!("fund {transfer}"),
        body_hash: [0; 16],
        by: Author::default(),
        account,
        transfer,
        kind,
        amount: Money { micros, currency: "MXN".into() },
        reason: "as agreed".into(),
    }
}

fn send(stage: &mut Stage, order: &FundRequest) -> Result<FundAccountResponse, Refusal> {
    stage.work(|reply| Work::Fund(Box::new(order.clone()), reply))
}

fn fund(stage: &mut Stage, shop: &Shop, transfer: u128, kind: TransferKind, micros: i64) {
    send(stage, &order(shop.account, transfer, kind, micros)).unwrap();
}

fn balance(stage: &Stage, shop: &Shop) -> Balance {
    let balance = stage.front.balance(ALL, shop.account).unwrap();
    assert_eq!(balance.debits_micros, balance.credits_micros);
    balance
}

fn available(stage: &Stage, shop: &Shop) -> i64 {
    balance(stage, shop).available.unwrap().micros
}

fn transfers(stage: &Stage, shop: &Shop) -> Vec<Transfer> {
    let asked = TransfersAsked {
        account: shop.account,
        start: Moment(0),
        end: None,
        after: None,
        limit: 1_000,
    };
    stage.front.transfers(ALL, asked, stage.now).unwrap().0
}

pub(crate) fn finding(stage: &Stage, shop: &Shop) -> Invalidation {
    let filter = EventFilter {
        account: shop.account,
        start: Moment(stage.now.0 - DAY_MS),
        end: Moment(stage.now.0 + 1),
        ..EventFilter::default()
    };
    Invalidation {
        tenant: 0,
        request_id: "bots".into(),
        body_hash: [7; 16],
        by: Author::default(),
        filter,
        reason: "a click farm".into(),
        dry_run: false,
    }
}

/// Runs a finding; the writer is killed before the credit with this number.
pub(crate) fn invalidate(
    stage: &mut Stage,
    finding: &Invalidation,
    steps: usize,
) -> Result<InvalidateEventsResponse, Refusal> {
    let (front, log) = (stage.front.clone(), MemoryLog::open(&stage.disk));
    let (stage, mut left) = (RefCell::new(stage), steps);
    front.invalidate(
        finding,
        |visit| {
            log.read_from(&SeqVector::default(), &mut |block| {
                visit(block);
                ControlFlow::Continue(())
            })
        },
        |credit| {
            if left == 0 {
                return Err(Refusal::new(Reason::Unavailable, "", "killed"));
            }
            left -= 1;
            stage.borrow_mut().work(|reply| Work::Credit(Box::new(credit), reply))
        },
    )
}

#[test]
fn a_prepaid_account_serves_and_pays_only_with_money() {
    let mut stage = Stage::new();
    let shop = prepaid(&mut stage, &Offer::default());
    assert_eq!(stage.try_show("nobody").unwrap_err(), NoAdReason::BudgetSpent);
    fund(&mut stage, &shop, 1, TransferKind::Funding, 2 * MXN + 500_000);
    assert_eq!(available(&stage, &shop), 2 * MXN + 500_000);
    assert_eq!(balance(&stage, &shop).granted_micros, 2 * MXN + 500_000, "at once");
    let mut stage = stage.restarted();
    let first = [stage.show("ana"), stage.show("ben")];
    stage = stage.restarted();
    let more = [stage.show("cam"), stage.show("dan")];
    let paid: Vec<_> = first.iter().chain(&more).map(|shown| stage.see(shown)).collect();
    assert_eq!(paid, [MXN, MXN, 500_000, 0]);
    assert_eq!(stage.try_show("eve").unwrap_err(), NoAdReason::BudgetSpent);
    let balance = balance(&stage, &shop);
    let left = (balance.prepaid_micros, balance.granted_micros, balance.receivable_micros);
    assert_eq!((balance.spent_micros, left), (2 * MXN + 500_000, (0, 0, 0)));
    assert_eq!(balance.over_delivered_micros, MXN + 500_000);
}

#[test]
fn promo_credit_is_spent_first_and_is_never_paid_out() {
    let mut stage = Stage::new();
    let shop = prepaid(&mut stage, &Offer::default());
    fund(&mut stage, &shop, 1, TransferKind::Funding, 5 * MXN);
    fund(&mut stage, &shop, 2, TransferKind::Promo, MXN + 500_000);
    let shown = [stage.show("ana"), stage.show("ben")];
    shown.iter().for_each(|shown| assert_eq!(stage.see(shown), MXN));
    let asked = Asked { before: i32::MAX, limit: 12, now: stage.now };
    let (invoices, _) = stage.front.invoices(ALL, shop.account, asked).unwrap();
    assert_eq!((invoices[0].promo_micros, invoices[0].prepaid_micros), (MXN + 500_000, 500_000));
    let too_much = order(shop.account, 3, TransferKind::Withdrawal, 4 * MXN + 500_001);
    let refusal = send(&mut stage, &too_much).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::BalanceTooLow, "amount.micros"));
    assert!(refusal.message.contains("4500000"), "{}", refusal.message);
    fund(&mut stage, &shop, 4, TransferKind::Withdrawal, 4 * MXN + 500_000);
    assert_eq!(available(&stage, &shop), 0);
    assert_eq!(stage.try_show("cam").unwrap_err(), NoAdReason::BudgetSpent);
}

#[test]
fn an_invoiced_account_uses_up_its_promo_credit_and_owes_the_rest() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { spend_limit: Some(9 * MXN), ..Offer::default() });
    fund(&mut stage, &shop, 1, TransferKind::Promo, MXN + 200_000);
    let shown = [stage.show("ana"), stage.show("ben")];
    shown.iter().for_each(|shown| assert_eq!(stage.see(shown), MXN));
    let balance = balance(&stage, &shop);
    let rest = (balance.promo_micros, balance.granted_micros, balance.receivable_micros);
    assert_eq!(rest, (0, 0, 800_000));
    assert_eq!(balance.available.unwrap().micros, 7 * MXN);
}

#[test]
fn a_transfer_id_means_one_transfer_for_ever() {
    let mut stage = Stage::new();
    let shop = prepaid(&mut stage, &Offer::default());
    let first = order(shop.account, 1, TransferKind::Funding, MXN);
    let answer = send(&mut stage, &first).unwrap();
    assert_eq!(send(&mut stage, &first).unwrap(), answer, "the same request");
    let other_body = FundRequest { body_hash: [1; 16], ..first.clone() };
    assert_eq!(send(&mut stage, &other_body).unwrap_err().reason, Reason::RequestIdReused);
    stage.wait(3 * DAY_MS);
    let mut stage = stage.restarted();
    let again = FundRequest { request_id: "later".into(), ..first.clone() };
    assert_eq!(send(&mut stage, &again).unwrap().transfer, answer.transfer);
    assert_eq!(available(&stage, &shop), MXN, "it came once");
    let reason = "another reason".to_owned();
    let amount = Money { micros: MXN + 1, currency: "MXN".into() };
    for (id, other) in [
        ("a", FundRequest { amount, ..first.clone() }),
        ("b", FundRequest { kind: TransferKind::Promo, ..first.clone() }),
        ("c", FundRequest { reason, ..first.clone() }),
    ] {
        let other = FundRequest { request_id: id.into(), ..other };
        let refusal = send(&mut stage, &other).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::TransferIdReused, "transfer_id"));
    }
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let mut stage = Stage::new();
    let shop = prepaid(&mut stage, &Offer::default());
    let good = order(shop.account, 1, TransferKind::Funding, MXN);
    let in_euros = Money { micros: MXN, currency: "EUR".into() };
    let unknown = FundRequest { account: shop.campaign, ..good.clone() };
    let wrong = FundRequest { amount: in_euros, ..good.clone() };
    let early = FundRequest { kind: TransferKind::Withdrawal, ..good.clone() };
    for (order, reason, field) in [
        (unknown, Reason::NotFound, "account_id"),
        (wrong, Reason::CurrencyInvalid, "amount.currency"),
        (early, Reason::BalanceTooLow, "amount.micros"),
    ] {
        let refusal = send(&mut stage, &order).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (reason, field));
    }
    let most = 1_000_000_000 * MXN;
    for transfer in 10..1_010 {
        fund(&mut stage, &shop, transfer, TransferKind::Promo, most);
    }
    let refusal = send(&mut stage, &good).unwrap_err();
    assert_eq!((refusal.reason, &*refusal.field), (Reason::MoneyInvalid, "amount.micros"));
    assert_eq!(available(&stage, &shop), 1_000 * most);
    let foreign = Scope { tenant: TENANT + 1, any: false };
    let refusal = stage.front.balance(foreign, shop.account).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotFound);
}

#[test]
fn money_paid_in_is_there_after_midnight_and_a_day_keeps_its_charges() {
    let mut stage = Stage::at("2026-11-30T23:30:00Z");
    let shop = prepaid(&mut stage, &Offer::default());
    fund(&mut stage, &shop, 1, TransferKind::Funding, 3 * MXN);
    let shown = stage.show("ana");
    assert_eq!(stage.see(&shown), MXN);
    stage.wait(HOUR_MS);
    stage.settle();
    assert_eq!(balance(&stage, &shop).granted_micros, 2 * MXN);
    let shown = stage.show("ben");
    assert_eq!(stage.see(&shown), MXN);
    let asked = Asked { before: i32::MAX, limit: 12, now: stage.now };
    let (invoices, _) = stage.front.invoices(ALL, shop.account, asked).unwrap();
    let months: Vec<_> = invoices.iter().map(|it| (&*it.month, it.net_micros, it.closed)).collect();
    assert_eq!(months, [("2026-12", MXN, false), ("2026-11", MXN, true)]);
    let charges = TransferKind::Charges;
    let all = transfers(&stage, &shop);
    let days: Vec<_> = all.iter().filter(|it| it.kind() == charges).map(|it| it.closed).collect();
    assert_eq!(days, [true, false]);
}

#[test]
fn a_charge_is_given_back_once_to_where_it_came_from() {
    let mut stage = Stage::new();
    let shop = prepaid(&mut stage, &Offer::default());
    fund(&mut stage, &shop, 1, TransferKind::Promo, 500_000);
    fund(&mut stage, &shop, 2, TransferKind::Funding, MXN + 500_000);
    let shown = [stage.show("ana"), stage.show("ben")];
    shown.iter().for_each(|shown| assert_eq!(stage.see(shown), MXN));
    assert_eq!(stage.try_show("cam").unwrap_err(), NoAdReason::BudgetSpent);
    let found = finding(&stage, &shop);
    let dry = Invalidation { dry_run: true, request_id: "dry".into(), ..found.clone() };
    let counted = invalidate(&mut stage, &dry, 0).unwrap();
    assert_eq!((counted.events, counted.credited[0].micros), (2, 2 * MXN));
    assert_eq!(available(&stage, &shop), 0, "a dry run changes nothing");
    let answer = invalidate(&mut stage, &found, 9).unwrap();
    assert_eq!(answer, counted);
    assert_eq!(invalidate(&mut stage, &found, 0).unwrap(), answer, "remembered");
    let other = Invalidation { request_id: "again".into(), body_hash: [8; 16], ..found };
    let again = invalidate(&mut stage, &other, 9).unwrap();
    assert_eq!((again.events, again.credited_before), (0, 2));
    let balance = balance(&stage, &shop);
    assert_eq!((balance.spent_micros, balance.refunded_micros), (2 * MXN, 2 * MXN));
    assert_eq!(balance.available.unwrap().micros, 2 * MXN);
    let back = |to: LedgerAccount| {
        let all = transfers(&stage, &shop);
        let theirs = all.iter().filter(|it| it.kind() == TransferKind::Credit && it.credit() == to);
        theirs.map(|it| it.amount.clone().unwrap().micros).sum::<i64>()
    };
    assert_eq!((back(LedgerAccount::Promo), back(LedgerAccount::Prepaid)), (500_000, 1_500_000));
    let shown = stage.show("cam");
    assert_eq!(stage.see(&shown), MXN, "what came back may be spent");
    let stage = stage.restarted();
    assert_eq!(available(&stage, &shop), MXN);
}

#[test]
fn a_credit_pays_no_budget_back() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer { campaign: (Some(MXN), None), ..Offer::default() });
    let shown = stage.show("ana");
    assert_eq!(stage.see(&shown), MXN);
    let found = finding(&stage, &shop);
    assert_eq!(invalidate(&mut stage, &found, 9).unwrap().events, 1);
    assert_eq!(balance(&stage, &shop).receivable_micros, 0);
    assert_eq!(stage.try_show("ben").unwrap_err(), NoAdReason::BudgetSpent);
}

#[test]
fn a_finding_that_was_cut_off_is_finished_by_the_same_request() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    for number in 0..300 {
        let shown = stage.show(&format!("viewer {number}"));
        assert_eq!(stage.see(&shown), MXN);
    }
    stage.wait(MINUTE_MS);
    let found = finding(&stage, &shop);
    let refusal = invalidate(&mut stage, &found, 1).unwrap_err();
    assert_eq!(refusal.reason, Reason::Unavailable);
    let mut stage = stage.restarted();
    assert_eq!(balance(&stage, &shop).refunded_micros, 256 * MXN);
    let rest = invalidate(&mut stage, &found, 9).unwrap();
    assert_eq!((rest.events, rest.credited_before), (44, 256));
    assert_eq!(balance(&stage, &shop).refunded_micros, 300 * MXN);
    let credits = transfers(&stage, &shop);
    let credits: Vec<_> = credits.iter().filter(|it| it.kind() == TransferKind::Credit).collect();
    assert_eq!((credits.len(), credits[0].events), (1, 300), "one request, one day");
}

#[test]
fn pages_of_transfers_are_in_order_and_miss_none() {
    let mut stage = Stage::new();
    let shop = prepaid(&mut stage, &Offer::default());
    for transfer in (1..=7).rev() {
        fund(&mut stage, &shop, transfer, TransferKind::Funding, MXN);
        stage.wait(i64::from(transfer % 3 == 0) * MINUTE_MS);
    }
    let whole = transfers(&stage, &shop);
    let mut asked = TransfersAsked {
        account: shop.account,
        start: Moment(0),
        end: None,
        after: None,
        limit: 3,
    };
    let mut pages = Vec::new();
    loop {
        let (page, next) = stage.front.transfers(ALL, asked, stage.now).unwrap();
        pages.extend(page);
        asked.after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(pages, whole);
    assert_eq!(whole.len(), 7);
    let places: Vec<_> = whole.iter().map(|it| (it.time.unwrap().seconds, it.id.clone())).collect();
    assert!(places.is_sorted());
}

#[test]
fn money_and_credits_go_over_the_wire() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let billing = |key: &str| BillingServiceClient::new(desk.way(key));
        let amount = |micros| Some(v1::Money { micros, currency: "MXN".into() });
        let request = v1::FundAccountRequest {
            request_id: "promo".into(),
            account_id: shop.account,
            transfer_id: format!("{:032x}", 77),
            kind: TransferKind::Promo.into(),
            amount: amount(4_000),
            reason: "welcome".into(),
        };
        let denied = billing(TACOS).fund_account(request.clone()).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        let funded = billing(OPERATOR).fund_account(request.clone()).await?.into_inner();
        assert_eq!(funded.balance.unwrap().promo_micros, 4_000);
        let other =
            v1::FundAccountRequest { request_id: "other".into(), amount: amount(5_000), ..request };
        let refused = billing(OPERATOR).fund_account(other).await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "TRANSFER_ID_REUSED");

        let ask = v1::RequestAdsRequest { ad_request: tray("viewer-1") };
        let slots = desk.ads(STATUS).request_ads(ask).await?.into_inner().slots;
        let seen = event(first_ad(&slots), EventKind::Impression);
        let seen = v1::RecordEventsRequest { request_id: "seen".into(), events: vec![seen] };
        let results = desk.events(STATUS).record_events(seen).await?.into_inner().results;
        assert_eq!(results[0].charged_micros, 10_000);

        let ask = v1::GetBalanceRequest { account_id: shop.account };
        let balance = billing(TACOS).get_balance(ask).await?.into_inner().balance.unwrap();
        assert_eq!((balance.promo_micros, balance.receivable_micros), (0, 6_000));
        let foreign = billing(RIVALS).get_balance(ask).await.unwrap_err();
        assert_eq!(foreign.code(), Code::NotFound);

        let now = i64::from(SystemClock::default().now().seconds());
        let second = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let finding = v1::InvalidateEventsRequest {
            request_id: "bots".into(),
            filter: Some(v1::EventFilter {
                feed_id: 1,
                start_time: second(now - 600),
                end_time: second(now + 600),
                billed_events: vec!["impressions".into()],
                ..v1::EventFilter::default()
            }),
            reason: "bots".into(),
            dry_run: false,
        };
        let answer = billing(OPERATOR).invalidate_events(finding.clone()).await?.into_inner();
        assert_eq!((answer.events, answer.credited[0].micros), (1, 10_000));
        let again = billing(OPERATOR).invalidate_events(finding).await?.into_inner();
        assert_eq!(again, answer);

        lists_hold_it(&desk, shop.account).await?;
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

/// Checks what the advertiser finds in its lists: one charge in two parts, promo credit, and what came back.
async fn lists_hold_it(desk: &Desk, account_id: u64) -> Result<(), Status> {
    let billing = |key: &str| BillingServiceClient::new(desk.way(key));
    let ask = v1::ListInvoicesRequest { account_id, ..Default::default() };
    let invoices = billing(TACOS).list_invoices(ask).await?.into_inner().invoices;
    assert_eq!((invoices[0].charged_micros, invoices[0].net_micros), (10_000, 0));
    let mut ask = v1::ListTransfersRequest { account_id, page_size: 2, ..Default::default() };
    let first = billing(TACOS).list_transfers(ask.clone()).await?.into_inner();
    ask.page_token = first.next_page_token;
    let second = billing(TACOS).list_transfers(ask).await?.into_inner();
    let kinds = first.transfers.iter().chain(&second.transfers).map(Transfer::kind);
    let (charges, credit) = (TransferKind::Charges, TransferKind::Credit);
    let wanted = [charges, charges, TransferKind::Promo, credit, credit];
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(kinds[..], wanted[..kinds.len()]);
    Ok(())
}
