//! The part of a checkpoint's `state.json` that is shown: the archive of the estimator.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The archive in a run's latest checkpoint, a value per objective and point; `None` where there is
/// no checkpoint that can be read, or its estimator keeps none.
pub fn latest_archive(run: &Path) -> Option<Vec<Vec<f64>>> {
    let is_checkpoint = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("step-")
    };
    let listed = std::fs::read_dir(run.join("checkpoints")).ok()?.flatten();
    let latest = listed.map(|entry| entry.path()).filter(is_checkpoint).max()?;
    let text = paretopo_reading::read_text(&latest.join("state.json")).ok()?;
    let state: Value = serde_json::from_str(&text).ok()?;
    // an estimator's state lies beside its `type`; earlier versions had one for all
    let archive = ["/estimator/state/archive/points", "/estimator/archive/points"];
    let points = archive.iter().find_map(|place| state.pointer(place))?;
    let points: Vec<Vec<f64>> = serde_json::from_value(points.clone()).ok()?;
    Some(points).filter(|points| !points.is_empty())
}
