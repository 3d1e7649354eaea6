//! Viewers, feeds, chat platforms and CRMs: what comes in, in what order, how late and how often.

use std::collections::BTreeMap;

use munadi::tokens::{KeyRing, TokenRefusal, viewer_number};
use munadi::types::proto::v1::{
    EventKind, InvalidReason, NoAdReason, PlacedAd, Placement, slot::Filling,
};
use munadi::types::refusal::Reason;
use munadi::types::request::{
    AdRequest, Chat, Incoming, Invalidation, Origin, Policy, Profile, Receipt,
};
use munadi::types::time::Moment;

use crate::audit::{Finding, Handed, Key, ensure};
use crate::world::{Sent, World};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Something that will happen.
pub(crate) enum Task {
    /// Somebody opens a feed, and later somebody else does.
    Session,
    /// Somebody opens a feed once.
    Visit,
    /// Something happened to an ad; `at_ms` says when, by the device.
    Event {
        view: u64,
        kind: EventKind,
        at_ms: Option<i64>,
    },
    /// Somebody writes to a business.
    Open {
        view: u64,
        contact: u64,
        at_ms: Option<i64>,
    },
    /// A person's message goes over a chat.
    Message {
        chat: Chat,
        message: u64,
    },
    /// A platform tells how far a business's message came.
    Status {
        chat: Chat,
        receipt: Box<Receipt>,
    },
    /// Somebody buys.
    Convert {
        origin: Origin,
        tenant: u32,
        id: u64,
        worth: i64,
        at_ms: Option<i64>,
    },
    Resend(Sent),
    /// Somebody writes to the catalog.
    Write,
    Checkpoint,
    Kill,
    Clock,
    Rotate,
    Audit,
    /// A viewer whose record runs full.
    Grumble,
    /// Money or promo credit comes or goes.
    Money,
    Rates,
    /// Rate cards of messages, and volume steps.
    Cards,
    Step,
    /// Charged events turn out to be invalid.
    Find,
    Invalidate(Box<Invalidation>),
    /// A limit is lowered.
    Lower,
}

/// A showing as its feed keeps it.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) sealed: Vec<u8>,
    pub(crate) link: String,
    pub(crate) feed: u32,
    pub(crate) ad: u64,
}

struct Person {
    numbers: [u64; 2],
    profile: Profile,
}

pub(crate) struct Town {
    people: Vec<Person>,
    pub(crate) kept: BTreeMap<u64, Kept>,
    /// Views in the order they were handed out.
    pub(crate) views: Vec<u64>,
    pub(crate) chats: Vec<Chat>,
    /// Conversations by the ids that other names would make.
    pub(crate) names: BTreeMap<u64, u64>,
    /// By viewer and ad set: view and end of what was promised since the node started.
    promises: BTreeMap<(u64, u64), Vec<(u64, i64)>>,
    pub(crate) sales: u64,
    pub(crate) writes: u64,
}

pub(crate) const NICHES: [&[u8; 2]; 6] = [b"AR", b"CL", b"PE", b"CO", b"UY", b"EC"];

impl Town {
    pub(crate) fn new(ring: &KeyRing) -> Self {
        let countries = [*b"MX", *b"IN", *b"BR", *b"US"];
        let languages = [*b"es", *b"hi", *b"pt", *b"en"];
        let mut people = Vec::new();
        for index in 0..24_usize {
            let niche = index.checked_sub(18);
            let country = niche.map_or(countries[index % 4], |niche| *NICHES[niche]);
            let language = u16::from_be_bytes(languages[index % 4]);
            let profile = Profile {
                country: u16::from_be_bytes(country),
                languages: if niche.is_some() { Vec::new() } else { vec![language] },
                age_band: (index % 8) as u8,
                gender: (index % 3) as u8,
                os: (index % 3) as u8,
                interests: (1..=(index % 4) as u16).collect(),
                ..Profile::default()
            };
            let number =
                |feed| viewer_number(ring.link(feed).expect("a feed"), &format!("viewer {index}"));
            people.push(Person { numbers: [number(1), number(2)], profile });
        }
        Self {
            people,
            kept: BTreeMap::new(),
            views: Vec::new(),
            chats: Vec::new(),
            names: BTreeMap::new(),
            promises: BTreeMap::new(),
            sales: 0,
            writes: 0,
        }
    }

    pub(crate) fn forget_promises(&mut self) {
        self.promises.clear();
    }
}

impl World {
    pub(crate) fn perform(&mut self, task: Task) -> Finding {
        match task {
            Task::Session => {
                let leap = if self.brief { 80 } else { 5 };
                let gap = if self.luck.chance(leap) {
                    self.luck.between(HOUR, 20 * HOUR)
                } else {
                    self.luck.between(1_000, 8 * MINUTE)
                };
                self.schedule(gap, Task::Session);
                return self.visit();
            }
            Task::Visit => return self.visit(),
            Task::Event { view, kind, at_ms } => return self.event(view, kind, at_ms),
            Task::Open { view, contact, at_ms } => return self.open_chat(view, contact, at_ms),
            Task::Message { chat, message } => self.message(chat, message),
            Task::Status { chat, receipt } => self.tell_status(chat, *receipt),
            Task::Convert { origin, tenant, id, worth, at_ms } => {
                self.convert(origin, tenant, id, worth, at_ms);
            }
            Task::Resend(sent) => {
                self.coverage.note("fault", "sent again");
                self.send(sent);
            }
            Task::Write => self.change_something(),
            Task::Checkpoint => {
                let after_ms = self.chaos.between(HOUR, 6 * HOUR);
                self.schedule(after_ms, Task::Checkpoint);
                return self.take_checkpoint();
            }
            Task::Kill => {
                let after_ms = self.gap(90 * MINUTE, 13 * HOUR);
                self.schedule(after_ms, Task::Kill);
                return self.kill();
            }
            Task::Clock => {
                let after_ms = self.chaos.between(2 * HOUR, 12 * HOUR);
                self.schedule(after_ms, Task::Clock);
                let steps = [0, 0, 3_000, 10 * MINUTE, 3 * HOUR];
                let behind_ms = *self.chaos.pick(&steps);
                if behind_ms > self.behind_ms {
                    self.coverage.note("fault", "clock back");
                }
                self.behind_ms = behind_ms;
            }
            Task::Rotate => {
                self.schedule(DAY, Task::Rotate);
                let (luck, now_s) = (&mut self.chaos, (self.now_ms / 1_000) as u32);
                let mut random =
                    |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| *byte = luck.roll() as u8);
                self.ring.rotate(&mut random, now_s).map_err(|error| error.to_string())?;
                self.front().use_ring(self.ring.clone());
            }
            Task::Audit => {
                self.schedule(3 * HOUR, Task::Audit);
                return self.audit();
            }
            Task::Grumble => return self.grumble(),
            Task::Money => self.move_money(),
            Task::Rates => self.change_rates(),
            Task::Cards => self.change_cards(),
            Task::Step => self.reach_step(),
            Task::Find => return self.find_invalid(),
            Task::Invalidate(request) => return self.invalidate(*request),
            Task::Lower => self.lower_a_limit(),
        }
        Ok(())
    }

    fn kill(&mut self) -> Finding {
        let orderly = self.chaos.chance(300);
        if !orderly && self.chaos.chance(400) {
            // Its journal may not have reached the disk when the plug is pulled.
            self.take_checkpoint()?;
        }
        self.restart(orderly)?;
        if self.chaos.chance(200) {
            // Again, before anything was journaled, by a clock that went back.
            self.take_checkpoint()?;
            self.behind_ms += 10 * MINUTE;
            return self.restart(false);
        }
        Ok(())
    }

    fn visit(&mut self) -> Finding {
        let person = if !self.brief && self.luck.chance(350) {
            *self.luck.pick(&[18, 19, 20, 21, 22, 22, 22, 22, 23])
        } else {
            self.luck.below(18)
        };
        // The one whose caps run full is known to one feed only.
        let feed = if person == 22 { 1 } else { 1 + self.luck.below(2) as u32 };
        let placements = [Placement::Status, Placement::Feed, Placement::Feed, Placement::Stories];
        let placement = match person {
            // First all caps of one placement fill up, then comes another.
            22 => [Placement::Feed, Placement::Stories][usize::from(self.steps > 1_500)],
            _ if self.luck.chance(30) => Placement::ChatList,
            _ => *self.luck.pick(&placements),
        };
        let posts = if self.brief { 12 } else { 0 } + self.luck.below(30) as u16;
        let positions = if self.luck.chance(100) { vec![1, 4, 20] } else { Vec::new() };
        let person = &self.town.people[person as usize];
        let request = AdRequest {
            placement,
            viewer: Some(person.numbers[feed as usize - 1]),
            profile: person.profile.clone(),
            posts,
            positions,
            named: true,
            ads_in_session: 0,
        };
        let anonymous = self.luck.chance(60);
        let viewer = request.viewer.filter(|_| !anonymous);
        self.ask(feed, AdRequest { viewer, named: !anonymous, ..request })
    }

    /// Asks for a tray, checks it, and plans what its viewer does with it.
    pub(crate) fn ask(&mut self, feed: u32, request: AdRequest) -> Finding {
        // In a short life the floor is near the bids, so that budgets come to their ends in it.
        let floor_cpm_micros = match (feed, self.brief) {
            (2, true) => 2_000_000,
            (2, false) => 400_000,
            _ => 0,
        };
        let policy = Policy { floor_cpm_micros, ..Policy::default() };
        let now = self.clock();
        let slots = self.front().request_ads(feed, &policy, &request, now).slots();
        self.requests += 1;
        self.read_journal()?;
        for slot in slots {
            match slot.filling {
                Some(Filling::NoAdReason(reason)) => {
                    let reason = NoAdReason::try_from(reason).unwrap_or_default();
                    self.coverage.note("no ad", format!("{reason:?}"));
                }
                Some(Filling::Ad(ad)) => {
                    self.served += 1;
                    let view = self.keep(feed, ad, now)?;
                    self.plan(view, request.profile.country);
                }
                None => return Err("a slot with neither ad nor reason".into()),
            }
        }
        Ok(())
    }

    /// Opens a served ad's token and checks what was promised.
    fn keep(&mut self, feed: u32, ad: PlacedAd, now: Moment) -> Result<u64, String> {
        let opened = self.front().sealer().open_view(&ad.view_token, now.seconds());
        let token = opened.map_err(|refusal| format!("a fresh token is refused: {refusal}"))?;
        ensure(token.ad == ad.ad_id && token.feed == feed, || "the token's ad".into())?;
        let rows = &self.ledger.rows;
        let row = rows.ads.get(&ad.ad_id).ok_or("an ad was served that is not in the journal")?;
        let (ad_set, _, account) = rows.above(row.ad_set_id).ok_or("an ad of no ad set")?;
        let handed = Handed { token, account: account.id, ad_set: ad_set.id };
        if !self.is_writing() {
            rows.may_serve(ad.ad_id, now.0).map_err(|what| format!("ad {}: {what}", ad.ad_id))?;
        }
        let cap = ad_set.frequency_caps.first().copied().unwrap_or_default();
        if cap.max_frequency > 0 && !self.is_writing() {
            let span = i64::from(cap.interval_hours) * HOUR;
            let place = (token.viewer, ad_set.id);
            let from = self.clock_max - span;
            let seen = self
                .ledger
                .capped
                .get(&place)
                .map_or(0, |times| times.iter().filter(|at| **at > from).count());
            let promised = self.town.promises.get(&place).map_or(0, |list| {
                let open = |(view, until): &&(u64, i64)| {
                    *until > self.clock_max
                        && !self.ledger.views.get(view).is_some_and(|view| view.seen)
                };
                list.iter().filter(open).count()
            });
            let sum = (seen + promised) as u32;
            ensure(sum < cap.max_frequency, || {
                format!("ad set {}: {seen} seen, {promised} promised of {cap:?}", ad_set.id)
            })?;
        }
        let until = now.0 + i64::from(token.show_by) * 1_000;
        let promises = self.town.promises.entry((token.viewer, ad_set.id)).or_default();
        promises.push((token.view, until));
        let known = self.ledger.handed.insert(token.view, handed);
        ensure(known.is_none(), || "a view id was given twice".into())?;
        let (sealed, link) = (ad.view_token.to_vec(), ad.chat_link);
        self.town.kept.insert(token.view, Kept { sealed, link, feed, ad: token.ad });
        self.town.views.push(token.view);
        Ok(token.view)
    }

    /// Plans what a viewer does with an ad.
    fn plan(&mut self, view: u64, country: u16) {
        let hides = country == u16::from_be_bytes(*b"PE");
        if !self.luck.chance(850) && !hides {
            return;
        }
        let late = [0, 0, 0, 0, 0, 0, 20 * MINUTE, 5 * HOUR, 23 * HOUR, 25 * HOUR + 30 * MINUTE];
        let late = *self.luck.pick(&late);
        if late > 0 {
            self.coverage.note("fault", "late");
        }
        let mut seconds = self.luck.between(1, 90);
        let steps = [
            (EventKind::Impression, 1_000),
            (EventKind::Viewable, if self.brief { 150 } else { 500 }),
            (EventKind::Video25, if self.brief { 50 } else { 200 }),
            (EventKind::Video50, if self.brief { 20 } else { 150 }),
            (EventKind::Video75, if self.brief { 20 } else { 100 }),
            (EventKind::Video100, if self.brief { 20 } else { 80 }),
            (EventKind::Tap, 350),
            (EventKind::HideAd, if hides { 700 } else { 15 }),
            (EventKind::HideBusiness, if hides { 300 } else { 10 }),
            (EventKind::Report, 20),
        ];
        for (kind, per_mille) in steps {
            if !self.luck.chance(per_mille) {
                continue;
            }
            seconds += self.luck.between(0, 5);
            let at_ms = self.now_ms - self.behind_ms + seconds * 1_000;
            // Some devices tell the time, some tell it wrong.
            let at_ms = match self.luck.below(100) {
                0..40 => None,
                40 => Some(at_ms + 12 * MINUTE),
                41 => Some(at_ms - 2 * HOUR),
                _ => Some(at_ms),
            };
            // Events overtake each other.
            let jitter = self.luck.between(0, 8_000);
            let after_ms = seconds * 1_000 + late + jitter;
            self.schedule(after_ms, Task::Event { view, kind, at_ms });
            if self.luck.chance(100) {
                let spans = [(0, 2 * HOUR), (0, 2 * HOUR), (24 * HOUR, 28 * HOUR)];
                let (least, most) = *self.luck.pick(&spans);
                let again_ms = self.luck.between(least, most);
                self.schedule(after_ms + again_ms, Task::Event { view, kind, at_ms });
            }
            if kind as i32 >= EventKind::HideAd as i32 && !hides && self.luck.chance(600) {
                let undo = Task::Event { view, kind: EventKind::Undo, at_ms: None };
                self.schedule(after_ms + 30_000, undo);
            }
        }
        self.plan_chat(view, seconds * 1_000 + late);
    }

    fn plan_chat(&mut self, view: u64, after_ms: i64) {
        if !self.luck.chance(350) {
            return;
        }
        let contact = self.luck.below(40);
        // Now and then the chat is reported before the impression, or more than a week later.
        let after_ms = match self.luck.below(100) {
            0..15 => self.luck.between(0, 5_000),
            15..18 => 9 * DAY,
            _ => after_ms + self.luck.between(1_000, HOUR),
        };
        let at_ms = self.now_ms - self.behind_ms + after_ms;
        let at_ms = match self.luck.below(100) {
            0..50 => None,
            50 => Some(at_ms - 5 * DAY),
            51 => Some(at_ms + HOUR),
            _ => Some(at_ms),
        };
        self.schedule(after_ms, Task::Open { view, contact, at_ms });
        if self.luck.chance(120) {
            let more_ms = self.luck.between(0, 2 * HOUR);
            self.schedule(after_ms + more_ms, Task::Open { view, contact, at_ms });
        }
        if self.luck.chance(120) {
            let other = contact + 1 + self.luck.below(5);
            self.schedule(after_ms + 60_000, Task::Open { view, contact: other, at_ms: None });
        }
    }

    fn event(&mut self, view: u64, kind: EventKind, at_ms: Option<i64>) -> Finding {
        let now_s = self.clock().seconds();
        let kept = self.town.kept[&view].clone();
        let mut sealed = kept.sealed;
        let feed = if self.luck.chance(10) { 3 - kept.feed } else { kept.feed };
        match self.luck.below(120) {
            0 => sealed[40] ^= 1,
            1 => sealed.truncate(20),
            _ => {}
        }
        let token = match self.front().sealer().open_view(&sealed, now_s) {
            Ok(token) if token.feed == feed => token,
            Ok(_) => {
                self.coverage.note("refusal", Reason::TokenForeign.name());
                return Ok(());
            }
            Err(refusal) => {
                self.coverage.note("refusal", reason_of(refusal).name());
                return Ok(());
            }
        };
        ensure(token == self.ledger.handed[&view].token, || "a token opens as another".into())?;
        let kind = if self.luck.chance(5) { EventKind::Unspecified } else { kind };
        // Some come from where nobody sits.
        let suspect = match self.luck.below(150) {
            0 => Some(InvalidReason::UserAgent),
            1 => Some(InvalidReason::Network),
            _ => None,
        };
        let network = self.luck.below(8);
        let item = Incoming::Ad { token, kind, at: at_ms.map(Moment), suspect, network };
        let mut items = vec![(Key::Ad(view, kind), item)];
        if self.luck.chance(60) {
            // Twice in one batch.
            items.push(items[0].clone());
        }
        self.send(Sent::Items(items));
        Ok(())
    }
}

pub(crate) fn reason_of(refusal: TokenRefusal) -> Reason {
    match refusal {
        TokenRefusal::Malformed | TokenRefusal::WrongKind { .. } => Reason::TokenMalformed,
        TokenRefusal::Forged => Reason::TokenForged,
        TokenRefusal::UnknownKey(_) | TokenRefusal::Expired { .. } => Reason::TokenExpired,
    }
}
