//! `new`: files to start from.

use crate::arguments::NewThing;
use crate::output::outln;
use crate::problem::Problem;
use crate::program::own_name;
use paretopo_environments::{math, qa};
use paretopo_training::RunConfig;
use std::path::Path;

/// The architecture that a new one starts from.
const LLAMA: &str = include_str!("../../embedded/llama.rs");

pub(super) fn new(what: NewThing, target: &str) -> Result<(), Problem> {
    match what {
        NewThing::Config => write(Path::new(target), &config(target)?),
        NewThing::Schema => {
            let schema = serde_json::to_string_pretty(&RunConfig::schema());
            write(Path::new(target), &(schema.map_err(Problem::failure)? + "\n"))
        }
        NewThing::Reference => write(Path::new(target), &RunConfig::reference()),
        NewThing::Tokenizer => tokenizer(target, &math::tokenizer_json()),
        NewThing::GradedTokenizer => tokenizer(target, &math::graded_tokenizer_json()),
        NewThing::QaTokenizer => tokenizer(target, &qa::tokenizer_json()),
        NewThing::QaFamiliarTokenizer => tokenizer(target, &qa::familiar_tokenizer_json()),
        NewThing::Architecture => architecture(target),
    }
}

/// The defaults, behind the command that trains with them.
fn config(target: &str) -> Result<String, Problem> {
    let program = own_name();
    let text = RunConfig::parse("", "", &[])?.to_commented_toml()?;
    Ok(format!(
        "# {program} train {target}\n\
         # Every key, with its default. An editor that knows taplo (Even Better TOML) completes and\n\
         # checks this file after `{program} new schema paretopo.schema.json`, if it begins with\n\
         # `#:schema ./paretopo.schema.json`.\n\n{text}"
    ))
}

fn tokenizer(folder: &str, json: &serde_json::Value) -> Result<(), Problem> {
    let json = serde_json::to_string_pretty(json).map_err(Problem::failure)?;
    write(&Path::new(folder).join("tokenizer.json"), &(json + "\n"))
}

fn write(path: &Path, text: &str) -> Result<(), Problem> {
    if path.exists() {
        return Err(Problem::mistake(format!(
            "`{}` exists already\nhint: remove it first, or choose another name",
            path.display()
        )));
    }
    let failed = |error: std::io::Error| {
        Problem::mistake(format!("cannot write `{}`: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)?;
    outln!("wrote {}", path.display());
    Ok(())
}

fn architecture(name: &str) -> Result<(), Problem> {
    let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !valid {
        return Err(Problem::mistake(format!(
            "`{name}` is not a module name: use lower-case letters, digits and `_`"
        )));
    }
    if !Path::new("models/src").is_dir() {
        return Err(Problem::mistake(
            "there is no folder `models/src` here\nhint: run this in the root of a checkout of paretopo",
        ));
    }
    let class: String = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    let rest =
        LLAMA.lines().skip_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
    let text = rest.replace("LlamaConfig", &format!("{class}Config"));
    let header = format!(
        "//! {class}: say from which paper or checkpoint format, and what is left out. Starts as a copy of Llama.\n"
    );
    write(&Path::new("models/src").join(format!("{name}.rs")), &format!("{header}{text}\n"))?;
    outln!("next:");
    outln!("  1. models/src/lib.rs: `pub mod {name};`");
    outln!(
        "  2. models/src/auto.rs: in the list at the end, `{class}(crate::{name}::{class}Config) = \"{name}\", \"{class}ForCausalLM\";` behind a line of documentation"
    );
    outln!(
        "  3. tests/fixtures/make_models.py: add a tiny checkpoint, run it, and list the folder in tests/parity_models.rs"
    );
    Ok(())
}
