//! What an evaluation found, counted over its scored episodes: shares and means with their intervals.

use paretopo_agent::RolloutStatistics;
use paretopo_algorithms::pareto::hypervolume;
use paretopo_environments::{Part, ToolEnvironment};
use paretopo_records::{
    EnvironmentSummary, EpisodeSummary, Evaluation, LevelSummary, PreferencePoint,
};
use paretopo_trajectory::{ObjectiveValues, Task, Trajectory};
use std::collections::BTreeMap;

/// Half the width of a 95% interval in standard errors.
const HALF_WIDTH: f64 = 1.96;

/// Counts scored trajectories, `samples` per task in the order of `tasks`.
pub fn summarise(
    environment: &ToolEnvironment,
    tasks: &[Task],
    trajectories: &[Trajectory],
    samples: usize,
    max_calls: usize,
    statistics: &RolloutStatistics,
) -> Evaluation {
    let groups = || tasks.iter().zip(trajectories.chunks(samples.max(1)));
    let by_task: Vec<EpisodeSummary> =
        groups().map(|(_, group)| EpisodeSummary::of(group)).collect();
    let right: Vec<usize> = by_task.iter().map(|task| task.right).collect();
    let ems: Vec<f64> = by_task.iter().map(EpisodeSummary::em).collect();
    let counts = (0..).map(|power| 1 << power).take_while(|j| *j <= samples);
    let passes: Vec<(usize, Vec<f64>)> = counts.map(|j| (j, pass_at(&right, samples, j))).collect();
    let names = environment.objective_names();
    let (point, point_interval) = achieved_point(&names, groups().map(|(_, group)| group));
    let all = EpisodeSummary::of(trajectories);
    let calls = all.per_episode(all.calls);
    Evaluation {
        episodes: all.episodes,
        tasks: tasks.len(),
        em: all.em(),
        em_interval: HALF_WIDTH * standard_error(&ems),
        pass_at: passes.iter().map(|(j, tasks)| (*j, mean(tasks))).collect(),
        pass_at_interval: passes
            .iter()
            .map(|(j, tasks)| (*j, HALF_WIDTH * standard_error(tasks)))
            .collect(),
        calls,
        calls_per_correct: all.calls_per_correct(),
        response_tokens: all.per_episode(all.sampled_tokens),
        answered: all.per_episode(all.answered),
        failed_calls: all.per_call(all.call_errors + all.call_timeouts),
        truncated: all.per_episode(all.truncated),
        point,
        point_interval,
        accuracy_efficiency: [all.em(), (1.0 - calls / max_calls.max(1) as f64).max(0.0)],
        levels: by_level(groups()),
        environment: match environment.parts() {
            [] => environment_metrics(environment, groups()),
            _ => BTreeMap::new(),
        },
        environments: by_environment(environment, &groups().collect::<Vec<_>>()),
        head_skill: None,
        preferences: Vec::new(),
        phases: BTreeMap::new(),
        tokens_per_second: statistics.sampled_tokens as f64 / statistics.seconds.max(1e-9),
        peak_memory_mib: crate::run::run_folder::peak_memory_mib(),
    }
}

/// The mean of each objective over the episodes that have it, and half the width of its 95% interval from the
/// tasks' means; both empty where nothing is scored.
fn achieved_point<'a>(
    names: &[String],
    groups: impl Iterator<Item = &'a [Trajectory]>,
) -> (ObjectiveValues, ObjectiveValues) {
    let groups: Vec<&[Trajectory]> = groups.filter(|group| !group.is_empty()).collect();
    let (mut point, mut interval) = (Vec::new(), Vec::new());
    for name in names {
        let of_group = |group: &&[Trajectory]| -> Vec<f64> {
            group.iter().filter_map(|one| one.objectives.get(name)).collect()
        };
        let values: Vec<Vec<f64>> =
            groups.iter().map(of_group).filter(|values| !values.is_empty()).collect();
        if values.is_empty() {
            continue;
        }
        let means: Vec<f64> = values.iter().map(|values| mean(values)).collect();
        point.push((name.clone(), mean(&values.concat())));
        interval.push((name.clone(), HALF_WIDTH * standard_error(&means)));
    }
    (point.into_iter().collect(), interval.into_iter().collect())
}

/// Each of several environments; none where there is but one.
fn by_environment(
    environment: &ToolEnvironment,
    groups: &[(&Task, &[Trajectory])],
) -> BTreeMap<String, EnvironmentSummary> {
    let summary = |part: &Part| {
        let is_own = |task: &Task| part.owns(&**environment, task);
        let own = || groups.iter().copied().filter(|(task, _)| is_own(task));
        let ems: Vec<f64> = own().map(|(_, group)| EpisodeSummary::of(group).em()).collect();
        let all = EpisodeSummary::of(own().flat_map(|(_, group)| group));
        let names = environment.objective_names();
        let (point, point_interval) = achieved_point(&names, own().map(|(_, group)| group));
        let summary = EnvironmentSummary {
            episodes: all.episodes,
            tasks: ems.len(),
            em: all.em(),
            em_interval: HALF_WIDTH * standard_error(&ems),
            calls: all.per_episode(all.calls),
            response_tokens: all.per_episode(all.sampled_tokens),
            point,
            point_interval,
            environment: environment_metrics(environment, own()),
        };
        (part.name.clone(), summary)
    };
    environment.parts().iter().map(summary).collect()
}

/// What a validation is worth: the volume between its point and the origin, the product of its means
/// where all are above 0. `None` where a mean is no number.
pub(crate) fn validated_volume(point: &ObjectiveValues) -> Option<f64> {
    let means = point.values();
    let is_sound = means.iter().all(|mean| mean.is_finite());
    is_sound.then(|| hypervolume(&[means], &vec![0.0; means.len()]))
}

/// Each level that tasks have.
fn by_level<'a>(
    groups: impl Iterator<Item = (&'a Task, &'a [Trajectory])>,
) -> BTreeMap<u32, LevelSummary> {
    let mut levels: BTreeMap<u32, Vec<(&Task, &Trajectory)>> = BTreeMap::new();
    for (task, group) in groups {
        if let Some(level) = task.level {
            let episodes = group.iter().map(|trajectory| (task, trajectory));
            levels.entry(level).or_default().extend(episodes);
        }
    }
    levels.into_iter().map(|(level, episodes)| (level, level_summary(&episodes))).collect()
}

/// What the episodes of one level came to.
fn level_summary(episodes: &[(&Task, &Trajectory)]) -> LevelSummary {
    let of = |wanted: &dyn Fn(&Task, &Trajectory) -> bool| {
        let chosen = episodes.iter().filter(|(task, trajectory)| wanted(task, trajectory));
        EpisodeSummary::of(chosen.map(|(_, trajectory)| *trajectory))
    };
    let em = |part: EpisodeSummary| (part.episodes > 0).then(|| part.em());
    let made = |trajectory: &Trajectory| Some(trajectory.call_count() as u32);
    let needed: Vec<f64> =
        episodes.iter().filter_map(|(task, _)| task.needed_calls.map(f64::from)).collect();
    let own = of(&|_, _| true);
    LevelSummary {
        episodes: own.episodes,
        em: own.em(),
        calls: own.per_episode(own.calls),
        head_skill: None,
        needed_calls: (!needed.is_empty()).then(|| mean(&needed)),
        em_without_calls: em(of(&|_, trajectory| trajectory.calls.is_empty())),
        em_with_needed_calls: em(of(&|task, trajectory| task.needed_calls == made(trajectory))),
    }
}

/// Puts in what episodes without calls say: the share of right answers, of all and of each level.
pub(crate) fn put_head_skill(
    evaluation: &mut Evaluation,
    tasks: &[Task],
    tool_free: &[Trajectory],
) {
    let samples = tool_free.len() / tasks.len().max(1);
    evaluation.head_skill = Some(EpisodeSummary::of(tool_free).em());
    for (level, found) in by_level(tasks.iter().zip(tool_free.chunks(samples.max(1)))) {
        if let Some(known) = evaluation.levels.get_mut(&level) {
            known.head_skill = Some(found.em);
        }
    }
}

/// What episodes that were told a preference achieved.
pub(crate) fn preferred(
    preference: ObjectiveValues,
    tasks: &[Task],
    played: &[Trajectory],
) -> PreferencePoint {
    let samples = (played.len() / tasks.len().max(1)).max(1);
    let summary = EpisodeSummary::of(played);
    let names = played.first().map(|one| one.objectives.names().clone()).unwrap_or_default();
    let (point, point_interval) = achieved_point(&names, played.chunks(samples));
    PreferencePoint {
        preference,
        em: summary.em(),
        calls: summary.per_episode(summary.calls),
        point,
        point_interval,
    }
}

/// The means of an environment's own metrics, each over the episodes to which it applies; and what
/// calls cost, where their number does not say it. Values that are not finite are left out, and their
/// number is told: `NAME_not_finite`.
pub(crate) fn environment_metrics<'a>(
    environment: &ToolEnvironment,
    groups: impl Iterator<Item = (&'a Task, &'a [Trajectory])>,
) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    let mut left_out: BTreeMap<&str, f64> = BTreeMap::new();
    for (task, group) in groups {
        for (name, value) in
            group.iter().flat_map(|trajectory| environment.metrics(task, trajectory))
        {
            if !value.is_finite() {
                *left_out.entry(name).or_default() += 1.0;
                continue;
            }
            let (sum, count) = sums.entry(name).or_default();
            *sum += value;
            *count += 1.0;
        }
        if !environment.has_one_price() {
            let (sum, count) = sums.entry("cost").or_default();
            *sum += group.iter().map(|trajectory| environment.cost(trajectory)).sum::<f64>();
            *count += group.len() as f64;
        }
    }
    let means = sums.into_iter().map(|(name, (sum, count))| (name.to_owned(), sum / count));
    let left_out = left_out.into_iter().map(|(name, count)| (format!("{name}_not_finite"), count));
    means.chain(left_out).collect()
}

/// 0 for no value.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The deviation of a mean; 0 for fewer than two values.
fn standard_error(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt()
}

/// For each task `1 - C(n - c, j) / C(n, j)`, with `c` of `n` episodes right (Chen et al., 2021,
/// arXiv 2107.03374).
fn pass_at(right: &[usize], samples: usize, j: usize) -> Vec<f64> {
    let of_task = |c: &usize| {
        let wrong = samples - c;
        // C(n - c, j) / C(n, j) = product of (n - c - i) / (n - i) for i < j
        1.0 - (0..j).map(|i| wrong.saturating_sub(i) as f64 / (samples - i) as f64).product::<f64>()
    };
    right.iter().map(of_task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use paretopo_trajectory::TrajectoryId;

    #[test]
    fn pass_at_counts_the_draws_that_hold_a_right_one() {
        // 4 episodes, 1 right: of the 6 pairs 3 hold it; with 3 right every pair does; with none no
        // pair
        let pass_at = |right: &[usize], samples, j| mean(&super::pass_at(right, samples, j));
        assert!((pass_at(&[1], 4, 2) - 0.5).abs() < 1e-12);
        assert!((pass_at(&[3, 0], 4, 2) - 0.5).abs() < 1e-12);
        // pass@1 is the mean: (1/4 + 3/4) / 2
        assert!((pass_at(&[1, 3], 4, 1) - 0.5).abs() < 1e-12);
        assert!((pass_at(&[1], 4, 4) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        // values 0 and 1: variance (0.25 + 0.25) / 1 = 0.5, of the mean 0.25
        assert!((standard_error(&[0.0, 1.0]) - 0.5).abs() < 1e-12);
        assert_eq!(standard_error(&[1.0]), 0.0);
    }

    #[test]
    fn a_level_tells_the_head_from_the_calls_that_are_needed() {
        let task = Task { needed_calls: Some(2), level: Some(6), ..Task::default() };
        let played = |calls: usize, right: bool| {
            let outcome =
                paretopo_trajectory::ToolOutcome::new(paretopo_trajectory::CallStatus::Ok, "", 0.0);
            let record = paretopo_trajectory::CallRecord::new(None, outcome);
            let calls = vec![record; calls];
            Trajectory { success: Some(right), calls, ..valued(&[]) }
        };
        let episodes = [(0, true), (0, false), (0, false), (0, false), (1, false), (2, true)]
            .map(|(calls, right)| played(calls, right));
        let levels = by_level([(&task, &episodes[..])].into_iter());
        let found = levels[&6];
        // right 2 of 6; calls (1 + 2) / 6; without a call 1 of 4; with exactly two 1 of 1
        assert_eq!((found.em, found.calls), (2.0 / 6.0, 0.5));
        assert_eq!(found.needed_calls, Some(2.0));
        assert_eq!(found.em_without_calls, Some(0.25));
        assert_eq!(found.em_with_needed_calls, Some(1.0));
        // tasks that do not say what they need
        let plain = Task { level: Some(1), ..Task::default() };
        let found = by_level([(&plain, &episodes[4..5])].into_iter())[&1];
        assert_eq!((found.needed_calls, found.em_without_calls), (None, None));
        assert_eq!(found.em_with_needed_calls, None);
    }

    /// An episode with these values of objectives called a, b, ...
    fn valued(values: &[f64]) -> Trajectory {
        let names = ["a", "b", "c", "d", "e"].into_iter();
        let objectives = names.zip(values.iter().copied()).collect();
        Trajectory { objectives, ..Trajectory::empty(TrajectoryId::new("test", 0, 0), "t", 0) }
    }

    #[test]
    fn a_validation_is_worth_the_product_of_its_means_however_many_there_are() {
        let worth = |values: &[f64]| validated_volume(&valued(values).objectives);
        assert_eq!(worth(&[0.75]), Some(0.75));
        assert_eq!(worth(&[0.75, 0.5]), Some(0.375));
        assert_eq!(worth(&[0.5, 0.5, 0.25]), Some(0.0625));
        // 1/2 * 1/4 * 1/2 * 1 * 1/8 = 1/128; each factor is exact in f64
        assert_eq!(worth(&[0.5, 0.25, 0.5, 1.0, 0.125]), Some(1.0 / 128.0));
        // two objectives below the origin do not make up for each other
        assert_eq!(worth(&[-0.5, -0.5]), Some(0.0));
        assert_eq!(worth(&[0.5, f64::NAN]), None);
    }

    #[test]
    fn every_objective_has_a_mean_and_an_interval_however_many_there_are() {
        for count in [1, 2, 3, 5] {
            // of objective k: the tasks' means are 0.1 k + 0.2 and 0.1 k + 0.4
            let value =
                |base: f64| -> Vec<f64> { (0..count).map(|k| base + 0.1 * k as f64).collect() };
            let episodes =
                [value(0.1), value(0.3), value(0.4), value(0.4)].map(|values| valued(&values));
            let names = ["a", "b", "c", "d", "e"].map(str::to_owned);
            let (point, interval) = achieved_point(&names, episodes.chunks(2));
            assert_eq!(point.names()[..], ["a", "b", "c", "d", "e"][..count]);
            for k in 0..count {
                // mean 0.1 k + 0.3; means differ by 0.2: deviation 0.1 * sqrt 2, its mean's 0.1
                assert!((point.values()[k] - (0.1 * k as f64 + 0.3)).abs() < 1e-12, "{point:?}");
                assert!((interval.values()[k] - 1.96 * 0.1).abs() < 1e-12, "{interval:?}");
            }
        }
        assert!(achieved_point(&["a".to_owned()], [].into_iter()).0.is_empty());
    }
}
