//! A dry run: recorded requests, at the time they were made, against campaigns of one's own.

use std::io::BufRead;

use crate::town::close::DayReport;
use crate::town::dice::CERTAIN;
use crate::town::error::TownError;
use crate::town::life::{Look, Town};
use crate::town::recorded::{BadLine, JsonForm, for_each_line};
use crate::town::wire::moment;
use crate::types::proto::v1;
use crate::types::time::{HOUR_MS, MINUTE_MS, Moment};

/// How long the run goes on after the last request, so that what was served is seen and charged.
const AFTER_MS: i64 = HOUR_MS;

/// Recorded requests in the order of their time.
pub struct Recording {
    looks: Vec<(Moment, Look)>,
}

impl Recording {
    /// Reads recorded requests, one a line.
    ///
    /// # Errors
    /// When a line can't be read, or its time is before that of the line above.
    pub fn read(form: &JsonForm, lines: impl BufRead) -> Result<Self, TownError> {
        let mut looks: Vec<(Moment, Look)> = Vec::new();
        for_each_line(lines, |line, text| {
            let bad = |what| TownError::from(BadLine { line, what });
            let request = form.read_request(text).map_err(bad)?;
            let at = request.time.as_ref().map_or(Moment(0), moment);
            if looks.last().is_some_and(|(before, _)| at < *before) {
                return Err(TownError::Order { line });
            }
            looks.push((at, look(request, line as u64)));
            Ok(())
        })?;
        Ok(Self { looks })
    }

    /// Returns the time of the first request; `None` when there is none.
    #[must_use]
    pub fn start(&self) -> Option<Moment> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Returns how many requests there are.
    #[must_use]
    pub const fn trays(&self) -> usize {
        self.looks.len()
    }

    /// Lets the town make the requests, each at its own time; `progress` hears how many are made.
    ///
    /// # Errors
    /// When the server fails or breaks its contract.
    pub async fn live(
        &self,
        town: &mut Town,
        mut progress: impl FnMut(usize),
    ) -> Result<DayReport, TownError> {
        let Some(mut now) = self.start() else {
            return town.close().await;
        };
        let mut made = 0;
        for together in self.looks.chunk_by(|one, next| one.0 == next.0) {
            now = together[0].0;
            live_until(town, now).await?;
            let looks: Vec<Look> = together.iter().map(|(_, look)| look.clone()).collect();
            town.serve(&looks, now).await?;
            made += looks.len();
            progress(made);
        }
        let end = now.plus_ms(AFTER_MS);
        live_until(town, end).await?;
        town.close().await
    }
}

/// Moves the town to a moment, minute by minute where something is due before.
async fn live_until(town: &mut Town, end: Moment) -> Result<(), TownError> {
    while let Some(due) = town.next_deed().filter(|due| due.plus_ms(MINUTE_MS) < end) {
        town.move_to(due.plus_ms(MINUTE_MS)).await?;
    }
    town.jump_to(end).await;
    Ok(())
}

fn look(request: v1::AdRequest, line: u64) -> Look {
    let viewer = request.viewer.clone().unwrap_or_default();
    Look {
        // Somebody without a name is nobody else either.
        name: if viewer.pseudonym.is_empty() { format!("line {line}") } else { viewer.pseudonym },
        country: viewer.country,
        liking: CERTAIN,
        place: [line, 0],
        request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Result<Recording, TownError> {
        Recording::read(&JsonForm::default(), lines.as_bytes())
    }

    #[test]
    fn requests_keep_their_order_and_time() {
        let recording = read(
            r#"{"time":"2026-06-01T00:00:00Z","viewer":{"pseudonym":"a","country":"MX"}}
               {"time":"2026-06-01T00:00:00Z"}
               {"time":"2026-06-01T00:00:01Z"}"#,
        )
        .unwrap();
        assert_eq!(recording.start(), Some(Moment(1_780_272_000_000)));
        let names: Vec<&str> = recording.looks.iter().map(|(_, look)| &*look.name).collect();
        assert_eq!(names, ["a", "line 2", "line 3"]);
    }

    #[test]
    fn a_request_out_of_order_or_unreadable_is_named_by_its_line() {
        let lines = r#"{"time":"2026-06-01T00:00:01Z"}
            {"time":"2026-06-01T00:00:00Z"}"#;
        assert!(matches!(read(lines), Err(TownError::Order { line: 2 })));
        let lines = "\n\n{\"time\":1}";
        assert!(matches!(read(lines), Err(TownError::Recorded(BadLine { line: 3, .. }))));
        assert_eq!(read("\n").unwrap().start(), None);
    }
}
