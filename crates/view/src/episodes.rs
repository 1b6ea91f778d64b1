//! The trajectories of a file: those that are asked for, and the rollouts of one prompt side by
//! side.
//!
//! A file may have a million lines. They are read from a given one on, by the index of its lines;
//! after so many that were looked at, the answer says from which one to go on.

use paretopo_pareto::{dominates, non_dominated_ranks};
use paretopo_records::{LineError, TrajectoryFile};
use paretopo_trajectory::{CallStatus, FinishReason, Trajectory};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Lines that are looked at for one answer.
const MOST_LINES: usize = 4000;
/// Rows of an answer.
const MOST_ROWS: usize = 500;
/// Rollouts of a group that are shown.
const MOST_ROLLOUTS: usize = 512;

/// Which trajectories are asked for; what is not said takes all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    /// The first line that is looked at, counted from 0 without blank ones.
    from: usize,
    count: usize,
    task: Option<String>,
    success: Option<String>,
    finish: Option<String>,
    rank: Option<usize>,
    calls: [Option<f64>; 2],
    /// An objective and the least and largest value of it.
    objective: Option<String>,
    values: [Option<f64>; 2],
}

impl Wanted {
    /// # Errors
    /// Names a value that is none.
    pub(crate) fn of(query: &BTreeMap<String, String>) -> Result<Self, String> {
        let text = |key: &str| query.get(key).filter(|text| !text.is_empty()).cloned();
        let number = |key: &str| match text(key) {
            None => Ok(None),
            Some(value) => value
                .parse::<f64>()
                .map(Some)
                .map_err(|_| format!("`{key}={value}` is no number\nhint: as `{key}=1`")),
        };
        let whole = |key: &str| number(key).map(|value| value.map(|value| value.max(0.0) as usize));
        Ok(Self {
            from: whole("from")?.unwrap_or(0),
            count: whole("count")?.unwrap_or(100).clamp(1, MOST_ROWS),
            task: text("task"),
            success: text("success"),
            finish: text("finish"),
            rank: whole("rank")?,
            calls: [number("least_calls")?, number("most_calls")?],
            objective: text("objective"),
            values: [number("least")?, number("most")?],
        })
    }

    fn takes(&self, trajectory: &Trajectory, rank: Option<usize>) -> bool {
        let within = |value: f64, [least, most]: [Option<f64>; 2]| {
            least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most)
        };
        let success = match trajectory.success {
            Some(true) => "right",
            Some(false) => "wrong",
            None => "unscored",
        };
        let value = self.objective.as_deref().map(|name| trajectory.objectives.get(name));
        self.task.as_deref().is_none_or(|task| trajectory.task_id.contains(task))
            && self.success.as_deref().is_none_or(|wanted| wanted == success)
            && self.finish.as_deref().is_none_or(|wanted| wanted == finish_of(trajectory))
            && self.rank.is_none_or(|wanted| rank == Some(wanted))
            && within(trajectory.call_count() as f64, self.calls)
            && value.is_none_or(|value| value.is_some_and(|value| within(value, self.values)))
    }
}

fn finish_of(trajectory: &Trajectory) -> &'static str {
    match trajectory.finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Deadline => "deadline",
        FinishReason::Failed(_) => "failed",
    }
}

/// The prompt's part of a name: `train-41-3` is the fourth rollout of `train-41`.
fn prompt_of(trajectory: &Trajectory) -> &str {
    let name = trajectory.id.as_str();
    name.rsplit_once('-').map_or(name, |(prompt, _)| prompt)
}

/// A line that was read, with its place.
type Read = (usize, Result<Trajectory, LineError>);

/// The rows that are asked for: `{"rows": [..], "next": N, "total": N}`.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn listed(file: &TrajectoryFile, wanted: &Wanted) -> Result<Value, String> {
    let total = file.count().map_err(|error| error.to_string())?;
    let lines = file.iter_from(wanted.from).map_err(|error| error.to_string())?;
    let mut lines = lines.enumerate().map(|(place, line)| (wanted.from + place, line)).peekable();
    let (mut rows, mut next, mut names) = (Vec::new(), None, Vec::new());
    while lines.peek().is_some() {
        let group = next_group(&mut lines);
        let first = group[0].0;
        if rows.len() >= wanted.count || first - wanted.from >= MOST_LINES {
            next = Some(first);
            break;
        }
        let ranks = ranks(&group);
        for ((place, line), rank) in group.iter().zip(ranks) {
            match line {
                Ok(trajectory) if wanted.takes(trajectory, rank) => {
                    if names.is_empty() {
                        names = trajectory.objectives.names().to_vec();
                    }
                    rows.push(row(*place, trajectory, rank));
                }
                Ok(_) => {}
                Err(error) => rows.push(json!({ "line": place, "error": error.to_string() })),
            }
        }
    }
    Ok(json!({ "rows": rows, "next": next, "total": total, "objectives": names }))
}

/// The next lines that are rollouts of one prompt; a line that cannot be read is alone.
fn next_group(lines: &mut std::iter::Peekable<impl Iterator<Item = Read>>) -> Vec<Read> {
    let mut group: Vec<Read> = lines.next().into_iter().collect();
    let prompt = group.first().and_then(|(_, line)| line.as_ref().ok()).map(prompt_of);
    let Some(prompt) = prompt.map(str::to_owned) else { return group };
    let belongs = |read: &Read| read.1.as_ref().is_ok_and(|next| prompt_of(next) == prompt);
    while group.len() < MOST_ROLLOUTS
        && let Some(read) = lines.next_if(belongs)
    {
        group.push(read);
    }
    group
}

/// The rank of each rollout among its group; `None` where rewards cannot be compared.
fn ranks(group: &[Read]) -> Vec<Option<usize>> {
    let point = |(_, line): &Read| line.as_ref().ok().map(|one| one.objectives.values().to_vec());
    let points: Option<Vec<Vec<f64>>> = group.iter().map(point).collect();
    let comparable = points.filter(|points| {
        let count = points[0].len();
        let is_good =
            |point: &Vec<f64>| point.len() == count && point.iter().all(|v| v.is_finite());
        count > 0 && points.iter().all(is_good)
    });
    match comparable {
        Some(points) => non_dominated_ranks(&points).into_iter().map(Some).collect(),
        None => vec![None; group.len()],
    }
}

fn row(line: usize, trajectory: &Trajectory, rank: Option<usize>) -> Value {
    let failed = |call: &&paretopo_trajectory::CallRecord| call.outcome.status != CallStatus::Ok;
    json!({
        "line": line,
        "id": trajectory.id,
        "task": trajectory.task_id,
        "sample": trajectory.sample,
        "success": trajectory.success,
        "rewards": rewards(trajectory),
        "rank": rank,
        "calls": trajectory.call_count(),
        "errors": trajectory.calls.iter().filter(failed).count(),
        "tokens": trajectory.sampled_tokens(),
        "finish": finish_of(trajectory),
        "answer": trajectory.answer,
        "advantages": trajectory.advantages,
        "seconds": trajectory.seconds,
    })
}

/// Rewards in order; what is no number is `null`.
fn rewards(trajectory: &Trajectory) -> Vec<Option<f64>> {
    let values = trajectory.objectives.values().iter();
    values.map(|value| Some(*value).filter(|value| value.is_finite())).collect()
}

/// The rollouts of the prompt that the line belongs to, with who dominates whom.
///
/// # Errors
/// When the file cannot be read, or has no such line.
pub(crate) fn group(file: &TrajectoryFile, line: usize) -> Result<Value, String> {
    let chosen = file.get(line).map_err(|error| error.to_string())?;
    let chosen = chosen.ok_or_else(|| format!("there is no line {line}"))?;
    let prompt = prompt_of(&chosen).to_owned();
    let mut first = line;
    while first > 0 && line - first < MOST_ROLLOUTS {
        match file.get(first - 1) {
            Ok(Some(before)) if prompt_of(&before) == prompt => first -= 1,
            _ => break,
        }
    }
    let lines = file.iter_from(first).map_err(|error| error.to_string())?;
    let mut lines = lines.enumerate().map(|(place, read)| (first + place, read)).peekable();
    let group = next_group(&mut lines);
    let ranks = ranks(&group);
    let members: Vec<(usize, &Trajectory)> =
        group.iter().filter_map(|(place, read)| Some((*place, read.as_ref().ok()?))).collect();
    let rows: Vec<Value> = members
        .iter()
        .zip(&ranks)
        .map(|((place, trajectory), rank)| {
            let mut row = row(*place, trajectory, *rank);
            row["response"] = trajectory.response.clone().into();
            row["dominates"] = dominated(trajectory, &members, *rank).into();
            row
        })
        .collect();
    Ok(json!({
        "prompt": prompt,
        "task": chosen.task_id,
        "objectives": chosen.objectives.names()[..],
        "preference": chosen.preference,
        "members": rows,
    }))
}

/// The places in the group of those that a rollout dominates.
fn dominated(one: &Trajectory, all: &[(usize, &Trajectory)], rank: Option<usize>) -> Vec<usize> {
    if rank.is_none() {
        return Vec::new();
    }
    let values = one.objectives.values();
    let is_below = |place: &usize| dominates(values, all[*place].1.objectives.values());
    (0..all.len()).filter(is_below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_records::write_trajectories;
    use paretopo_trajectory::TrajectoryId;

    fn episode(prompt: u64, sample: usize, values: [f64; 2]) -> Trajectory {
        Trajectory {
            success: Some(values[0] == 1.0),
            objectives: [("r_task", values[0]), ("r_tool", values[1])].into_iter().collect(),
            ..Trajectory::empty(
                TrajectoryId::new("train", prompt, sample),
                &format!("t{prompt}"),
                sample,
            )
        }
    }

    fn file(episodes: &[Trajectory]) -> (tempfile::TempDir, TrajectoryFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-000000.jsonl");
        write_trajectories(&path, episodes).unwrap();
        let file = TrajectoryFile::open(&path).unwrap();
        (folder, file)
    }

    fn wanted(pairs: &[(&str, &str)]) -> Wanted {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Wanted::of(&pairs.collect()).unwrap()
    }

    fn lines(value: &Value) -> Vec<u64> {
        value["rows"].as_array().unwrap().iter().map(|row| row["line"].as_u64().unwrap()).collect()
    }

    #[test]
    fn rows_are_those_that_are_asked_for_with_their_rank_in_the_group() {
        let (_folder, file) = file(&[
            episode(0, 0, [1.0, 0.5]),
            episode(0, 1, [1.0, 0.25]),
            episode(0, 2, [0.0, 1.0]),
            episode(1, 0, [0.0, 0.0]),
            episode(1, 1, [f64::NAN, 0.0]),
        ]);
        let all = listed(&file, &wanted(&[])).unwrap();
        assert_eq!(
            (lines(&all), &all["total"], &all["next"]),
            (vec![0, 1, 2, 3, 4], &json!(5), &json!(null))
        );
        let ranks: Vec<&Value> =
            all["rows"].as_array().unwrap().iter().map(|row| &row["rank"]).collect();
        // (1, 0.25) is below (1, 0.5); a group with a reward that is no number is not ranked
        assert_eq!(ranks, [&json!(1), &json!(2), &json!(1), &json!(null), &json!(null)]);
        for (pairs, found) in [
            (&[("success", "right")][..], vec![0, 1]),
            (&[("rank", "2")], vec![1]),
            (&[("task", "t1")], vec![3, 4]),
            (&[("objective", "r_tool"), ("least", "0.5")], vec![0, 2]),
            (&[("most_calls", "0"), ("finish", "length")], vec![]),
        ] {
            assert_eq!(lines(&listed(&file, &wanted(pairs)).unwrap()), found, "{pairs:?}");
        }
        // a page ends with a group, and says where the next one begins
        let page = listed(&file, &wanted(&[("count", "1")])).unwrap();
        assert_eq!((lines(&page), &page["next"]), (vec![0, 1, 2], &json!(3)));
        let bad = [("rank".to_owned(), "x".to_owned())].into();
        assert!(Wanted::of(&bad).unwrap_err().contains("`rank=x` is no number\nhint: "));
    }

    #[test]
    fn a_group_is_found_from_any_of_its_lines_and_knows_who_dominates_whom() {
        let (_folder, file) = file(&[
            episode(0, 0, [0.0, 0.0]),
            episode(1, 0, [1.0, 0.5]),
            episode(1, 1, [0.0, 0.5]),
            episode(1, 2, [0.0, 1.0]),
            episode(2, 0, [1.0, 1.0]),
        ]);
        for line in 1..4 {
            let found = group(&file, line).unwrap();
            let members = found["members"].as_array().unwrap();
            assert_eq!((members.len(), &members[0]["line"]), (3, &json!(1)));
            let dominated: Vec<&Value> = members.iter().map(|one| &one["dominates"]).collect();
            assert_eq!(dominated, [&json!([1]), &json!([]), &json!([1])]);
        }
        assert!(group(&file, 9).unwrap_err().contains("no line 9"));
    }
}
