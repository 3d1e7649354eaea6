//! The packing beside the plain list that it stands for.

use super::*;
use crate::types::hash::{category_number, mix};

/// A seeded row of numbers.
struct Luck(u64);

impl Luck {
    fn roll(&mut self) -> u64 {
        self.0 += 1;
        mix(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// Draws a number of any width, edges often.
    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.roll() >> self.below(64),
            1 => 1 << self.below(64),
            2 => (1 << self.below(64)) - 1,
            _ => self.below(3),
        }
    }
}

const KINDS: [EventKind; 12] = [
    EventKind::Unspecified,
    EventKind::Impression,
    EventKind::Viewable,
    EventKind::Video25,
    EventKind::Video50,
    EventKind::Video75,
    EventKind::Video100,
    EventKind::Tap,
    EventKind::HideAd,
    EventKind::HideBusiness,
    EventKind::Report,
    EventKind::Undo,
];

/// Draws a showing as they mostly are, or with anything in any field.
fn draw(luck: &mut Luck, last: &View) -> View {
    let wild = luck.below(3) == 0;
    let mut any = |usual: u64| if wild && luck.below(3) == 0 { luck.number() } else { usual };
    let issued_s = any(u64::from(last.issued_s) + 40) as u32;
    let seen_ms = any((i64::from(issued_s) * 1_000 + 2_500).cast_unsigned()).cast_signed();
    let context = Context {
        country: any(19_800) as u16,
        region: any(7) as u16,
        age_gender: any(3) as u8,
        os_device: any(4) as u8,
        placement: any(2) as u8,
        position: any(3) as u8,
    };
    let (feed, flags) = (any(7) as u32, any(2) as u16);
    let (invalid, engaged_after_ms, timed) = (any(0) as u8, any(0) as u32, any(1) & 1 == 1);
    let categories = [0, category_number("travel"), category_number("other"), luck.number()];
    let ad = [mint(IdKind::Ad, luck.below(1 << 25)), mint(IdKind::AdSet, 5), luck.number()];
    let business = [mint(IdKind::Business, luck.below(40)), luck.number()];
    View {
        view: luck.roll(),
        ad: ad[if wild { luck.below(3) as usize } else { 0 }],
        business: business[usize::from(wild && luck.below(2) == 0)],
        category: categories[luck.below(4) as usize],
        issued_s,
        feed,
        flags: Flags(flags),
        timed,
        invalid,
        engaged_after_ms,
        seen_ms,
        context,
    }
}

fn check(packed: &Views, plain: &[View], seed: u64) {
    assert!(packed.iter().eq(plain.iter().copied()), "seed {seed}: {packed:?} is not {plain:?}");
    assert_eq!((packed.len(), packed.is_empty()), (plain.len(), plain.is_empty()), "seed {seed}");
    assert_eq!(*packed, Views::of(plain), "seed {seed}: one list, one packing");
    let again = Views::of_bytes(packed.bytes().to_vec());
    assert_eq!(again.as_ref(), Some(packed), "seed {seed}");
}

#[test]
fn the_packing_is_at_all_times_the_list_that_it_stands_for() {
    for seed in 0..600 {
        let mut luck = Luck(seed << 32);
        let (mut packed, mut plain) = (Views::default(), Vec::<View>::new());
        for _ in 0..luck.below(40) {
            match luck.below(8) {
                0 if !plain.is_empty() => {
                    let view = plain[luck.below(plain.len() as u64) as usize].view;
                    let kind = KINDS[luck.below(12) as usize];
                    packed.mark(view, kind);
                    let known = plain.iter_mut().rev().find(|known| known.view == view);
                    known.expect("it is there").flags.0 |= 1 << kind as u16;
                }
                1 => {
                    let odd = luck.below(2);
                    packed.retain(|view| view.view & 1 == odd);
                    plain.retain(|view| view.view & 1 == odd);
                }
                2 => {
                    let invalid = luck.below(11) as u8;
                    let change = |views: &mut Vec<View>| {
                        views.last_mut().into_iter().for_each(|view| view.invalid = invalid);
                    };
                    packed.change(change);
                    change(&mut plain);
                }
                _ => {
                    let view = draw(&mut luck, plain.last().unwrap_or(&View::default()));
                    packed.push(&view);
                    plain.push(view);
                }
            }
            check(&packed, &plain, seed);
        }
        let asked = plain.first().map_or(5, |view| view.view);
        let found = plain.iter().rev().find(|view| view.view == asked).copied();
        assert_eq!((packed.find(asked), packed.find(asked ^ 1)), (found, None), "seed {seed}");
    }
}

#[test]
fn a_day_of_common_showings_fits_its_plan() {
    let mut plain: Vec<View> = Vec::new();
    for number in 0..VIEWS_A_DAY as u64 {
        // As far apart, and seen as late, as the plan allows.
        let issued_s = 1_790_000_000 + number as u32 * 7_200;
        plain.push(View {
            view: mix(number + 1),
            ad: mint(IdKind::Ad, (1 << 20) - 1 - number),
            business: mint(IdKind::Business, (1 << 20) - 1 - number),
            category: category_of(number as u8),
            issued_s,
            feed: 7,
            flags: Flags(0b110),
            timed: true,
            seen_ms: i64::from(issued_s) * SECOND_MS + 65_535,
            context: Context {
                country: 19_800,
                placement: 1,
                position: 1 + number as u8,
                ..Context::default()
            },
            ..View::default()
        });
    }
    let bytes = Views::of(&plain).bytes().len();
    assert!(bytes <= bytes_of_common(VIEWS_A_DAY), "{bytes}");
    assert!(bytes + 8 > bytes_of_common(VIEWS_A_DAY), "{bytes}: the plan says what it takes");
}

#[test]
fn no_showing_takes_no_memory_and_broken_bytes_are_refused_or_read_as_some_list() {
    assert!(Views::of(&[]).bytes().is_empty());
    let views = Views::of(&[View { view: 1, ..View::default() }; 3]);
    for length in 0..views.bytes().len() {
        let cut = Views::of_bytes(views.bytes()[..length].to_vec());
        let count = cut.map(|cut| cut.iter().count());
        assert!(count.is_none_or(|count| count == 0 || count == 3), "{length} bytes: {count:?}");
    }
    assert_eq!(Views::of_bytes(vec![0, 0]), None, "a head of none");
    for seed in 0..500 {
        let mut luck = Luck(seed << 32);
        let mut bytes = views.bytes().to_vec();
        (0..1 + luck.below(8)).for_each(|_| {
            let at = luck.below(bytes.len() as u64) as usize;
            bytes[at] = luck.roll() as u8;
        });
        if let Some(views) = Views::of_bytes(bytes) {
            assert!(views.iter().count() <= views.len(), "seed {seed}");
        }
    }
}
