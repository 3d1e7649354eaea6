//! The commands: they wire everything together and do nothing themselves.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::journal::LogError;
use crate::node::StartError;
use crate::town::TownError;

pub mod demo;
mod figures;
pub mod replay;
mod stage;

/// Why a command stopped, and what to do about it.
#[derive(Debug, Error)]
pub enum CliError {
    /// The machine refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file of the command line can't be opened.
    #[error("{path}: {source}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// A file of the command line can't be used.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TownError,
    },
    /// A file of recorded requests holds none.
    #[error("{path}: it holds no request", path = .0.display())]
    NoRequests(PathBuf),
    /// A folder that should be new holds something.
    #[error("{path}: the folder is not empty: name a new one", path = .0.display())]
    FolderInUse(PathBuf),
    /// The node did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The journal can't be sealed or read.
    #[error(transparent)]
    Journal(#[from] LogError),
    /// The town stopped.
    #[error(transparent)]
    Town(#[from] TownError),
}
