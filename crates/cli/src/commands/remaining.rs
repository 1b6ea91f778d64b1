//! How long a comparison will take, from what runs have taken.

use super::experiment::Job;
use paretopo_report::Line;

/// What a run's time depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Extent {
    /// Method and setting.
    pub(super) row: String,
    /// Of training; 0 of a policy that is only evaluated.
    pub(super) steps: f64,
}

impl Extent {
    pub(super) fn of(job: &Job) -> Self {
        let steps = if job.method.untrained { 0 } else { job.resolved.train.steps };
        Self { row: job.method.row(), steps: steps as f64 }
    }

    /// About; a line has the first steps of equal blocks.
    fn of_line(line: &Line) -> Self {
        let steps = match line.curve.step.as_slice() {
            [] => 0.0,
            [_] => 1.0,
            [first, second, ..] => line.curve.step.len() as f64 * (second - first),
        };
        Self { row: line.result.row().into_owned(), steps }
    }

    /// Of the same row, and of as many steps but for a tenth.
    fn is_like(&self, other: &Self) -> bool {
        self.row == other.row && (self.steps - other.steps).abs() <= 0.1 * self.steps
    }
}

/// Seconds of finished runs.
#[derive(Default)]
pub(super) struct Times {
    runs: Vec<(Extent, f64)>,
}

impl Times {
    /// What ledgers tell, of all configurations.
    pub(super) fn of<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Self {
        let timed = |line: &Line| Some((Extent::of_line(line), line.seconds?));
        Self { runs: lines.into_iter().filter_map(timed).collect() }
    }

    /// A run has ended.
    pub(super) fn add(&mut self, run: Extent, seconds: f64) {
        self.runs.push((run, seconds));
    }

    /// Seconds that a run takes: the mean of its like, or else of all, by the steps; `None` before
    /// the first.
    fn expected(&self, run: &Extent) -> Option<f64> {
        let average = |values: &[f64]| {
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let like = self.runs.iter().filter(|(known, _)| run.is_like(known));
        if let Some(own) = average(&like.map(|(_, seconds)| *seconds).collect::<Vec<_>>()) {
            return Some(own);
        }
        let (steps, seconds): (Vec<f64>, Vec<f64>) =
            self.runs.iter().map(|(known, seconds)| (known.steps, *seconds)).unzip();
        let (steps, seconds) = (average(&steps)?, average(&seconds)?);
        let is_trained = run.steps > 0.0 && steps > 0.0;
        Some(if is_trained { seconds * run.steps / steps } else { seconds })
    }

    /// Seconds until these runs have ended, so many of them at a time.
    pub(super) fn remaining(&self, runs: &[Extent], at_a_time: usize) -> Option<f64> {
        // from 0, since the sum of nothing is -0
        let expected: Option<Vec<f64>> = runs.iter().map(|run| self.expected(run)).collect();
        let total = expected?.iter().fold(0.0, |sum, seconds| sum + seconds);
        Some(total / at_a_time.clamp(1, runs.len().max(1)) as f64)
    }
}

/// `about 3 hours`, or what is not known.
pub(super) fn in_words(seconds: Option<f64>) -> String {
    match seconds {
        None => "it is not known how long they take".into(),
        Some(seconds) if seconds < 90.0 => format!("about {seconds:.0} seconds"),
        Some(seconds) if seconds < 5400.0 => format!("about {:.0} minutes", seconds / 60.0),
        Some(seconds) => format!("about {:.1} hours", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(row: &str, steps: f64) -> Extent {
        Extent { row: row.into(), steps }
    }

    #[test]
    fn what_is_left_is_told_from_runs_of_the_same_row_or_of_all() {
        let mut times = Times::default();
        let runs = [run("a", 300.0), run("a", 300.0), run("b", 300.0)];
        assert_eq!(times.remaining(&runs, 2), None);
        times.add(run("a", 300.0), 10.0);
        times.add(run("a", 300.0), 20.0);
        times.add(run("c", 300.0), 60.0);
        // a takes 15, b as all do, 30: 60 seconds, two at a time
        assert_eq!(times.remaining(&runs, 2), Some(30.0));
        // one run is not shared
        assert_eq!(times.remaining(&runs[..1], 2), Some(15.0));
        assert_eq!(times.remaining(&[], 2), Some(0.0));
        // five times the steps take five times as long, also in a row of a known name
        assert_eq!(times.remaining(&[run("long", 1500.0)], 2), Some(150.0));
        assert_eq!(times.remaining(&[run("a", 1500.0)], 2), Some(150.0));
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        assert_eq!(in_words(Some(89.0)), "about 89 seconds");
        assert_eq!(in_words(Some(5399.0)), "about 90 minutes");
        assert_eq!(in_words(Some(9000.0)), "about 2.5 hours");
        assert!(in_words(None).contains("not known"));
    }
}
