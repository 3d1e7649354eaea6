//! Commands: each reads its arguments, wires the rooms together, and says how it went.

#[cfg(feature = "columns")]
pub mod attribute;
pub mod audit;
pub mod backup;
pub mod base;
mod config;
pub mod conversions;
pub mod courier;
mod demo;
#[cfg(feature = "columns")]
pub mod export;
mod figures;
mod first_key;
pub mod fsck;
#[cfg(test)]
mod fuzz;
mod health;
pub mod import;
mod jwt;
mod keys;
mod limits;
mod metrics;
pub mod pii_report;
mod progress;
mod rates;
pub mod reconcile;
mod replay;
pub mod report;
mod serve;
mod stage;
mod telemetry;
mod tls;
mod traces;
mod web;

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What can go wrong in a command, for people.
type Failure = Box<dyn Error>;

/// An ad server and campaign engine for Status-like feeds and click-to-chat ads.
#[derive(Debug, Parser)]
#[command(name = "munadi", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node: serve gRPC and HTTP until SIGINT or SIGTERM, then drain.
    Serve(serve::ServeArguments),
    /// Ask a node whether calls may be sent there: 0 if so, else 1. For health checks.
    Health(health::HealthArguments),
    /// Make API keys.
    Keys(keys::KeysArguments),
    /// Check rate cards of channels, and print those that are built in.
    Rates(rates::RatesArguments),
    // These say themselves what they are for, at length.
    Audit(audit::AuditArgs),
    Base(base::BaseArgs),
    Fsck(fsck::FsckArgs),
    Backup(backup::BackupArgs),
    Verify(backup::VerifyArgs),
    Restore(backup::RestoreArgs),
    PiiReport(pii_report::PiiReportArgs),
    Report(report::ReportArgs),
    Conversions(conversions::ConversionsArgs),
    Reconcile(reconcile::ReconcileArgs),
    #[cfg(feature = "columns")]
    Export(export::ExportArgs),
    #[cfg(feature = "columns")]
    Attribute(attribute::AttributeArgs),
    Import(import::ImportArgs),
    /// Let a seeded town live one day in seconds, and print what it came to.
    Demo(demo::DemoArguments),
    /// Run recorded requests against campaigns, and print what they would have come to.
    ///
    /// Every ad is taken as seen and viewable. Taps, messages, answers and sales are drawn by the
    /// chances given here: they are assumptions, not measurements.
    Replay(replay::ReplayArguments),
}

/// Runs the command of the process's arguments.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Health(arguments) => health::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Rates(arguments) => rates::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments).map_err(Failure::from),
        Command::Base(arguments) => base::run(&arguments).map_err(Failure::from),
        Command::Fsck(arguments) => fsck::run(&arguments).map_err(Failure::from),
        Command::Backup(arguments) => done(backup::run_backup(&arguments)),
        Command::Verify(arguments) => done(backup::run_verify(&arguments)),
        Command::Restore(arguments) => done(backup::run_restore(&arguments)),
        Command::PiiReport(arguments) => pii_report::run(&arguments),
        Command::Report(arguments) => report::run(&arguments).map_err(Failure::from),
        Command::Conversions(arguments) => conversions::run(&arguments).map_err(Failure::from),
        Command::Reconcile(arguments) => reconcile::run(&arguments).map_err(Failure::from),
        #[cfg(feature = "columns")]
        Command::Export(arguments) => export::run(&arguments).map_err(Failure::from),
        #[cfg(feature = "columns")]
        Command::Attribute(arguments) => attribute::run(&arguments).map_err(Failure::from),
        Command::Import(arguments) => import::run(&arguments).map_err(Failure::from),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            tell(std::io::stderr(), format_args!("munadi: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns how a command ended that has no exit code of its own.
fn done(done: Result<(), backup::CommandError>) -> Result<ExitCode, Failure> {
    Ok(done.map(|()| ExitCode::SUCCESS)?)
}

/// Writes a line for people. A closed pipe is no reason to fail.
fn tell(mut out: impl Write, line: impl Display) {
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_argument_has_a_help_text() {
        let mut command = Arguments::command();
        command.build();
        let mut open = vec![&command];
        while let Some(command) = open.pop() {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            open.extend(command.get_subcommands());
        }
        command.clone().debug_assert();
    }
}
