//! One account's outcomes shared by all models side by side, at once and by night.

use munadi::report::models::compare::Asked;
use munadi::types::hash::mix;
use munadi::types::proto::v1::{
    AttributionModel, CompareModelsResponse, CreditLevel, ModelCredit, ModelRow, Outcome, PlacedAd,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{Incoming, Origin, Scope};
use munadi::types::time::{DAY_MS, HOUR_MS, Moment, SECOND_MS};
use munadi::types::token::{ClickToken, ViewToken};

use crate::stage::{ALL, FEED, Offer, Shop, Shown, Stage, charged, sale};

/// What one conversion is worth, micros.
const WORTH: i64 = 9_000_000;

/// All models, in the order in which they stand in a row.
const MODELS: [AttributionModel; 8] = [
    AttributionModel::LastTouch,
    AttributionModel::FirstTouch,
    AttributionModel::LastClick,
    AttributionModel::Linear,
    AttributionModel::TimeDecay,
    AttributionModel::PositionBased,
    AttributionModel::Markov,
    AttributionModel::Shapley,
];

/// Two campaigns of one account.
fn staged() -> (Stage, [Shop; 2]) {
    let mut stage = Stage::new();
    let first = stage.shop(&Offer::default());
    let second = stage.shop_in(first.account, &Offer::default());
    (stage, [first, second])
}

/// Has somebody see and tap an ad.
fn tapped(stage: &mut Stage, name: &str, shop: &Shop) -> Shown {
    let token = ViewToken {
        view: mix(shop.ad ^ stage.now.0 as u64),
        ad: shop.ad,
        viewer: stage.viewer(name),
        feed: FEED,
        issued: stage.now.seconds(),
        show_by: 900,
        placement: 1,
        country: *b"MX",
        ..ViewToken::default()
    };
    let shown = Shown { ad: PlacedAd::default(), token };
    stage.see(&shown);
    stage.wait(SECOND_MS);
    stage.tap(&shown);
    stage.wait(HOUR_MS);
    shown
}

fn bought(stage: &mut Stage, shop: &Shop, id: &str, shown: &Shown) {
    let ViewToken { view, ad, viewer, issued, .. } = shown.token;
    let click = ClickToken { entry_point: 1, view, ad, viewer, issued, ..ClickToken::default() };
    let sold = sale(shop, id, WORTH, Origin::Click(click));
    charged(&stage.record(Incoming::Converted(Box::new(sold))));
}

fn asked(stage: &Stage, account: u64) -> Asked {
    Asked {
        account,
        outcome: Outcome::Conversion,
        level: CreditLevel::Campaign,
        start: stage.now.plus_ms(-7 * DAY_MS),
        end: stage.now.plus_ms(1),
    }
}

fn row<'a>(told: &'a CompareModelsResponse, shop: &Shop) -> &'a ModelRow {
    told.rows.iter().find(|row| row.id == shop.campaign).expect("it has touches")
}

fn credits(row: &ModelRow) -> Vec<u64> {
    row.credits.iter().map(|credit| credit.credit_micros).collect()
}

/// One buyer met both campaigns, one only the first, and one met the second and bought nothing.
fn three_paths() -> (Stage, [Shop; 2]) {
    let (mut stage, [first, second]) = staged();
    tapped(&mut stage, "both", &first);
    let last = tapped(&mut stage, "both", &second);
    bought(&mut stage, &second, "order 1", &last);
    let only = tapped(&mut stage, "one", &first);
    bought(&mut stage, &first, "order 2", &only);
    tapped(&mut stage, "idle", &second);
    (stage, [first, second])
}

#[test]
fn models_stand_side_by_side_over_the_same_outcomes() {
    let (stage, [first, second]) = three_paths();
    let told = stage.front.compare_models(ALL, &asked(&stage, first.account), stage.now).unwrap();
    assert_eq!((told.outcomes, told.value_micros), (2, 2 * WORTH));
    assert_eq!((told.paths_without_outcome, &*told.currency), (1, "MXN"));
    for row in &told.rows {
        let models: Vec<_> = row.credits.iter().map(ModelCredit::model).collect();
        assert_eq!(models, MODELS);
    }
    let (one, two) = (credits(row(&told, &first)), credits(row(&told, &second)));
    assert!(one.iter().zip(&two).all(|(one, two)| one + two == 2_000_000), "{one:?} {two:?}");
    // Last touch, first touch, last tap, linear; position based splits two touches in halves.
    assert_eq!(one[..4], [1_000_000, 2_000_000, 1_000_000, 1_500_000]);
    assert_eq!(one[5], 1_500_000);
    // An hour's decay of a half-life of seven days leaves the earlier tap a little less than half.
    assert!((1_490_000..1_500_000).contains(&one[4]), "{one:?}");
    // Shapley: alone the first brings one outcome, both together two, the second alone none.
    assert_eq!(one[7], 1_500_000);
    // Markov: 2 of 3 begin with the first. From there half buy and half go on to the second, where half buy:
    // 2 of 3 buy. Without the first 1 of 6 do, without the second 1 of 3.
    let effects = [&first, &second].map(|shop| row(&told, shop).removal_effect_micros);
    assert_eq!(effects, [750_000, 500_000]);
    assert_eq!(one[6], 1_200_000);
    for (at, model) in MODELS.iter().enumerate() {
        let value: i64 = told.rows.iter().map(|row| row.credits[at].value_micros).sum();
        assert_eq!(value, 2 * WORTH, "{model:?}");
    }
}

#[test]
fn a_restart_and_a_night_tell_the_same() {
    let (stage, [first, _]) = three_paths();
    let asked = asked(&stage, first.account);
    let told = stage.front.compare_models(ALL, &asked, stage.now).unwrap();
    let stage = stage.restarted();
    assert_eq!(stage.front.compare_models(ALL, &asked, stage.now).unwrap(), told);
    let by_night = |stage: &Stage| {
        let front = &stage.front;
        front.models_of_last_night(ALL, first.account, Outcome::Conversion, CreditLevel::Campaign)
    };
    assert_eq!(by_night(&stage), Ok(None), "no night has passed");
    let night = stage.now.plus_ms(1);
    stage.front.run_models(night);
    let told_by_night = by_night(&stage).unwrap().expect("it has outcomes");
    assert_eq!(told_by_night.rows, told.rows);
    assert_eq!(told_by_night.compute_time.unwrap().seconds, night.0 / 1_000);
}

#[test]
fn a_sale_of_another_account_leaves_its_viewer_idle_here() {
    let (mut stage, [first, _]) = staged();
    let other = stage.shop(&Offer::default());
    tapped(&mut stage, "both", &first);
    let theirs = tapped(&mut stage, "both", &other);
    bought(&mut stage, &other, "order 1", &theirs);
    stage.front.run_models(stage.now.plus_ms(1));
    for (shop, counts) in [(&first, (0, 1)), (&other, (1, 0))] {
        let asked = asked(&stage, shop.account);
        let told = stage.front.compare_models(ALL, &asked, stage.now).unwrap();
        assert_eq!((told.outcomes, told.paths_without_outcome), counts);
        let Asked { account, outcome, level, .. } = asked;
        let by_night = stage.front.models_of_last_night(ALL, account, outcome, level).unwrap();
        // The night looks through all accounts with outcomes at once; without one there is nothing to work out.
        assert_eq!(by_night.map(|told| told.rows), (counts.0 > 0).then_some(told.rows));
    }
}

#[test]
fn other_periods_outcomes_levels_and_tenants_are_kept_apart() {
    let (stage, [first, _]) = three_paths();
    let asked = asked(&stage, first.account);
    let compare = |scope, asked| stage.front.compare_models(scope, &asked, stage.now);
    let before = Asked { start: Moment(0), end: Moment(DAY_MS), ..asked };
    assert_eq!(compare(ALL, before).unwrap().rows, []);
    let chats = Asked { outcome: Outcome::Conversation, ..asked };
    let told = compare(ALL, chats).unwrap();
    assert_eq!((told.outcomes, told.paths_without_outcome), (0, 3), "nobody wrote");
    let ads = compare(ALL, Asked { level: CreditLevel::Ad, ..asked }).unwrap();
    assert_eq!(ads.rows.iter().find(|row| row.id == first.ad).map(credits).unwrap()[1], 2_000_000);
    let foreign = Scope { tenant: first.tenant + 1, any: false };
    assert_eq!(compare(foreign, asked).unwrap_err().reason, Reason::NotFound);
}
