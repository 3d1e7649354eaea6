//! Who earned the outcomes, by all models side by side, and what the ads brought about, as people read it.

use std::io::{self, Write};

use crate::cli::figures::{NAME_WIDTH, short};
use crate::town::{DayReport, LiftFigures, LiftReport, ModelsReport, ModelsTable, Span};

/// Models by their names in the interface, with the heads of their columns.
const MODELS: [(&str, &str); 8] = [
    ("LAST_TOUCH", "last touch"),
    ("FIRST_TOUCH", "first touch"),
    ("LAST_CLICK", "last click"),
    ("LINEAR", "linear"),
    ("TIME_DECAY", "time decay"),
    ("POSITION_BASED", "position"),
    ("MARKOV", "markov"),
    ("SHAPLEY", "shapley"),
];

const MODEL_WIDTH: usize = 12;

const GROUP_WIDTH: usize = 9;

const SPAN_WIDTH: usize = 30;

const LEAST_WIDTH: usize = 20;

/// Micro-credits of an outcome in a hundredth of it.
const HUNDREDTH: u64 = 10_000;

/// Writes the models, then the lift, where there are any.
pub(super) fn write(day: &DayReport, out: &mut impl Write) -> io::Result<()> {
    if let Some(models) = &day.models {
        write_models(models, out)?;
    }
    day.lift.as_ref().map_or(Ok(()), |lift| write_lift(lift, out))
}

fn write_models(models: &ModelsReport, out: &mut impl Write) -> io::Result<()> {
    let tables =
        [("conversations", &models.conversations), ("leads and sales", &models.conversions)];
    for (outcomes, table) in tables {
        writeln!(
            out,
            "\nmodels side by side: {} {outcomes} of {}",
            table.outcomes, models.account
        )?;
        write_table(table, out)?;
    }
    Ok(())
}

fn write_table(table: &ModelsTable, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{:<NAME_WIDTH$}", "campaign")?;
    for (_, head) in MODELS {
        write!(out, "{head:>MODEL_WIDTH$}")?;
    }
    writeln!(out)?;
    for row in &table.campaigns {
        write!(out, "{:<NAME_WIDTH$}", short(&row.name))?;
        for (model, _) in MODELS {
            let credit = row.credit_micros.get(model).copied().unwrap_or_default();
            write!(out, "{:>MODEL_WIDTH$}", credits(credit))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_lift(lift: &LiftReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nlift, so far: {}", lift.experiment)?;
    write!(out, "{:<NAME_WIDTH$}{:>GROUP_WIDTH$}{:>GROUP_WIDTH$}", "", "treated", "control")?;
    write!(out, "{:>SPAN_WIDTH$}", "incremental (95 %)")?;
    writeln!(
        out,
        "{:>SPAN_WIDTH$}{:>LEAST_WIDTH$}",
        "relative lift (95 %)", "detectable a viewer"
    )?;
    let (treated, control) = (&lift.treated, &lift.control);
    write_groups("viewers", treated.viewers, control.viewers, out)?;
    writeln!(out)?;
    write_groups("conversations", treated.conversations, control.conversations, out)?;
    write_figures(lift.conversations.as_ref(), out)?;
    write_groups("leads and sales", treated.conversions, control.conversions, out)?;
    write_figures(lift.conversions.as_ref(), out)?;
    writeln!(
        out,
        "groups of these sizes by chance (sample ratio): p {:.3}",
        lift.sample_ratio_p_value
    )
}

fn write_groups(name: &str, treated: u64, control: u64, out: &mut impl Write) -> io::Result<()> {
    write!(out, "{name:<NAME_WIDTH$}{treated:>GROUP_WIDTH$}{control:>GROUP_WIDTH$}")
}

/// Writes the rest of a line: a dash where a group is too small.
fn write_figures(figures: Option<&LiftFigures>, out: &mut impl Write) -> io::Result<()> {
    let incremental = figures.map(|figures| span(&figures.incremental, 1.0, ""));
    let relative = figures.and_then(|figures| figures.relative_lift);
    let relative = relative.map(|relative| span(&relative, 100.0, " %"));
    let least = figures.map(|figures| format!("{:.4}", figures.smallest_detectable_difference));
    let [incremental, relative, least] =
        [incremental, relative, least].map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
    writeln!(out, "{incremental:>SPAN_WIDTH$}{relative:>SPAN_WIDTH$}{least:>LEAST_WIDTH$}")
}

/// Returns an estimate and its interval with one decimal.
fn span(Span { estimate, lower, upper }: &Span, times: f64, unit: &str) -> String {
    let [estimate, lower, upper] = [estimate, lower, upper].map(|figure| figure * times);
    format!("{estimate:.1}{unit} ({lower:.1} to {upper:.1})")
}

/// Returns micro-credits as outcomes with two decimals, rounded down.
fn credits(micros: u64) -> String {
    let hundredths = micros / HUNDREDTH;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::town::{Group, ModelsRow};

    #[test]
    fn models_stand_side_by_side_and_lift_has_its_interval() {
        let credit_micros = [("LINEAR".to_owned(), 1_509_999), ("SHAPLEY".to_owned(), 2_000_000)];
        let row = ModelsRow {
            name: "Praça, the very long name of a campaign".into(),
            credit_micros: credit_micros.into(),
            ..ModelsRow::default()
        };
        let conversions = ModelsTable { outcomes: 2, campaigns: vec![row] };
        let models = Some(ModelsReport { conversions, ..ModelsReport::default() });
        let figures = LiftFigures {
            incremental: Span { estimate: 9.04, lower: -1.0, upper: 20.06 },
            relative_lift: Some(Span { estimate: 0.5, lower: -0.25, upper: 1.0 }),
            smallest_detectable_difference: 0.0123,
            ..LiftFigures::default()
        };
        let treated = Group { viewers: 70, ..Group::default() };
        let conversations = Some(figures);
        let lift = Some(LiftReport { treated, conversations, ..LiftReport::default() });
        let mut out = Vec::new();
        write(&DayReport { models, lift, ..DayReport::default() }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let head = lines.iter().rposition(|line| line.starts_with("campaign")).unwrap();
        assert_eq!(lines[head].chars().count(), lines[head + 1].chars().count(), "{text}");
        for told in ["1.50", "2.00", "9.0 (-1.0 to 20.1)", "50.0 % (-25.0 to 100.0)", "0.0123"] {
            assert!(text.contains(told), "{told}: {text}");
        }
        assert!(lines.iter().any(|line| line.starts_with("viewers") && line.contains("70")));
    }

    #[test]
    fn a_day_without_outcomes_and_experiments_has_neither() {
        let mut out = Vec::new();
        write(&DayReport::default(), &mut out).unwrap();
        assert_eq!(out, b"");
    }
}
