//! Checks that several services share: texts, numbers, codes, money and moments of one field.

use std::fmt;

use jiff::tz::TimeZone;
use prost_types::Timestamp;

use crate::rpc::limits::{
    INTEREST_MAX, KEY_CHARS_MAX, LATITUDE_E6_MAX, LONGITUDE_E6_MAX, NUMBER_MAX, SECONDS_MAX,
};
use crate::tokens::TokenRefusal;
use crate::types::iso::{country_code, is_currency, language_code};
use crate::types::money::AMOUNT_MICROS_MAX;
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::time::{DAY_MS, Moment};
use crate::types::token::pack_region;
use crate::types::version;

/// Where a field stands in its request: its name and those above it. Written out only in a refusal.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    above: Option<&'a Path<'a>>,
    name: &'a str,
    index: Option<usize>,
}

impl<'a> Path<'a> {
    /// Returns the path of a field of the request itself.
    pub(super) const fn root(name: &'a str) -> Self {
        Self { above: None, name, index: None }
    }

    /// Returns the path of a field of this one.
    pub(super) const fn field(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), name, index: None }
    }

    /// Returns the path of one element of this list.
    pub(super) const fn at(self, index: usize) -> Self {
        Self { index: Some(index), ..self }
    }

    /// Returns the field's own name.
    pub(super) const fn name(&self) -> &'a str {
        self.name
    }

    /// Returns a refusal of this field.
    pub(super) fn refuse(&self, reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal::new(reason, self.to_string(), message.into())
    }

    fn invalid(&self, message: impl Into<String>) -> Refusal {
        self.refuse(Reason::FieldInvalid, message)
    }

    fn missing(&self) -> Refusal {
        self.refuse(Reason::FieldMissing, "is empty: send it")
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = self.above {
            write!(f, "{above}.")?;
        }
        f.write_str(self.name)?;
        self.index.map_or(Ok(()), |index| write!(f, "[{index}]"))
    }
}

/// Returns what must be there.
pub(super) fn required<T>(value: Option<T>, path: Path) -> Result<T, Refusal> {
    value.ok_or_else(|| path.missing())
}

/// Checks an id that must be there.
pub(super) fn id(value: u64, path: Path) -> Result<u64, Refusal> {
    if value == 0 { Err(path.missing()) } else { Ok(value) }
}

/// Checks a list's length.
pub(super) fn at_most(count: usize, max: usize, path: Path) -> Result<(), Refusal> {
    if count <= max {
        return Ok(());
    }
    let message = format!("has {count} entries: send at most {max}");
    Err(path.refuse(Reason::TooLarge, message))
}

/// Checks a text that must be there.
pub(super) fn text(value: &str, chars_max: usize, path: Path) -> Result<(), Refusal> {
    if value.is_empty() { Err(path.missing()) } else { optional_text(value, chars_max, path) }
}

/// Checks a text that may be empty. Control characters would forge lines in logs and links.
pub(super) fn optional_text(value: &str, max: usize, path: Path) -> Result<(), Refusal> {
    // No character is shorter than a byte, so a short text needs no counting.
    if value.len() > max {
        let count = value.chars().count();
        if count > max {
            let message = format!("has {count} characters: send at most {max}");
            return Err(path.refuse(Reason::TooLarge, message));
        }
    }
    if value.chars().any(char::is_control) {
        return Err(path.invalid("has a control character: leave it out"));
    }
    Ok(())
}

/// Returns an enum's value that must be told.
pub(super) fn variant<E>(value: i32, path: Path) -> Result<E, Refusal>
where
    E: TryFrom<i32> + Default + PartialEq,
{
    let known: E = optional_variant(value, path)?;
    if known == E::default() { Err(path.missing()) } else { Ok(known) }
}

/// Returns an enum's value; its zero is "not told".
pub(super) fn optional_variant<E: TryFrom<i32>>(value: i32, path: Path) -> Result<E, Refusal> {
    let message = || format!("{value} is not a value of this enum: take one of the interface's");
    E::try_from(value).map_err(|_| path.invalid(message()))
}

/// Checks that a period, if it ends, does so after it starts.
pub(super) fn ends_after(
    start: Moment,
    end: Option<Moment>,
    end_path: Path,
) -> Result<(), Refusal> {
    if end.is_some_and(|end| end <= start) {
        let message = "is not after start_time: send a later end, or none";
        return Err(end_path.refuse(Reason::EndBeforeStart, message));
    }
    Ok(())
}

/// Checks that a period ends after it starts, and is no longer than so many days.
pub(super) fn period(
    [start, end]: [Moment; 2],
    days_max: i64,
    end_path: Path,
) -> Result<(), Refusal> {
    ends_after(start, Some(end), end_path)?;
    if end.0 - start.0 > days_max * DAY_MS {
        let message = format!("is more than {days_max} days after start_time");
        return Err(end_path.refuse(Reason::FieldInvalid, message));
    }
    Ok(())
}

/// Returns a moment between 1970 and 2105, or `None` where none is told.
pub(super) fn moment(value: Option<Timestamp>, path: Path) -> Result<Option<Moment>, Refusal> {
    let Some(time @ Timestamp { seconds, nanos }) = value else {
        return Ok(None);
    };
    if !(0..=SECONDS_MAX).contains(&seconds) {
        let message = "must lie between 1970 and 2105: is the caller's clock in milliseconds?";
        return Err(path.field("seconds").invalid(message));
    }
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(path.field("nanos").invalid("must be 0 to 999,999,999"));
    }
    Ok(Some(Moment::from(&time)))
}

/// Checks an amount that may be zero.
pub(super) fn money(value: &v1::Money, path: Path) -> Result<(), Refusal> {
    if !(0..=AMOUNT_MICROS_MAX).contains(&value.micros) {
        let message = format!("is {}: send 0 to {AMOUNT_MICROS_MAX} micros", value.micros);
        return Err(path.field("micros").refuse(Reason::MoneyInvalid, message));
    }
    if value.currency.is_empty() {
        return Err(path.field("currency").missing());
    }
    currency(&value.currency, path.field("currency"))
}

/// Checks an amount above zero.
pub(super) fn positive_money(value: &v1::Money, path: Path) -> Result<(), Refusal> {
    if value.micros == 0 {
        let message = "is 0: send an amount above it, or leave the whole field out";
        return Err(path.field("micros").refuse(Reason::MoneyInvalid, message));
    }
    money(value, path)
}

/// Checks a currency.
pub(super) fn currency(text: &str, path: Path) -> Result<(), Refusal> {
    if is_currency(text) {
        return Ok(());
    }
    let message = "is not money of ISO 4217: send three upper-case letters, such as MXN";
    Err(path.refuse(Reason::CurrencyInvalid, message))
}

/// Checks an IANA time zone against the built-in database.
pub(super) fn time_zone(text: &str, path: Path) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(path.missing());
    }
    // Lengths and letters first: the database says nothing about texts that no zone could have.
    let message = "is not a zone of the IANA database: send a name such as America/Mexico_City";
    TimeZone::get(text).map(|_| ()).map_err(|_| path.invalid(message))
}

/// Returns a country's code.
pub(super) fn country(text: &str, path: Path) -> Result<u16, Refusal> {
    let message = "is not in ISO 3166-1: send two upper-case letters, such as MX";
    country_code(text).ok_or_else(|| path.invalid(message))
}

/// Returns a language's code.
pub(super) fn language(text: &str, path: Path) -> Result<u16, Refusal> {
    let message = "is not in ISO 639-1: send two lower-case letters, such as es";
    language_code(text).ok_or_else(|| path.invalid(message))
}

/// Returns the packed suffix of a region. Its country must be one of those told, if any are.
pub(super) fn region(text: &str, countries: &[u16], path: Path) -> Result<u16, Refusal> {
    let message = "is not in ISO 3166-2: send country, hyphen and up to three characters: MX-CMX";
    let (head, suffix) = text.split_once('-').ok_or_else(|| path.invalid(message))?;
    let home = country_code(head).ok_or_else(|| path.invalid(message))?;
    if !countries.is_empty() && !countries.contains(&home) {
        return Err(path.invalid("is in a country that is not told: tell it too"));
    }
    let is_upper = suffix.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let packed = pack_region(suffix).filter(|&packed| packed != 0 && is_upper);
    packed.ok_or_else(|| path.invalid(message))
}

/// Returns an interest's number.
pub(super) fn interest(value: u32, path: Path) -> Result<u16, Refusal> {
    let number = u16::try_from(value).ok().filter(|&number| number != 0);
    number.ok_or_else(|| path.invalid(format!("is {value}: send 1 to {INTEREST_MAX}")))
}

/// Returns the number of a segment or city.
pub(super) fn number(value: u32, path: Path) -> Result<u32, Refusal> {
    if (1..=NUMBER_MAX).contains(&value) {
        return Ok(value);
    }
    Err(path.invalid(format!("is {value}: send 1 to {NUMBER_MAX}")))
}

/// Checks a custom key. Its form keeps apart what is written apart: case and spaces don't.
pub(super) fn key(value: &str, path: Path) -> Result<(), Refusal> {
    text(value, KEY_CHARS_MAX, path)?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if value.bytes().all(|byte| is_plain(byte) || b"_-.".contains(&byte)) {
        return Ok(());
    }
    Err(path.invalid("is no key: send a to z, 0 to 9, `_`, `-` and `.` only"))
}

/// Returns a version as one number that orders as versions do; 0 where none is told.
pub(super) fn version(text: &str, path: Path) -> Result<u64, Refusal> {
    let message = "is no version: send at most four numbers up to 65,535, joined by dots: 16.4.1";
    match text {
        "" => Ok(0),
        text => version::version(text).ok_or_else(|| path.invalid(message)),
    }
}

/// Checks a point on the map.
pub(super) fn place(latitude_e6: i32, longitude_e6: i32, path: Path) -> Result<(), Refusal> {
    for (name, value, max) in [
        ("latitude_e6", latitude_e6, LATITUDE_E6_MAX),
        ("longitude_e6", longitude_e6, LONGITUDE_E6_MAX),
    ] {
        if !(-max..=max).contains(&value) {
            let message = format!("is {value}: send millionths of a degree, -{max} to {max}");
            return Err(path.field(name).invalid(message));
        }
    }
    Ok(())
}

/// Returns the refusal of a token in this field.
pub(super) fn token(refusal: TokenRefusal, path: Path) -> Refusal {
    let reason = match refusal {
        TokenRefusal::Malformed | TokenRefusal::WrongKind { .. } => Reason::TokenMalformed,
        TokenRefusal::Forged | TokenRefusal::UnknownKey(_) => Reason::TokenForged,
        TokenRefusal::Expired { .. } => Reason::TokenExpired,
    };
    path.refuse(reason, refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::SECOND_MS;

    const PATH: Path = Path::root("campaign");

    #[test]
    fn a_path_names_every_field_above() {
        let budget = PATH.field("budget");
        assert_eq!(budget.field("daily").to_string(), "campaign.budget.daily");
        assert_eq!(Path::root("events").at(3).field("kind").to_string(), "events[3].kind");
    }

    #[test]
    fn money_is_whole_not_negative_bounded_and_of_a_known_currency() {
        let check = |micros, currency: &str| {
            let money = v1::Money { micros, currency: currency.into() };
            super::money(&money, PATH).map_err(|r| (r.reason, r.field.into_owned()))
        };
        assert_eq!(check(0, "MXN"), Ok(()));
        assert_eq!(check(AMOUNT_MICROS_MAX, "MXN"), Ok(()));
        let micros = |reason| Err((reason, "campaign.micros".to_owned()));
        let currency = |reason| Err((reason, "campaign.currency".to_owned()));
        assert_eq!(check(-1, "MXN"), micros(Reason::MoneyInvalid));
        assert_eq!(check(AMOUNT_MICROS_MAX + 1, "MXN"), micros(Reason::MoneyInvalid));
        assert_eq!(check(i64::MIN, "MXN"), micros(Reason::MoneyInvalid));
        assert_eq!(check(1, ""), currency(Reason::FieldMissing));
        assert_eq!(check(1, "mxn"), currency(Reason::CurrencyInvalid));
        assert_eq!(check(1, "XAU"), currency(Reason::CurrencyInvalid));
        let nothing = v1::Money { micros: 0, currency: "MXN".into() };
        assert_eq!(positive_money(&nothing, PATH).unwrap_err().reason, Reason::MoneyInvalid);
    }

    #[test]
    fn a_moment_fits_a_token_and_a_real_clock() {
        let check = |seconds, nanos| {
            let moment = super::moment(Some(Timestamp { seconds, nanos }), PATH);
            moment.map(Option::unwrap).map_err(|refusal| refusal.field.into_owned())
        };
        assert_eq!(check(0, 0), Ok(Moment(0)));
        assert_eq!(check(1, 999_999_999), Ok(Moment(1_999)));
        assert_eq!(check(SECONDS_MAX, 0), Ok(Moment(SECONDS_MAX * SECOND_MS)));
        assert_eq!(check(SECONDS_MAX + 1, 0), Err("campaign.seconds".into()));
        assert_eq!(check(-1, 0), Err("campaign.seconds".into()));
        assert_eq!(check(i64::MAX, 0), Err("campaign.seconds".into()));
        assert_eq!(check(1, -1), Err("campaign.nanos".into()));
        assert_eq!(check(1, 1_000_000_000), Err("campaign.nanos".into()));
        assert_eq!(super::moment(None, PATH), Ok(None));
    }

    #[test]
    fn a_text_is_counted_in_characters_and_holds_no_control() {
        let check = |value: &str| text(value, 3, PATH).map_err(|refusal| refusal.reason);
        assert_eq!(check("ñé√"), Ok(()));
        assert_eq!(check(""), Err(Reason::FieldMissing));
        assert_eq!(check("abcd"), Err(Reason::TooLarge));
        assert_eq!(check("a\nb"), Err(Reason::FieldInvalid));
        assert_eq!(optional_text("", 3, PATH), Ok(()));
    }

    #[test]
    fn a_region_stands_in_a_told_country() {
        let mexico = country_code("MX").unwrap();
        for told in [&[mexico][..], &[]] {
            assert_eq!(region("MX-CMX", told, PATH), Ok(pack_region("CMX").unwrap()));
        }
        for wrong in ["MX", "MX-", "MX-cmx", "MX-CMXX", "US-CA", "XX-A", "-CMX", "", "MX-C-X"] {
            let refusal = region(wrong, &[mexico], PATH).unwrap_err();
            assert_eq!(refusal.reason, Reason::FieldInvalid, "{wrong}");
        }
    }

    #[test]
    fn a_zone_is_one_of_the_database() {
        for good in ["America/Mexico_City", "Asia/Kolkata", "UTC"] {
            assert_eq!(time_zone(good, PATH), Ok(()), "{good}");
        }
        for wrong in ["", "Mexico", "America/Atlantis", "../etc/passwd", "+06:00"] {
            assert!(time_zone(wrong, PATH).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_value_of_an_enum_is_refused_and_zero_is_missing() {
        let check = |value| variant::<v1::Placement>(value, PATH).map_err(|r| r.reason);
        assert_eq!(check(1), Ok(v1::Placement::Status));
        assert_eq!(check(0), Err(Reason::FieldMissing));
        assert_eq!(check(99), Err(Reason::FieldInvalid));
        assert_eq!(check(-1), Err(Reason::FieldInvalid));
    }
}
