//! What a viewer sees of an ad, checked against the formats of the field.
//!
//! Feeds lay their own controls over the upper 14 % and the lower 35 % of a story. Primary text and
//! headline are fields of their own, which the feed lays out, so there is nothing of ours to check there:
//! the shares are told to advertisers in the interface. Whether a medium has the shape that the ad set's
//! placements ask for, `decide` checks: it knows them.

use crate::rpc::limits::{
    CARDS_MAX, CARDS_MIN, HEADLINE_CHARS_MAX, IMAGE_BYTES_MAX, MEDIA_SIDE_MAX, MEDIA_URL_CHARS_MAX,
    PRIMARY_TEXT_CHARS_MAX, RGB_MAX, SHA256_BYTES, VIDEO_BYTES_MAX, VIDEO_MS_MAX,
};
use crate::rpc::parse::field::{Path, at_most, optional_text, optional_variant, required, text};
use crate::types::proto::v1;
use crate::types::proto::v1::CreativeFormat as Format;
use crate::types::refusal::{Reason, Refusal};

/// What a picture may be encoded as.
const IMAGE_TYPES: [&str; 3] = ["image/jpeg", "image/png", "image/webp"];

/// What a video may be encoded as.
const VIDEO_TYPES: [&str; 2] = ["video/mp4", "video/3gpp"];

/// Checks a creative, and names its format where the caller doesn't.
pub(super) fn creative(wire: &mut v1::Creative, path: Path) -> Result<(), Refusal> {
    optional_text(&wire.primary_text, PRIMARY_TEXT_CHARS_MAX, path.field("primary_text"))?;
    optional_text(&wire.headline, HEADLINE_CHARS_MAX, path.field("headline"))?;
    let told = optional_variant(wire.format, path.field("format"))?;
    let format = if told == Format::Unspecified { usual_format(wire) } else { told };
    match format {
        Format::Unspecified | Format::Text => text_ad(wire, path)?,
        Format::Image | Format::Video => media_ad(wire, format, path)?,
        Format::Carousel => carousel(wire, path)?,
    }
    if format != Format::Text && wire.text_style.is_some() {
        return Err(alien(path.field("text_style"), format));
    }
    wire.format = format.into();
    Ok(())
}

fn usual_format(wire: &v1::Creative) -> Format {
    let is_video = |media: &v1::Media| VIDEO_TYPES.contains(&&*media.mime_type);
    match &wire.media {
        Some(media) if is_video(media) => Format::Video,
        Some(_) => Format::Image,
        None if !wire.media_url.is_empty() => Format::Image,
        None if !wire.cards.is_empty() => Format::Carousel,
        None => Format::Text,
    }
}

fn text_ad(wire: &mut v1::Creative, path: Path) -> Result<(), Refusal> {
    for (name, there) in [
        ("media", wire.media.is_some()),
        ("media_url", !wire.media_url.is_empty()),
        ("cards", !wire.cards.is_empty()),
    ] {
        if there {
            return Err(alien(path.field(name), Format::Text));
        }
    }
    hash(&wire.media_sha256, false, path.field("media_sha256"))?;
    if wire.primary_text.is_empty() {
        let message = "is empty, and there is no media: an ad shows at least one of them";
        return Err(path.field("primary_text").refuse(Reason::FieldMissing, message));
    }
    let Some(style) = &mut wire.text_style else { return Ok(()) };
    let path = path.field("text_style");
    if style.background_rgb > RGB_MAX {
        let message = format!("is {}: send 0xRRGGBB, at most {RGB_MAX}", style.background_rgb);
        return Err(path.field("background_rgb").refuse(Reason::FieldInvalid, message));
    }
    let font: v1::TextFont = optional_variant(style.font, path.field("font"))?;
    let font = if font == v1::TextFont::Unspecified { v1::TextFont::SansSerif } else { font };
    style.font = font.into();
    Ok(())
}

fn media_ad(wire: &v1::Creative, format: Format, path: Path) -> Result<(), Refusal> {
    if !wire.cards.is_empty() {
        return Err(alien(path.field("cards"), format));
    }
    let short = path.field("media_url");
    hash(&wire.media_sha256, !wire.media_url.is_empty(), path.field("media_sha256"))?;
    match (&wire.media, &*wire.media_url) {
        (Some(media), "") => self::media(media, Some(format), path.field("media")),
        (None, "") => required(None, path.field("media")),
        (None, address) => url(address, short),
        (Some(_), _) => {
            let message = "is there beside media: it is its short form, send one of the two";
            Err(short.refuse(Reason::FieldInvalid, message))
        }
    }
}

fn carousel(wire: &v1::Creative, path: Path) -> Result<(), Refusal> {
    for (name, there) in
        [("media", wire.media.is_some()), ("media_url", !wire.media_url.is_empty())]
    {
        if there {
            return Err(alien(path.field(name), Format::Carousel));
        }
    }
    hash(&wire.media_sha256, false, path.field("media_sha256"))?;
    let cards = path.field("cards");
    at_most(wire.cards.len(), CARDS_MAX, cards)?;
    if wire.cards.len() < CARDS_MIN {
        let message = format!("has {} entries: send at least {CARDS_MIN}", wire.cards.len());
        return Err(cards.refuse(Reason::FieldInvalid, message));
    }
    for (index, card) in wire.cards.iter().enumerate() {
        let card_path = cards.at(index);
        let path = card_path.field("media");
        media(required(card.media.as_ref(), path)?, None, path)?;
        optional_text(&card.headline, HEADLINE_CHARS_MAX, card_path.field("headline"))?;
    }
    Ok(())
}

/// Checks a medium of this format; `None`: of either.
fn media(wire: &v1::Media, format: Option<Format>, path: Path) -> Result<(), Refusal> {
    required((!wire.url.is_empty()).then_some(()), path.field("url"))?;
    url(&wire.url, path.field("url"))?;
    hash(&wire.sha256, true, path.field("sha256"))?;
    let mime = path.field("mime_type");
    text(&wire.mime_type, MEDIA_URL_CHARS_MAX, mime)?;
    let is_video = VIDEO_TYPES.contains(&&*wire.mime_type);
    let (images, videos) = (IMAGE_TYPES.join(", "), VIDEO_TYPES.join(", "));
    let wanted = match format {
        Some(Format::Image) if is_video => Some(images),
        Some(Format::Video) if !is_video => Some(videos),
        _ if !is_video && !IMAGE_TYPES.contains(&&*wire.mime_type) => {
            Some(format!("{images}, {videos}"))
        }
        _ => None,
    };
    if let Some(wanted) = wanted {
        let message = format!("is {:?}: send one of {wanted}", wire.mime_type);
        return Err(mime.refuse(Reason::FieldInvalid, message));
    }
    let bytes_max = if is_video { VIDEO_BYTES_MAX } else { IMAGE_BYTES_MAX };
    let duration = if is_video { 1..=VIDEO_MS_MAX } else { 0..=0 };
    for (name, value, bounds) in [
        ("width", wire.width.into(), 1..=MEDIA_SIDE_MAX.into()),
        ("height", wire.height.into(), 1..=MEDIA_SIDE_MAX.into()),
        ("bytes", wire.bytes, 1..=bytes_max),
        (
            "duration_ms",
            wire.duration_ms.into(),
            (*duration.start()).into()..=(*duration.end()).into(),
        ),
    ] {
        if !bounds.contains(&value) {
            let message = format!("is {value}: send {} to {}", bounds.start(), bounds.end());
            return Err(path.field(name).refuse(Reason::FieldInvalid, message));
        }
    }
    Ok(())
}

fn url(value: &str, path: Path) -> Result<(), Refusal> {
    optional_text(value, MEDIA_URL_CHARS_MAX, path)?;
    if is_https(value) {
        return Ok(());
    }
    let message = "is no https address: send https://, a host, and no spaces";
    Err(path.refuse(Reason::FieldInvalid, message))
}

fn is_https(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A user name before the host is how one site passes for another.
    !host.is_empty() && !host.contains('@') && !rest.contains(char::is_whitespace)
}

/// Checks a declared SHA-256, which must be of a medium.
fn hash(value: &[u8], of_media: bool, path: Path) -> Result<(), Refusal> {
    match (value.len(), of_media) {
        (0, _) | (SHA256_BYTES, true) => Ok(()),
        (SHA256_BYTES, false) => {
            Err(path.refuse(Reason::FieldInvalid, "is of no media: send media_url too"))
        }
        (length, _) => {
            let message = format!("has {length} bytes: a SHA-256 has {SHA256_BYTES}, not in hex");
            Err(path.refuse(Reason::FieldInvalid, message))
        }
    }
}

fn alien(path: Path, format: Format) -> Refusal {
    let name = format.as_str_name().trim_start_matches("CREATIVE_FORMAT_");
    let message = format!("does not belong to an ad of format {name}: leave it out");
    path.refuse(Reason::FieldInvalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_named_where_the_caller_does_not() {
        for (creative, format) in [
            (words(), Format::Text),
            (short(), Format::Image),
            (with(picture()), Format::Image),
            (with(video()), Format::Video),
            (cards(), Format::Carousel),
        ] {
            let parsed = parse(v1::Creative { format: 0, ..creative.clone() }).unwrap();
            assert_eq!(parsed.format(), format);
            assert_eq!(parse(v1::Creative { format: format.into(), ..creative }), Ok(parsed));
        }
        let url_of_a_video = v1::Creative { format: Format::Video.into(), ..short() };
        assert_eq!(parse(url_of_a_video).unwrap().format(), Format::Video);
    }

    #[test]
    fn a_text_ad_has_a_style_and_nothing_of_the_other_formats() {
        let style = |background_rgb, font| {
            let text_style = Some(v1::TextStyle { background_rgb, font });
            v1::Creative { text_style, ..words() }
        };
        let parsed = parse(style(0xFF_FFFF, 0)).unwrap();
        assert_eq!(parsed.text_style.unwrap().font(), v1::TextFont::SansSerif);
        check("text_style.background_rgb", style(1 << 24, 1));
        check("text_style.font", style(0, 5));
        check("primary_text", v1::Creative::default());
        check("primary_text", v1::Creative { primary_text: "x".repeat(126), ..words() });
        check("headline", v1::Creative { headline: "x".repeat(41), ..words() });
        let format = Format::Text.into();
        check("media", v1::Creative { format, ..with(picture()) });
        check("media_url", v1::Creative { format, ..short() });
        check("cards", v1::Creative { format, ..cards() });
        check("media_sha256", v1::Creative { media_sha256: vec![7; 32], ..words() });
        check("format", v1::Creative { format: 5, ..words() });
    }

    #[test]
    fn a_medium_is_within_the_limits_of_its_format() {
        assert!(parse(with(v1::Media { bytes: IMAGE_BYTES_MAX, ..picture() })).is_ok());
        assert!(parse(with(v1::Media { bytes: VIDEO_BYTES_MAX, ..video() })).is_ok());
        check("media.url", with(v1::Media { url: String::new(), ..picture() }));
        check("media.sha256", with(v1::Media { sha256: vec![7; 31], ..picture() }));
        check("media.mime_type", with(v1::Media { mime_type: String::new(), ..picture() }));
        check("media.mime_type", with(v1::Media { mime_type: "image/gif".into(), ..picture() }));
        check("media.width", with(v1::Media { width: 0, ..picture() }));
        check("media.height", with(v1::Media { height: 16_385, ..picture() }));
        check("media.bytes", with(v1::Media { bytes: 0, ..picture() }));
        check("media.bytes", with(v1::Media { bytes: IMAGE_BYTES_MAX + 1, ..picture() }));
        check("media.bytes", with(v1::Media { bytes: VIDEO_BYTES_MAX + 1, ..video() }));
        check("media.duration_ms", with(v1::Media { duration_ms: 1, ..picture() }));
        check("media.duration_ms", with(v1::Media { duration_ms: 0, ..video() }));
        check("media.duration_ms", with(v1::Media { duration_ms: 60_001, ..video() }));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let of = |format: Format, creative| v1::Creative { format: format.into(), ..creative };
        check("media.mime_type", of(Format::Image, with(video())));
        check("media.mime_type", of(Format::Video, with(picture())));
        check("media", of(Format::Image, words()));
        check("media_url", v1::Creative { media_url: short().media_url, ..with(picture()) });
        check("cards", v1::Creative { cards: cards().cards, ..with(picture()) });
        let text_style = Some(v1::TextStyle::default());
        check("text_style", v1::Creative { text_style, ..with(picture()) });
        check("text_style", v1::Creative { text_style, ..cards() });
        check("media", of(Format::Carousel, with(picture())));
        check("media_url", of(Format::Carousel, short()));
    }

    #[test]
    fn a_carousel_has_two_to_ten_cards_each_with_a_medium() {
        let of = |count| v1::Creative { cards: vec![card(); count], ..cards() };
        assert!(parse(of(2)).is_ok() && parse(of(10)).is_ok());
        check("cards", of(1));
        check("cards", of(11));
        check("cards", v1::Creative { format: Format::Carousel.into(), ..words() });
        let spoilt = |spoil: fn(&mut v1::CarouselCard)| {
            let mut creative = cards();
            spoil(&mut creative.cards[1]);
            creative
        };
        check("cards[1].media", spoilt(|card| card.media = None));
        check("cards[1].media.url", spoilt(|card| card.media.as_mut().unwrap().url.clear()));
        check("cards[1].headline", spoilt(|card| card.headline = "x".repeat(41)));
    }

    #[test]
    fn an_address_is_https_and_of_an_honest_host() {
        for bad in ["http://a/b", "https://", "https:///b", "https://a b", "https://a@b/", "a"] {
            check("media_url", v1::Creative { media_url: bad.into(), ..short() });
            check("media.url", with(v1::Media { url: bad.into(), ..picture() }));
        }
        check("media_sha256", v1::Creative { media_sha256: vec![0; 31], ..short() });
    }

    fn words() -> v1::Creative {
        v1::Creative { primary_text: "Three for two".into(), ..Default::default() }
    }

    fn short() -> v1::Creative {
        let media_url = "https://cdn.example/taco.jpg?v=1".into();
        v1::Creative { media_url, media_sha256: vec![7; 32], ..Default::default() }
    }

    fn with(media: v1::Media) -> v1::Creative {
        v1::Creative { media: Some(media), ..Default::default() }
    }

    fn cards() -> v1::Creative {
        v1::Creative { cards: vec![card(), card()], ..words() }
    }

    fn card() -> v1::CarouselCard {
        v1::CarouselCard { media: Some(picture()), headline: "Today".into() }
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

    fn video() -> v1::Media {
        v1::Media { mime_type: "video/mp4".into(), duration_ms: 60_000, ..picture() }
    }

    fn parse(mut wire: v1::Creative) -> Result<v1::Creative, Refusal> {
        creative(&mut wire, Path::root("creative")).map(|()| wire)
    }

    fn check(field: &str, wire: v1::Creative) {
        assert_eq!(parse(wire).unwrap_err().field, format!("creative.{field}"));
    }
}
