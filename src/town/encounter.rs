//! What one person does with one ad: looks, taps, writes, is answered or not, and buys.
//!
//! All of it is drawn when the ad is handed out, from a stream that belongs to this viewer, tray and
//! slot alone: an ad more or less elsewhere changes nothing here.

use prost::bytes::Bytes;

use crate::town::agenda::{Agenda, Deed};
use crate::town::chat_link::proof_in;
use crate::town::chats::{Chat, Shopper, Way};
use crate::town::dice::{CERTAIN, Dice};
use crate::town::founding::{AdHome, Shop};
use crate::town::habits::Habits;
use crate::town::wire::{moment, timestamp};
use crate::types::proto::v1::opened::Proof;
use crate::types::proto::v1::{self, EventKind};
use crate::types::time::{MINUTE_MS, Moment, SECOND_MS};

/// How long a person takes to come to an ad of the tray.
pub(crate) const UNTIL_SEEN_MS: std::ops::RangeInclusive<i64> = SECOND_MS..=100 * SECOND_MS;

/// Half a second more than the one that the definition of viewable asks for.
const UNTIL_VIEWABLE_MS: i64 = 1_500;

/// An ad in front of somebody.
pub(crate) struct Encounter<'a> {
    /// As the engine handed it out.
    pub(crate) ad: &'a v1::PlacedAd,
    /// Where it belongs.
    pub(crate) home: AdHome,
    /// Who may see it.
    pub(crate) shopper: Shopper<'a>,
    /// How much more than others this person taps, in millionths.
    pub(crate) liking: u32,
    /// When it was handed out.
    pub(crate) at: Moment,
}

impl Encounter<'_> {
    /// Draws all that will come of it and writes it into the agenda.
    pub(crate) fn plan(&self, habits: &Habits, dice: &mut Dice, agenda: &mut Agenda) {
        if !dice.chance(habits.seen) {
            if dice.chance(habits.ghostly) {
                self.report(EventKind::Tap, self.at.plus_ms(MINUTE_MS), agenda);
            }
            return;
        }
        let seen = self.seen_at(habits, dice);
        self.report(EventKind::Impression, seen, agenda);
        if dice.chance(habits.twice) {
            self.report(EventKind::Impression, seen.plus_ms(SECOND_MS), agenda);
        }
        if dice.chance(habits.forged) {
            self.forge(seen, agenda);
        }
        if dice.chance(habits.viewable) {
            self.report(EventKind::Viewable, seen.plus_ms(UNTIL_VIEWABLE_MS), agenda);
        }
        if dice.chance(habits.disliked) {
            self.dislike(habits, seen, dice, agenda);
        }
        let tapped = u64::from(habits.tapped) * u64::from(self.liking) / u64::from(CERTAIN);
        let tapped = (tapped * self.appeal() / 100).min(u64::from(CERTAIN)) as u32;
        if dice.chance(tapped) {
            self.tap(habits, seen.plus_ms(dice.skewed(4 * SECOND_MS)), dice, agenda);
        }
    }

    fn seen_at(&self, habits: &Habits, dice: &mut Dice) -> Moment {
        let seen = self.at.plus_ms(dice.between(UNTIL_SEEN_MS));
        if !dice.chance(habits.late) {
            return seen;
        }
        let show_by = self.ad.show_by.as_ref().map_or(seen, moment);
        show_by.plus_ms(dice.between(MINUTE_MS..=30 * MINUTE_MS))
    }

    /// How well this ad is made, in hundredths: from half to one and a half of the usual.
    fn appeal(&self) -> u64 {
        50 + (self.ad.ad_id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 101
    }

    fn dislike(&self, habits: &Habits, seen: Moment, dice: &mut Dice, agenda: &mut Agenda) {
        let kinds = [EventKind::HideAd, EventKind::HideBusiness, EventKind::Report];
        let kind = kinds[dice.weighted(&[70, 25, 5])];
        let at = seen.plus_ms(dice.between(2 * SECOND_MS..=9 * SECOND_MS));
        self.report(kind, at, agenda);
        if dice.chance(habits.undone) {
            self.report(EventKind::Undo, at.plus_ms(5 * SECOND_MS), agenda);
        }
    }

    fn tap(&self, habits: &Habits, at: Moment, dice: &mut Dice, agenda: &mut Agenda) {
        self.report(EventKind::Tap, at, agenda);
        if dice.chance(habits.twice) {
            self.report(EventKind::Tap, at.plus_ms(SECOND_MS), agenda);
        }
        if !dice.chance(habits.opened) {
            return;
        }
        let way = self.way(habits, dice);
        let opens = at.plus_ms(dice.between(3 * SECOND_MS..=40 * SECOND_MS));
        let AdHome { business, endpoint, channel, .. } = self.home;
        let shop = Shop { business, endpoint, channel, ..Shop::default() };
        Chat::new(&self.shopper, &shop, dice).plan(habits, opens, &way, dice, agenda);
        if dice.chance(habits.shared) {
            let friend = Chat::new(&self.shopper, &shop, dice).of_a_friend();
            let opens = opens.plus_ms(dice.skewed(20 * MINUTE_MS));
            friend.plan(habits, opens, &way, dice, agenda);
        }
    }

    /// Returns what comes back of the tap. Whoever writes the first message may delete its code: then it is
    /// up to the channel's own referral, which only WhatsApp has of those channels.
    fn way(&self, habits: &Habits, dice: &mut Dice) -> Way {
        let entry_point = v1::EntryPoint::Ad;
        let proof = proof_in(self.home.channel, &self.ad.chat_link);
        let whatsapp = self.home.channel == i32::from(v1::Channel::Whatsapp);
        let referred = whatsapp && dice.chance(habits.referred);
        let by_code = matches!(proof, Some(Proof::PrefillCode(_)));
        if !by_code || !dice.chance(habits.deleted) {
            return Way { entry_point, proof, referred };
        }
        let proof = referred.then_some(Proof::AdId(self.ad.ad_id));
        Way { entry_point, proof, referred }
    }

    fn report(&self, kind: EventKind, at: Moment, agenda: &mut Agenda) {
        self.send(self.ad.view_token.clone(), kind, at, agenda);
    }

    fn forge(&self, at: Moment, agenda: &mut Agenda) {
        let mut token = self.ad.view_token.to_vec();
        if let Some(last) = token.last_mut() {
            *last ^= 1;
        }
        self.send(token.into(), EventKind::Impression, at, agenda);
    }

    fn send(&self, view_token: Bytes, kind: EventKind, at: Moment, agenda: &mut Agenda) {
        let time = Some(timestamp(at));
        let event = v1::AdEvent { view_token, kind: kind.into(), time, ..Default::default() };
        agenda.plan(at, Deed::Ad { event, home: self.home });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::dice::Concern;
    use crate::town::talk::What;

    const LINK: &str = "https://m.me/page?ref=\
        AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const AT: Moment = Moment(1_780_272_000_000);

    /// Plans the same encounter many times and returns what was planned, in order.
    fn deeds(habits: &Habits, times: u64) -> Vec<Deed> {
        let ad = v1::PlacedAd {
            ad_id: 7,
            chat_link: LINK.to_owned(),
            view_token: vec![1, 2, 3].into(),
            show_by: Some(timestamp(AT.plus_ms(10 * MINUTE_MS))),
            ..Default::default()
        };
        let home = AdHome { business: 5, endpoint: 6, ..AdHome::default() };
        let mut agenda = Agenda::default();
        for time in 0..times {
            let (name, country, currency) = ("v1", "MX", "MXN");
            let shopper = Shopper { seed: 7, name, country, currency, known: true };
            let one = Encounter { ad: &ad, home, shopper, liking: CERTAIN, at: AT };
            one.plan(habits, &mut Dice::new(7, Concern::Behaviour, &[time]), &mut agenda);
        }
        agenda.take_due(Moment(i64::MAX - 1))
    }

    fn count(deeds: &[Deed], wanted: EventKind) -> usize {
        let is_wanted =
            |deed: &&Deed| matches!(deed, Deed::Ad { event, .. } if event.kind() == wanted);
        deeds.iter().filter(is_wanted).count()
    }

    #[test]
    fn the_same_dice_give_the_same_life() {
        assert_eq!(deeds(&Habits::town(), 2_000), deeds(&Habits::town(), 2_000));
    }

    #[test]
    fn the_town_does_everything_that_an_event_can_tell() {
        let deeds = deeds(&Habits::town(), 20_000);
        let kinds = [
            EventKind::Viewable,
            EventKind::Tap,
            EventKind::HideAd,
            EventKind::HideBusiness,
            EventKind::Report,
            EventKind::Undo,
        ];
        for kind in kinds {
            assert!(count(&deeds, kind) > 0, "{kind:?}");
        }
        let seen = count(&deeds, EventKind::Impression);
        assert!((18_000..20_000).contains(&seen), "{seen}");
        assert!(deeds.iter().any(|deed| matches!(deed, Deed::Sale(_))));
    }

    #[test]
    fn in_a_dry_run_each_ad_is_seen_once_and_nothing_goes_wrong() {
        let deeds = deeds(&Habits::dry_run(CERTAIN / 2, CERTAIN), 100);
        assert_eq!(count(&deeds, EventKind::Impression), 100);
        assert_eq!(count(&deeds, EventKind::Viewable), 100);
        assert_eq!(count(&deeds, EventKind::HideAd), 0);
        let opened = |deed: &&Deed| matches!(deed, Deed::Chat(saying) if matches!(saying.what, What::Opens { .. }));
        assert_eq!(deeds.iter().filter(opened).count(), count(&deeds, EventKind::Tap));
    }
}
