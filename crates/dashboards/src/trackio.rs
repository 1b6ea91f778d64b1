//! Trackio (MIT, Hugging Face), by version 1 of the HTTP interface of its server, as its own client
//! uses it (0.43.0): `GET /version`, `POST /api/bulk_log` with a list of entries, and the header
//! `x-trackio-write-token`, or a bearer token of the hub for a server on a Space.
//!
//! An entry has a `log_id`; one that is there already is left out by the server. So a step that is
//! told twice, by a resumed run or after an answer that was lost, counts once. Traces are values of
//! the type `trackio.trace`.

use crate::config::TrackioConfig;
use crate::dashboards::{RunAbout, flattened};
use crate::line::{Dashboard, Ending};
use crate::record::{Content, Record, Trace};
use crate::request::{Client, Failure};
use chrono::DateTime;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The version of the interface.
const INTERFACE: u64 = 1;

/// A run on a trackio server.
pub(crate) struct Trackio {
    client: Client,
    project: String,
    name: String,
    about: RunAbout,
    has_config: bool,
}

impl Trackio {
    pub(crate) fn new(client: Client, config: &TrackioConfig, about: RunAbout) -> Self {
        let name = config.name.clone().unwrap_or_else(|| about.name.clone());
        Self { client, project: config.project.clone(), name, about, has_config: false }
    }

    fn entry(&self, record: &Record, with_config: bool) -> Value {
        let (kind, metrics) = match &record.content {
            Content::Metrics(metrics) => ("metrics", numbers("", metrics)),
            Content::Evaluation(metrics) => ("evaluation", numbers("evaluation/", metrics)),
            Content::Traces(traces) => ("traces", traced(traces)),
        };
        json!({
            "project": self.project,
            "run": self.name,
            "run_id": self.about.id,
            "metrics": metrics,
            "step": record.step,
            "config": with_config.then(|| self.config()),
            "log_id": format!("{}-{kind}-{}", self.about.id, record.step),
        })
    }

    fn config(&self) -> Map<String, Value> {
        let mut config: Map<String, Value> = flattened(&self.about.settings).into_iter().collect();
        let started = i64::try_from(self.about.started_unix).ok();
        let started = started.and_then(|unix| DateTime::from_timestamp(unix, 0));
        config.insert("_Created".into(), json!(started.unwrap_or_default().to_rfc3339()));
        config.insert("_Group".into(), Value::Null);
        config
    }
}

impl Dashboard for Trackio {
    fn begin(&mut self) -> Result<(), Failure> {
        let found = self.client.get("version", &[])?;
        if found["api_version"] != INTERFACE {
            return Err(Failure::nonsense(
                "`version` is answered by no trackio server of version 1 of its interface",
            ));
        }
        Ok(())
    }

    fn tell(&mut self, records: &[Record]) -> Result<(), Failure> {
        let with_config = |place: usize| place == 0 && !self.has_config;
        let entries: Vec<Value> = records
            .iter()
            .enumerate()
            .map(|(place, record)| self.entry(record, with_config(place)))
            .collect();
        let body = json!({ "kwargs": { "logs": entries, "hf_token": null } });
        let answer = self.client.post("api/bulk_log", &body)?;
        // its only word for what went well
        match answer.get("data") {
            Some(_) => self.has_config = true,
            None => return Err(Failure::nonsense("`api/bulk_log` is answered without `data`")),
        }
        Ok(())
    }

    fn end(&mut self, _: Ending) -> Result<(), Failure> {
        // its runs have no state
        Ok(())
    }
}

/// Numbers as its own client writes them: JSON has none for what is not finite.
fn numbers(prefix: &str, metrics: &BTreeMap<String, f64>) -> Value {
    let written = |value: f64| match value {
        value if value.is_nan() => json!("NaN"),
        value if value.is_infinite() => json!(if value > 0.0 { "Infinity" } else { "-Infinity" }),
        value => json!(value),
    };
    metrics.iter().map(|(name, value)| (format!("{prefix}{name}"), written(*value))).collect()
}

fn traced(traces: &[Trace]) -> Value {
    let traces: Vec<Value> = traces
        .iter()
        .map(|trace| {
            json!({
                "_type": "trackio.trace",
                "messages": trace.messages,
                "metadata": trace.metadata,
                "spans": trace.spans,
            })
        })
        .collect();
    json!({ "rollouts": traces })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_written_as_its_own_client_does() {
        let metrics = [("a", 0.5), ("b", f64::NAN), ("c", f64::NEG_INFINITY)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value)).into();
        let expected = json!({ "x/a": 0.5, "x/b": "NaN", "x/c": "-Infinity" });
        assert_eq!(numbers("x/", &metrics), expected);
    }
}
