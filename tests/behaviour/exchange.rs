//! Exchange rates: loaded by the operator, in force from their moment on.

use munadi::state::exchange::RATE_ONE;
use munadi::types::iso::currency_index;
use munadi::types::proto::journal::v1::ExchangeRatesPut;
use munadi::types::proto::v1;
use munadi::types::proto::v1::ExchangeRate;
use munadi::types::request::ListChange;
use munadi::types::time::Moment;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{Desk, OPERATOR, calls};
use crate::stage::Stage;

fn rate(currency: &str, rate_micros: i64, from: Moment) -> ExchangeRate {
    let valid_from = Some(prost_types::Timestamp { seconds: from.seconds().into(), nanos: 0 });
    ExchangeRate { currency: currency.into(), rate_micros, valid_from }
}

fn put(settlement: &str, rates: Vec<ExchangeRate>) -> ListChange {
    let settlement_currency = settlement.to_owned();
    ListChange::ExchangeRates(ExchangeRatesPut { settlement_currency, rates })
}

/// Returns what serving holds a currency for.
fn worth(stage: &Stage, currency: &str) -> i64 {
    stage.front.exchange().rate(currency_index(currency).unwrap())
}

#[test]
fn a_rate_comes_into_force_at_its_moment_without_another_write() {
    let mut stage = Stage::new();
    assert_eq!([worth(&stage, "MXN"), worth(&stage, "USD")], [RATE_ONE; 2], "nothing is loaded");
    let (now, later) = (stage.now, stage.now.plus_ms(5_000));
    let rates = vec![rate("MXN", 60_000, later), rate("MXN", 50_000, now)];
    assert_eq!(stage.write_lists("rates", put("USD", rates.clone())), Ok(2));
    let all = |stage: &Stage| ["MXN", "USD", "EUR"].map(|currency| worth(stage, currency));
    assert_eq!(all(&stage), [50_000, RATE_ONE, 0]);
    stage.wait(4_999);
    stage.settle();
    assert_eq!(all(&stage), [50_000, RATE_ONE, 0]);
    stage.wait(1);
    stage.settle();
    assert_eq!(all(&stage), [60_000, RATE_ONE, 0]);
    assert_eq!(stage.front.exchange_rates(), ("USD".to_owned(), rates));

    assert_eq!(stage.write_lists("none", put("", Vec::new())), Ok(0));
    assert_eq!(all(&stage), [RATE_ONE; 3], "all are taken away");
}

#[test]
fn rates_outlive_a_restart_in_the_journal_and_in_a_checkpoint() {
    let mut stage = Stage::new();
    let (now, later) = (stage.now, stage.now.plus_ms(5_000));
    let rates = vec![rate("MXN", 50_000, now), rate("MXN", 60_000, later)];
    assert_eq!(stage.write_lists("rates", put("USD", rates)), Ok(2));
    let mut stage = stage.restarted();
    assert_eq!(worth(&stage, "MXN"), 50_000);
    let checkpoint = stage.checkpoint();
    stage.wait(5_000);
    let Stage { disk, ring, now, .. } = stage;
    let stage = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    assert!(stage.opened.checkpoint);
    assert_eq!(worth(&stage, "MXN"), 60_000, "what was due meanwhile is in force");
}

#[test]
fn an_operator_loads_rates_and_a_bad_one_is_refused_by_its_field() {
    let desk = Desk::start();
    calls(async {
        let mut admin = desk.admin(OPERATOR);
        let request = |request_id: &str, settlement: &str, rates| v1::SetExchangeRatesRequest {
            request_id: request_id.into(),
            settlement_currency: settlement.into(),
            rates,
        };
        let rates = vec![rate("MXN", 50_000, Moment(0)), rate("BRL", 200_000, Moment(0))];
        let good = request("rates", "USD", rates.clone());
        assert_eq!(admin.set_exchange_rates(good.clone()).await?.into_inner().rates, 2);
        let again = admin.set_exchange_rates(good).await?.into_inner();
        assert_eq!(again.rates, 2, "the same write is answered again");
        let other = admin.set_exchange_rates(request("rates", "USD", Vec::new())).await;
        assert_eq!(other.unwrap_err().code(), Code::AlreadyExists, "another body");
        for (settlement, rates, field) in [
            ("", rates.clone(), "settlement_currency"),
            ("PESO", rates.clone(), "settlement_currency"),
            ("USD", vec![rate("MXN", 0, Moment(0))], "rates[0].rate_micros"),
            ("MXN", rates.clone(), "rates[0].currency"),
        ] {
            let refused = admin.set_exchange_rates(request("bad", settlement, rates)).await;
            let status = refused.unwrap_err();
            let details = status.get_error_details();
            let told = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
            assert_eq!(told.as_deref(), Some(field));
        }
        let listed = admin.list_exchange_rates(v1::ListExchangeRatesRequest {}).await?.into_inner();
        assert_eq!((&*listed.settlement_currency, listed.rates), ("USD", rates));
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}
