//! The country of a phone number (ITU-T E.164 country codes, North America by area code).

use crate::types::iso::country_code;

/// Country codes with the country they stand for, ascending as texts; the longest that fits counts. Where
/// several countries share one, the largest.
const CODES: &str = "\
    1US 1204CA 1226CA 1236CA 1242BS 1246BB 1249CA 1250CA 1257CA 1263CA 1264AI 1268AG 1284VG 1289CA \
    1306CA 1340VI 1343CA 1345KY 1354CA 1365CA 1367CA 1368CA 1382CA 1403CA 1416CA 1418CA 1428CA 1431CA \
    1437CA 1438CA 1441BM 1450CA 1460CA 1468CA 1473GD 1474CA 1506CA 1514CA 1519CA 1537CA 1548CA 1579CA \
    1581CA 1584CA 1587CA 1604CA 1613CA 1639CA 1647CA 1649TC 1658JM 1664MS 1670MP 1671GU 1672CA 1683CA \
    1684AS 1705CA 1709CA 1721SX 1742CA 1753CA 1758LC 1767DM 1778CA 1780CA 1782CA 1784VC 1787PR 1807CA \
    1809DO 1819CA 1825CA 1829DO 1849DO 1867CA 1868TT 1869KN 1873CA 1876JM 1879CA 1902CA 1905CA 1939PR \
    1942CA 20EG 211SS 212MA 213DZ 216TN 218LY 220GM 221SN 222MR 223ML 224GN 225CI 226BF 227NE 228TG \
    229BJ 230MU 231LR 232SL 233GH 234NG 235TD 236CF 237CM 238CV 239ST 240GQ 241GA 242CG 243CD 244AO \
    245GW 246IO 247SH 248SC 249SD 250RW 251ET 252SO 253DJ 254KE 255TZ 256UG 257BI 258MZ 260ZM 261MG \
    262RE 263ZW 264NA 265MW 266LS 267BW 268SZ 269KM 27ZA 290SH 291ER 297AW 298FO 299GL 30GR 31NL 32BE \
    33FR 34ES 350GI 351PT 352LU 353IE 354IS 355AL 356MT 357CY 358FI 359BG 36HU 370LT 371LV 372EE 373MD \
    374AM 375BY 376AD 377MC 378SM 379VA 380UA 381RS 382ME 385HR 386SI 387BA 389MK 39IT 40RO 41CH 420CZ \
    421SK 423LI 43AT 44GB 45DK 46SE 47NO 48PL 49DE 500FK 501BZ 502GT 503SV 504HN 505NI 506CR 507PA \
    508PM 509HT 51PE 52MX 53CU 54AR 55BR 56CL 57CO 58VE 590GP 591BO 592GY 593EC 594GF 595PY 596MQ \
    597SR 598UY 599CW 60MY 61AU 62ID 63PH 64NZ 65SG 66TH 670TL 672NF 673BN 674NR 675PG 676TO 677SB \
    678VU 679FJ 680PW 681WF 682CK 683NU 685WS 686KI 687NC 688TV 689PF 690TK 691FM 692MH 7RU 76KZ 77KZ \
    81JP 82KR 84VN 850KP 852HK 853MO 855KH 856LA 86CN 880BD 886TW 90TR 91IN 92PK 93AF 94LK 95MM 960MV \
    961LB 962JO 963SY 964IQ 965KW 966SA 967YE 968OM 970PS 971AE 972IL 973BH 974QA 975BT 976MN 977NP \
    98IR 992TJ 993TM 994AZ 995GE 996KG 998UZ";

/// Digits of the longest of them.
const CODE_DIGITS_MAX: usize = 4;

/// Returns the country of a phone number in digits, two letters as a big-endian number; 0: unknown.
pub fn country_of_number(digits: &str) -> u16 {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let longest = CODE_DIGITS_MAX.min(digits.len());
    let country = (1..=longest).rev().find_map(|length| listed(&digits[..length]));
    country.and_then(country_code).unwrap_or_default()
}

/// Returns the country that begins a business-scoped user id (`MX.13491208655302741918`); 0: none does.
pub fn country_of_user_id(user_id: &str) -> u16 {
    let country = user_id.split_once('.').map(|(country, _)| country);
    country.and_then(country_code).unwrap_or_default()
}

fn listed(code: &str) -> Option<&'static str> {
    CODES.split_ascii_whitespace().find_map(|entry| {
        let (known, country) = entry.split_at(entry.len() - 2);
        (known == code).then_some(country)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_of_the_country_with_the_longest_code() {
        for (number, country) in [
            ("5215512345678", "MX"),
            ("919812345678", "IN"),
            ("5511912345678", "BR"),
            ("14155238886", "US"),
            ("14165550123", "CA"),
            ("18095550123", "DO"),
            ("972987654321", "IL"),
            ("77011234567", "KZ"),
            ("79161234567", "RU"),
            ("4915112345678", "DE"),
            ("2348012345678", "NG"),
        ] {
            assert_eq!(country_of_number(number), country_code(country).unwrap(), "{number}");
        }
        for number in ["", "0", "999123", "+5215512345678", "x", "21"] {
            assert_eq!(country_of_number(number), 0, "{number}");
        }
    }

    #[test]
    fn every_code_stands_for_a_country_that_there_is() {
        let mut seen = std::collections::BTreeSet::new();
        for entry in CODES.split_ascii_whitespace() {
            let (code, country) = entry.split_at(entry.len() - 2);
            assert!(country_code(country).is_some(), "{entry}");
            assert!((1..=CODE_DIGITS_MAX).contains(&code.len()) && seen.insert(code), "{entry}");
            assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{entry}");
        }
    }

    #[test]
    fn a_user_id_begins_with_its_country() {
        assert_eq!(country_of_user_id("MX.13491208655302741918"), country_code("MX").unwrap());
        for user_id in ["", "13491208655302741918", "mx.1", "XX.1", "MEX.1"] {
            assert_eq!(country_of_user_id(user_id), 0, "{user_id}");
        }
    }
}
