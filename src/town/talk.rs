//! What goes over a chat, and how the chat platform tells the engine of it. Never what is said.

use std::collections::BTreeMap;

use crate::channels::{self, returns_token};
use crate::town::wire::timestamp;
use crate::types::proto::v1::conversation_event::Event;
use crate::types::proto::v1::opened::Proof;
use crate::types::proto::v1::{
    self, Channel, ChannelPricing, Direction, EntryPoint, MessageCategory, MessageStatus,
    PriceReason, PricingModel,
};
use crate::types::time::{HOUR_MS, Moment};

/// For so long after a person's last message a business answers freely (FACTS, "Conversation windows").
const SERVICE_WINDOW_MS: i64 = 24 * HOUR_MS;

/// For so long after the answer to an ad's click everything is free, if it came within a day.
const FREE_ENTRY_MS: i64 = 72 * HOUR_MS;

/// A chat between one person and one endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Thread {
    pub(crate) business: u64,
    pub(crate) endpoint: u64,
    /// A [`Channel`].
    pub(crate) channel: i32,
    /// The person's pseudonym.
    pub(crate) contact: String,
    /// Where the person is from.
    pub(crate) country: String,
    /// Which of the feed's viewers the person is, where the chat's platform can tell.
    pub(crate) viewer: Option<v1::ViewerRef>,
}

impl Thread {
    /// Returns the names by which the engine knows the chat.
    pub(crate) fn key(&self) -> v1::ConversationKey {
        v1::ConversationKey { endpoint_id: self.endpoint, contact: self.contact.clone() }
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::try_from(self.channel).unwrap_or_default()
    }

    /// Tells whether the platform posts what goes over the chat to a webhook of the door.
    pub(crate) fn is_posted(&self) -> bool {
        is_posted(self.channel)
    }

    /// Tells whether a link alone opens a chat there, before a word is written.
    pub(crate) fn opens_silently(&self) -> bool {
        let number = u8::try_from(self.channel).ok();
        number.and_then(channels::Channel::from_number).is_some_and(returns_token)
    }
}

/// Tells whether a [`Channel`]'s platform posts its chats to a webhook of the door. Webhooks know nothing of
/// the feed's viewers.
pub(crate) fn is_posted(channel: i32) -> bool {
    [Channel::Whatsapp, Channel::Messenger].map(i32::from).contains(&channel)
}

/// One thing that goes over a chat.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Saying {
    pub(crate) thread: Thread,
    pub(crate) at: Moment,
    pub(crate) what: What,
}

/// What goes over a chat.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// It opens.
    Opens {
        entry_point: EntryPoint,
        proof: Option<Proof>,
        /// The message that it is; `None`: nothing was written yet.
        id: Option<String>,
        /// The channel says that its own ad led here.
        referred: bool,
    },
    /// The person writes.
    Writes { id: String },
    /// The business writes, or an earlier message of it comes further.
    Answers { id: String, category: MessageCategory, template: bool, status: MessageStatus },
    /// The person goes on under this chat's name; before, it was another.
    Moves { from: String },
}

impl Saying {
    /// Returns it as the chat platform tells it; `pricing` is what the channel says of a message's price. An
    /// opening that is a message is both.
    pub(crate) fn events(&self, pricing: Option<ChannelPricing>) -> Vec<v1::ConversationEvent> {
        let mut events = vec![self.event(pricing)];
        if let What::Opens { id: Some(id), .. } = &self.what {
            let wrote = Self { what: What::Writes { id: id.clone() }, ..self.clone() };
            events.push(wrote.event(None));
        }
        events
    }

    fn event(&self, pricing: Option<ChannelPricing>) -> v1::ConversationEvent {
        let event = match &self.what {
            What::Opens { entry_point, proof, id, referred } => Event::Opened(v1::Opened {
                entry_point: (*entry_point).into(),
                proof: proof.clone(),
                wrote: id.is_some(),
                free_entry_point: *referred,
                viewer: self.thread.viewer.clone(),
                ..v1::Opened::default()
            }),
            What::Writes { id } => Event::Message(v1::MessageReceipt {
                message_id: id.clone(),
                direction: Direction::Inbound.into(),
                category: MessageCategory::Service.into(),
                ..v1::MessageReceipt::default()
            }),
            What::Answers { id, category, template, status } => {
                Event::Message(v1::MessageReceipt {
                    message_id: id.clone(),
                    direction: Direction::Outbound.into(),
                    category: (*category).into(),
                    status: (*status).into(),
                    template: *template,
                    pricing,
                })
            }
            What::Moves { from } => {
                Event::ContactChanged(v1::ContactChanged { previous_contact: from.clone() })
            }
        };
        v1::ConversationEvent {
            business_id: self.thread.business,
            conversation: Some(self.thread.key()),
            time: Some(timestamp(self.at)),
            country: self.thread.country.clone(),
            event: Some(event),
        }
    }
}

/// What the channel knows of each chat's windows: its own account, by which it prices messages.
#[derive(Debug, Default)]
pub(crate) struct Windows(BTreeMap<(u64, String), Window>);

#[derive(Debug, Default)]
struct Window {
    wrote: Option<Moment>,
    referred: Option<Moment>,
    free_from: Option<Moment>,
}

impl Windows {
    /// Notes what goes over a chat, in the order of time, and returns what the channel says of its price:
    /// WhatsApp does.
    pub(crate) fn note(&mut self, saying: &Saying) -> Option<ChannelPricing> {
        let (thread, at) = (&saying.thread, saying.at);
        if thread.channel() != Channel::Whatsapp {
            return None;
        }
        let place = (thread.endpoint, thread.contact.clone());
        match &saying.what {
            What::Opens { id, referred, .. } => {
                let window = self.0.entry(place).or_default();
                window.wrote = if id.is_some() { Some(at) } else { window.wrote };
                window.referred = if *referred { Some(at) } else { window.referred };
                None
            }
            What::Writes { .. } => {
                self.0.entry(place).or_default().wrote = Some(at);
                None
            }
            What::Moves { from } => {
                let before = self.0.remove(&(thread.endpoint, from.clone()));
                self.0.insert(place, before.unwrap_or_default());
                None
            }
            What::Answers { category, template, status, .. } => {
                let window = self.0.entry(place).or_default();
                if window.referred.is_some_and(|referred| at.0 < referred.0 + SERVICE_WINDOW_MS) {
                    window.free_from = Some(at);
                    window.referred = None;
                }
                let told = *status != MessageStatus::Failed;
                told.then(|| window.pricing(*category, *template, at))
            }
        }
    }
}

impl Window {
    fn pricing(&self, category: MessageCategory, template: bool, at: Moment) -> ChannelPricing {
        let within = |from: Option<Moment>, span_ms: i64| {
            from.is_some_and(|from| at.0 < from.0.saturating_add(span_ms))
        };
        let serving = within(self.wrote, SERVICE_WINDOW_MS);
        let free = !template || (category == MessageCategory::Utility && serving);
        let reason = if within(self.free_from, FREE_ENTRY_MS) {
            PriceReason::FreeEntryPoint
        } else if free {
            PriceReason::FreeCustomerService
        } else {
            PriceReason::Regular
        };
        ChannelPricing {
            billable: reason == PriceReason::Regular,
            model: PricingModel::Message.into(),
            reason: reason.into(),
            category: category.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::time::MINUTE_MS;

    fn thread(channel: Channel) -> Thread {
        Thread { channel: channel.into(), contact: "a".to_owned(), ..Thread::default() }
    }

    fn opens(entry_point: EntryPoint) -> What {
        let (proof, id) = (None, Some(String::new()));
        What::Opens { entry_point, proof, id, referred: entry_point == EntryPoint::Ad }
    }

    fn template(category: MessageCategory) -> What {
        let (id, status) = (String::new(), MessageStatus::Delivered);
        What::Answers { id, category, template: true, status }
    }

    #[test]
    fn a_channel_prices_by_its_windows() {
        use MessageCategory::{Marketing, Utility};
        let mut windows = Windows::default();
        let mut said = |hours: i64, what: What| {
            let at = Moment(hours * HOUR_MS);
            let saying = Saying { thread: thread(Channel::Whatsapp), at, what };
            windows.note(&saying).map(|pricing| pricing.reason())
        };
        assert_eq!(said(0, template(Utility)), Some(PriceReason::Regular));
        assert_eq!(said(1, opens(EntryPoint::QrCode)), None);
        assert_eq!(said(2, template(Utility)), Some(PriceReason::FreeCustomerService));
        assert_eq!(said(2, template(Marketing)), Some(PriceReason::Regular));
        assert_eq!(said(25, template(Utility)), Some(PriceReason::Regular));
        assert_eq!(said(26, opens(EntryPoint::Ad)), None);
        assert_eq!(said(27, template(Marketing)), Some(PriceReason::FreeEntryPoint));
        assert_eq!(said(27 + 71, template(Marketing)), Some(PriceReason::FreeEntryPoint));
        assert_eq!(said(27 + 72, template(Marketing)), Some(PriceReason::Regular));
    }

    #[test]
    fn a_window_moves_with_its_person_and_only_one_channel_tells_prices() {
        let mut windows = Windows::default();
        let moved = Thread { contact: "b".to_owned(), ..thread(Channel::Whatsapp) };
        for (thread, what) in [
            (thread(Channel::Whatsapp), opens(EntryPoint::Organic)),
            (moved.clone(), What::Moves { from: "a".to_owned() }),
        ] {
            windows.note(&Saying { thread, at: Moment(0), what });
        }
        let what = template(MessageCategory::Utility);
        let saying = Saying { thread: moved, at: Moment(MINUTE_MS), what: what.clone() };
        let told = windows.note(&saying).unwrap();
        assert!(!told.billable && told.reason() == PriceReason::FreeCustomerService);
        let saying = Saying { thread: thread(Channel::Line), at: Moment(0), what };
        assert_eq!(windows.note(&saying), None);
    }
}
