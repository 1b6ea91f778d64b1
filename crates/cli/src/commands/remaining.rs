//! How long a comparison will take, from what runs have taken.

use super::experiment::Job;
use paretopo_report::Line;
use std::collections::BTreeMap;

/// Seconds of finished runs, by row.
#[derive(Default)]
pub(super) struct Times {
    by_row: BTreeMap<String, Vec<f64>>,
}

impl Times {
    /// What the ledger tells, of all configurations.
    pub(super) fn of(lines: &[Line]) -> Self {
        let mut times = Self::default();
        for line in lines {
            if let Some(seconds) = line.seconds {
                times.add(&line.result.row(), seconds);
            }
        }
        times
    }

    /// A run has ended.
    pub(super) fn add(&mut self, row: &str, seconds: f64) {
        self.by_row.entry(row.to_owned()).or_default().push(seconds);
    }

    /// Seconds that a run of a row takes: the mean of its own, or else of all; `None` before the
    /// first.
    fn expected(&self, row: &str) -> Option<f64> {
        let average = |seconds: &[f64]| seconds.iter().sum::<f64>() / seconds.len() as f64;
        let all = || self.by_row.values().flatten().copied().collect::<Vec<f64>>();
        match self.by_row.get(row) {
            Some(own) => Some(average(own)),
            None if self.by_row.is_empty() => None,
            None => Some(average(&all())),
        }
    }

    /// Seconds until the runs of these rows have ended, so many of them at a time.
    pub(super) fn remaining(&self, rows: &[String], at_a_time: usize) -> Option<f64> {
        // from 0, since the sum of nothing is -0
        let expected: Option<Vec<f64>> = rows.iter().map(|row| self.expected(row)).collect();
        let total = expected?.iter().fold(0.0, |sum, seconds| sum + seconds);
        Some(total / at_a_time.clamp(1, rows.len().max(1)) as f64)
    }
}

/// The rows of jobs.
pub(super) fn rows_of(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.method.row()).collect()
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

    #[test]
    fn what_is_left_is_told_from_runs_of_the_same_row_or_of_all() {
        let mut times = Times::default();
        let rows = ["a", "a", "b"].map(str::to_owned);
        assert_eq!(times.remaining(&rows, 2), None);
        times.add("a", 10.0);
        times.add("a", 20.0);
        times.add("c", 60.0);
        // a takes 15, b as all do, 30: 60 seconds, two at a time
        assert_eq!(times.remaining(&rows, 2), Some(30.0));
        // one run is not shared
        assert_eq!(times.remaining(&rows[..1], 2), Some(15.0));
        assert_eq!(times.remaining(&[], 2), Some(0.0));
    }

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        assert_eq!(in_words(Some(89.0)), "about 89 seconds");
        assert_eq!(in_words(Some(5399.0)), "about 90 minutes");
        assert_eq!(in_words(Some(9000.0)), "about 2.5 hours");
        assert!(in_words(None).contains("not known"));
    }
}
