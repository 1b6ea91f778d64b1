//! `soup`: a checkpoint between others.

use crate::output::outln;
use crate::problem::Problem;
use std::path::{Path, PathBuf};

pub(super) fn soup(folders: &[PathBuf], weights: &[f64], out: &Path) -> Result<(), Problem> {
    let count = folders.len();
    if !weights.is_empty() && weights.len() != count {
        let found = weights.len();
        return Err(Problem::mistake(format!(
            "`--weights` has {found} for {count} checkpoints\nhint: give one for each, or none"
        )));
    }
    let weights = match weights {
        [] => vec![1.0 / count as f64; count],
        given => given.to_vec(),
    };
    let ingredients: Vec<(PathBuf, f64)> = folders.iter().cloned().zip(weights).collect();
    paretopo_models::soup(&ingredients, out).map_err(Problem::mistake)?;
    outln!("wrote {}", out.display());
    Ok(())
}
