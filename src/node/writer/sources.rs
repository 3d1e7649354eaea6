//! Codes of entry sources: drawn once, printed for ever.

use crate::channels::find_code;
use crate::node::writer::Writer;
use crate::state::catalog::Catalog;
use crate::types::dice::Dice;
use crate::types::ids::shard_of;
use crate::types::request::{Change, Mutation, Resource};
use crate::types::token::PrefillCode;

impl Writer {
    /// Returns the code for the source that a write makes; any other write needs none, and draws none.
    pub(super) fn code_for(&mut self, catalog: &Catalog, mutation: &Mutation) -> PrefillCode {
        match &mutation.change {
            Change::Create(Resource::Source(_)) => draw_code(catalog, &mut self.dice),
            _ => PrefillCode::default(),
        }
    }
}

/// Draws a code that no source has. One of digits alone is drawn again: without brackets, as Apple's links
/// have it, it would not be told from a telephone number.
fn draw_code(catalog: &Catalog, dice: &mut impl Dice) -> PrefillCode {
    loop {
        let roll = dice.roll();
        let code = PrefillCode::new(shard_of(roll), roll);
        let is_plain = find_code(&code.to_string()) == Some(code);
        if is_plain && catalog.source_of_code(code.number()).is_none() {
            return code;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stamp;
    use crate::types::ids::{IdKind, Seq, Shard, mint};
    use crate::types::proto::journal::v1::fact::Kind;
    use crate::types::proto::journal::v1::{BusinessPut, EndpointPut, EntrySourcePut};
    use crate::types::proto::v1::{Business, ChannelEndpoint, EntrySource};
    use crate::types::time::Moment;

    struct Loaded(Vec<u64>);

    impl Dice for Loaded {
        fn roll(&mut self) -> u64 {
            self.0.pop().unwrap()
        }
    }

    #[test]
    fn a_code_is_drawn_until_it_is_free_and_not_of_digits_alone() {
        let (digits, taken, free) = ("0123456789", "7ZK4M0Q9XA", "ABCDEFGH12");
        let roll = |code: &str| {
            let number = code.parse::<PrefillCode>().unwrap().number();
            number >> 44 << 58 | number & ((1 << 44) - 1)
        };
        let source = EntrySource {
            id: mint(IdKind::Source, 1),
            endpoint_id: mint(IdKind::Endpoint, 1),
            code: taken.into(),
            ..EntrySource::default()
        };
        let endpoint = ChannelEndpoint {
            id: mint(IdKind::Endpoint, 1),
            business_id: mint(IdKind::Business, 1),
            ..ChannelEndpoint::default()
        };
        let business = Business {
            id: mint(IdKind::Business, 1),
            account_id: mint(IdKind::Account, 1),
            ..Business::default()
        };
        let facts = [
            Kind::BusinessPut(Box::new(BusinessPut { business: Some(business) })),
            Kind::EndpointPut(Box::new(EndpointPut { endpoint: Some(endpoint) })),
            Kind::EntrySourcePut(Box::new(EntrySourcePut { source: Some(source) })),
        ];
        let mut catalog = Catalog::default();
        for (seq, fact) in (1..).map(Seq).zip(&facts) {
            catalog.apply(Stamp { shard: Shard::CATALOG, seq, at: Moment(0) }, fact);
        }
        assert!(catalog.source_of_code(taken.parse::<PrefillCode>().unwrap().number()).is_some());
        let mut dice = Loaded(vec![roll(free), roll(taken), roll(digits)]);
        assert_eq!(draw_code(&catalog, &mut dice).to_string(), free);
    }
}
