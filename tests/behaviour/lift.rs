//! Experiments: who is not shown which ads, what they would have been shown, and what that tells.

use munadi::types::hash::mix;
use munadi::types::proto::v1::{
    Dimension, EntryPoint, EventKind, Experiment, GetLiftResponse, LiftGroup, NoAdReason, Outcome,
    PlacedAd,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{
    AdRequest, Change, Conversion, Incoming, Mutation, Opening, Origin, Resource, ResourceKind,
    Scope, Verdict,
};
use munadi::types::time::{DAY_MS, SECOND_MS};

use crate::stage::{ALL, Offer, Shop, Shown, Stage, TENANT, event, refused, sale};

/// The group that is not shown the ads, as tokens tell it.
const CONTROL: u8 = 2;

fn row(shop: &Shop) -> Experiment {
    Experiment {
        account_id: shop.account,
        name: "Does it help?".into(),
        campaign_ids: vec![shop.campaign],
        control_micros: 500_000,
        ..Experiment::default()
    }
}

fn begin(stage: &mut Stage, row: Experiment) -> u64 {
    let id = stage.create(TENANT, Resource::Experiment(row));
    stage.wait(SECOND_MS);
    id
}

fn experiment(stage: &Stage, id: u64) -> Experiment {
    match stage.get(ResourceKind::Experiment, id).unwrap() {
        Resource::Experiment(row) => row,
        other => panic!("{other:?}"),
    }
}

/// A shop whose ad wins, and another whose ad takes its place.
fn rivals(stage: &mut Stage) -> (Shop, Shop) {
    let best = stage.shop(&Offer { bid: 3_000_000, ..Offer::default() });
    (best, stage.shop(&Offer::default()))
}

fn lift(stage: &mut Stage, id: u64) -> GetLiftResponse {
    stage.settle();
    stage.front.lift(ALL, id, stage.now).unwrap()
}

fn viewers(found: &GetLiftResponse) -> (u64, u64) {
    let viewers = |group: &Option<_>| {
        let group: &LiftGroup = group.as_ref().unwrap();
        group.viewers
    };
    (viewers(&found.treated), viewers(&found.control))
}

/// Opens a chat with a shop that no ad is claimed for, by a viewer whom the platform tells.
fn opened(stage: &Stage, shop: &Shop, name: &str) -> Incoming {
    let viewer = stage.viewer(name);
    let opening = Opening::by_message(EntryPoint::BusinessProfile, None);
    Incoming::Opened { chat: stage.chat(shop, name), opening: Opening { viewer, ..opening } }
}

/// Returns the token of the only slot, where an ad is held back and nothing stands in its place.
fn ghost(stage: &Stage, name: &str) -> Option<Shown> {
    let slot = stage.ask(&stage.tray_of(name)).remove(0);
    let sealed = slot.ghost_tokens.first()?.clone();
    assert_eq!(stage.filled(slot).unwrap_err(), NoAdReason::HeldBack);
    let token = stage.front.sealer().open_view(&sealed, stage.now.seconds()).unwrap();
    Some(Shown { ad: PlacedAd::default(), token })
}

#[test]
fn an_experiment_is_written_as_other_things_are() {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    let create = || Change::Create(Resource::Experiment(row(&shop)));
    let judged = Mutation { validate_only: true, ..Stage::writing(TENANT, "judge", create()) };
    stage.mutate(judged).unwrap();
    let Resource::Experiment(first) = stage.mutate(Stage::writing(TENANT, "a", create())).unwrap()
    else {
        panic!("an experiment")
    };
    let again = stage.mutate(Stage::writing(TENANT, "a", create()));
    assert_eq!(
        again,
        Ok(Resource::Experiment(first.clone())),
        "the same request is answered again"
    );
    let (start, end) = (first.start_time.unwrap().seconds, first.end_time.unwrap().seconds);
    assert_eq!(start, i64::from(stage.now.seconds()) + 1, "with the next second");
    assert_eq!((end - start, &*first.etag), (90 * 86_400, "1"));

    let named = Experiment { name: "Another name".into(), etag: "7".into(), ..first.clone() };
    let stale = stage.try_update(TENANT, Resource::Experiment(named.clone()), &["name"]);
    assert_eq!(stale.unwrap_err().reason, Reason::EtagMismatch);
    let named = Experiment { etag: "1".into(), ..named };
    stage.update(TENANT, Resource::Experiment(named), &["name"]);
    let stage = stage.restarted();
    let known = experiment(&stage, first.id);
    assert_eq!((&*known.name, &*known.etag, known.end_time), ("Another name", "2", first.end_time));
}

#[test]
fn an_experiment_is_refused_where_it_could_measure_nothing() {
    let mut stage = Stage::new();
    let (shop, other) = rivals(&mut stage);
    let now = i64::from(stage.now.seconds());
    let time = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let mut check = |field: &str, reason, row: Experiment| {
        let refusal = stage.try_create(TENANT, Resource::Experiment(row)).unwrap_err();
        assert_eq!((&*refusal.field, refusal.reason), (field, reason));
    };
    let ours = || row(&shop);
    let foreign = Experiment { campaign_ids: vec![other.campaign], ..ours() };
    check("experiment.campaign_ids[0]", Reason::NotFound, foreign);
    check("experiment.account_id", Reason::NotFound, Experiment { account_id: 9, ..ours() });
    let early = Experiment { start_time: time(now - 60), ..ours() };
    check("experiment.start_time", Reason::FieldInvalid, early);
    let long = Experiment { end_time: time(now + 91 * 86_400), ..ours() };
    check("experiment.end_time", Reason::TooLarge, long);
    let (start_time, end_time) = (time(now + 60), time(now + 60));
    let none = Experiment { start_time, end_time, ..ours() };
    check("experiment.end_time", Reason::EndBeforeStart, none);
}

#[test]
fn a_campaign_is_in_one_experiment_at_a_time() {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    let id = begin(&mut stage, row(&shop));
    for campaign_ids in [vec![shop.campaign], Vec::new()] {
        let clash = Experiment { campaign_ids, ..row(&shop) };
        let refusal = stage.try_create(TENANT, Resource::Experiment(clash)).unwrap_err();
        assert_eq!(refusal.field, "experiment.campaign_ids");
        assert!(refusal.message.contains(&id.to_string()), "{}", refusal.message);
    }
    let past = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    let ended = Experiment { id, end_time: past, ..Experiment::default() };
    stage.update(TENANT, Resource::Experiment(ended.clone()), &["end_time"]);
    let end = experiment(&stage, id).end_time.unwrap().seconds;
    assert_eq!(end, i64::from(stage.now.seconds()) + 1, "an end that has passed ends it at once");
    stage.wait(2 * SECOND_MS);
    let late = stage.try_update(TENANT, Resource::Experiment(ended), &["end_time"]);
    assert_eq!(late.unwrap_err().field, "experiment.end_time", "it goes on no more");
    begin(&mut stage, row(&shop));
}

#[test]
fn the_control_group_is_never_shown_the_ads_and_stays_the_same_for_ever() {
    let mut stage = Stage::new();
    let (shop, other) = rivals(&mut stage);
    begin(&mut stage, row(&shop));
    let groups = |stage: &Stage| -> Vec<bool> {
        let arm = |number| {
            let shown = stage.show(&format!("viewer {number}"));
            let (token, is_ours) = (shown.token, shown.ad.ad_id == shop.ad);
            assert_eq!(token.ad, if is_ours { shop.ad } else { other.ad });
            assert_eq!(token.ghost_ad, if is_ours { 0 } else { shop.ad });
            assert_eq!(token.arm == CONTROL, !is_ours);
            !is_ours
        };
        (0..400).map(arm).collect()
    };
    let before = groups(&stage);
    let control = before.iter().filter(|control| **control).count();
    assert!((150..250).contains(&control), "{control} of 400 for half");
    let (disk, ring, now) = (stage.disk.clone(), stage.ring.clone(), stage.now);
    stage.wait(DAY_MS);
    let stage = stage.restarted();
    assert_eq!(groups(&stage), before, "after a restart");
    let copy = Stage::open(disk, ring, now, None).unwrap();
    assert_eq!(groups(&copy), before, "in a copied journal");
}

#[test]
fn a_viewer_without_a_name_stays_in_its_group_by_its_token() {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    begin(&mut stage, row(&shop));
    let mut groups = [0, 0];
    for _ in 0..40 {
        let answer = stage.tray(&stage.tray_of("")).decode();
        let sealed = answer.frequency_token.clone();
        let first = stage.filled(answer.slots.into_iter().next().unwrap()).unwrap();
        let token = stage.front.sealer().open_frequency(&sealed, stage.now.seconds()).unwrap();
        let again = AdRequest { viewer: Some(token.viewer), ..stage.tray_of("") };
        let again = stage.try_fill(&again).unwrap();
        assert_eq!(first.ad.ad_id, again.ad.ad_id);
        groups[usize::from(first.ad.ad_id == shop.ad)] += 1;
    }
    assert!(groups[0] > 5 && groups[1] > 5, "{groups:?}");
}

#[test]
fn before_it_begins_and_after_its_end_everybody_is_shown_the_ads() {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    let seconds = |ms: i64| Some(prost_types::Timestamp { seconds: ms / 1_000, nanos: 0 });
    let (start, end) = (stage.now.0 + DAY_MS, stage.now.0 + 2 * DAY_MS);
    let row = Experiment { start_time: seconds(start), end_time: seconds(end), ..row(&shop) };
    stage.create(TENANT, Resource::Experiment(row));
    let held_back = |stage: &Stage| {
        let shown = |number| stage.show(&format!("viewer {number}")).ad.ad_id;
        (0..60).filter(|number| shown(*number) != shop.ad).count()
    };
    assert_eq!(held_back(&stage), 0);
    stage.wait(DAY_MS);
    stage.settle();
    assert!(held_back(&stage) > 10);
    stage.wait(DAY_MS);
    stage.settle();
    assert_eq!(held_back(&stage), 0);
}

#[test]
fn a_ghost_is_noted_once_costs_nothing_and_is_in_no_report() {
    let mut stage = Stage::new();
    let (shop, other) = rivals(&mut stage);
    let id = begin(&mut stage, row(&shop));
    let (mut seen, mut control) = (0, 0);
    for number in 0..40 {
        let name = format!("viewer {number}");
        for _ in 0..2 {
            let shown = stage.show(&name);
            assert!(stage.see(&shown) > 0, "what took its place is charged as ever");
            assert_eq!(stage.happen(&shown, EventKind::Impression), Verdict::Already);
            seen += i64::from(shown.ad.ad_id == shop.ad);
        }
        control += u64::from(stage.show(&name).ad.ad_id != shop.ad);
    }
    let found = lift(&mut stage, id);
    assert_eq!(viewers(&found), (40 - control, control), "viewers, not impressions");
    let report = stage.report(&[Dimension::Ad]);
    let of = |ad| report.rows.iter().filter(move |row| row.ad_id == ad);
    assert_eq!(of(shop.ad).map(|row| row.impressions as i64).sum::<i64>(), seen);
    assert_eq!(of(other.ad).map(|row| row.impressions as i64).sum::<i64>(), 80 - seen);
    let stage = &mut stage.restarted();
    assert_eq!(viewers(&lift(stage, id)), (40 - control, control));
}

#[test]
fn an_empty_slot_tells_of_its_ghost_by_a_token_of_its_own() {
    let mut stage = Stage::new();
    let shop = stage.shop(&Offer::default());
    let id = begin(&mut stage, row(&shop));
    let mut control = 0;
    for number in 0..20 {
        let Some(ghost) = ghost(&stage, &format!("viewer {number}")) else { continue };
        control += 1;
        assert_eq!((ghost.token.ad, ghost.token.ghost_ad), (shop.ad, shop.ad));
        for kind in [EventKind::Tap, EventKind::Viewable, EventKind::HideAd] {
            assert_eq!(refused(&stage.happen(&ghost, kind)), Reason::FieldInvalid);
        }
        let noted = Verdict::Recorded { charged: 0, invalid: None };
        assert_eq!(stage.happen(&ghost, EventKind::Impression), noted);
        assert_eq!(stage.happen(&ghost, EventKind::Impression), Verdict::Already);
    }
    assert!(control > 3);
    assert_eq!(viewers(&lift(&mut stage, id)), (0, control));
    assert!(stage.report(&[]).rows.iter().all(|row| row.impressions == 0));
}

#[test]
fn outcomes_count_in_both_groups_by_what_the_platform_tells_alone() {
    let mut stage = Stage::new();
    let (shop, other) = rivals(&mut stage);
    let id = begin(&mut stage, row(&shop));
    let mut names = [None, None];
    for number in 0..40 {
        let name = format!("viewer {number}");
        let shown = stage.show(&name);
        stage.see(&shown);
        names[usize::from(shown.ad.ad_id == other.ad)].get_or_insert((name, shown));
    }
    let [Some((treated, tapped)), Some((control, _))] = names else { panic!("both groups") };
    // Told by nobody but the click: it would count for exposed viewers alone.
    stage.tap(&tapped);
    let click = stage.click(&tapped);
    stage.convert(&shop, "by click", Origin::Click(click));
    for name in [&treated, &control] {
        let opening = opened(&stage, &shop, name);
        stage.record(opening);
        let origin = stage.by_chat(&shop, name);
        let viewer = stage.viewer(name);
        let told =
            Conversion { viewer, ..sale(&shop, &format!("order of {name}"), 9_000_000, origin) };
        stage.record(Incoming::Converted(Box::new(told.clone())));
        assert_eq!(stage.record(Incoming::Converted(Box::new(told))), Verdict::Already);
    }
    // Of another account: it is no outcome of these campaigns.
    let elsewhere = opened(&stage, &other, &control);
    stage.record(elsewhere);
    stage.wait(8 * DAY_MS);
    // Too late.
    let viewer = stage.viewer(&treated);
    let origin = stage.by_chat(&shop, &treated);
    let late = Conversion { viewer, ..sale(&shop, "late", 1, origin) };
    stage.record(Incoming::Converted(Box::new(late)));
    let found = lift(&mut stage, id);
    for group in [&found.treated, &found.control] {
        let group = group.as_ref().unwrap();
        assert_eq!((group.conversations, group.conversions), (1, 1));
        assert_eq!(group.value.as_ref().unwrap().micros, 9_000_000);
        assert_eq!(group.settled_viewers, group.viewers);
    }
    let checkpoint = stage.checkpoint();
    let (disk, ring, now) = (stage.disk.clone(), stage.ring.clone(), stage.now);
    let mut opened = Stage::open(disk, ring, now, Some(&checkpoint)).unwrap();
    assert_eq!(lift(&mut opened, id), found, "from a checkpoint");
    assert_eq!(lift(&mut stage.restarted(), id), found, "from the journal");
}

#[test]
fn an_outcome_that_no_ad_is_claimed_for_is_noted_once_and_declined_as_ever() {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    let opening = opened(&stage, &shop, "ana");
    stage.record(opening);
    assert!(stage.writer.is_idle(), "nothing waits");
    let rows = stage.credits();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].outcome(), rows[0].ad_id), (Outcome::Conversation, 0));
    assert_eq!(stage.restarted().credits(), rows);
}

#[test]
fn a_lift_is_told_to_its_owner_alone() {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    let id = begin(&mut stage, row(&shop));
    let scope = Scope { tenant: TENANT + 1, any: false };
    for (scope, id) in [(scope, id), (ALL, id + 1), (ALL, shop.campaign)] {
        let refusal = stage.front.lift(scope, id, stage.now).unwrap_err();
        assert_eq!((refusal.reason, &*refusal.field), (Reason::NotFound, "experiment_id"));
    }
    let found = lift(&mut stage, id);
    assert_eq!((viewers(&found), found.conversations), ((0, 0), None));
}

/// A small market with a known truth: viewers chat with the shop in this many of 1,000 cases, and in so many
/// more when they saw its ad.
const ANYWAY: u64 = 150;
const BECAUSE: u64 = 100;

/// Lets viewers see what they are shown, and act as they would; returns what an experiment finds.
fn market(aa: bool) -> GetLiftResponse {
    let mut stage = Stage::new();
    let (shop, _) = rivals(&mut stage);
    let id = begin(&mut stage, Experiment { aa, ..row(&shop) });
    let names: Vec<String> = (0..2_400).map(|number| format!("viewer {number}")).collect();
    let (mut seen, mut acts) = (Vec::new(), Vec::new());
    for (number, name) in (0..).zip(&names) {
        let shown = stage.show(name);
        seen.push(event(&shown, EventKind::Impression));
        let more = if shown.ad.ad_id == shop.ad { BECAUSE } else { 0 };
        if mix(number ^ 0xACE) % 1_000 < ANYWAY + more {
            acts.push(opened(&stage, &shop, name));
        }
    }
    for batch in [seen, acts] {
        let verdicts = stage.record_all(batch);
        assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Recorded { .. })));
    }
    stage.wait(7 * DAY_MS + SECOND_MS);
    lift(&mut stage, id)
}

#[test]
fn what_ads_bring_about_is_found_in_a_market_with_a_known_truth() {
    let found = market(false);
    let (treated, control) = viewers(&found);
    assert!(treated > 1_000 && control > 1_000, "{treated} {control}");
    let chats = found.conversations.unwrap();
    let truth = BECAUSE as f64 / 1_000.0;
    for interval in [&chats.difference, &chats.sequential] {
        let interval = interval.unwrap();
        let covered = interval.lower < truth && truth < interval.upper;
        assert!(covered && interval.lower > 0.0, "{interval:?}");
    }
    let relative = chats.relative_lift.unwrap();
    let ratio = BECAUSE as f64 / ANYWAY as f64;
    assert!(relative.lower < ratio && ratio < relative.upper, "{relative:?}");
    let incremental = chats.incremental.unwrap().estimate;
    let expected = chats.difference.unwrap().estimate * treated as f64;
    assert!((incremental - expected).abs() < 1e-6);
    assert!(chats.smallest_detectable_difference < truth);
    assert!(found.sample_ratio_p_value > 0.001);
}

#[test]
fn an_experiment_without_difference_finds_none() {
    let found = market(true);
    let (treated, control) = viewers(&found);
    assert!(treated > 1_000 && control > 1_000, "{treated} {control}");
    let difference = found.conversations.unwrap().difference.unwrap();
    assert!(difference.lower < 0.0 && 0.0 < difference.upper, "{difference:?}");
    assert!(found.experiment.unwrap().aa);
}
