//! What the binary carries: the small policies and the quick experiment, so that it works in any
//! folder without a file.

use crate::problem::Problem;
use std::path::{Path, PathBuf};

/// A file's name and contents.
type File = (&'static str, &'static [u8]);

macro_rules! policy {
    ($folder:literal) => {
        policy!($folder: "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    };
    ($folder:literal: $($name:literal),*) => {
        ($folder, &[$(($name, include_bytes!(concat!("../embedded/", $folder, "/", $name)) as &[u8])),*])
    };
}

const POLICIES: [(&str, &[File]); 5] = [
    policy!("tiny-math"),
    policy!("graded-math"),
    policy!("graded-math-told"),
    policy!("tiny-qa"),
    policy!("tiny-qa-familiar"),
];

macro_rules! experiment_files {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../embedded/experiment/", $name)))),*] };
}

/// The quick experiment, and the files that it names.
pub(crate) const EXPERIMENT: &[(&str, &str)] =
    &experiment_files!("quick.toml", "paretopo.toml", "controls.json", "results.json");

/// A file that the quick experiment names.
pub(crate) fn experiment_file(file: &Path) -> &'static str {
    let found = EXPERIMENT.iter().find(|(name, _)| file == Path::new(name));
    found.map(|(_, text)| *text).expect("the experiment in the binary names files in the binary")
}

/// Whether the binary carries a policy of that name.
pub(crate) fn is_policy(name: &str) -> bool {
    policy_files(name).is_some()
}

/// The files of an embedded policy; `None` of one that is not there.
pub(crate) fn policy_files(policy: &str) -> Option<&'static [File]> {
    POLICIES.iter().find(|(name, _)| *name == policy).map(|(_, files)| *files)
}

/// The folder of an embedded policy, written once per content under the system's temporary folder.
pub(crate) fn policy_folder(policy: &str) -> Result<PathBuf, Problem> {
    let Some(files) = policy_files(policy) else {
        let known = POLICIES.map(|(name, _)| name).join("`, `");
        return Err(Problem::mistake(format!(
            "`policy.name`: there is no embedded policy `{policy}` (there are `{known}`)"
        )));
    };
    let size_and_sum =
        files.iter().flat_map(|(_, bytes)| bytes.iter()).fold((0u64, 0u64), |(size, sum), byte| {
            (size + 1, (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        });
    let folder = std::env::temp_dir()
        .join(format!("paretopo-{policy}-{}-{:016x}", size_and_sum.0, size_and_sum.1));
    let failed = |error: std::io::Error| {
        Problem::failure(format!(
            "cannot write the embedded policy to `{}`: {error}",
            folder.display()
        ))
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for (name, bytes) in files {
        let path = folder.join(name);
        // compared and not only looked for: the folder may be left over from a kill, or somebody
        // else's
        if std::fs::read(&path).ok().as_deref() != Some(*bytes) {
            let beside = folder.join(format!("{name}.{}", std::process::id()));
            std::fs::write(&beside, bytes)
                .and_then(|()| std::fs::rename(&beside, &path))
                .map_err(failed)?;
        }
    }
    Ok(folder)
}
