//! Runs and evaluations in the formats of other people's dashboards.
//!
//! - [`Dashboards`] sends a run's metrics to a trackio or MLflow server while it trains, and some
//!   of its trajectories to trackio as traces. It can neither stop nor slow the run: what is sent
//!   waits in a bounded queue for a thread of its own, every wait has a limit, and what did not
//!   arrive is counted.
//! - [`InspectLog`] is an evaluation as a log that `inspect view` opens.
//!
//! Which server is asked, and how, stands in one file each: `trackio`, `mlflow`. What is common to
//! both (the queue, attempts, the end) in `line`.

mod config;
mod conversation;
mod dashboards;
mod error;
mod inspect;
mod inspect_events;
mod line;
mod mlflow;
mod record;
mod request;
mod trackio;

pub use config::{Address, DashboardsConfig, MlflowConfig, TrackioConfig};
pub use dashboards::{Dashboards, Ending, LastWords, RunAbout};
pub use error::DashboardError;
pub use inspect::InspectLog;

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;
