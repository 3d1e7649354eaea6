//! What people do as they look at a tray: they meet its ads, and now and then somebody writes to a business
//! without one.

use crate::town::agenda::Deed;
use crate::town::chats::{Chat, Shopper, Way};
use crate::town::dice::{CERTAIN, Concern, Dice};
use crate::town::encounter::{Encounter, UNTIL_SEEN_MS};
use crate::town::life::{Look, Town};
use crate::town::wire::{reason_name, timestamp};
use crate::types::proto::v1::{self, EventKind, slot::Filling};
use crate::types::time::Moment;

/// Numbers that no slot of a tray has: each gives what happens there its own chance.
const WITHOUT_AD: u64 = u64::MAX;
const BY_MAIL: u64 = u64::MAX - 1;
const ANYWAY: u64 = u64::MAX - 2;

impl Look {
    /// Returns where a slot's chance is drawn.
    const fn slot(&self, number: u64) -> [u64; 3] {
        [self.place[0], self.place[1], number]
    }

    /// Returns this viewer as somebody who may write to a business that counts in this currency.
    fn shopper<'a>(&'a self, seed: u64, currency: &'a str) -> Shopper<'a> {
        let viewer = self.request.viewer.as_ref();
        Shopper {
            seed,
            name: &self.name,
            country: &self.country,
            currency,
            known: viewer.is_some_and(|viewer| !viewer.pseudonym.is_empty()),
        }
    }
}

impl Town {
    /// Plans what this viewer does with each ad of the tray.
    pub(crate) fn look_at(&mut self, look: &Look, slots: &[v1::Slot], now: Moment) {
        for (number, slot) in (0..).zip(slots) {
            self.draw_ghosts(look, number, slot, now);
            match &slot.filling {
                Some(Filling::Ad(ad)) => {
                    self.tally.ads_served += 1;
                    self.encounter(look, number, ad, now);
                }
                Some(Filling::NoAdReason(reason)) => {
                    *self.tally.empty_slots.entry(reason_name(*reason)).or_default() += 1;
                }
                None => *self.tally.empty_slots.entry(reason_name(0)).or_default() += 1,
            }
        }
        self.write_without_ad(look, now);
        self.mail(look, now);
        self.come_anyway(look, now);
    }

    /// Draws the place of a slot from which an experiment holds ads back. It is as often drawn as an ad
    /// there would be seen, and by the same chance, so that both groups are as well reported.
    fn draw_ghosts(&mut self, look: &Look, number: u64, slot: &v1::Slot, now: Moment) {
        if slot.ghost_tokens.is_empty() {
            return;
        }
        let mut dice = Dice::new(self.seed, Concern::Behaviour, &look.slot(number));
        if !dice.chance(self.habits.seen) {
            return;
        }
        let drawn = now.plus_ms(dice.between(UNTIL_SEEN_MS));
        for view_token in slot.ghost_tokens.iter().cloned() {
            let kind = EventKind::Impression.into();
            let time = Some(timestamp(drawn));
            let view_token = view_token.into();
            let event = v1::AdEvent { view_token, kind, time, ..Default::default() };
            self.agenda.plan(drawn, Deed::Ghost(event));
        }
    }

    fn encounter(&mut self, look: &Look, number: u64, ad: &v1::PlacedAd, now: Moment) {
        let home = self.founded.ads.get(&ad.ad_id).copied().unwrap_or_default();
        let currency = self.founded.accounts.get(&home.account).map(|purse| &*purse.currency);
        let shopper = look.shopper(self.seed, currency.unwrap_or_default());
        let mut dice = Dice::new(self.seed, Concern::Behaviour, &look.slot(number));
        let encounter = Encounter { ad, home, shopper, liking: look.liking, at: now };
        encounter.plan(&self.habits, &mut dice, &mut self.agenda);
    }

    /// Now and then somebody writes to a business that no ad led to.
    fn write_without_ad(&mut self, look: &Look, now: Moment) {
        let mut dice = Dice::new(self.seed, Concern::Behaviour, &look.slot(WITHOUT_AD));
        if !dice.chance(self.habits.organic) {
            return;
        }
        let Some(shops) = self.founded.shops.get(&look.country) else {
            return;
        };
        let shop = dice.pick(shops);
        let entries = [
            v1::EntryPoint::Organic,
            v1::EntryPoint::QrCode,
            v1::EntryPoint::BusinessProfile,
            v1::EntryPoint::WebButton,
        ];
        let entry_point = entries[dice.weighted(&[50, 20, 20, 10])];
        let shopper = look.shopper(self.seed, &shop.currency);
        let chat = Chat::new(&shopper, shop, &mut dice);
        let opens = now.plus_ms(dice.between(1..=i64::from(CERTAIN / 10)));
        let source = self.founded.sources.get(&shop.endpoint);
        let source = source.filter(|_| entry_point == v1::EntryPoint::QrCode);
        let proof = source.and_then(|source| source.proof.clone());
        let way = Way { entry_point, proof, referred: false };
        chat.plan(&self.habits, opens, &way, &mut dice, &mut self.agenda);
    }

    /// Now and then a business sends a template to somebody who never wrote to it.
    fn mail(&mut self, look: &Look, now: Moment) {
        let mut dice = Dice::new(self.seed, Concern::Behaviour, &look.slot(BY_MAIL));
        if !dice.chance(self.habits.mailed) {
            return;
        }
        let Some(shops) = self.founded.shops.get(&look.country) else {
            return;
        };
        // Only where templates are known.
        let whatsapp = i32::from(v1::Channel::Whatsapp);
        let shops: Vec<_> = shops.iter().filter(|shop| shop.channel == whatsapp).collect();
        if shops.is_empty() {
            return;
        }
        let shop = *dice.pick(&shops);
        let shopper = look.shopper(self.seed, &shop.currency);
        let chat = Chat::new(&shopper, shop, &mut dice);
        let sent = now.plus_ms(dice.between(1..=i64::from(CERTAIN / 10)));
        chat.plan_mail(&self.habits, sent, &mut dice, &mut self.agenda);
    }

    /// Customers of the business whose ads an experiment holds back come without them too: whether they
    /// see its ads or not, for chance asks neither.
    fn come_anyway(&mut self, look: &Look, now: Moment) {
        let Some(held_out) = &self.held_out else { return };
        let Some(shops) = held_out.shops.get(&look.country) else { return };
        let mut dice = Dice::new(self.seed, Concern::Behaviour, &look.slot(ANYWAY));
        if !dice.chance(self.habits.loyal) {
            return;
        }
        let shop = dice.pick(shops);
        let shopper = look.shopper(self.seed, &shop.currency);
        let chat = Chat::new(&shopper, shop, &mut dice);
        let at = now.plus_ms(dice.between(1..=i64::from(CERTAIN / 10)));
        if dice.chance(CERTAIN / 3) {
            return chat.plan_sale(held_out.account, at, &mut dice, &mut self.agenda);
        }
        let entry_point = v1::EntryPoint::Organic;
        let way = Way { entry_point, ..Way::default() };
        chat.plan(&self.habits, at, &way, &mut dice, &mut self.agenda);
    }
}
