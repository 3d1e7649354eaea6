//! What a feed asks: one tray, and what is known of its viewer.

use crate::rpc::limits::{
    INTERESTS_MAX, KEY_VALUES_MAX, LANGUAGES_MAX, POSTS_MAX, PSEUDONYM_CHARS_MAX, SEGMENTS_MAX,
    SLOTS_MAX, UTC_OFFSET_MINUTES_MAX, UTC_OFFSET_MINUTES_MIN, VALUE_CHARS_MAX,
};
use crate::rpc::parse::field::{
    Path, at_most, country, interest, key, language, number, optional_text, optional_variant,
    place, region, required, text, token, variant, version,
};
use crate::tokens::{Sealer, viewer_number};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{AdRequest, Profile, key_value};
use crate::types::time::Moment;

/// Returns one tray's request. The pseudonym becomes a number under the feed's link key here, or the
/// frequency token gives back the number that it was sealed with; nothing behind the door sees either.
pub(in crate::rpc) fn ad_request(
    wire: Option<v1::AdRequest>,
    feed: u32,
    sealer: &Sealer,
    now: Moment,
) -> Result<AdRequest, Refusal> {
    let path = Path::root("ad_request");
    let wire = required(wire, path)?;
    let placement = variant(wire.placement, path.field("placement"))?;
    let posts_path = path.field("posts");
    if wire.posts > POSTS_MAX {
        let message = format!("is {}: send at most {POSTS_MAX}, one tray at a time", wire.posts);
        return Err(posts_path.refuse(Reason::TooLarge, message));
    }
    if wire.posts == 0 && wire.positions.is_empty() {
        let message = "is 0, and there are no positions: a tray without posts has no place for ads";
        return Err(posts_path.refuse(Reason::FieldMissing, message));
    }
    let positions = positions(&wire.positions, wire.posts, path.field("positions"))?;
    // Positions tell the tray's length where the caller doesn't.
    let posts = wire.posts.max(positions.last().map_or(0, |&last| u32::from(last) + 1));
    let viewer_path = path.field("viewer");
    let wire_viewer = wire.viewer.unwrap_or_default();
    let pseudonym = viewer_path.field("pseudonym");
    let named = viewer(&wire_viewer.pseudonym, feed, sealer, pseudonym)?;
    let token_path = path.field("frequency_token");
    let viewer = match named {
        Some(_) if !wire.frequency_token.is_empty() => {
            let message = "goes with no pseudonym: send one of the two";
            return Err(token_path.refuse(Reason::FieldInvalid, message));
        }
        Some(number) => Some(number),
        None => unnamed(&wire.frequency_token, feed, sealer, now, token_path)?,
    };
    let profile = profile(&wire_viewer, viewer_path)?;
    let (named, ads_in_session) = (named.is_some(), wire.ads_in_session);
    let posts = posts as u16;
    Ok(AdRequest { placement, viewer, named, profile, posts, positions, ads_in_session })
}

fn positions(wire: &[u32], posts: u32, path: Path) -> Result<Vec<u16>, Refusal> {
    at_most(wire.len(), SLOTS_MAX, path)?;
    let end = if posts == 0 { POSTS_MAX } else { posts };
    for (index, &position) in wire.iter().enumerate() {
        if position >= end {
            let message = format!("is {position}: the tray ends before post {end}");
            return Err(path.at(index).refuse(Reason::FieldInvalid, message));
        }
        if index > 0 && position <= wire[index - 1] {
            let message = "is not above the one before: send positions ascending, each once";
            return Err(path.at(index).refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(wire.iter().map(|&position| position as u16).collect())
}

fn viewer(pseudonym: &str, feed: u32, sealer: &Sealer, path: Path) -> Result<Option<u64>, Refusal> {
    if pseudonym.is_empty() {
        return Ok(None);
    }
    optional_text(pseudonym, PSEUDONYM_CHARS_MAX, path)?;
    let message = "this feed has no link key: is it in the server's configuration?";
    let link = sealer.ring().link(feed);
    let link = link.ok_or_else(|| Refusal::new(Reason::Unavailable, "", message))?;
    Ok(Some(viewer_number(link, pseudonym)))
}

/// Returns the number that a frequency token stands for; `None` without one: a viewer never met.
fn unnamed(
    sealed: &[u8],
    feed: u32,
    sealer: &Sealer,
    now: Moment,
    path: Path,
) -> Result<Option<u64>, Refusal> {
    if sealed.is_empty() {
        return Ok(None);
    }
    let opened = sealer.open_frequency(sealed, now.seconds());
    let opened = opened.map_err(|refusal| token(refusal, path))?;
    if opened.feed != feed {
        let message = "was given to another feed: send none, and keep the one of the answer";
        return Err(path.refuse(Reason::TokenForeign, message));
    }
    Ok(Some(opened.viewer))
}

/// Returns what is known of the viewer. A feed that tells a thing twice tells it once: its lists come
/// from many sources, and a viewer must not go without ads for that.
fn profile(wire: &v1::ViewerContext, path: Path) -> Result<Profile, Refusal> {
    let country = match &*wire.country {
        "" => 0,
        text => country(text, path.field("country"))?,
    };
    let region = match &*wire.region {
        "" => 0,
        text => region(text, &[country], path.field("region"))?,
    };
    let city = match wire.city {
        0 => 0,
        city => number(city, path.field("city"))?,
    };
    let point = |it: &v1::GeoPoint| (it.latitude_e6, it.longitude_e6);
    let location = wire.location.as_ref().map(point);
    let at = path.field("location");
    location.iter().try_for_each(|&(north, east)| place(north, east, at))?;
    let languages = path.field("languages");
    let languages = each(&wire.languages, LANGUAGES_MAX, languages, |text, at| language(text, at))?;
    let age_band: v1::AgeBand = optional_variant(wire.age_band, path.field("age_band"))?;
    let gender: v1::Gender = optional_variant(wire.gender, path.field("gender"))?;
    let os: v1::Os = optional_variant(wire.os, path.field("os"))?;
    let device: v1::DeviceClass = optional_variant(wire.device_class, path.field("device_class"))?;
    let connection: v1::Connection = optional_variant(wire.connection, path.field("connection"))?;
    let recency = path.field("viewer_recency");
    let recency: v1::ViewerRecency = optional_variant(wire.viewer_recency, recency)?;
    let list = path.field("interests");
    let interests = each(&wire.interests, INTERESTS_MAX, list, |&it, at| interest(it, at))?;
    let list = path.field("segments");
    let segments = each(&wire.segments, SEGMENTS_MAX, list, |&it, at| number(it, at))?;
    let key_values = each(&wire.key_values, KEY_VALUES_MAX, path.field("key_values"), hashed)?;
    Ok(Profile {
        country,
        region,
        city,
        location,
        languages,
        age_band: age_band as u8,
        gender: gender as u8,
        os: os as u8,
        device_class: device as u8,
        connection: connection as u8,
        recency: recency as u8,
        os_version: version(&wire.os_version, path.field("os_version"))?,
        app_version: version(&wire.app_version, path.field("app_version"))?,
        utc_offset_minutes: utc_offset(wire.utc_offset_minutes, path.field("utc_offset_minutes"))?,
        interests: ascending(interests),
        segments: ascending(segments),
        key_values: ascending(key_values),
    })
}

fn each<T, U>(
    list: &[T],
    max: usize,
    path: Path,
    check: impl Fn(&T, Path) -> Result<U, Refusal>,
) -> Result<Vec<U>, Refusal> {
    at_most(list.len(), max, path)?;
    list.iter().enumerate().map(|(index, value)| check(value, path.at(index))).collect()
}

fn ascending<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

/// Returns the number that stands for a custom key and value.
fn hashed(wire: &v1::KeyValue, path: Path) -> Result<u64, Refusal> {
    key(&wire.key, path.field("key"))?;
    text(&wire.value, VALUE_CHARS_MAX, path.field("value"))?;
    Ok(key_value(&wire.key, &wire.value))
}

fn utc_offset(wire: Option<i32>, path: Path) -> Result<Option<i16>, Refusal> {
    let (min, max) = (UTC_OFFSET_MINUTES_MIN, UTC_OFFSET_MINUTES_MAX);
    match wire {
        Some(minutes) if !(min..=max).contains(&minutes) => {
            let message = format!("is {minutes}: send minutes ahead of UTC, {min} to {max}");
            Err(path.refuse(Reason::FieldInvalid, message))
        }
        told => Ok(told.map(|minutes| minutes as i16)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{FEED, NOW, sealer};
    use crate::types::iso::{country_code, language_code};
    use crate::types::time::DAY_MS;
    use crate::types::token::pack_region;
    use crate::types::token::{FrequencyToken, ViewToken};

    #[test]
    fn a_whole_request_becomes_codes() {
        let request = parse(whole()).unwrap();
        assert_eq!(request.placement, v1::Placement::Status);
        assert_eq!((request.posts, &*request.positions), (20, &[2, 9][..]));
        let link = sealer().ring().link(FEED).cloned().unwrap();
        assert_eq!(request.viewer, Some(viewer_number(&link, "viewer-1")));
        let profile = Profile {
            country: country_code("MX").unwrap(),
            region: pack_region("CMX").unwrap(),
            languages: vec![language_code("es").unwrap()],
            age_band: 2,
            gender: 1,
            os: 1,
            interests: vec![3, 9],
            city: 77,
            location: Some((19_432_608, -99_133_209)),
            device_class: 1,
            connection: 4,
            recency: 2,
            os_version: 16 << 48 | 4 << 32,
            app_version: 2 << 48 | 24 << 32 | 9 << 16,
            utc_offset_minutes: Some(-360),
            segments: vec![5, 6],
            key_values: ascending(vec![key_value("plan", "gold"), key_value("tier", "2")]),
        };
        assert_eq!(request.profile, profile);
    }

    #[test]
    fn a_request_that_tells_nothing_of_the_viewer_is_good() {
        let request =
            parse(v1::AdRequest { placement: 1, posts: 20, ..Default::default() }).unwrap();
        assert_eq!((request.viewer, request.profile), (None, Profile::default()));
        let named = v1::AdRequest { posts: 0, positions: vec![0, 249], ..whole() };
        assert_eq!(parse(named).unwrap().posts, 250, "positions tell the length");
    }

    #[test]
    fn each_field_out_of_its_bounds_is_refused_by_its_path() {
        check("ad_request.placement", |r| r.placement = 0);
        check("ad_request.placement", |r| r.placement = 99);
        check("ad_request.posts", |r| r.posts = 251);
        check("ad_request.posts", |r| r.posts = 10_000);
        check("ad_request.posts", |r| (r.posts, r.positions) = (0, Vec::new()));
        check("ad_request.positions", |r| r.positions = (0..17).collect());
        check("ad_request.positions[1]", |r| r.positions = vec![3, 3]);
        check("ad_request.positions[1]", |r| r.positions = vec![3, 2]);
        check("ad_request.positions[0]", |r| r.positions = vec![20]);
        check("ad_request.viewer.pseudonym", |r| viewer(r).pseudonym = "x".repeat(129));
        check("ad_request.viewer.pseudonym", |r| viewer(r).pseudonym = "a\0".into());
        check("ad_request.viewer.country", |r| viewer(r).country = "mx".into());
        check("ad_request.viewer.region", |r| viewer(r).region = "US-CA".into());
        check("ad_request.viewer.region", |r| viewer(r).country = String::new());
        check("ad_request.viewer.languages[1]", |r| viewer(r).languages.push("ES".into()));
        check("ad_request.viewer.languages", |r| viewer(r).languages = vec!["es".into(); 9]);
        check("ad_request.viewer.age_band", |r| viewer(r).age_band = 8);
        check("ad_request.viewer.gender", |r| viewer(r).gender = -1);
        check("ad_request.viewer.os", |r| viewer(r).os = 5);
        check("ad_request.viewer.interests[3]", |r| viewer(r).interests.push(0));
        check("ad_request.viewer.interests[3]", |r| viewer(r).interests.push(65_536));
        check("ad_request.viewer.interests", |r| viewer(r).interests = vec![1; 257]);
        assert_eq!(ad_request(None, FEED, &sealer(), NOW).unwrap_err().field, "ad_request");
    }

    #[test]
    fn a_frequency_token_stands_for_a_viewer_without_a_pseudonym() {
        let request = parse(with_token(FEED)).unwrap();
        assert_eq!((request.viewer, request.named), (Some(77), false));
        let named = parse(whole()).unwrap();
        assert!(named.named && named.viewer != Some(77));
    }

    #[test]
    fn a_frequency_token_that_is_not_this_viewers_is_refused_by_name() {
        let refused = |wire: v1::AdRequest, now| {
            let refusal = ad_request(Some(wire), FEED, &sealer(), now).unwrap_err();
            assert_eq!(refusal.field, "ad_request.frequency_token");
            refusal.reason
        };
        let with =
            |bytes: Vec<u8>| v1::AdRequest { frequency_token: bytes.into(), ..with_token(FEED) };
        assert_eq!(refused(with_token(FEED + 1), NOW), Reason::TokenForeign);
        assert!(ad_request(Some(with_token(FEED)), FEED, &sealer(), last()).is_ok());
        assert_eq!(refused(with_token(FEED), last().plus_ms(1)), Reason::TokenExpired);
        assert_eq!(refused(with(vec![1; 5]), NOW), Reason::TokenMalformed);
        let view = sealer().seal_view(&ViewToken { feed: FEED, ..ViewToken::default() });
        assert_eq!(refused(with(view.to_vec()), NOW), Reason::TokenMalformed);
        let mut forged = with_token(FEED).frequency_token.to_vec();
        forged[20] ^= 1;
        assert_eq!(refused(with(forged), NOW), Reason::TokenForged);
        let viewer = whole().viewer;
        assert_eq!(
            refused(v1::AdRequest { viewer, ..with_token(FEED) }, NOW),
            Reason::FieldInvalid
        );
    }

    #[test]
    fn what_is_told_of_the_viewer_is_refused_by_its_path() {
        let check = |field: &str, spoil: fn(&mut v1::ViewerContext)| {
            check(&format!("ad_request.viewer.{field}"), |r| spoil(viewer(r)));
        };
        check("city", |v| v.city = 1 << 24);
        check("location.latitude_e6", |v| v.location.as_mut().unwrap().latitude_e6 = 90_000_001);
        check("location.longitude_e6", |v| v.location.as_mut().unwrap().longitude_e6 = i32::MIN);
        check("device_class", |v| v.device_class = 5);
        check("connection", |v| v.connection = 6);
        check("viewer_recency", |v| v.viewer_recency = 3);
        check("os_version", |v| v.os_version = "16.".into());
        check("app_version", |v| v.app_version = "1.2.3.4.5".into());
        check("utc_offset_minutes", |v| v.utc_offset_minutes = Some(-721));
        check("utc_offset_minutes", |v| v.utc_offset_minutes = Some(841));
        check("segments[1]", |v| v.segments[1] = 1 << 24);
        check("segments", |v| v.segments = vec![1; 257]);
        check("key_values[0].key", |v| v.key_values[0].key = "Plan".into());
        check("key_values[0].value", |v| v.key_values[0].value.clear());
        check("key_values[0].value", |v| v.key_values[0].value = "x".repeat(65));
        check("key_values", |v| v.key_values = vec![v.key_values[0].clone(); 65]);
    }

    #[test]
    fn a_feed_without_a_key_is_not_served_under_anothers() {
        let refusal = ad_request(Some(whole()), FEED + 1, &sealer(), NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::Unavailable);
    }

    fn whole() -> v1::AdRequest {
        v1::AdRequest {
            placement: v1::Placement::Status.into(),
            viewer: Some(v1::ViewerContext {
                pseudonym: "viewer-1".into(),
                country: "MX".into(),
                region: "MX-CMX".into(),
                languages: vec!["es".into()],
                age_band: v1::AgeBand::AgeBand1824.into(),
                gender: v1::Gender::Female.into(),
                os: v1::Os::Android.into(),
                interests: vec![9, 3, 9],
                city: 77,
                location: Some(v1::GeoPoint { latitude_e6: 19_432_608, longitude_e6: -99_133_209 }),
                device_class: v1::DeviceClass::Phone.into(),
                connection: v1::Connection::Cellular4g.into(),
                viewer_recency: v1::ViewerRecency::Returning.into(),
                os_version: "16.4".into(),
                app_version: "2.24.9".into(),
                utc_offset_minutes: Some(-360),
                segments: vec![6, 5, 6],
                key_values: [("tier", "2"), ("plan", "gold"), ("tier", "2")]
                    .map(|(key, value)| v1::KeyValue { key: key.into(), value: value.into() })
                    .into(),
            }),
            posts: 20,
            positions: vec![2, 9],
            ..Default::default()
        }
    }

    /// Returns a request of a viewer without a pseudonym, with a token given to a feed.
    fn with_token(feed: u32) -> v1::AdRequest {
        let token = FrequencyToken { viewer: 77, feed, issued: NOW.seconds() };
        let frequency_token = sealer().seal_frequency(&token).to_vec().into();
        v1::AdRequest { frequency_token, viewer: None, ..whole() }
    }

    fn last() -> Moment {
        NOW.plus_ms(31 * DAY_MS - 1)
    }

    fn viewer(request: &mut v1::AdRequest) -> &mut v1::ViewerContext {
        request.viewer.as_mut().unwrap()
    }

    fn parse(wire: v1::AdRequest) -> Result<AdRequest, Refusal> {
        ad_request(Some(wire), FEED, &sealer(), NOW)
    }

    fn check(field: &str, spoil: impl Fn(&mut v1::AdRequest)) {
        let mut request = whole();
        spoil(&mut request);
        assert_eq!(parse(request).unwrap_err().field, field);
    }
}
