//! Common kinds of business, by the names that operators give their categories: one of these is kept in a byte
//! where showings are remembered, any other in eight.
//!
//! Checkpoints hold the numbers: whoever moves or removes a name raises their version.

use crate::types::hash::category_number;

/// Names as advertisers' platforms and messengers write them, in lower case.
const NAMES: [&str; 96] = [
    "restaurants",
    "clothing",
    "travel",
    "banking",
    "education",
    "beauty",
    "groceries",
    "electronics",
    "health",
    "real_estate",
    "automotive",
    "events",
    "restaurant",
    "apparel",
    "finance",
    "insurance",
    "hotels",
    "hotel",
    "retail",
    "shopping",
    "grocery",
    "food",
    "beverages",
    "alcohol",
    "bars",
    "cafes",
    "bakeries",
    "delivery",
    "fashion",
    "shoes",
    "jewelry",
    "accessories",
    "cosmetics",
    "hair",
    "spa",
    "fitness",
    "gyms",
    "sports",
    "outdoors",
    "games",
    "gaming",
    "gambling",
    "entertainment",
    "movies",
    "music",
    "books",
    "news",
    "media",
    "telecom",
    "internet",
    "software",
    "technology",
    "computers",
    "phones",
    "appliances",
    "furniture",
    "home",
    "garden",
    "hardware",
    "construction",
    "repair",
    "cleaning",
    "moving",
    "storage",
    "legal",
    "accounting",
    "consulting",
    "marketing",
    "jobs",
    "professional_services",
    "government",
    "nonprofit",
    "charity",
    "religion",
    "politics",
    "schools",
    "universities",
    "courses",
    "childcare",
    "toys",
    "kids",
    "baby",
    "pets",
    "medical",
    "dentists",
    "pharmacy",
    "optics",
    "wellness",
    "dating",
    "weddings",
    "flowers",
    "gifts",
    "art",
    "photography",
    "airlines",
    "transport",
];

/// Their categories' numbers, in the same order.
const NUMBERS: [u64; NAMES.len()] = numbers();

const fn numbers() -> [u64; NAMES.len()] {
    let (mut numbers, mut at) = ([0; NAMES.len()], 0);
    while at < NAMES.len() {
        numbers[at] = category_number(NAMES[at]);
        at += 1;
    }
    numbers
}

/// Returns where a category's number stands among the common ones.
pub fn trade_of(category: u64) -> Option<u8> {
    NUMBERS.iter().position(|number| *number == category).map(|at| at as u8)
}

/// Returns the number of the category that stands there; 0: none does.
pub fn category_of(trade: u8) -> u64 {
    NUMBERS.get(usize::from(trade)).copied().unwrap_or_default()
}

// A place fits into a byte.
const _: () = assert!(NAMES.len() <= 256);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_common_kind_has_a_place_of_its_own() {
        for (at, name) in NAMES.iter().enumerate() {
            let number = category_number(name);
            assert_eq!(trade_of(number), Some(at as u8), "{name} stands there twice");
            assert_eq!(category_of(at as u8), number);
        }
        assert_eq!(trade_of(0), None, "no category is no trade");
        assert_eq!(trade_of(category_number("Restaurants")), None, "as it is written");
        assert_eq!(category_of(u8::MAX), 0);
    }
}
