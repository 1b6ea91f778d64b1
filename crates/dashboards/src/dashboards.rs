//! All dashboards of a run.

use crate::config::{DashboardsConfig, MlflowConfig, TrackioConfig};
use crate::error::DashboardError;
pub use crate::line::Ending;
use crate::line::Line;
use crate::mlflow::Mlflow;
use crate::record::{Content, Record, Trace};
use crate::request::Client;
use crate::trackio::Trackio;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use paretopo_settings::Secret;
use paretopo_trajectory::{TokenId, Trajectory};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What dashboards are told of a run as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunAbout {
    /// A name that no other run has, by which a resumed run is found again.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// All its settings.
    pub settings: Value,
    /// When it began, in seconds since 1970.
    pub started_unix: u64,
}

/// The dashboards that hear of a run. Nothing of it waits for a server, but [`Dashboards::close`]
/// and dropping it, which have a limit.
///
/// ```
/// use paretopo_dashboards::{Dashboards, DashboardsConfig, Ending, RunAbout};
///
/// // nobody is told anything by default
/// let dashboards = Dashboards::open(&DashboardsConfig::default(), &RunAbout::default())?;
/// dashboards.step(0, &[("em".to_owned(), 0.5)].into());
/// assert!(dashboards.close(Ending::Finished).is_empty());
/// # Ok::<(), paretopo_dashboards::DashboardError>(())
/// ```
#[derive(Debug, Default)]
pub struct Dashboards {
    lines: Vec<Line>,
    /// Trajectories that are told of a step.
    traces: usize,
    flush: Duration,
    last_words: LastWords,
}

/// What the end of a run's dashboards has said, for whoever outlives them.
#[derive(Clone, Debug, Default)]
pub struct LastWords(Arc<Mutex<Vec<String>>>);

impl LastWords {
    /// How much each dashboard was not told, where it was not told all.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Dashboards {
    /// Reads credentials from the variables that are named, and starts a thread for each dashboard;
    /// no server is asked yet.
    ///
    /// # Errors
    /// When a variable is not set, or this build cannot ask a server by `https`.
    pub fn open(config: &DashboardsConfig, about: &RunAbout) -> Result<Self, DashboardError> {
        let limit = config.request_seconds.duration();
        let mut lines = Vec::new();
        let mut line = |name, dashboard| {
            let opened = Line::open(name, config.queue, dashboard);
            lines.push(opened.map_err(|error| DashboardError::Thread(error.to_string()))?);
            Ok::<(), DashboardError>(())
        };
        if let Some(trackio) = &config.trackio {
            let client = of_trackio(trackio, limit)?;
            let name = format!("trackio at `{}`", trackio.url);
            line(name, Box::new(Trackio::new(client, trackio, about.clone())))?;
        }
        if let Some(mlflow) = &config.mlflow {
            let client = of_mlflow(mlflow, limit)?;
            let name = format!("MLflow at `{}`", mlflow.url);
            line(name, Box::new(Mlflow::new(client, mlflow, about.clone())))?;
        }
        let traces = config.trackio.as_ref().map_or(0, |trackio| trackio.traces);
        let flush = config.flush_seconds.duration();
        Ok(Self { lines, traces, flush, last_words: LastWords::default() })
    }

    /// Tells the metrics of a step.
    pub fn step(&self, step: u64, metrics: &BTreeMap<String, f64>) {
        self.put(step, || Content::Metrics(metrics.clone()));
    }

    /// Tells what the evaluation at the end has found.
    pub fn evaluation(&self, step: u64, metrics: &BTreeMap<String, f64>) {
        self.put(step, || Content::Evaluation(metrics.clone()));
    }

    /// Tells the first few trajectories of a step, where a dashboard shows such; `read` says what
    /// ids mean.
    pub fn traces<'t>(
        &self,
        step: u64,
        trajectories: impl Iterator<Item = &'t Trajectory>,
        read: &dyn Fn(&[TokenId]) -> String,
    ) {
        if self.traces == 0 || self.lines.is_empty() {
            return;
        }
        let told = trajectories.take(self.traces);
        let traces: Vec<Trace> = told.map(|trajectory| Trace::of(trajectory, read)).collect();
        // MLflow, which is the last line, has no use for them
        if let Some(line) = self.lines.first() {
            line.put(Record::now(step, Content::Traces(traces)));
        }
    }

    fn put(&self, step: u64, content: impl Fn() -> Content) {
        for line in &self.lines {
            line.put(Record::now(step, content()));
        }
    }

    /// What a person should know: that a dashboard is not told anything, and why; each once.
    pub fn take_notes(&self) -> Vec<String> {
        self.lines.iter().filter_map(Line::take_note).collect()
    }

    /// What these dashboards will have said at their end, also when they are dropped.
    pub fn last_words(&self) -> LastWords {
        self.last_words.clone()
    }

    /// Waits until everything is told, within the limit of the configuration. Says how much was
    /// not.
    pub fn close(mut self, ending: Ending) -> Vec<String> {
        self.end(ending);
        self.last_words.take()
    }

    /// The same without giving them up. Nothing is told from then on.
    pub fn end(&mut self, ending: Ending) {
        // all of them come to their end at the same time
        self.lines.iter().for_each(|line| line.announce(ending));
        let limit = Instant::now() + self.flush;
        let left = || limit.saturating_duration_since(Instant::now());
        let said: Vec<String> =
            self.lines.iter_mut().filter_map(|line| line.close(left())).collect();
        self.last_words.0.lock().unwrap_or_else(PoisonError::into_inner).extend(said);
    }
}

impl Drop for Dashboards {
    fn drop(&mut self) {
        self.end(Ending::Stopped);
    }
}

fn of_trackio(config: &TrackioConfig, limit: Duration) -> Result<Client, DashboardError> {
    let key = |name: &str| format!("dashboards.trackio.{name}");
    let mut secrets = Vec::new();
    if let Some(variable) = &config.write_token_variable {
        let token = held(key("write_token_variable"), variable)?;
        secrets.push(("x-trackio-write-token", token));
    }
    if let Some(variable) = &config.hub_token_variable {
        let token = held(key("hub_token_variable"), variable)?;
        secrets.push(("authorization", format!("Bearer {token}")));
    }
    let client = Client::new(config.url.as_str(), secrets, limit);
    client.map_err(|reason| DashboardError::Unreachable { key: key("url"), reason })
}

fn of_mlflow(config: &MlflowConfig, limit: Duration) -> Result<Client, DashboardError> {
    let key = |name: &str| format!("dashboards.mlflow.{name}");
    let mut secrets = Vec::new();
    if let Some(variable) = &config.token_variable {
        let token = held(key("token_variable"), variable)?;
        secrets.push(("authorization", format!("Bearer {token}")));
    } else if let Some(variable) = &config.user_variable {
        let user = held(key("user_variable"), variable)?;
        let password = match &config.password_variable {
            Some(variable) => held(key("password_variable"), variable)?,
            None => String::new(),
        };
        secrets.push((
            "authorization",
            format!("Basic {}", BASE64.encode(format!("{user}:{password}"))),
        ));
    }
    let client = Client::new(config.url.as_str(), secrets, limit);
    client.map_err(|reason| DashboardError::Unreachable { key: key("url"), reason })
}

/// What a variable holds.
fn held(key: String, variable: &str) -> Result<String, DashboardError> {
    match Secret::of_variable(variable) {
        Ok(secret) => Ok(secret.exposed().to_owned()),
        Err(reason) => {
            let (variable, reason) = (variable.to_owned(), reason.to_owned());
            Err(DashboardError::Variable { key, variable, reason })
        }
    }
}

/// Settings as pairs of a path and a value that is no table.
pub(crate) fn flattened(settings: &Value) -> Vec<(String, Value)> {
    let mut pairs = Vec::new();
    flatten(String::new(), settings, &mut pairs);
    pairs
}

fn flatten(path: String, value: &Value, pairs: &mut Vec<(String, Value)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(inner) => {
            inner.iter().for_each(|(key, value)| flatten(below(key), value, pairs));
        }
        Value::Array(list) if list.iter().any(|item| item.is_object() || item.is_array()) => {
            let items = list.iter().enumerate();
            items.for_each(|(place, item)| flatten(below(&place.to_string()), item, pairs));
        }
        Value::Null => {}
        value => pairs.push((path, value.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_flat() {
        let settings = json!({
            "seed": 1,
            "tools": [{ "type": "python" }, { "type": "calculator", "price": 0.5 }],
            "train": { "weights": [0.5, 0.5], "none": null },
        });
        let found = flattened(&settings);
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            ["seed", "tools.0.type", "tools.1.type", "tools.1.price", "train.weights"]
        );
    }

    #[test]
    fn a_variable_that_is_not_set_is_a_mistake_before_the_first_step() {
        let config: DashboardsConfig = serde_json::from_value(json!({
            "trackio": { "url": "http://127.0.0.1:1", "write_token_variable": "PARETOPO_NO_SUCH" },
        }))
        .unwrap();
        let refused = Dashboards::open(&config, &RunAbout::default()).unwrap_err().to_string();
        let said = "`dashboards.trackio.write_token_variable`: the variable `PARETOPO_NO_SUCH` is \
                    not set\nhint: ";
        assert!(refused.starts_with(said), "{refused}");
    }
}
