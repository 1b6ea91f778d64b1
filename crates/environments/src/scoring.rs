//! From episodes to reward vectors, group by group. What judges outside of this process are asked
//! for all groups at once, so that they work at as many as they can.

use crate::judge::AskedRewards;
use crate::{RunMemory, Scoring, ToolEnvironment};
use paretopo_trajectory::{ObjectiveValues, Task, Trajectory};
use std::sync::Arc;

/// Scores the rollouts of tasks, `size` of each: first success, then the memory (`N_optimal`), then
/// every objective that the task's environment has. Returns why a group has no sound rewards, for each group: `None` where it has.
///
/// The memory moves *before* a group is scored, so a group's own first success already counts
/// (method, "Setting"). An objective that does not apply scores 0; a judge that does not answer
/// gives no number.
pub fn score_groups(
    environment: &ToolEnvironment,
    tasks: &[Task],
    trajectories: &mut [Trajectory],
    size: usize,
    memory: &mut RunMemory,
) -> Vec<Option<String>> {
    let size = size.max(1);
    for (task, group) in tasks.iter().zip(trajectories.chunks_mut(size)) {
        for trajectory in group {
            trajectory.success = Some(environment.succeeded(task, trajectory));
        }
    }
    let groups = tasks.iter().zip(trajectories.chunks(size));
    let asked: Vec<Judgements> =
        groups.map(|(task, group)| ask(environment, task, group)).collect();
    let groups = tasks.iter().zip(trajectories.chunks_mut(size)).zip(asked);
    groups.map(|((task, group), asked)| score(environment, task, group, memory, asked)).collect()
}

/// The same of the rollouts of one task.
pub fn score_group(
    environment: &ToolEnvironment,
    task: &Task,
    group: &mut [Trajectory],
    memory: &mut RunMemory,
) -> Option<String> {
    let size = group.len();
    score_groups(environment, std::slice::from_ref(task), group, size, memory).pop().flatten()
}

/// What the judges were asked about a group, one for each objective that has one.
type Judgements = Vec<Option<AskedRewards>>;

fn ask(environment: &ToolEnvironment, task: &Task, group: &[Trajectory]) -> Judgements {
    let objectives = environment.objectives.iter();
    let asked = objectives.map(|named| {
        let judge = named.judge.as_ref().filter(|_| environment.applies(named, task))?;
        Some(AskedRewards::send(judge, &named.name, task, group))
    });
    asked.collect()
}

fn score(
    environment: &ToolEnvironment,
    task: &Task,
    group: &mut [Trajectory],
    memory: &mut RunMemory,
    asked: Judgements,
) -> Option<String> {
    let is_right = |trajectory: &Trajectory| trajectory.success == Some(true);
    for trajectory in group.iter() {
        memory.record(&task.id, environment.expected_cost(trajectory), is_right(trajectory));
    }
    let right = group.iter().filter(|one| is_right(one));
    let lowest = right.map(|one| environment.expected_cost(one)).reduce(f64::min);
    let mut missing = None;
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(asked.len());
    let mut names = Vec::with_capacity(asked.len());
    for (named, asked) in environment.objectives.iter().zip(asked) {
        if !environment.applies(named, task) {
            continue;
        }
        names.push(named.name.clone());
        let column = match asked.map(AskedRewards::receive) {
            Some(Ok(rewards)) => rewards,
            Some(Err(reason)) => {
                let (name, id) = (&named.name, &task.id);
                missing.get_or_insert(format!("`{name}` gave nothing for task `{id}`: {reason}"));
                vec![f64::NAN; group.len()]
            }
            None => {
                let known = (lowest, &*memory);
                let scorings = group.iter().map(|one| scoring(environment, task, one, known));
                let value = |scoring| named.objective.score(&scoring).unwrap_or(0.0);
                scorings.map(value).collect()
            }
        };
        columns.push(column);
    }
    let names: Arc<[String]> = names.into();
    for (place, trajectory) in group.iter_mut().enumerate() {
        let rewards = columns.iter().map(|column| column[place]).collect();
        trajectory.objectives = ObjectiveValues::new(&names, rewards);
    }
    missing.or_else(|| bad_reward(task, group))
}

/// What the objectives look at.
fn scoring<'a>(
    environment: &'a ToolEnvironment,
    task: &'a Task,
    trajectory: &'a Trajectory,
    (lowest_cost_of_group, memory): (Option<f64>, &'a RunMemory),
) -> Scoring<'a> {
    Scoring {
        environment: &**environment,
        task,
        trajectory,
        cost: environment.cost(trajectory),
        expected_cost: environment.expected_cost(trajectory),
        lowest_cost_of_group,
        memory,
    }
}

/// How far rounding may take a reward out of [0, 1].
const ROUNDING: f64 = 1e-6;

/// The first reward of a scored group that is not in [0, 1], in words: objective, value, rollout
/// and task. Hypervolumes are measured from 0, and the ideal is 1.
fn bad_reward(task: &Task, group: &[Trajectory]) -> Option<String> {
    group.iter().find_map(|trajectory| {
        let is_sound = |value: f64| (-ROUNDING..=1.0 + ROUNDING).contains(&value);
        let (name, value) = trajectory.objectives.iter().find(|(_, value)| !is_sound(*value))?;
        Some(format!(
            "`{name}` gave {value}, which is not in [0, 1], for rollout {} of task `{}`",
            trajectory.sample, task.id
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_are_in_the_unit_interval() {
        let task = Task { id: "one".into(), ..Task::default() };
        let names: Arc<[String]> = ["r_task".to_owned(), "r_own".to_owned()].into();
        let group = |value: f64| {
            let id = paretopo_trajectory::TrajectoryId::new("t", 0, 0);
            let objectives = ObjectiveValues::new(&names, vec![1.0, value]);
            [Trajectory { objectives, ..Trajectory::empty(id, "", 0) }]
        };
        for sound in [0.0, 0.3, 1.0, 1.0 + 1e-9] {
            assert_eq!(bad_reward(&task, &group(sound)), None);
        }
        for bad in [-0.5, 1.5, f64::NAN, f64::INFINITY] {
            let reason =
                format!("`r_own` gave {bad}, which is not in [0, 1], for rollout 0 of task `one`");
            assert_eq!(bad_reward(&task, &group(bad)), Some(reason));
        }
    }
}
