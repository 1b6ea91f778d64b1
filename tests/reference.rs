//! What is written about configurations: the checked-in reference is what the types say, and the
//! JSON Schema takes every checked-in configuration and refuses wrong ones.

use crate::checkout;
use paretopo_training::RunConfig;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_checked_in_reference_is_what_the_types_say() {
    let checked_in = std::fs::read_to_string(checkout("docs/configuration.md")).unwrap();
    assert!(
        checked_in == RunConfig::reference(),
        "`docs/configuration.md` is not what the types say\nhint: `just reference` makes it anew"
    );
}

/// The files that `paretopo new` writes.
fn written(what: &str, folder: &Path) -> String {
    let path = folder.join(what);
    let output = Command::new(env!("CARGO_BIN_EXE_paretopo"))
        .args(["new", what])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn new_writes_schema_reference_and_a_configuration_that_is_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let schema: Value = serde_json::from_str(&written("schema", folder.path())).unwrap();
    assert_eq!(schema, RunConfig::schema());
    assert_eq!(written("reference", folder.path()), RunConfig::reference());
    let text = written("config", folder.path());
    assert!(text.starts_with("# paretopo train "), "{text}");
    let config = RunConfig::parse(&text, "written", &[]).unwrap();
    assert_eq!(config, RunConfig::parse("", "", &[]).unwrap());
    assert_eq!(refusal(&schema, &toml_value(&text)), None);
}

/// All files of a folder and those in it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), found),
            false => found.push(entry.path()),
        }
    }
}

fn toml_value(text: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap()
}

#[test]
fn the_schema_takes_every_checked_in_configuration() {
    let schema = RunConfig::schema();
    let mut all = Vec::new();
    files(&checkout("experiments"), &mut all);
    let mut count = 0;
    for path in all.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
        let value = toml_value(&std::fs::read_to_string(path).unwrap());
        // a list of methods, which is no configuration of a run
        if value.get("methods").is_none() {
            assert_eq!(refusal(&schema, &value), None, "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 15, "only {count} configurations");
}

#[test]
fn the_schema_refuses_what_is_refused() {
    let schema = RunConfig::schema();
    let wrong = [
        ("sed = 1", "sed"),
        ("seed = -1", "seed"),
        ("seed = 1.5", "seed"),
        ("seed = '1'", "seed"),
        ("train = { stepz = 3 }", "train"),
        ("train = { steps = 0 }", "train.steps"),
        ("train = { optimizer = { learning_rate = 1e-13 } }", "train.optimizer.learning_rate"),
        ("precision = 'f64'", "precision"),
        ("policy = { type = 'folder' }", "policy"),
        ("estimator = { weights = [1.0] }", "estimator"),
        ("estimator = { type = 'nope' }", "estimator"),
        ("estimator = { type = 'grpo', beta = 1.0 }", "estimator"),
        ("estimator = { type = 'scalarized', weights = [0, 0] }", "estimator"),
        ("environment = { type = 'math', topk = 3 }", "environment"),
        ("tools = [{ type = 'python', prise = 1.0 }]", "tools[0]"),
        ("tools = [{ type = 'python', max_calls = 0 }]", "tools[0]"),
        ("objectives = [{ type = 'task' }, { type = 'length' }]", "objectives[1]"),
    ];
    for (text, place) in wrong {
        let refused = refusal(&schema, &toml_value(text));
        let refused = refused.unwrap_or_else(|| panic!("taken: {text}"));
        assert!(refused.starts_with(&format!("`{place}`")), "{text}: {refused}");
        assert!(RunConfig::parse(text, "", &[]).is_err(), "{text}");
    }
    let right = [
        "estimator = { type = 'grpo', weights = [] }",
        "estimator = { type = 'scalarized', weights = [0, 1] }",
        "lora = { rank = 4 }",
        "train = { optimizer = { learning_rate = 0 } }",
        "tools = []",
        "tools = [{ type = 'search', name = 'look_up', price = 0.5, max_calls = 2 }]",
    ];
    for text in right {
        assert_eq!(refusal(&schema, &toml_value(text)), None, "{text}");
    }
}

/// Why a schema does not take a value, behind the place of it; a validator of the keywords that
/// schemas of configurations have.
fn refusal(root: &Value, value: &Value) -> Option<String> {
    Validator { root }.check(root, value, "").err()
}

struct Validator<'a> {
    root: &'a Value,
}

impl Validator<'_> {
    fn check(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        if let Some(taken) = schema.as_bool() {
            return if taken { Ok(()) } else { Err(format!("`{place}`: no such key")) };
        }
        for (keyword, wanted) in schema.as_object().unwrap() {
            match keyword.as_str() {
                "anyOf" | "oneOf" => self.choices(keyword, wanted, value, place)?,
                "properties" | "additionalProperties" | "required" => {
                    self.table(schema, value, place)?;
                }
                "items" | "contains" | "minItems" | "maxItems" => {
                    self.list(keyword, wanted, value, place)?;
                }
                "$ref" => {
                    let pointer = wanted.as_str().unwrap().trim_start_matches('#');
                    let target = self.root.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
                    self.check(target, value, place)?;
                }
                _ if !is_taken(keyword, wanted, value) => {
                    return Err(format!("`{place}`: {value} is not {keyword} {wanted}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn choices(
        &self,
        keyword: &str,
        choices: &Value,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        let choices = choices.as_array().unwrap();
        let count =
            choices.iter().filter(|choice| self.check(choice, value, place).is_ok()).count();
        match (keyword, count) {
            ("anyOf", 1..) | ("oneOf", 1) => Ok(()),
            _ => Err(format!("`{place}`: {value} is {count} of {keyword}")),
        }
    }

    fn table(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let Some(value) = value.as_object() else { return Ok(()) };
        let none = json!({});
        let properties = schema.get("properties").unwrap_or(&none);
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !value.contains_key(required.as_str().unwrap()) {
                return Err(format!("`{place}`: {required} is missing"));
            }
        }
        let others = schema.get("additionalProperties").unwrap_or(&none);
        for (key, value) in value {
            let dot = if place.is_empty() { "" } else { "." };
            let own_place = format!("{place}{dot}{key}");
            match properties.get(key) {
                Some(schema) => self.check(schema, value, &own_place)?,
                // in the place of the table, as a choice among tables does
                None if others == false && !place.is_empty() => {
                    return Err(format!("`{place}`: no key `{key}`"));
                }
                None => self.check(others, value, &own_place)?,
            }
        }
        Ok(())
    }

    fn list(
        &self,
        keyword: &str,
        wanted: &Value,
        value: &Value,
        place: &str,
    ) -> Result<(), String> {
        let Some(values) = value.as_array() else { return Ok(()) };
        let mut places =
            values.iter().enumerate().map(|(at, value)| (format!("{place}[{at}]"), value));
        let count = values.len() as u64;
        let is_taken = match keyword {
            "items" => {
                return places.try_for_each(|(place, value)| self.check(wanted, value, &place));
            }
            "contains" => places.any(|(place, value)| self.check(wanted, value, &place).is_ok()),
            "minItems" => count >= wanted.as_u64().unwrap(),
            _ => count <= wanted.as_u64().unwrap(),
        };
        if is_taken { Ok(()) } else { Err(format!("`{place}`: {value} is not {keyword} {wanted}")) }
    }
}

/// Whether a value is what a keyword about nothing but itself wants.
fn is_taken(keyword: &str, wanted: &Value, value: &Value) -> bool {
    let number = |holds: fn(f64, f64) -> bool| {
        value.as_f64().is_none_or(|value| holds(value, wanted.as_f64().unwrap()))
    };
    match keyword {
        "const" => value == wanted || value.as_f64().is_some_and(|n| Some(n) == wanted.as_f64()),
        "minimum" => number(|value, bound| value >= bound),
        "maximum" => number(|value, bound| value <= bound),
        "exclusiveMinimum" => number(|value, bound| value > bound),
        "exclusiveMaximum" => number(|value, bound| value < bound),
        "type" => match wanted.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            other => panic!("the schema has a type `{other}`"),
        },
        "$schema" | "$defs" | "title" | "description" | "default" => true,
        other => panic!("the schema has a keyword `{other}`, which this validator does not know"),
    }
}
