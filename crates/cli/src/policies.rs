//! Where a configuration's policy lies: inside the binary, in a folder, on the hub.

use crate::embedded;
use crate::problem::Problem;
use crate::progress::Progress;
use paretopo_hub::{Kind, Repository, check_repository, check_revision};
use paretopo_training::{Observer, PolicySource};
use std::path::{Path, PathBuf};

/// What `--model` and `--adapter` name: a folder, or a model on the hub as `owner/name` or
/// `owner/name@revision`. A folder that holds an adapter alone stands for the model that it was
/// made for.
pub(crate) fn source(model: &str, adapter: Option<&Path>) -> Result<PolicySource, Problem> {
    let (path, adapter) = (PathBuf::from(model), adapter.map(Path::to_owned));
    if path.is_dir() {
        if adapter.is_none()
            && !path.join("config.json").exists()
            && path.join("adapter_config.json").exists()
        {
            return source(&base_of(&path)?, Some(&path));
        }
        return Ok(PolicySource::Folder { path, adapter });
    }
    if embedded::is_policy(model) {
        return Ok(match adapter {
            None => PolicySource::Embedded { name: model.to_owned() },
            Some(_) => PolicySource::Folder { path: embedded::policy_folder(model)?, adapter },
        });
    }
    let (name, revision) = model.split_once('@').unwrap_or((model, "main"));
    match name.contains('/') && check_repository(name).is_ok() {
        true => {
            check_revision(revision)
                .map_err(|error| Problem::mistake(format!("`--model {model}`: {error}")))?;
            Ok(PolicySource::Hub { name: name.to_owned(), revision: revision.to_owned(), adapter })
        }
        false => Err(Problem::mistake(format!(
            "`--model {model}`: there is no such folder\nhint: give a checkpoint folder, or a model on the hub as `owner/name` or `owner/name@revision`"
        ))),
    }
}

/// The model that an adapter was made for.
fn base_of(folder: &Path) -> Result<String, Problem> {
    let path = folder.join("adapter_config.json");
    let text =
        paretopo_reading::read_text(&path).map_err(|error| Problem::unreadable(&path, &error))?;
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Problem::mistake(format!("`{}`: {error}", path.display())))?;
    let base = value["base_model_name_or_path"].as_str().map(str::to_owned);
    base.ok_or_else(|| {
        Problem::mistake(format!(
            "`{}`: no `base_model_name_or_path`\nhint: give `--model` and `--adapter`",
            path.display()
        ))
    })
}

/// The folder that holds a policy, fetched from the hub if need be.
pub(crate) fn folder(source: &PolicySource, progress: &mut Progress) -> Result<PathBuf, Problem> {
    match source {
        PolicySource::Embedded { name } => embedded::policy_folder(name),
        PolicySource::Folder { path, .. } | PolicySource::New { path } => Ok(path.clone()),
        PolicySource::Hub { name, revision, .. } => {
            let repository =
                Repository::open(Kind::Model, name, revision).map_err(Problem::mistake)?;
            let mut report = |file: &str, done: u64, total: u64| {
                progress.progress(file, done as usize, total as usize)
            };
            repository.checkpoint(&mut report).map_err(Problem::mistake)
        }
    }
}

/// The folder of a policy of which everything but the weights is needed.
pub(crate) fn text_folder(
    source: &PolicySource,
    progress: &mut Progress,
) -> Result<PathBuf, Problem> {
    let PolicySource::Hub { name, revision, .. } = source else { return folder(source, progress) };
    let repository = Repository::open(Kind::Model, name, revision).map_err(Problem::mistake)?;
    let is_text = |file: &String| {
        let is_template = file.starts_with("additional_chat_templates/");
        !file.contains('/') && (file.ends_with(".json") || file.ends_with(".jinja")) || is_template
    };
    let folder = config_folder(source, progress)?;
    // whatever is missing is named by who reads it
    for file in repository.list().map_err(Problem::mistake)?.iter().filter(|file| is_text(file)) {
        repository.file(file, &mut |_, _, _| {}).map_err(Problem::mistake)?;
    }
    Ok(folder)
}

/// The folder of a policy whose `config.json` is all that is needed.
pub(crate) fn config_folder(
    source: &PolicySource,
    progress: &mut Progress,
) -> Result<PathBuf, Problem> {
    let PolicySource::Hub { name, revision, .. } = source else { return folder(source, progress) };
    let repository = Repository::open(Kind::Model, name, revision).map_err(Problem::mistake)?;
    let path = repository.file("config.json", &mut |_, _, _| {}).map_err(Problem::mistake)?;
    Ok(path.parent().map(Path::to_owned).unwrap_or_default())
}
