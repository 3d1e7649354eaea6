//! What callers put before the writer, and what it answers.

use std::sync::mpsc::Sender;

use munadi::node::writer::Work;
use munadi::types::refusal::Refusal;
use munadi::types::request::{FundRequest, Incoming, ListMutation, Mutation, Resource, Verdict};

use crate::audit::Key;

/// What waits for its answer.
#[derive(Clone)]
pub(crate) enum Sent {
    Items(Vec<(Key, Incoming)>),
    Write(Box<Mutation>),
    Fund(Box<FundRequest>),
    Lists(Box<ListMutation>),
}

#[allow(clippy::large_enum_variant, reason = "a test keeps few of them")]
pub(crate) enum Answer {
    Items(Result<Vec<Verdict>, Refusal>),
    Write(Result<Box<Resource>, Refusal>),
    /// To a transfer, or to a write of the operator's lists.
    Done(Result<(), Refusal>),
}

impl Sent {
    /// Returns the work for the writer; its answer goes to the sender under this id.
    pub(crate) fn work(&self, id: u64, sender: Sender<(u64, Answer)>) -> Work {
        match self {
            Self::Items(items) => {
                let items = items.iter().map(|(_, item)| item.clone()).collect();
                let reply = move |answer| drop(sender.send((id, Answer::Items(answer))));
                Work::Record(items, Box::new(reply))
            }
            Self::Write(mutation) => {
                let reply = move |answer: Result<Resource, Refusal>| {
                    drop(sender.send((id, Answer::Write(answer.map(Box::new)))));
                };
                Work::Mutate(mutation.clone(), Box::new(reply))
            }
            Self::Fund(request) => {
                let reply = move |answer: Result<_, Refusal>| {
                    drop(sender.send((id, Answer::Done(answer.map(drop)))));
                };
                Work::Fund(request.clone(), Box::new(reply))
            }
            Self::Lists(mutation) => {
                let reply = move |answer: Result<_, Refusal>| {
                    drop(sender.send((id, Answer::Done(answer.map(drop)))));
                };
                Work::MutateLists(mutation.clone(), Box::new(reply))
            }
        }
    }

    /// Returns the names of all that was sent.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Items(items) => items.iter().map(|(key, _)| key.clone()).collect(),
            Self::Write(it) => vec![Key::Write(it.tenant, it.request_id.clone())],
            Self::Fund(it) => vec![Key::Write(it.tenant, it.request_id.clone())],
            Self::Lists(it) => vec![Key::Write(it.tenant, it.request_id.clone())],
        }
    }
}
