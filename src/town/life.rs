//! The town at work: moves the clock, lets the feed ask, and tells the doors what was done, each answer
//! awaited before the next step, so that one seed gives one set of figures.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status};

use crate::node::clock::MovedClock;
use crate::town::agenda::{Agenda, Deed};
use crate::town::doors::Doors;
use crate::town::error::TownError;
use crate::town::founding::{AdHome, Founded, found};
use crate::town::habits::Habits;
use crate::town::holdout::HeldOut;
use crate::town::hooks::Hooks;
use crate::town::lines::Line;
use crate::town::platform::{Post, messenger, whatsapp};
use crate::town::talk::{Saying, Windows};
use crate::town::tally::Tally;
use crate::types::proto::v1;
use crate::types::time::Moment;

/// Events in one call: half of what the door takes.
const BATCH: usize = 500;

/// Things in one post of a webhook.
const POSTED: usize = 100;

/// How often a batch is sent until it is answered.
const ATTEMPTS: usize = 5;

/// Requests that may be on their way in a stream.
const STREAM_AHEAD: usize = 256;

/// One tray's request, and what the engine isn't told of who looks at it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Look {
    pub(crate) request: v1::AdRequest,
    /// Who looks, also where the request doesn't say it.
    pub(crate) name: String,
    /// Where from.
    pub(crate) country: String,
    /// How much more than others this person taps, in millionths.
    pub(crate) liking: u32,
    /// Makes this tray's chance its own.
    pub(crate) place: [u64; 2],
}

/// What wakes the node and waits until it has done all that follows from the time and the events so
/// far. Without it that would come by itself, some milliseconds later: at another moment in each run.
pub type Wake = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A town that has its businesses and is ready to live.
pub struct Town {
    doors: Doors,
    clock: Arc<MovedClock>,
    wake: Wake,
    pub(crate) seed: u64,
    pub(crate) habits: Habits,
    hooks: Option<Hooks>,
    pub(crate) agenda: Agenda,
    windows: Windows,
    now: Moment,
    /// Where the clock stood first.
    began: Option<Moment>,
    pub(crate) founded: Founded,
    pub(crate) held_out: Option<HeldOut>,
    pub(crate) tally: Tally,
}

impl Town {
    /// Founds the businesses and returns the town.
    ///
    /// # Errors
    /// When a line of the list is refused or the server fails.
    pub async fn found(
        mut doors: Doors,
        clock: Arc<MovedClock>,
        wake: Wake,
        seed: u64,
        habits: Habits,
        lines: &[Line],
    ) -> Result<Self, TownError> {
        let founded = found(&mut doors, &format!("town-{seed}"), lines, habits.organic > 0).await?;
        let tally = Tally::new(&founded);
        Ok(Self {
            doors,
            clock,
            wake,
            seed,
            habits,
            hooks: None,
            agenda: Agenda::default(),
            windows: Windows::default(),
            now: Moment(0),
            began: None,
            founded,
            held_out: None,
            tally,
        })
    }

    /// Has WhatsApp and Messenger tell of their chats by webhooks, in the place of the chat platform's calls.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Founds more businesses, with everything of theirs, in a town that lives already. `name` tells this
    /// list from others.
    ///
    /// # Errors
    /// When a line of the list is refused or the server fails.
    pub async fn found_more(&mut self, name: &str, lines: &[Line]) -> Result<(), TownError> {
        let name = format!("town-{}-{name}", self.seed);
        let with_sources = self.habits.organic > 0;
        let founded = found(&mut self.doors, &name, lines, with_sources).await?;
        self.tally.learn(&founded);
        self.founded.join(founded);
        Ok(())
    }

    /// Returns the doors, for the questions at the day's end.
    pub(crate) fn doors(&mut self) -> &mut Doors {
        &mut self.doors
    }

    /// Moves the clock, and leaves for later what is due by then.
    pub(crate) async fn jump_to(&mut self, now: Moment) {
        self.now = now;
        self.began.get_or_insert(now);
        self.clock.set(now);
        (self.wake)().await;
    }

    /// Returns where the clock stands.
    pub(crate) const fn now(&self) -> Moment {
        self.now
    }

    /// Returns where the clock stood first: when the town began to live.
    pub(crate) fn began(&self) -> Moment {
        self.began.unwrap_or(self.now)
    }

    /// Moves the clock and tells the doors all that is due by then.
    pub(crate) async fn move_to(&mut self, now: Moment) -> Result<(), TownError> {
        self.jump_to(now).await;
        let (mut seen, mut chats, mut sales) = (Vec::new(), Vec::new(), Vec::new());
        let mut posts = Vec::new();
        for deed in self.agenda.take_due(now) {
            match deed {
                Deed::Ad { event, home } => seen.push((event, Some(home))),
                Deed::Ghost(event) => seen.push((event, None)),
                Deed::Chat(saying) => {
                    let pricing = self.windows.note(&saying);
                    if self.hooks.is_some() && saying.thread.is_posted() {
                        posts.push((saying, pricing));
                    } else {
                        chats.extend(saying.events(pricing));
                    }
                }
                Deed::Sale(sale) => sales.push(sale),
            }
        }
        for batch in seen.chunks(BATCH) {
            self.record_seen(batch, now).await?;
        }
        for batch in chats.chunks(BATCH) {
            self.record_chats(batch, now).await?;
            // Credit and charge follow behind; what comes next must find them.
            (self.wake)().await;
        }
        for batch in posts.chunks(POSTED) {
            self.post(batch).await?;
            (self.wake)().await;
        }
        for batch in sales.chunks(BATCH) {
            self.record_sales(batch, now).await?;
            (self.wake)().await;
        }
        Ok(())
    }

    /// Returns when something is due next.
    pub(crate) fn next_deed(&self) -> Option<Moment> {
        self.agenda.next()
    }

    async fn record_seen(
        &mut self,
        batch: &[(v1::AdEvent, Option<AdHome>)],
        now: Moment,
    ) -> Result<(), TownError> {
        const CALL: &str = "RecordEvents";
        let events = batch.iter().map(|(event, _)| event.clone()).collect();
        let request = v1::RecordEventsRequest { request_id: self.request_id(now), events };
        let door = self.doors.events.clone();
        let send = || {
            let (mut door, request) = (door.clone(), request.clone());
            async move { door.record_events(request).await }
        };
        let results = self.until_answered(CALL, send).await?.results;
        same_length(CALL, batch.len(), results.len())?;
        for ((event, home), result) in batch.iter().zip(&results) {
            // Reports leave out what was kept as invalid traffic, and ads that were held back.
            if self.tally.count(result)
                && result.invalid == 0
                && let Some(home) = home
            {
                *self.tally.recorded.entry(event.kind()).or_default() += 1;
                self.tally.charge(home, now, result.charged_micros);
            }
        }
        Ok(())
    }

    /// Has the platforms post what went over chats to their webhooks.
    async fn post(
        &mut self,
        batch: &[(Saying, Option<v1::ChannelPricing>)],
    ) -> Result<(), TownError> {
        let Some(hooks) = &self.hooks else { return Ok(()) };
        let endpoints = &self.founded.endpoints;
        let of = |channel: v1::Channel| -> Vec<Post<'_>> {
            let theirs = batch.iter().filter(|(saying, _)| saying.thread.channel() == channel);
            let with_line = theirs.filter_map(|(saying, pricing)| {
                Some((saying, endpoints.get(&saying.thread.endpoint)?, *pricing))
            });
            with_line.collect()
        };
        let of_whatsapp = of(v1::Channel::Whatsapp);
        let of_messenger = of(v1::Channel::Messenger);
        if !of_whatsapp.is_empty() {
            hooks.post("whatsapp", &whatsapp(&of_whatsapp)).await?;
        }
        if !of_messenger.is_empty() {
            hooks.post("messenger", &messenger(&of_messenger)).await?;
        }
        // What a webhook's events came to, the door tells nobody.
        self.tally.sent += batch.len() as u64;
        Ok(())
    }

    async fn record_chats(
        &mut self,
        batch: &[v1::ConversationEvent],
        now: Moment,
    ) -> Result<(), TownError> {
        const CALL: &str = "RecordConversationEvents";
        let request_id = self.request_id(now);
        let request = v1::RecordConversationEventsRequest { request_id, events: batch.to_vec() };
        let door = self.doors.chats.clone();
        let send = || {
            let (mut door, request) = (door.clone(), request.clone());
            async move { door.record_conversation_events(request).await }
        };
        let results = self.until_answered(CALL, send).await?.results;
        same_length(CALL, batch.len(), results.len())?;
        // What a conversation costs is decided where its viewer lives; the attributions tell it.
        for result in &results {
            self.tally.count(result);
        }
        Ok(())
    }

    async fn record_sales(
        &mut self,
        batch: &[v1::Conversion],
        now: Moment,
    ) -> Result<(), TownError> {
        const CALL: &str = "RecordConversions";
        let request_id = self.request_id(now);
        let request = v1::RecordConversionsRequest { request_id, conversions: batch.to_vec() };
        let door = self.doors.chats.clone();
        let send = || {
            let (mut door, request) = (door.clone(), request.clone());
            async move { door.record_conversions(request).await }
        };
        let results = self.until_answered(CALL, send).await?.results;
        same_length(CALL, batch.len(), results.len())?;
        for result in &results {
            self.tally.count(result);
        }
        Ok(())
    }

    /// Sends a batch, and sends it again as long as its outcome is unknown: whatever was counted the
    /// first time is `ALREADY` then.
    async fn until_answered<T, F>(
        &mut self,
        call: &'static str,
        mut send: impl FnMut() -> F,
    ) -> Result<T, TownError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        for _ in 1..ATTEMPTS {
            match send().await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if is_unknown(&status) => self.tally.sent_again += 1,
                Err(status) => return Err(TownError::refused(call)(status)),
            }
            (self.wake)().await;
        }
        send().await.map(Response::into_inner).map_err(TownError::refused(call))
    }

    fn request_id(&self, now: Moment) -> String {
        format!("town-{}-{}-{}", self.seed, now.0, self.tally.sent)
    }

    /// Lets the feed ask for all these trays, in their order, and plans what comes of the ads.
    pub(crate) async fn serve(&mut self, looks: &[Look], now: Moment) -> Result<(), TownError> {
        if looks.is_empty() {
            return Ok(());
        }
        let answers = self.ask(looks).await?;
        for (look, answer) in looks.iter().zip(answers) {
            self.tally.requests += 1;
            if let Some(error) = answer.error {
                self.tally.count(&error);
            }
            self.look_at(look, &answer.slots, now);
        }
        Ok(())
    }

    /// Sends the requests over one stream and returns the answers, in the same order.
    async fn ask(&mut self, looks: &[Look]) -> Result<Vec<v1::StreamAdsResponse>, TownError> {
        const CALL: &str = "StreamAds";
        let (sender, receiver) = mpsc::channel(STREAM_AHEAD);
        let send = async {
            for (sequence, look) in (0..).zip(looks) {
                let ad_request = Some(look.request.clone());
                // A closed stream shows as a missing answer.
                let _ = sender.send(v1::StreamAdsRequest { sequence, ad_request }).await;
            }
            drop(sender);
            Ok(())
        };
        let receive = async {
            let stream = self.doors.ads.stream_ads(ReceiverStream::new(receiver)).await;
            let mut stream = stream.map_err(TownError::refused(CALL))?.into_inner();
            let mut answers = Vec::with_capacity(looks.len());
            while let Some(answer) = stream.message().await.map_err(TownError::refused(CALL))? {
                if answer.sequence != answers.len() as u64 {
                    let what = format!("{} came as answer {}", answer.sequence, answers.len());
                    return Err(TownError::Contract { call: CALL, what });
                }
                answers.push(answer);
            }
            Ok(answers)
        };
        let ((), answers) = tokio::try_join!(send, receive)?;
        same_length(CALL, looks.len(), answers.len())?;
        Ok(answers)
    }
}

/// Tells whether the same call may succeed later: the disk was slow, or the queue full.
fn is_unknown(status: &Status) -> bool {
    matches!(status.code(), Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted)
}

fn same_length(call: &'static str, wanted: usize, got: usize) -> Result<(), TownError> {
    if wanted == got {
        return Ok(());
    }
    let what = format!("{got} results for {wanted} items");
    Err(TownError::Contract { call, what })
}
