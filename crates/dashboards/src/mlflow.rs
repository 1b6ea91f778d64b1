//! MLflow (Apache 2.0), by version 2.0 of its documented REST interface: `experiments/get-by-name`
//! and `create`, `runs/search`, `create`, `update` and `log-batch`.
//!
//! A run is found again by the tag `paretopo_run`, whose value no other run has. Of one that is
//! there, steps up to the last one that the server knows are not told again: a resumed run makes
//! them as they were. Trajectories are not told.

use crate::config::MlflowConfig;
use crate::dashboards::{RunAbout, flattened};
use crate::line::{Dashboard, Ending};
use crate::record::{Content, Record};
use crate::request::{Client, Failure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// Metrics and parameters of a request, at most.
const METRICS: usize = 1000;
const PARAMETERS: usize = 100;
/// Characters of a name, and of a parameter's value.
const NAME: usize = 250;
const VALUE: usize = 6000;
/// The tag by which a run is found again.
const TAG: &str = "paretopo_run";

/// A run on an MLflow server.
pub(crate) struct Mlflow {
    client: Client,
    experiment: String,
    name: String,
    about: RunAbout,
    /// The run's id there.
    run: String,
    /// The last step that the server knew when this process began.
    known: Option<u64>,
}

impl Mlflow {
    pub(crate) fn new(client: Client, config: &MlflowConfig, about: RunAbout) -> Self {
        let name = config.name.clone().unwrap_or_else(|| about.name.clone());
        let (experiment, run) = (config.experiment.clone(), String::new());
        Self { client, experiment, name, about, run, known: None }
    }

    fn post(&self, route: &str, body: &Value) -> Result<Value, Failure> {
        self.client.post(&format!("api/2.0/mlflow/{route}"), body)
    }

    /// The experiment's id; it is made where there is none.
    fn experiment(&self) -> Result<String, Failure> {
        let named = [("experiment_name", self.experiment.as_str())];
        let find = || self.client.get("api/2.0/mlflow/experiments/get-by-name", &named);
        let found = match find() {
            Err(Failure::Refused(_, Some(404))) => {
                let made = self.post("experiments/create", &json!({ "name": self.experiment }));
                match made {
                    Ok(made) => return text_of(&made["experiment_id"], "experiments/create"),
                    // another run may have made it meanwhile
                    Err(Failure::Refused(_, Some(400))) => find()?,
                    Err(error) => return Err(error),
                }
            }
            found => found?,
        };
        text_of(&found["experiment"]["experiment_id"], "experiments/get-by-name")
    }

    fn create(&self, experiment: &str) -> Result<String, Failure> {
        let made = self.post(
            "runs/create",
            &json!({
                "experiment_id": experiment,
                "run_name": self.name,
                "start_time": self.about.started_unix * 1000,
                "tags": [
                    { "key": TAG, "value": self.about.id },
                    { "key": "mlflow.source.name", "value": "paretopo" },
                    { "key": "mlflow.source.type", "value": "LOCAL" },
                ],
            }),
        )?;
        text_of(&made["run"]["info"]["run_id"], "runs/create")
    }

    fn parameters(&self) -> Result<(), Failure> {
        let parameters: Vec<Value> = flattened(&self.about.settings)
            .into_iter()
            .map(|(key, value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                json!({ "key": named(&key), "value": first(&value, VALUE) })
            })
            .collect();
        for part in parameters.chunks(PARAMETERS) {
            self.post("runs/log-batch", &json!({ "run_id": self.run, "params": part }))?;
        }
        Ok(())
    }
}

impl Dashboard for Mlflow {
    fn begin(&mut self) -> Result<(), Failure> {
        let experiment = self.experiment()?;
        let filter = format!("tags.{TAG} = '{}'", self.about.id);
        let found = self.post(
            "runs/search",
            &json!({ "experiment_ids": [experiment], "filter": filter, "max_results": 1 }),
        )?;
        let run = &found["runs"][0];
        if run.is_null() {
            self.run = self.create(&experiment)?;
            return self.parameters();
        }
        self.run = text_of(&run["info"]["run_id"], "runs/search")?;
        let metrics = run["data"]["metrics"].as_array().map(Vec::as_slice).unwrap_or_default();
        self.known = metrics.iter().filter_map(|metric| whole(&metric["step"])).max();
        self.post("runs/update", &json!({ "run_id": self.run, "status": "RUNNING" }))?;
        match self.parameters() {
            // a parameter keeps its first value; settings that a run may change have another now
            Ok(()) | Err(Failure::Refused(..)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self, records: &[Record]) -> Result<(), Failure> {
        let mut metrics = Vec::new();
        for record in records {
            let is_known = self.known.is_some_and(|known| record.step <= known);
            match &record.content {
                Content::Metrics(found) if !is_known => metrics.extend(told(record, "", found)),
                Content::Evaluation(found) => metrics.extend(told(record, "evaluation/", found)),
                Content::Metrics(_) | Content::Traces(_) => {}
            }
        }
        for part in metrics.chunks(METRICS) {
            let answer =
                self.post("runs/log-batch", &json!({ "run_id": self.run, "metrics": part }))?;
            if !(answer.is_object() || answer.is_null()) {
                return Err(Failure::nonsense("`runs/log-batch` is answered with no object"));
            }
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<(), Failure> {
        let status = match ending {
            Ending::Finished => "FINISHED",
            Ending::Stopped => "KILLED",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ended = json!({
            "run_id": self.run,
            "status": status,
            "end_time": now.as_millis() as u64,
        });
        self.post("runs/update", &ended).map(|_| ())
    }
}

/// Metrics as `log-batch` takes them. Its numbers are those of protocol buffers, which have texts
/// for what is not finite.
fn told<'r>(
    record: &'r Record,
    prefix: &'r str,
    metrics: &'r BTreeMap<String, f64>,
) -> impl Iterator<Item = Value> + 'r {
    metrics.iter().map(move |(name, value)| {
        let value = match *value {
            value if value.is_nan() => json!("NaN"),
            value if value.is_infinite() => {
                json!(if value > 0.0 { "Infinity" } else { "-Infinity" })
            }
            value => json!(value),
        };
        json!({
            "key": named(&format!("{prefix}{name}")),
            "value": value,
            "timestamp": record.milliseconds,
            "step": record.step,
        })
    })
}

/// A name of letters, digits and `_ - . /` and spaces, which is all that it takes.
fn named(name: &str) -> String {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || "_-. /".contains(c);
    first(name, NAME).chars().map(|c| if is_taken(c) { c } else { '_' }).collect()
}

fn first(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or(text, |(end, _)| &text[..end])
}

/// Whole numbers of 64 bits are texts in the JSON of protocol buffers.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn text_of(value: &Value, route: &str) -> Result<String, Failure> {
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() < 200);
    let nonsense = || Failure::nonsense(format!("`{route}` is answered without an id"));
    text.map(str::to_owned).ok_or_else(nonsense)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_such_as_it_takes() {
        assert_eq!(named("pass@2/ä:x"), "pass_2/__x");
        assert_eq!(named(&"é".repeat(300)).len(), NAME);
        assert_eq!(
            (whole(&json!("7")), whole(&json!(7)), whole(&json!("x"))),
            (Some(7), Some(7), None)
        );
        assert!(text_of(&json!(""), "r").is_err() && text_of(&json!(3), "r").is_err());
    }
}
