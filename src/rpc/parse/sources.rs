//! Entry sources: printed codes and web buttons.

use crate::channels::QR_PIXELS_PER_MODULE_MAX;
use crate::rpc::limits::PREFILLED_TEXT_CHARS_MAX;
use crate::rpc::parse::campaigns::name;
use crate::rpc::parse::field::{Path, id, optional_text, required, variant};
use crate::rpc::parse::mutations::{Fields, Shape, Verb};
use crate::types::proto::v1;
use crate::types::refusal::{Reason, Refusal};
use crate::types::request::{Change, Resource};

const SOURCE: Shape = Shape {
    name: "entry_source",
    mutable: &[],
    fixed: &["endpoint_id", "name", "entry_point", "code", "prefilled_text"],
};

/// Pixels of a side of one module in a QR code's PNG image, where the caller says nothing.
const PIXELS_PER_MODULE_DEFAULT: u32 = 8;

/// Returns a checked new entry source. It has one version, so nothing of it is ever updated.
pub(in crate::rpc) fn source(wire: Option<v1::EntrySource>, verb: Verb) -> Result<Change, Refusal> {
    let path = Path::root(SOURCE.name);
    let row = required(wire, path)?;
    let fields = Fields::new(verb, &SOURCE, row.id)?;
    id(row.endpoint_id, path.field("endpoint_id"))?;
    name(&row.name, &fields, path)?;
    let entry_point = path.field("entry_point");
    match variant(row.entry_point, entry_point)? {
        v1::EntryPoint::WebButton | v1::EntryPoint::QrCode | v1::EntryPoint::BusinessProfile => {}
        v1::EntryPoint::Unspecified | v1::EntryPoint::Ad | v1::EntryPoint::Organic => {
            let message =
                "name WEB_BUTTON, QR_CODE or BUSINESS_PROFILE: ads have links of their own";
            return Err(entry_point.refuse(Reason::FieldInvalid, message));
        }
    }
    let prefilled = path.field("prefilled_text");
    optional_text(&row.prefilled_text, PREFILLED_TEXT_CHARS_MAX, prefilled)?;
    // Counted by the engine, never told to it.
    let row = v1::EntrySource { taps: 0, conversations: 0, ..row };
    Ok(fields.change(Resource::Source(row)))
}

/// Returns the side of one module in a QR code's PNG image, in pixels.
pub(in crate::rpc) fn pixels_per_module(told: u32) -> Result<u32, Refusal> {
    match told {
        0 => Ok(PIXELS_PER_MODULE_DEFAULT),
        1..=QR_PIXELS_PER_MODULE_MAX => Ok(told),
        _ => {
            let message = format!("send 1 to {QR_PIXELS_PER_MODULE_MAX}, or nothing");
            Err(Path::root("pixels_per_module").refuse(Reason::TooLarge, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> v1::EntrySource {
        v1::EntrySource {
            endpoint_id: 5,
            name: "Menu of the Roma branch".into(),
            entry_point: v1::EntryPoint::QrCode.into(),
            prefilled_text: "Hola".into(),
            ..v1::EntrySource::default()
        }
    }

    #[test]
    fn a_good_source_passes_and_loses_only_what_the_engine_gives() {
        let wire = v1::EntrySource { taps: 7, conversations: 8, ..whole() };
        assert_eq!(source(Some(wire), Verb::Create), Ok(Change::Create(Resource::Source(whole()))));
    }

    #[test]
    fn a_source_is_refused_by_the_field_at_fault() {
        let check = |field: &str, spoil: fn(&mut v1::EntrySource)| {
            let mut row = whole();
            spoil(&mut row);
            assert_eq!(source(Some(row), Verb::Create).unwrap_err().field, field);
        };
        check("entry_source.endpoint_id", |row| row.endpoint_id = 0);
        check("entry_source.name", |row| row.name.clear());
        check("entry_source.name", |row| row.name = "x".repeat(101));
        check("entry_source.entry_point", |row| row.entry_point = 0);
        check("entry_source.entry_point", |row| row.entry_point = 1);
        check("entry_source.entry_point", |row| row.entry_point = 5);
        check("entry_source.entry_point", |row| row.entry_point = 6);
        check("entry_source.prefilled_text", |row| row.prefilled_text = "x".repeat(101));
        assert_eq!(source(None, Verb::Create).unwrap_err().field, "entry_source");
    }

    #[test]
    fn a_module_has_a_bounded_side() {
        assert_eq!(pixels_per_module(0), Ok(8));
        assert_eq!(pixels_per_module(32), Ok(32));
        assert_eq!(pixels_per_module(33).unwrap_err().field, "pixels_per_module");
    }
}
