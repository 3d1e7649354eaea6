//! What is printed: a few lines for people, and one line of JSON for programs.

use serde::Serialize;

use crate::Failure;
use crate::support::load::Shape;
use crate::support::round::{Measured, Round};

/// All cases of a run.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    bench: Name,
    cases: Vec<Figures>,
}

/// The bench's own name.
#[derive(Default, Serialize)]
#[serde(rename_all = "lowercase")]
enum Name {
    #[default]
    Serve,
}

/// The medians of one case.
#[derive(Serialize)]
struct Figures {
    ads: u32,
    mode: &'static str,
    trays_per_s: u64,
    noop_per_s: u64,
    ratio: f64,
    server_us_per_tray: f64,
    /// Without the door, in the server's process: the mean.
    select_us: f64,
}

impl Report {
    /// Takes a case in.
    pub(crate) fn add(&mut self, case: Case) {
        self.cases.push(Figures {
            ads: case.ads,
            mode: case.shape.mode.name(),
            trays_per_s: Spread::of(&case.real, |round| round.trays_per_s).median() as u64,
            noop_per_s: Spread::of(&case.noop, |round| round.trays_per_s).median() as u64,
            ratio: case.ratio().rounded(1_000.0),
            server_us_per_tray: Spread::of(&case.real, |round| round.server_us_per_tray)
                .rounded(100.0),
            select_us: (case.tray_us * 100.0).round() / 100.0,
        });
    }

    /// Prints the line for programs.
    pub(crate) fn print_line(&self) -> Result<(), Failure> {
        println!("{}", serde_json::to_string(self)?);
        Ok(())
    }
}

/// One number of live ads under one shape of load: the rounds of both servers, in pairs.
pub(crate) struct Case {
    ads: u32,
    shape: Shape,
    /// Selection, auction and sealing of one tray, without the door, us.
    tray_us: f64,
    pub(crate) noop: Vec<Measured>,
    pub(crate) real: Vec<Measured>,
}

impl Case {
    /// Returns a case before its first round.
    pub(crate) fn new(ads: u32, shape: Shape, tray_us: f64) -> Self {
        Self { ads, shape, tray_us, noop: Vec::new(), real: Vec::new() }
    }

    /// Prints the lines for people: median [least .. most].
    pub(crate) fn print(&self, round: Round) {
        println!(
            "{} ads, {}: {}, {} rounds of {} s",
            self.ads,
            self.shape.mode.name(),
            self.shape,
            self.real.len(),
            round.measured.as_secs_f64(),
        );
        print_server("no-op", &self.noop);
        print_server("real", &self.real);
        println!("  ratio  {}", self.ratio().text(3));
        println!("  ratio by CPU of server and load  {}", self.ratio_by_cpu().text(3));
        println!("  server CPU over the no-op, us a tray  {}", self.cpu_over_noop().text(2));
        println!("  selection, auction and sealing alone, us a tray  {:.2}", self.tray_us);
    }

    /// Compares each round with the no-op round just before it.
    fn ratio(&self) -> Spread {
        self.pairs(|noop, real| real.trays_per_s / noop.trays_per_s)
    }

    /// Compares what both sides of a call used: the ratio of the rates if nothing else ran here.
    fn ratio_by_cpu(&self) -> Spread {
        let used = |round: &Measured| round.server_us_per_tray + round.load_us_per_tray;
        self.pairs(|noop, real| used(noop) / used(real))
    }

    fn cpu_over_noop(&self) -> Spread {
        self.pairs(|noop, real| real.server_us_per_tray - noop.server_us_per_tray)
    }

    fn pairs(&self, compare: impl Fn(&Measured, &Measured) -> f64) -> Spread {
        let pairs = self.noop.iter().zip(&self.real);
        Spread::new(pairs.map(|(noop, real)| compare(noop, real)).collect())
    }
}

fn print_server(name: &str, rounds: &[Measured]) {
    println!(
        "  {name:5}  {} trays/s, CPU us a tray: server {}, load {}",
        Spread::of(rounds, |round| round.trays_per_s).text(0),
        Spread::of(rounds, |round| round.server_us_per_tray).text(2),
        Spread::of(rounds, |round| round.load_us_per_tray).text(2),
    );
    println!(
        "         {} bytes and {} ads a tray",
        Spread::of(rounds, |round| round.bytes_per_tray).text(0),
        Spread::of(rounds, |round| round.ads_per_tray).text(2),
    );
}

/// The median of some figures, with the least and the most of them.
struct Spread {
    sorted: Vec<f64>,
}

impl Spread {
    fn new(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        Self { sorted: figures }
    }

    fn of(rounds: &[Measured], figure: impl Fn(&Measured) -> f64) -> Self {
        Self::new(rounds.iter().map(figure).collect())
    }

    fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        if self.sorted.len() % 2 == 1 {
            return self.sorted[middle];
        }
        f64::midpoint(self.sorted[middle - 1], self.sorted[middle])
    }

    fn rounded(&self, steps_per_one: f64) -> f64 {
        (self.median() * steps_per_one).round() / steps_per_one
    }

    fn text(&self, places: usize) -> String {
        let (least, most) = (self.sorted[0], self.sorted[self.sorted.len() - 1]);
        format!("{:.places$} [{least:.places$} .. {most:.places$}]", self.median())
    }
}
