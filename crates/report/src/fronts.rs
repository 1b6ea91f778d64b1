//! Methods by their fronts: of each seed one, from the settings of the method's knob; and what the
//! seeds say together.

use crate::front::{Front, Place, front_hypervolume};
use crate::interquartile::{
    interquartile_interval, interquartile_mean, probability_of_improvement,
};
use crate::results::distinct;
use crate::significance::{holm, paired_permutation_test, visible_effect};
use crate::statistics::{igd_plus, mean, pareto_front};
use crate::{Controls, RunResult};
use serde::Serialize;

/// What fronts are measured against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Frame {
    /// The two trivial policies and the oracle, if they were measured.
    pub controls: Option<Controls>,
    /// The largest number of calls of an episode, at which the efficiency is 0.
    pub call_limit: f64,
    /// The methods that others are compared with.
    pub baselines: Vec<String>,
}

impl Frame {
    /// A method's places and the two trivial policies, if they were measured.
    fn with_trivial(&self, places: &[Place]) -> Vec<Place> {
        let trivial = self.controls.iter().flat_map(Controls::trivial);
        places.iter().copied().chain(trivial).collect()
    }

    /// A place as what is to be maximised.
    fn point(&self, place: Place) -> [f64; 2] {
        [place.em, 1.0 - place.calls / self.call_limit]
    }

    /// By what methods are compared: the routing gain, or without controls the front's hypervolume.
    fn primary(&self, places: &[Place]) -> f64 {
        let gain = self.controls.as_ref().and_then(|controls| controls.routing_gain(places));
        gain.unwrap_or_else(|| front_hypervolume(&self.with_trivial(places), self.call_limit))
    }
}

/// A number over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The interquartile mean.
    pub iqm: f64,
    /// Its 95% bootstrap interval.
    pub interval: [f64; 2],
}

impl Estimate {
    fn of(values: &[f64]) -> Self {
        Self { iqm: interquartile_mean(values), interval: interquartile_interval(&[values]) }
    }

    /// `None` where a seed has no value.
    fn of_all(values: impl Iterator<Item = Option<f64>>) -> Option<Self> {
        let values: Option<Vec<f64>> = values.collect();
        values.filter(|values| !values.is_empty()).map(|values| Self::of(&values))
    }
}

/// The places of a method with one seed.
struct SeedFront {
    seed: u64,
    places: Vec<Place>,
}

/// A method's front over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrontSummary {
    /// Its name.
    pub method: String,
    /// The settings of its knob, in the order of the experiment; empty without one.
    pub settings: Vec<String>,
    /// Seeds with which every setting was run; others are left out.
    pub seeds: usize,
    /// See [`Controls::routing_gain`]; `None` without controls.
    pub routing_gain: Option<Estimate>,
    /// The gain of the mean places. A front picks the best of noisy places, so a seed's own gain is
    /// too large by chance, the more the more settings there are; of means less so.
    pub routing_gain_of_means: Option<f64>,
    /// See [`front_hypervolume`](crate::front_hypervolume), the trivial policies added.
    pub hypervolume: Estimate,
    /// See [`igd_plus`]: from the undominated places of all runs to a seed's front, the trivial
    /// policies added, in the plane of EM and `1 - calls / call_limit`.
    pub igd_plus: Estimate,
    /// EM at 0.5 and at 1 mean calls, along each seed's front with the trivial policies; `None`
    /// where a front does not reach so far to the left.
    pub em_at_half_a_call: Option<Estimate>,
    /// The same at one call.
    pub em_at_one_call: Option<Estimate>,
    /// The fewest mean calls with an EM of 0.9, along each seed's front with the trivial policies;
    /// `None` where a front does not reach it.
    pub calls_at_em_090: Option<Estimate>,
    /// Mean over all runs of the lowest five-step mean of calls; `None` without a training.
    pub lowest_calls: Option<f64>,
    /// Mean over all runs of the head skill at the end, where it was measured.
    pub head_skill: Option<f64>,
    /// The mean place of each setting, in their order.
    pub places: Vec<Place>,
    /// Against the strongest baseline; `None` for that one.
    pub against_strongest: Option<Against>,
}

/// A method against another over common seeds, by the routing gain, or without controls by the
/// front's hypervolume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// The other.
    pub other: String,
    /// Common seeds.
    pub pairs: usize,
    /// Mean of the paired differences.
    pub difference: f64,
    /// See [`probability_of_improvement`].
    pub probability_of_improvement: f64,
    /// Paired sign-flip permutation test, two-sided.
    pub p_value: f64,
    /// The same by Holm, over all comparisons of its table.
    pub p_holm: f64,
    /// The smallest difference that so many seeds see with a power of 80%, see [`visible_effect`].
    pub visible_effect: Option<f64>,
}

/// The names of the methods, in the order of their first runs.
pub fn method_names(runs: &[RunResult]) -> Vec<String> {
    distinct(runs.iter().map(|run| &run.method))
}

/// The settings of a method's knob in the order of their first runs; empty without one.
pub(crate) fn settings_of(runs: &[RunResult], method: &str) -> Vec<String> {
    distinct(runs.iter().filter(|run| run.method == method).filter_map(|run| run.setting.as_ref()))
}

/// What `of` makes of a method's runs with each setting of its knob, in the order of
/// [`settings_of`]; of all its runs when it has no knob.
pub(crate) fn of_each_setting<T>(
    runs: &[RunResult],
    method: &str,
    of: impl Fn(&[&RunResult]) -> T,
) -> Vec<T> {
    let with = |setting: Option<&String>| {
        let is_own = |run: &&RunResult| run.method == method && run.setting.as_ref() == setting;
        of(&runs.iter().filter(is_own).collect::<Vec<_>>())
    };
    let settings = settings_of(runs, method);
    match settings.is_empty() {
        true => vec![with(None)],
        false => settings.iter().map(|setting| with(Some(setting))).collect(),
    }
}

/// A front for each seed with which every setting of the method was run.
fn seed_fronts(runs: &[RunResult], method: &str) -> Vec<SeedFront> {
    let wanted = settings_of(runs, method).len().max(1);
    let mut fronts: Vec<SeedFront> = Vec::new();
    for run in runs.iter().filter(|run| run.method == method) {
        match fronts.iter_mut().find(|front| front.seed == run.seed) {
            Some(front) => front.places.push(run.place()),
            None => fronts.push(SeedFront { seed: run.seed, places: vec![run.place()] }),
        }
    }
    fronts.retain(|front| front.places.len() == wanted);
    fronts
}

/// The paired comparison over common seeds; `None` below two of them.
fn against(own: &[(u64, f64)], other: &[(u64, f64)], name: &str) -> Option<Against> {
    let rival = |seed: u64| other.iter().find(|(known, _)| *known == seed).map(|(_, value)| *value);
    let pairs: Vec<(f64, f64)> =
        own.iter().filter_map(|(seed, value)| Some((*value, rival(*seed)?))).collect();
    let (values, rivals): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let differences: Vec<f64> = pairs.iter().map(|(value, rival)| value - rival).collect();
    let p_value = (pairs.len() > 1).then(|| paired_permutation_test(&values, &rivals))?;
    Some(Against {
        other: name.to_owned(),
        pairs: pairs.len(),
        difference: mean(&differences),
        probability_of_improvement: probability_of_improvement(&values, &rivals),
        p_value,
        p_holm: p_value,
        visible_effect: visible_effect(&differences),
    })
}

/// Holm's correction over the comparisons of a table.
fn correct<'a>(comparisons: impl Iterator<Item = &'a mut Against>) {
    let comparisons: Vec<&mut Against> = comparisons.collect();
    let raw: Vec<f64> = comparisons.iter().map(|comparison| comparison.p_value).collect();
    for (comparison, p_holm) in comparisons.into_iter().zip(holm(&raw)) {
        comparison.p_holm = p_holm;
    }
}

/// The primary number of each seed.
fn primaries(fronts: &[SeedFront], frame: &Frame) -> Vec<(u64, f64)> {
    fronts.iter().map(|front| (front.seed, frame.primary(&front.places))).collect()
}

fn values(of_seeds: &[(u64, f64)]) -> Vec<f64> {
    of_seeds.iter().map(|(_, value)| *value).collect()
}

/// Every method's front, in the order of their first runs. The strongest baseline has the largest
/// interquartile mean of the routing gain, or without controls of the front's hypervolume.
pub fn summarise_fronts(runs: &[RunResult], frame: &Frame) -> Vec<FrontSummary> {
    let names = method_names(runs);
    let numbers: Vec<Vec<(u64, f64)>> =
        names.iter().map(|name| primaries(&seed_fronts(runs, name), frame)).collect();
    let strength = |index: &usize| interquartile_mean(&values(&numbers[*index]));
    let strongest = (0..names.len())
        .filter(|index| frame.baselines.contains(&names[*index]) && !numbers[*index].is_empty())
        .max_by(|a, b| strength(a).total_cmp(&strength(b)));
    let points: Vec<[f64; 2]> = runs.iter().map(|run| frame.point(run.place())).collect();
    let targets = pareto_front(&points);
    let mut summaries: Vec<FrontSummary> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let fronts = seed_fronts(runs, name);
        if fronts.is_empty() {
            continue;
        }
        let rival = strongest.filter(|other| *other != index);
        let comparison =
            rival.and_then(|other| against(&numbers[index], &numbers[other], &names[other]));
        summaries.push(FrontSummary {
            against_strongest: comparison,
            ..summary(runs, name, frame, &targets)
        });
    }
    correct(summaries.iter_mut().filter_map(|summary| summary.against_strongest.as_mut()));
    summaries
}

/// `targets` are the undominated points of all runs.
fn summary(runs: &[RunResult], method: &str, frame: &Frame, targets: &[[f64; 2]]) -> FrontSummary {
    let fronts = seed_fronts(runs, method);
    let hulls: Vec<Front> =
        fronts.iter().map(|front| Front::of(&frame.with_trivial(&front.places))).collect();
    let gain = |front: &SeedFront| frame.controls.as_ref()?.routing_gain(&front.places);
    let volume =
        |front: &SeedFront| front_hypervolume(&frame.with_trivial(&front.places), frame.call_limit);
    let distance = |front: &SeedFront| {
        let places = frame.with_trivial(&front.places).into_iter();
        igd_plus(&places.map(|place| frame.point(place)).collect::<Vec<_>>(), targets)
    };
    let own = || runs.iter().filter(|run| run.method == method);
    let places = mean_places(runs, method);
    let controls = frame.controls.as_ref();
    let average = |values: Vec<f64>| (!values.is_empty()).then(|| mean(&values));
    FrontSummary {
        method: method.to_owned(),
        settings: settings_of(runs, method),
        seeds: fronts.len(),
        routing_gain: Estimate::of_all(fronts.iter().map(gain)),
        hypervolume: Estimate::of(&fronts.iter().map(volume).collect::<Vec<_>>()),
        igd_plus: Estimate::of(&fronts.iter().map(distance).collect::<Vec<_>>()),
        em_at_half_a_call: Estimate::of_all(hulls.iter().map(|front| front.em_at(0.5))),
        em_at_one_call: Estimate::of_all(hulls.iter().map(|front| front.em_at(1.0))),
        calls_at_em_090: Estimate::of_all(hulls.iter().map(|front| front.calls_at(0.9))),
        lowest_calls: average(own().filter_map(|run| run.lowest_calls).collect()),
        head_skill: average(own().filter_map(|run| run.head_skill).collect()),
        routing_gain_of_means: controls.and_then(|controls| controls.routing_gain(&places)),
        places,
        against_strongest: None,
    }
}

/// The mean place of each setting, in their order.
pub(crate) fn mean_places(runs: &[RunResult], method: &str) -> Vec<Place> {
    of_each_setting(runs, method, |own| Place {
        calls: mean(&own.iter().map(|run| run.calls).collect::<Vec<_>>()),
        em: mean(&own.iter().map(|run| run.em).collect::<Vec<_>>()),
    })
}

/// The first method that is no baseline against each other one, with Holm's correction over these
/// comparisons; empty when all are baselines.
pub fn lead_against_each(runs: &[RunResult], frame: &Frame) -> Option<(String, Vec<Against>)> {
    let names = method_names(runs);
    let lead = names.iter().find(|name| !frame.baselines.contains(name))?;
    let own = primaries(&seed_fronts(runs, lead), frame);
    let others = names.iter().filter(|name| *name != lead);
    let compared = |name: &String| against(&own, &primaries(&seed_fronts(runs, name), frame), name);
    let mut comparisons: Vec<Against> = others.filter_map(compared).collect();
    correct(comparisons.iter_mut());
    Some((lead.clone(), comparisons))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::controls::tests::controls;
    use crate::table::tests::run;

    pub(crate) fn swept(method: &str, setting: &str, seed: u64, em: f64, calls: f64) -> RunResult {
        RunResult { setting: Some(setting.into()), ..run(method, seed, em, calls) }
    }

    pub(crate) fn frame() -> Frame {
        Frame {
            controls: Some(controls()),
            call_limit: 4.0,
            baselines: vec!["b".into(), "weak".into()],
        }
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn each_seed_has_a_front_of_all_settings() {
        // the line goes from (0, 0.5) to (1, 1), the oracle to (0.5, 0.875): attainable 0.0625
        let runs = [
            // by seed: (0.5, 0.8) alone is a gain of 0.4, (0.5, 0.85) one of 0.8
            swept("a", "x", 1, 0.8, 0.5),
            swept("a", "y", 1, 0.9, 0.9),
            swept("a", "x", 2, 0.85, 0.5),
            swept("a", "y", 2, 0.9, 0.9),
            // a third seed without `y` counts nothing
            swept("a", "x", 3, 1.0, 0.0),
            // (0.5, 0.775): 0.025 above the line, 0.0125 / 0.0625
            run("b", 1, 0.775, 0.5),
            run("b", 2, 0.775, 0.5),
            run("weak", 1, 0.1, 0.5),
            run("weak", 2, 0.1, 0.5),
        ];
        let summaries = summarise_fronts(&runs, &frame());
        let [a, b, weak] = &summaries[..] else { panic!("{summaries:?}") };
        assert_eq!((a.seeds, a.settings.clone()), (2, vec!["x".into(), "y".into()]));
        // two seeds: nothing is cut, (0.4 + 0.8) / 2; (0.9, 0.9) lies below both hulls
        let gain = a.routing_gain.unwrap();
        near(gain.iqm, 0.6);
        near(gain.interval[0], 0.4);
        near(gain.interval[1], 0.8);
        // means (0.3333, 0.8833) and (0.9, 0.9): 0.5 to 0.8833 over a third, then to (1, 1):
        // 0.230556 + 0.627778 - 0.75 = 0.108333 of 0.0625
        near(a.routing_gain_of_means.unwrap(), 0.108_333_333_333_333_33 / 0.0625);
        near(b.routing_gain.unwrap().iqm, 0.2);
        near(weak.routing_gain.unwrap().iqm, 0.0);
        near(a.em_at_half_a_call.unwrap().iqm, 0.825);
        near(a.em_at_one_call.unwrap().iqm, 1.0);
        // 0.9 is halfway from (0.5, 0.8) to (1, 1), and a third of the way from 0.85: 0.75, 2 / 3
        near(a.calls_at_em_090.unwrap().iqm, (0.75 + 2.0 / 3.0) / 2.0);
        // efficiencies 1, 0.875, 0.775 and 0.75 of 4 calls; seed 1: 0.5 + 0.3 * 0.875 + 0.1 * 0.775
        // + 0.1 * 0.75 = 0.915; seed 2: 0.5 + 0.35 * 0.875 + 0.05 * 0.775 + 0.1 * 0.75 = 0.92
        near(a.hypervolume.iqm, 0.9175);
        // the third seed's (1, 1) dominates all. Nearest to it is (0.8, 0.875) of seed 1, short by
        // (0.2, 0.125), and (0.85, 0.875) of seed 2, by (0.15, 0.125)
        near(a.igd_plus.iqm, (0.055_625_f64.sqrt() + 0.038_125_f64.sqrt()) / 2.0);
        // against b, the strongest baseline: differences 0.2 and 0.6, 2 of 4 patterns
        let against = a.against_strongest.as_ref().unwrap();
        assert_eq!((against.other.as_str(), against.pairs), ("b", 2));
        near(against.difference, 0.4);
        assert_eq!((against.probability_of_improvement, against.p_value), (1.0, 0.5));
        // two comparisons: 2 * 0.5
        assert_eq!((against.p_holm, b.against_strongest.is_none()), (1.0, true));
        near(a.places[0].em, (0.8 + 0.85 + 1.0) / 3.0);
    }

    #[test]
    fn the_lead_is_compared_with_each_and_without_controls_by_hypervolume() {
        let runs = [
            run("b", 1, 0.5, 2.0),
            run("b", 2, 0.5, 2.0),
            run("a", 1, 0.8, 1.0),
            run("a", 2, 0.6, 1.0),
            run("weak", 1, 0.2, 0.0),
        ];
        let frame = Frame { controls: None, ..frame() };
        let (lead, each) = lead_against_each(&runs, &frame).unwrap();
        // 0.8 * 0.75 and 0.6 * 0.75 against 0.5 * 0.5: 0.35 and 0.2; weak has one common seed
        assert_eq!((lead.as_str(), each.len(), each[0].other.as_str()), ("a", 1, "b"));
        near(each[0].difference, 0.275);
        let summaries = summarise_fronts(&runs, &frame);
        assert_eq!(summaries[0].routing_gain, None);
        // without the trivial policies a front begins at its own first point
        assert_eq!(summaries[0].em_at_half_a_call, None);
        let all = Frame { baselines: method_names(&runs), ..frame };
        assert!(lead_against_each(&runs, &all).is_none());
    }
}
