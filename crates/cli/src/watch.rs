//! Looks after a run while it trains: what its health's rules say is said once.

use paretopo_health::{Record, examine};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Steps between looks, at least, and steps of a run in which it is looked at. Most that goes wrong
/// does so early; later `doctor` says it. The numbers of so many steps are 10 MB for a moment.
const EVERY: u64 = 10;
const LAST: u64 = 2000;

/// What was said of a run already.
pub(crate) struct Watch {
    run: PathBuf,
    said: BTreeSet<&'static str>,
}

impl Watch {
    pub(crate) fn over(run: &Path) -> Self {
        Self { run: run.to_owned(), said: BTreeSet::new() }
    }

    /// What is to be said after so many steps and was not yet. A folder that cannot be read says
    /// nothing: the run itself meets what is wrong with it.
    pub(crate) fn look(&mut self, step: u64) -> Vec<String> {
        let every = EVERY.max(step / 20).next_multiple_of(EVERY);
        if step > LAST || !step.is_multiple_of(every) {
            return Vec::new();
        }
        let Ok(record) = Record::read(&self.run) else { return Vec::new() };
        let ill = examine(&record).into_iter().filter(|verdict| verdict.is_ill());
        let new = ill.filter(|verdict| self.said.insert(verdict.rule));
        let words = new.map(|verdict| {
            format!(
                "warning: {}: {}\nhint: `doctor {}` says what to try",
                verdict.title,
                verdict.condition.said(),
                self.run.display()
            )
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        std::fs::write(run.join("config.toml"), "[train]\n").unwrap();
        let write = |steps: usize, em: f64| {
            let line = |step| format!("{{\"step\":{step},\"em\":{em}}}\n");
            let text: String = (0..steps).map(line).collect();
            std::fs::write(run.join("metrics.jsonl"), text).unwrap();
        };
        let mut watch = Watch::over(run);
        write(10, 0.5);
        assert!(watch.look(10).is_empty());
        // 10 steps of 96 episodes without a right answer
        write(10, 0.0);
        assert!(watch.look(9).is_empty() && watch.look(11).is_empty());
        let said = watch.look(10);
        assert!(said[0].starts_with("warning: grader never right: None of the 960"), "{said:?}");
        assert!(said[0].contains("\nhint: `doctor ") && said.len() == 1, "{said:?}");
        assert!(watch.look(20).is_empty());
        // a folder that is gone is no news
        assert!(Watch::over(&run.join("none")).look(10).is_empty());
        assert!(Watch::over(run).look(LAST + EVERY).is_empty());
    }
}
