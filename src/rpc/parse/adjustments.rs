//! Corrections of conversions that were reported before.

use crate::rpc::limits::EVENT_ID_CHARS_MAX;
use crate::rpc::parse::conversations::Desk;
use crate::rpc::parse::field::{Path, id, money, text, variant};
use crate::types::proto::v1;
use crate::types::proto::v1::ConversionAdjustment;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Adjustment, Incoming};

/// Returns the adjustment that a conversion of the wire is.
pub(super) fn adjustment(desk: &Desk<'_>, wire: v1::Conversion) -> Result<Incoming, Refusal> {
    let kind = variant(wire.adjustment, Path::root("adjustment"))?;
    text(&wire.event_id, EVENT_ID_CHARS_MAX, Path::root("event_id"))?;
    text(&wire.adjustment_id, EVENT_ID_CHARS_MAX, Path::root("adjustment_id"))?;
    let account = id(wire.account_id, Path::root("account_id"))?;
    for (is_told, field) in [
        (!wire.name.is_empty(), "name"),
        (wire.time.is_some(), "time"),
        (wire.origin.is_some(), "origin"),
        (wire.viewer.is_some(), "viewer"),
    ] {
        if is_told {
            let message = "stays as it was reported: leave it empty in an adjustment";
            return Err(Path::root(field).refuse(Reason::FieldInvalid, message));
        }
    }
    let path = Path::root("value");
    let value = match (kind, wire.value) {
        (ConversionAdjustment::Restatement, Some(value)) => {
            money(&value, path)?;
            Some(value)
        }
        (ConversionAdjustment::Restatement, None) => {
            let message = "is empty: send what the conversion is worth now";
            return Err(path.refuse(Reason::FieldMissing, message));
        }
        (_, Some(_)) => {
            let message = "nothing is left of what is retracted: leave it empty";
            return Err(path.refuse(Reason::FieldInvalid, message));
        }
        (_, None) => None,
    };
    let (event_id, adjustment_id) = (wire.event_id, wire.adjustment_id);
    let tenant = desk.tenant;
    Ok(Incoming::Adjusted(Box::new(Adjustment { tenant, account, event_id, adjustment_id, value })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::parse::samples::{NOW, sealer};

    fn told() -> v1::Conversion {
        v1::Conversion {
            event_id: "order-1".into(),
            account_id: 5,
            value: Some(v1::Money { micros: 5, currency: "MXN".into() }),
            adjustment: ConversionAdjustment::Restatement.into(),
            adjustment_id: "return-1".into(),
            ..v1::Conversion::default()
        }
    }

    fn parsed(wire: v1::Conversion) -> Result<Incoming, Refusal> {
        adjustment(&Desk { sealer: &sealer(), tenant: 4, now: NOW }, wire)
    }

    #[test]
    fn each_field_of_an_adjustment_is_refused_by_its_path() {
        let check = |field: &str, spoil: fn(&mut v1::Conversion)| {
            let mut wire = told();
            spoil(&mut wire);
            assert_eq!(parsed(wire).unwrap_err().field, field);
        };
        check("adjustment", |wire| wire.adjustment = 3);
        check("event_id", |wire| wire.event_id.clear());
        check("adjustment_id", |wire| wire.adjustment_id.clear());
        check("adjustment_id", |wire| wire.adjustment_id = "x".repeat(129));
        check("account_id", |wire| wire.account_id = 0);
        check("name", |wire| wire.name = "Purchase".into());
        check("time", |wire| wire.time = Some(prost_types::Timestamp::default()));
        check("viewer", |wire| wire.viewer = Some(v1::ViewerRef::default()));
        check("value", |wire| wire.value = None);
        check("value.micros", |wire| wire.value.as_mut().unwrap().micros = -1);
        check("value", |wire| wire.adjustment = ConversionAdjustment::Retraction.into());
    }

    #[test]
    fn a_retraction_has_no_value_and_a_restatement_its_new_one() {
        let Ok(Incoming::Adjusted(restated)) = parsed(told()) else { panic!("a restatement") };
        assert_eq!((restated.tenant, restated.account), (4, 5));
        assert_eq!(restated.value.map(|value| value.micros), Some(5));
        let adjustment = ConversionAdjustment::Retraction.into();
        let wire = v1::Conversion { value: None, adjustment, ..told() };
        let Ok(Incoming::Adjusted(retracted)) = parsed(wire) else { panic!("a retraction") };
        assert_eq!(retracted.value, None);
    }
}
