//! ISO code lists: countries (3166-1), languages (639-1) and currencies (4217), as sorted tables.
//!
//! The lists are built in, so that a code that nobody can mean is refused at the door. Regions
//! (3166-2) are not listed: only their country is checked.

/// ISO 3166-1 alpha-2, ascending.
static COUNTRIES: [[u8; 2]; 249] = [
    *b"AD", *b"AE", *b"AF", *b"AG", *b"AI", *b"AL", *b"AM", *b"AO", *b"AQ", *b"AR", *b"AS", *b"AT",
    *b"AU", *b"AW", *b"AX", *b"AZ", *b"BA", *b"BB", *b"BD", *b"BE", *b"BF", *b"BG", *b"BH", *b"BI",
    *b"BJ", *b"BL", *b"BM", *b"BN", *b"BO", *b"BQ", *b"BR", *b"BS", *b"BT", *b"BV", *b"BW", *b"BY",
    *b"BZ", *b"CA", *b"CC", *b"CD", *b"CF", *b"CG", *b"CH", *b"CI", *b"CK", *b"CL", *b"CM", *b"CN",
    *b"CO", *b"CR", *b"CU", *b"CV", *b"CW", *b"CX", *b"CY", *b"CZ", *b"DE", *b"DJ", *b"DK", *b"DM",
    *b"DO", *b"DZ", *b"EC", *b"EE", *b"EG", *b"EH", *b"ER", *b"ES", *b"ET", *b"FI", *b"FJ", *b"FK",
    *b"FM", *b"FO", *b"FR", *b"GA", *b"GB", *b"GD", *b"GE", *b"GF", *b"GG", *b"GH", *b"GI", *b"GL",
    *b"GM", *b"GN", *b"GP", *b"GQ", *b"GR", *b"GS", *b"GT", *b"GU", *b"GW", *b"GY", *b"HK", *b"HM",
    *b"HN", *b"HR", *b"HT", *b"HU", *b"ID", *b"IE", *b"IL", *b"IM", *b"IN", *b"IO", *b"IQ", *b"IR",
    *b"IS", *b"IT", *b"JE", *b"JM", *b"JO", *b"JP", *b"KE", *b"KG", *b"KH", *b"KI", *b"KM", *b"KN",
    *b"KP", *b"KR", *b"KW", *b"KY", *b"KZ", *b"LA", *b"LB", *b"LC", *b"LI", *b"LK", *b"LR", *b"LS",
    *b"LT", *b"LU", *b"LV", *b"LY", *b"MA", *b"MC", *b"MD", *b"ME", *b"MF", *b"MG", *b"MH", *b"MK",
    *b"ML", *b"MM", *b"MN", *b"MO", *b"MP", *b"MQ", *b"MR", *b"MS", *b"MT", *b"MU", *b"MV", *b"MW",
    *b"MX", *b"MY", *b"MZ", *b"NA", *b"NC", *b"NE", *b"NF", *b"NG", *b"NI", *b"NL", *b"NO", *b"NP",
    *b"NR", *b"NU", *b"NZ", *b"OM", *b"PA", *b"PE", *b"PF", *b"PG", *b"PH", *b"PK", *b"PL", *b"PM",
    *b"PN", *b"PR", *b"PS", *b"PT", *b"PW", *b"PY", *b"QA", *b"RE", *b"RO", *b"RS", *b"RU", *b"RW",
    *b"SA", *b"SB", *b"SC", *b"SD", *b"SE", *b"SG", *b"SH", *b"SI", *b"SJ", *b"SK", *b"SL", *b"SM",
    *b"SN", *b"SO", *b"SR", *b"SS", *b"ST", *b"SV", *b"SX", *b"SY", *b"SZ", *b"TC", *b"TD", *b"TF",
    *b"TG", *b"TH", *b"TJ", *b"TK", *b"TL", *b"TM", *b"TN", *b"TO", *b"TR", *b"TT", *b"TV", *b"TW",
    *b"TZ", *b"UA", *b"UG", *b"UM", *b"US", *b"UY", *b"UZ", *b"VA", *b"VC", *b"VE", *b"VG", *b"VI",
    *b"VN", *b"VU", *b"WF", *b"WS", *b"YE", *b"YT", *b"ZA", *b"ZM", *b"ZW",
];

/// ISO 639-1, ascending.
static LANGUAGES: [[u8; 2]; 184] = [
    *b"aa", *b"ab", *b"ae", *b"af", *b"ak", *b"am", *b"an", *b"ar", *b"as", *b"av", *b"ay", *b"az",
    *b"ba", *b"be", *b"bg", *b"bh", *b"bi", *b"bm", *b"bn", *b"bo", *b"br", *b"bs", *b"ca", *b"ce",
    *b"ch", *b"co", *b"cr", *b"cs", *b"cu", *b"cv", *b"cy", *b"da", *b"de", *b"dv", *b"dz", *b"ee",
    *b"el", *b"en", *b"eo", *b"es", *b"et", *b"eu", *b"fa", *b"ff", *b"fi", *b"fj", *b"fo", *b"fr",
    *b"fy", *b"ga", *b"gd", *b"gl", *b"gn", *b"gu", *b"gv", *b"ha", *b"he", *b"hi", *b"ho", *b"hr",
    *b"ht", *b"hu", *b"hy", *b"hz", *b"ia", *b"id", *b"ie", *b"ig", *b"ii", *b"ik", *b"io", *b"is",
    *b"it", *b"iu", *b"ja", *b"jv", *b"ka", *b"kg", *b"ki", *b"kj", *b"kk", *b"kl", *b"km", *b"kn",
    *b"ko", *b"kr", *b"ks", *b"ku", *b"kv", *b"kw", *b"ky", *b"la", *b"lb", *b"lg", *b"li", *b"ln",
    *b"lo", *b"lt", *b"lu", *b"lv", *b"mg", *b"mh", *b"mi", *b"mk", *b"ml", *b"mn", *b"mr", *b"ms",
    *b"mt", *b"my", *b"na", *b"nb", *b"nd", *b"ne", *b"ng", *b"nl", *b"nn", *b"no", *b"nr", *b"nv",
    *b"ny", *b"oc", *b"oj", *b"om", *b"or", *b"os", *b"pa", *b"pi", *b"pl", *b"ps", *b"pt", *b"qu",
    *b"rm", *b"rn", *b"ro", *b"ru", *b"rw", *b"sa", *b"sc", *b"sd", *b"se", *b"sg", *b"si", *b"sk",
    *b"sl", *b"sm", *b"sn", *b"so", *b"sq", *b"sr", *b"ss", *b"st", *b"su", *b"sv", *b"sw", *b"ta",
    *b"te", *b"tg", *b"th", *b"ti", *b"tk", *b"tl", *b"tn", *b"to", *b"tr", *b"ts", *b"tt", *b"tw",
    *b"ty", *b"ug", *b"uk", *b"ur", *b"uz", *b"ve", *b"vi", *b"vo", *b"wa", *b"wo", *b"xh", *b"yi",
    *b"yo", *b"za", *b"zh", *b"zu",
];

/// Currencies that are in use.
pub const CURRENCIES_COUNT: usize = 155;

// A place among them is kept in 8 bits.
const _: () = assert!(CURRENCIES_COUNT <= u8::MAX as usize);

/// ISO 4217 codes that are money in use, ascending: no metals, funds, test codes or withdrawn ones.
static CURRENCIES: [[u8; 3]; CURRENCIES_COUNT] = [
    *b"AED", *b"AFN", *b"ALL", *b"AMD", *b"AOA", *b"ARS", *b"AUD", *b"AWG", *b"AZN", *b"BAM",
    *b"BBD", *b"BDT", *b"BHD", *b"BIF", *b"BMD", *b"BND", *b"BOB", *b"BRL", *b"BSD", *b"BTN",
    *b"BWP", *b"BYN", *b"BZD", *b"CAD", *b"CDF", *b"CHF", *b"CLP", *b"CNY", *b"COP", *b"CRC",
    *b"CUP", *b"CVE", *b"CZK", *b"DJF", *b"DKK", *b"DOP", *b"DZD", *b"EGP", *b"ERN", *b"ETB",
    *b"EUR", *b"FJD", *b"FKP", *b"GBP", *b"GEL", *b"GHS", *b"GIP", *b"GMD", *b"GNF", *b"GTQ",
    *b"GYD", *b"HKD", *b"HNL", *b"HTG", *b"HUF", *b"IDR", *b"ILS", *b"INR", *b"IQD", *b"IRR",
    *b"ISK", *b"JMD", *b"JOD", *b"JPY", *b"KES", *b"KGS", *b"KHR", *b"KMF", *b"KPW", *b"KRW",
    *b"KWD", *b"KYD", *b"KZT", *b"LAK", *b"LBP", *b"LKR", *b"LRD", *b"LSL", *b"LYD", *b"MAD",
    *b"MDL", *b"MGA", *b"MKD", *b"MMK", *b"MNT", *b"MOP", *b"MRU", *b"MUR", *b"MVR", *b"MWK",
    *b"MXN", *b"MYR", *b"MZN", *b"NAD", *b"NGN", *b"NIO", *b"NOK", *b"NPR", *b"NZD", *b"OMR",
    *b"PAB", *b"PEN", *b"PGK", *b"PHP", *b"PKR", *b"PLN", *b"PYG", *b"QAR", *b"RON", *b"RSD",
    *b"RUB", *b"RWF", *b"SAR", *b"SBD", *b"SCR", *b"SDG", *b"SEK", *b"SGD", *b"SHP", *b"SLE",
    *b"SOS", *b"SRD", *b"SSP", *b"STN", *b"SVC", *b"SYP", *b"SZL", *b"THB", *b"TJS", *b"TMT",
    *b"TND", *b"TOP", *b"TRY", *b"TTD", *b"TWD", *b"TZS", *b"UAH", *b"UGX", *b"USD", *b"UYU",
    *b"UZS", *b"VED", *b"VES", *b"VND", *b"VUV", *b"WST", *b"XAF", *b"XCD", *b"XCG", *b"XOF",
    *b"XPF", *b"YER", *b"ZAR", *b"ZMW", *b"ZWG",
];

/// Currencies of ISO 4217 whose smallest coin is the unit, ascending.
static WHOLE: [[u8; 3]; 16] = [
    *b"BIF", *b"CLP", *b"DJF", *b"GNF", *b"ISK", *b"JPY", *b"KMF", *b"KRW", *b"PYG", *b"RWF",
    *b"UGX", *b"VND", *b"VUV", *b"XAF", *b"XOF", *b"XPF",
];

/// Currencies of ISO 4217 whose smallest coin is a thousandth, ascending.
static THOUSANDTHS: [[u8; 3]; 7] = [*b"BHD", *b"IQD", *b"JOD", *b"KWD", *b"LYD", *b"OMR", *b"TND"];

/// Returns two upper-case letters as a big-endian number, if they are a country of ISO 3166-1.
pub fn country_code(text: &str) -> Option<u16> {
    listed(&COUNTRIES, text).map(u16::from_be_bytes)
}

/// Returns two lower-case letters as a big-endian number, if they are a language of ISO 639-1.
pub fn language_code(text: &str) -> Option<u16> {
    listed(&LANGUAGES, text).map(u16::from_be_bytes)
}

/// Returns a currency's place among those of ISO 4217 in use, below [`CURRENCIES_COUNT`]: the same within one
/// build, so it is for memory and never for the disk.
pub fn currency_index(text: &str) -> Option<u8> {
    let code = <[u8; 3]>::try_from(text.as_bytes()).ok()?;
    CURRENCIES.binary_search(&code).ok().map(|at| at as u8)
}

/// Returns the currency at a place among those of ISO 4217 in use; see [`currency_index`].
pub fn currency_at(index: u8) -> Option<&'static str> {
    // The table is ASCII.
    CURRENCIES.get(usize::from(index)).and_then(|code| std::str::from_utf8(code).ok())
}

/// Tells whether the text is a currency of ISO 4217 that is in use, in upper case.
pub fn is_currency(text: &str) -> bool {
    listed(&CURRENCIES, text).is_some()
}

/// Returns a currency's smallest coin in micros, by the minor unit of ISO 4217: 0, 2 or 3 digits.
pub fn coin_micros(currency: &str) -> i64 {
    if listed(&WHOLE, currency).is_some() {
        1_000_000
    } else if listed(&THOUSANDTHS, currency).is_some() {
        1_000
    } else {
        10_000
    }
}

/// Returns every country of ISO 3166-1, ascending.
pub fn countries() -> impl Iterator<Item = &'static str> {
    // The tables are ASCII.
    COUNTRIES.iter().filter_map(|code| std::str::from_utf8(code).ok())
}

/// Returns every language of ISO 639-1, ascending.
pub fn languages() -> impl Iterator<Item = &'static str> {
    LANGUAGES.iter().filter_map(|code| std::str::from_utf8(code).ok())
}

fn listed<const N: usize>(table: &[[u8; N]], text: &str) -> Option<[u8; N]> {
    let code = <[u8; N]>::try_from(text.as_bytes()).ok()?;
    table.binary_search(&code).ok().map(|at| table[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_whole() {
        assert_eq!((COUNTRIES.len(), LANGUAGES.len(), CURRENCIES.len()), (249, 184, 155));
        assert!(COUNTRIES.is_sorted_by(|a, b| a < b));
        assert!(LANGUAGES.is_sorted_by(|a, b| a < b));
        assert!(CURRENCIES.is_sorted_by(|a, b| a < b));
        assert!(COUNTRIES.as_flattened().iter().all(u8::is_ascii_uppercase));
        assert!(LANGUAGES.as_flattened().iter().all(u8::is_ascii_lowercase));
        assert!(CURRENCIES.as_flattened().iter().all(u8::is_ascii_uppercase));
    }

    #[test]
    fn a_code_is_taken_only_as_its_standard_writes_it() {
        assert_eq!(country_code("MX"), Some(0x4D58));
        assert_eq!(language_code("es"), Some(0x6573));
        for wrong in ["mx", "XX", "M", "MEX", "", "é"] {
            assert_eq!(country_code(wrong), None, "{wrong}");
        }
        for wrong in ["ES", "xx", "spa", ""] {
            assert_eq!(language_code(wrong), None, "{wrong}");
        }
        for (text, known) in [("MXN", true), ("INR", true), ("BRL", true), ("XCG", true)] {
            assert_eq!(is_currency(text), known, "{text}");
        }
        assert_eq!(currency_index("AED"), Some(0));
        assert_eq!(currency_index("ZWG"), Some(CURRENCIES_COUNT as u8 - 1));
        assert_eq!(currency_index("mxn"), None);
        assert_eq!((currency_at(0), currency_at(CURRENCIES_COUNT as u8)), (Some("AED"), None));
        for wrong in ["mxn", "XAU", "XXX", "BGN", "", "MX", "PESO"] {
            assert!(!is_currency(wrong), "{wrong}");
        }
    }

    #[test]
    fn coins_are_those_of_the_standard_and_of_currencies_in_use() {
        assert!(WHOLE.is_sorted_by(|a, b| a < b) && THOUSANDTHS.is_sorted_by(|a, b| a < b));
        for code in WHOLE.iter().chain(&THOUSANDTHS) {
            assert!(CURRENCIES.contains(code), "{code:?}");
        }
        let coins = ["JPY", "MXN", "KWD"].map(coin_micros);
        assert_eq!(coins, [1_000_000, 10_000, 1_000]);
    }
}
