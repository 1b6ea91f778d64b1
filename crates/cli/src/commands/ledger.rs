//! The ledger of an experiment: which of its runs are done elsewhere, and what a finished one adds.
//! The file and its format are in `report` (`ledger.rs`).

use super::experiment::Job;
use crate::embedded;
use crate::problem::Problem;
use chrono::DateTime;
use paretopo_report::{Curve, Line, RunResult, append_to_ledger, read_ledger};
use paretopo_training::{PolicySource, RunConfig};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The lines of `runs.jsonl`, by the hash of the configuration; nothing without such a file.
#[derive(Default)]
pub(super) struct Ledger {
    path: Option<PathBuf>,
    lines: Vec<Line>,
    by_hash: BTreeMap<String, usize>,
    /// Hashes of the starting policies' files.
    policies: BTreeMap<String, String>,
    /// What is wrong with lines that are left out.
    pub(super) damaged: Vec<String>,
}

impl Ledger {
    /// # Errors
    /// When the file is there and cannot be read.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, Problem> {
        let Some(path) = path else { return Ok(Self::default()) };
        let (lines, damaged) = read_ledger(&path).map_err(Problem::mistake)?;
        let mut ledger = Self { path: Some(path), damaged, ..Self::default() };
        for line in lines {
            ledger.add(line);
        }
        Ok(ledger)
    }

    /// Of two lines of one run, that of this program's commit counts, or else the later one.
    fn add(&mut self, line: Line) {
        let earlier = self.by_hash.get(&line.configuration).map(|index| &self.lines[*index]);
        let ours = env!("PARETOPO_COMMIT");
        if earlier.is_none_or(|earlier| earlier.commit != ours || line.commit == ours) {
            self.by_hash.insert(line.configuration.clone(), self.lines.len());
        }
        self.lines.push(line);
    }

    /// All lines, also those of other configurations.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Where the file is.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The line of a run of exactly this configuration, seed and starting policy.
    pub(super) fn find(&mut self, job: &Job) -> Result<Option<&Line>, Problem> {
        if self.by_hash.is_empty() {
            return Ok(None);
        }
        let hash = self.hash(&job.resolved)?;
        Ok(self.by_hash.get(&hash).map(|index| &self.lines[*index]))
    }

    /// Adds a finished run, unless it is there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn append(
        &mut self,
        job: &Job,
        result: &RunResult,
        seconds: Option<f64>,
    ) -> Result<(), Problem> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        let configuration = self.hash(&job.resolved)?;
        if self.by_hash.contains_key(&configuration) {
            return Ok(());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let line = Line {
            configuration,
            commit: commit_of(&job.folder),
            date: day(now),
            seconds,
            curve: Curve::of(&result.metrics),
            result: result.clone(),
        };
        append_to_ledger(&path, &line).map_err(Problem::failure)?;
        self.add(line);
        Ok(())
    }

    /// 32 hexadecimal digits of BLAKE3 over the configuration with all its settings but the
    /// dashboards, the seed among them, and over what the starting policy's files hold.
    ///
    /// A setting that is new is not written while it has the value that means what was before, so
    /// that runs which are committed stay known (`tests/comparing.rs`).
    fn hash(&mut self, config: &RunConfig) -> Result<String, Problem> {
        let text = config.to_toml_of_numbers().map_err(Problem::failure)?;
        let source = format!("{:?}", config.policy);
        let policy = match self.policies.get(&source) {
            Some(policy) => policy.clone(),
            None => {
                let policy = policy_hash(&config.policy)?;
                self.policies.insert(source, policy.clone());
                policy
            }
        };
        Ok(blake3::hash(format!("{text}\n{policy}").as_bytes()).to_hex()[..32].to_owned())
    }
}

/// A hash of what a policy's files hold; of one by name its name and revision are all there is.
fn policy_hash(policy: &PolicySource) -> Result<String, Problem> {
    let mut hasher = blake3::Hasher::new();
    match policy {
        PolicySource::Embedded { name } => {
            for (file, bytes) in embedded::policy_files(name).unwrap_or_default() {
                hasher.update(file.as_bytes()).update(bytes);
            }
        }
        PolicySource::Folder { path, adapter } => {
            for folder in [Some(path), adapter.as_ref()].into_iter().flatten() {
                hash_folder(folder, &mut hasher)
                    .map_err(|error| Problem::unreadable(folder, &error))?;
            }
        }
        PolicySource::Hub { .. } | PolicySource::New { .. } => {}
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

fn hash_folder(folder: &Path, hasher: &mut blake3::Hasher) -> std::io::Result<()> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, std::io::Error>>()?;
    paths.sort();
    let is_part = |path: &&PathBuf| {
        let ends = path.extension().and_then(|extension| extension.to_str());
        matches!(ends, Some("safetensors" | "json" | "jinja"))
    };
    for path in paths.iter().filter(is_part) {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update_reader(std::fs::File::open(path)?)?;
    }
    Ok(())
}

/// The commit that made a run: that of its `run.json`, or this program's.
fn commit_of(folder: &Path) -> String {
    let told = paretopo_reading::read_text(&folder.join("run.json")).ok();
    let json: Option<serde_json::Value> = told.and_then(|text| serde_json::from_str(&text).ok());
    let commit = json.as_ref().and_then(|json| json["commit"].as_str());
    commit.unwrap_or(env!("PARETOPO_COMMIT")).to_owned()
}

/// The day of a second since 1970, in UTC, as `2026-11-26`.
fn day(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or_default();
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // `date -u -d @N +%F`
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_737_599, "2026-11-26"),
            (1_798_761_600, "2027-01-01"),
        ] {
            assert_eq!(day(seconds), date);
        }
    }

    #[test]
    fn a_policy_of_other_content_has_another_hash() {
        let folder = tempfile::tempdir().unwrap();
        let hash = || {
            let policy = PolicySource::Folder { path: folder.path().into(), adapter: None };
            policy_hash(&policy).unwrap()
        };
        let weights = folder.path().join("model.safetensors");
        std::fs::write(&weights, b"one").unwrap();
        let first = hash();
        std::fs::write(folder.path().join("notes.txt"), b"no part of it").unwrap();
        assert_eq!(hash(), first);
        std::fs::write(&weights, b"two").unwrap();
        assert_ne!(hash(), first);
        let [math, qa] = ["tiny-math", "tiny-qa"]
            .map(|name| policy_hash(&PolicySource::Embedded { name: name.into() }).unwrap());
        assert_ne!(math, qa);
    }
}
