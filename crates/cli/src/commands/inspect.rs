//! `evaluate --format inspect`: a finished evaluation as a log that `inspect view` opens.

use super::benchmarks::TRAJECTORIES;
use crate::problem::Problem;
use paretopo_chat::Tokenizer;
use paretopo_dashboards::InspectLog;
use paretopo_records::{EVALUATION, Evaluation, TrajectoryFile};
use paretopo_training::RunConfig;
use paretopo_trajectory::{Task, Trajectory};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Writes the log of the evaluation that a folder holds, under the same name each time. `named` is
/// the task's name where that is not the environment's type; `policy` the folder of the policy.
///
/// # Errors
/// When the folder's episodes or the tokenizer cannot be read, or the log not be written.
pub(super) fn write(
    folder: &Path,
    named: Option<&str>,
    config: &RunConfig,
    (evaluation, tasks): (&Evaluation, &[Task]),
    policy: &Path,
) -> Result<PathBuf, Problem> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| Problem::unreadable(&path, &error)
    };
    let file = TrajectoryFile::open(&folder.join(TRAJECTORIES)).map_err(Problem::failure)?;
    let lines = file.iter().map_err(Problem::failure)?;
    let trajectories: Vec<Trajectory> =
        lines.collect::<Result<_, _>>().map_err(Problem::failure)?;
    let played: BTreeSet<&str> = trajectories.iter().map(|one| one.task_id.as_str()).collect();
    let tasks: Vec<Task> =
        tasks.iter().filter(|task| played.contains(task.id.as_str())).cloned().collect();
    let identity_path = folder.join("identity.json");
    let identity = std::fs::read(&identity_path).map_err(unreadable(&identity_path))?;
    let result = folder.join(EVALUATION);
    let written = std::fs::metadata(&result).and_then(|metadata| metadata.modified());
    let written = written.map_err(unreadable(&result))?;
    let tokenizer = Tokenizer::from_file(&policy.join("tokenizer.json"));
    let tokenizer = tokenizer.map_err(Problem::failure)?;
    let config = serde_json::to_value(config).map_err(Problem::failure)?;
    let environment = config["environment"]["type"].as_str().unwrap_or("paretopo");
    let model = format!("paretopo/{}", policy_name(&config["policy"]));
    let log = InspectLog {
        task: named.unwrap_or(environment),
        model: &model,
        identity: &String::from_utf8_lossy(&identity),
        ended_unix: written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        config: &config,
        program: [env!("CARGO_PKG_VERSION"), env!("PARETOPO_COMMIT")],
        evaluation,
        tasks: &tasks,
        trajectories: &trajectories,
    };
    let place = log.place(folder);
    let read = |ids: &[u32]| tokenizer.decode(ids).unwrap_or_default();
    log.write(&place, &read).map_err(Problem::failure)?;
    Ok(place)
}

/// The name of a model, or the last part of its folder's path.
fn policy_name(policy: &serde_json::Value) -> String {
    let text = |key: &str| policy[key].as_str().map(str::to_owned);
    let folder = || Some(Path::new(&text("path")?).file_name()?.to_string_lossy().into_owned());
    text("name").or_else(folder).unwrap_or_else(|| "policy".to_owned())
}
