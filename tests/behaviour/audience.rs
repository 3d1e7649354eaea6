//! Bad audiences, creatives and trays through the door: each is refused by its field, before it could
//! be silent for no reason.

use munadi::types::proto::v1;
use prost_types::FieldMask;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::desk::{Desk, OPERATOR, STATUS, Shop, TACOS, calls, open_shop, tray};

/// A targeting that is refused, and the field that is named.
type Case = (v1::Targeting, &'static str);

fn contradictions() -> Vec<Case> {
    let anyone = v1::Targeting::default;
    let plan = |value: &str| vec![v1::KeyValues { key: "plan".into(), any_of: vec![value.into()] }];
    let (mexico, texas) = (texts(&["MX"]), texts(&["US-TX"]));
    let here = || texts(&["MX-CMX"]);
    vec![
        (v1::Targeting { countries: mexico, regions: texas, ..anyone() }, "regions[0]"),
        (
            v1::Targeting { regions: here(), excluded_regions: here(), ..anyone() },
            "excluded_regions",
        ),
        (
            v1::Targeting { cities: vec![7], excluded_cities: vec![7], ..anyone() },
            "excluded_cities",
        ),
        (
            v1::Targeting {
                interests: vec![group(&[1]), group(&[2, 3])],
                excluded_interests: vec![2, 3],
                ..anyone()
            },
            "interests[1].any_of",
        ),
        (
            v1::Targeting {
                segments: vec![v1::SegmentGroup { any_of: vec![9] }],
                excluded_segments: vec![9],
                ..anyone()
            },
            "segments[0].any_of",
        ),
        (
            v1::Targeting {
                key_values: plan("gold"),
                excluded_key_values: plan("gold"),
                ..anyone()
            },
            "key_values[0].any_of",
        ),
        (v1::Targeting { age_min: 35, age_max: 24, ..anyone() }, "age_max"),
    ]
}

fn out_of_bounds() -> Vec<Case> {
    let anyone = v1::Targeting::default;
    let around = |meters| {
        let place = v1::Radius { latitude_e6: 19_432_608, longitude_e6: -99_133_209, meters };
        v1::Targeting { radii: vec![place], ..anyone() }
    };
    let versions = |os: &[i32], min: &str, max: &str| v1::Targeting {
        os: os.to_vec(),
        os_version: Some(v1::VersionRange { min: min.into(), max: max.into() }),
        ..anyone()
    };
    let unknown = vec![group(&[70_000])];
    vec![
        (v1::Targeting { interests: vec![group(&[1]); 17], ..anyone() }, "interests"),
        (v1::Targeting { interests: unknown, ..anyone() }, "interests[0].any_of[0]"),
        (v1::Targeting { countries: texts(&["MX", "MX"]), ..anyone() }, "countries[1]"),
        (around(0), "radii[0].meters"),
        (around(80_001), "radii[0].meters"),
        (versions(&[], "16", ""), "os_version"),
        (versions(&[1, 2], "16", ""), "os_version"),
        (versions(&[2], "16", "9"), "os_version.max"),
        (versions(&[2], "iOS 16", ""), "os_version.min"),
        (v1::Targeting { hours_of_week: vec![168], ..anyone() }, "hours_of_week[0]"),
        (v1::Targeting { hours_of_week: (0..300).collect(), ..anyone() }, "hours_of_week"),
    ]
}

fn group(any_of: &[u32]) -> v1::InterestGroup {
    v1::InterestGroup { any_of: any_of.to_vec() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn an_audience_that_nobody_can_be_in_is_refused_by_what_contradicts() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let ad_set = ad_set_of(&desk, &shop).await?;
        let cases = contradictions().into_iter().chain(out_of_bounds());
        for (number, (targeting, field)) in cases.enumerate() {
            for other in [false, true] {
                let (mut row, at) = (ad_set.clone(), format!("case-{number}-{other}"));
                let path = if other {
                    row.targeting = Some(v1::Targeting::default());
                    row.or_targeting = vec![targeting.clone()];
                    format!("ad_set.or_targeting[0].{field}")
                } else {
                    row.targeting = Some(targeting.clone());
                    format!("ad_set.targeting.{field}")
                };
                let status = create(&desk, at, row).await.unwrap_err();
                assert_eq!(told(&status), (Code::InvalidArgument, path), "{targeting:?}");
            }
        }
        let crowd = v1::AdSet {
            targeting: Some(v1::Targeting::default()),
            or_targeting: vec![v1::Targeting::default(); 16],
            ..ad_set.clone()
        };
        let status = create(&desk, "crowd".into(), crowd).await.unwrap_err();
        assert_eq!(told(&status).1, "ad_set.or_targeting");
        let cap = v1::FrequencyCap { max_frequency: 1, interval_hours: 24, event: 0 };
        let caps = v1::AdSet { frequency_caps: vec![cap, cap], ..ad_set };
        let status = create(&desk, "caps".into(), caps).await.unwrap_err();
        assert_eq!(told(&status).1, "ad_set.frequency_caps[1]");
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn what_is_in_no_list_is_refused_once_the_list_is_loaded() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let ad_set = ad_set_of(&desk, &shop).await?;
        let anyone = v1::Targeting::default;
        let key = v1::KeyValues { key: "plan".into(), any_of: vec!["gold".into()] };
        let cases = [
            (
                v1::Taxonomy::Interest,
                v1::Targeting { interests: vec![group(&[7, 8])], ..anyone() },
                "interests[0].any_of[1]",
            ),
            (
                v1::Taxonomy::Region,
                v1::Targeting { regions: texts(&["MX-XXX"]), ..anyone() },
                "regions[0]",
            ),
            (
                v1::Taxonomy::Key,
                v1::Targeting { key_values: vec![key], ..anyone() },
                "key_values[0]",
            ),
        ];
        for (taxonomy, targeting, field) in cases {
            let row = |targeting: &v1::Targeting| v1::AdSet {
                targeting: Some(targeting.clone()),
                ..ad_set.clone()
            };
            let name = taxonomy.as_str_name();
            create(&desk, format!("{name}-before"), row(&targeting)).await?;
            let entry = match taxonomy {
                v1::Taxonomy::Interest => v1::TaxonomyEntry { id: 7, ..named("Food") },
                v1::Taxonomy::Region => {
                    v1::TaxonomyEntry { code: "MX-PUE".into(), ..named("Puebla") }
                }
                _ => named("tier"),
            };
            let request = v1::UpdateTaxonomyRequest {
                request_id: format!("{name}-list"),
                taxonomy: taxonomy.into(),
                put: vec![entry],
                removed: Vec::new(),
            };
            desk.admin(OPERATOR).update_taxonomy(request).await?;
            let status = create(&desk, format!("{name}-after"), row(&targeting)).await.unwrap_err();
            let wanted = (Code::InvalidArgument, format!("ad_set.targeting.{field}"));
            assert_eq!(told(&status), wanted);
            assert!(status.message().contains("SearchTargeting"), "{}", status.message());
        }
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

fn named(name: &str) -> v1::TaxonomyEntry {
    v1::TaxonomyEntry { name: name.into(), ..Default::default() }
}

#[test]
fn every_field_of_an_audience_comes_back_as_it_was_written() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let old = ad_set_of(&desk, &shop).await?;
        let one = v1::Targeting {
            countries: vec!["MX".into()],
            cities: vec![7],
            device_classes: vec![v1::DeviceClass::Phone.into()],
            os: vec![v1::Os::Ios.into()],
            os_version: Some(v1::VersionRange { min: "16".into(), max: String::new() }),
            hours_of_week: vec![0, 167],
            viewer_recency: v1::ViewerRecency::New.into(),
            ..Default::default()
        };
        let other = v1::Targeting {
            segments: vec![v1::SegmentGroup { any_of: vec![9] }],
            excluded_key_values: vec![v1::KeyValues {
                key: "plan".into(),
                any_of: vec!["gold".into()],
            }],
            ..Default::default()
        };
        let wanted = v1::AdSet {
            targeting: Some(one),
            or_targeting: vec![other],
            beneficiary: "Tacos el Rey".into(),
            payer: "Agencia Centro".into(),
            ..old.clone()
        };
        let paths = ["targeting", "or_targeting", "beneficiary", "payer"].map(Into::into).into();
        let request = v1::UpdateAdSetRequest {
            request_id: "update".into(),
            ad_set: Some(wanted.clone()),
            update_mask: Some(FieldMask { paths }),
            validate_only: false,
        };
        desk.campaigns(TACOS).update_ad_set(request).await?;
        let new = ad_set_of(&desk, &shop).await?;
        assert_eq!(
            new,
            v1::AdSet { update_time: new.update_time, etag: new.etag.clone(), ..wanted }
        );
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_creative_that_no_feed_can_show_is_refused() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let words = || v1::Creative { primary_text: "Tacos!".into(), ..Default::default() };
        let with = |media| v1::Creative { media: Some(media), ..words() };
        let card = |media| v1::CarouselCard { media: Some(media), headline: String::new() };
        let text = v1::CreativeFormat::Text.into();
        let heavy = v1::Media { bytes: 30_000_001, ..picture() };
        let long = v1::Media { mime_type: "video/mp4".into(), duration_ms: 60_001, ..picture() };
        let moving = v1::Media { mime_type: "image/gif".into(), ..picture() };
        let short = "https://cdn.example/a.jpg".to_owned();
        for (number, (creative, field)) in [
            (v1::Creative { format: text, ..with(picture()) }, "media"),
            (v1::Creative { media_url: short, ..with(picture()) }, "media_url"),
            (
                v1::Creative { text_style: Some(v1::TextStyle::default()), ..with(picture()) },
                "text_style",
            ),
            (with(heavy), "media.bytes"),
            (with(long), "media.duration_ms"),
            (with(moving), "media.mime_type"),
            (v1::Creative { cards: vec![card(picture())], ..words() }, "cards"),
            (v1::Creative { cards: vec![card(picture()); 11], ..words() }, "cards"),
        ]
        .into_iter()
        .enumerate()
        {
            let text = format!("{creative:?}");
            let status =
                advertise(&desk, &shop, format!("ad-{number}"), creative).await.unwrap_err();
            let wanted = (Code::InvalidArgument, format!("ad.creative.{field}"));
            assert_eq!(told(&status), wanted, "{text}");
        }
        let wide = v1::Media { width: 1_920, height: 1_080, ..picture() };
        let status = advertise(&desk, &shop, "wide".into(), with(wide.clone())).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "ad.creative".into()), "no story");
        assert!(status.message().contains("14 %") && status.message().contains("35 %"));
        retarget(&desk, &shop, &[v1::Placement::Feed]).await?;
        advertise(&desk, &shop, "wide".into(), with(wide)).await?;
        let status = retarget(&desk, &shop, &[v1::Placement::Status]).await.unwrap_err();
        assert_eq!(told(&status), (Code::InvalidArgument, "ad_set.targeting".into()));
        let carousel = v1::Creative { cards: vec![card(picture()); 2], ..words() };
        let ad = advertise(&desk, &shop, "good".into(), carousel).await?;
        assert_eq!(ad.creative.unwrap().format(), v1::CreativeFormat::Carousel);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

#[test]
fn a_tray_that_is_none_is_refused_and_a_stream_of_them_goes_on() {
    let desk = Desk::start();
    calls(async {
        let shop = open_shop(&desk, TACOS).await?;
        let good = || tray("viewer-1").unwrap();
        let with = |spoil: fn(&mut v1::ViewerContext)| {
            let mut request = good();
            spoil(request.viewer.as_mut().unwrap());
            request
        };
        let cases = [
            (v1::AdRequest { posts: 0, ..good() }, "FIELD_MISSING", "posts"),
            (v1::AdRequest { posts: 10_000, ..good() }, "TOO_LARGE", "posts"),
            (v1::AdRequest { positions: vec![4, 2], ..good() }, "FIELD_INVALID", "positions[1]"),
            (v1::AdRequest { positions: vec![4, 4], ..good() }, "FIELD_INVALID", "positions[1]"),
            (
                with(|v| v.utc_offset_minutes = Some(900)),
                "FIELD_INVALID",
                "viewer.utc_offset_minutes",
            ),
            (with(|v| v.os_version = "new".into()), "FIELD_INVALID", "viewer.os_version"),
            (with(|v| v.segments = vec![0]), "FIELD_INVALID", "viewer.segments[0]"),
            (
                with(|v| v.key_values = vec![v1::KeyValue { key: "A".into(), value: "b".into() }]),
                "FIELD_INVALID",
                "viewer.key_values[0].key",
            ),
            (
                with(|v| {
                    v.location = Some(v1::GeoPoint { latitude_e6: 91_000_000, longitude_e6: 0 });
                }),
                "FIELD_INVALID",
                "viewer.location.latitude_e6",
            ),
        ];
        let mut stream = Vec::new();
        for (number, (request, reason, field)) in cases.iter().enumerate() {
            let ad_request = Some(request.clone());
            let asked = v1::RequestAdsRequest { ad_request: ad_request.clone() };
            let status = desk.ads(STATUS).request_ads(asked).await.unwrap_err();
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, *reason, "{request:?}");
            assert_eq!(told(&status), (Code::InvalidArgument, format!("ad_request.{field}")));
            stream.push(v1::StreamAdsRequest { sequence: number as u64, ad_request });
        }
        stream.push(v1::StreamAdsRequest { sequence: 99, ad_request: Some(good()) });
        let mut answers =
            desk.ads(STATUS).stream_ads(tokio_stream::iter(stream)).await?.into_inner();
        for (_, reason, field) in cases {
            let error = answers.message().await?.unwrap().error.unwrap();
            assert_eq!((&*error.reason, error.field), (reason, format!("ad_request.{field}")));
        }
        let last = answers.message().await?.unwrap();
        assert_eq!((last.sequence, last.error), (99, None));
        assert_eq!(crate::desk::first_ad(&last.slots).ad_id, shop.ad);
        Ok::<_, Status>(())
    })
    .unwrap();
    desk.stop();
}

fn picture() -> v1::Media {
    v1::Media {
        url: "https://cdn.example/taco.jpg".into(),
        sha256: vec![7; 32],
        mime_type: "image/jpeg".into(),
        width: 1_080,
        height: 1_920,
        bytes: 400_000,
        duration_ms: 0,
    }
}

async fn ad_set_of(desk: &Desk, shop: &Shop) -> Result<v1::AdSet, Status> {
    let answer = desk.campaigns(TACOS).get_ad_set(v1::GetAdSetRequest { id: shop.ad_set }).await?;
    Ok(answer.into_inner().ad_set.expect("the ad set"))
}

async fn retarget(desk: &Desk, shop: &Shop, placements: &[v1::Placement]) -> Result<(), Status> {
    let placements: Vec<i32> = placements.iter().map(|&placement| placement.into()).collect();
    let request_id = format!("retarget-{placements:?}");
    let targeting = Some(v1::Targeting { placements, ..Default::default() });
    let row = v1::AdSet { id: shop.ad_set, targeting, ..Default::default() };
    let request = v1::UpdateAdSetRequest {
        request_id,
        ad_set: Some(row),
        update_mask: Some(FieldMask { paths: vec!["targeting".into()] }),
        validate_only: false,
    };
    desk.campaigns(TACOS).update_ad_set(request).await.map(drop)
}

async fn create(desk: &Desk, request_id: String, row: v1::AdSet) -> Result<(), Status> {
    let (ad_set, validate_only) = (Some(row), false);
    let request = v1::CreateAdSetRequest { request_id, ad_set, validate_only };
    desk.campaigns(TACOS).create_ad_set(request).await.map(drop)
}

async fn advertise(
    desk: &Desk,
    shop: &Shop,
    request_id: String,
    creative: v1::Creative,
) -> Result<v1::Ad, Status> {
    let ad = v1::Ad {
        ad_set_id: shop.ad_set,
        name: "Ad".into(),
        creative: Some(creative),
        destination: Some(v1::ChatDestination { endpoint_id: shop.endpoint, ..Default::default() }),
        ..Default::default()
    };
    let request = v1::CreateAdRequest { request_id, ad: Some(ad), validate_only: false };
    Ok(desk.campaigns(TACOS).create_ad(request).await?.into_inner().ad.expect("the ad"))
}

/// Returns code and field of a refusal.
fn told(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let field = details.bad_request().and_then(|bad| bad.field_violations.first().cloned());
    (status.code(), field.map(|it| it.field).unwrap_or_default())
}
