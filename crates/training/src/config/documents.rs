//! What is written about configurations for people and their editors, all of it from the types and
//! the pieces in use: a JSON Schema, a file to start from, a reference.

use super::{ConfigError, RunConfig, reference, schema, written};
use serde_json::Value;
use toml::Table;

/// The first lines of the reference.
const INTRODUCTION: &str = "\
# Configuration

Every key of a run's TOML file, with what it is for, what it can be and its default. A key that is
not in a file has its default. `--set key.path=value` changes one for a single run.

- `paretopo new config FILE` writes a file with all keys and their defaults.
- `paretopo new schema paretopo.schema.json` writes a JSON Schema of the same. An editor that knows
  taplo (Even Better TOML) completes and checks a file beside it that begins with
  `#:schema ./paretopo.schema.json`.
- `paretopo new reference FILE` writes this page. A program with pieces of its own has them in it.

Under *default*, \"required\" is a key that has to be given, and \"none\" one that may be left out.
A table that a file does not have has the values that stand beside its name, and else the defaults
of its keys. A table that a file has in part has for the rest the defaults of its keys alone.
";

impl RunConfig {
    /// The JSON Schema of a configuration, draft 2020-12, over the pieces in use.
    pub fn schema() -> Value {
        schema::schema()
    }

    /// The configuration as TOML, with what each key is for and can be; keys without a value are
    /// there behind `#`.
    ///
    /// # Errors
    /// When TOML cannot express a value.
    pub fn to_commented_toml(&self) -> Result<String, ConfigError> {
        let values = Table::try_from(self).map_err(|e| ConfigError::Setting(e.to_string()))?;
        Ok(written::written(&Self::schema(), &values))
    }

    /// The reference of all keys, as Markdown, over the pieces in use.
    pub fn reference() -> String {
        reference::reference(&Self::schema(), INTRODUCTION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::described::{Described, Shape};
    use crate::config::schema::references;
    use paretopo_algorithms::estimators::{
        Advantages, Estimator, EstimatorError, Estimators, Group, Progress,
    };
    use paretopo_algorithms::register_estimator;
    use paretopo_settings::{Positive, Registry};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// An estimator of somebody's own: everybody gets the same.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Flat {
        /// What everybody gets.
        ///
        /// See [`Advantages`](crate::Advantages) and [`Group`].
        level: Positive,
        /// What it is called.
        label: Option<String>,
    }

    impl Default for Flat {
        fn default() -> Self {
            Self { level: Positive::literal(0.5), label: None }
        }
    }

    impl Estimator for Flat {
        type State = ();

        fn advantages(
            &self,
            (): &mut (),
            groups: &[Group],
            _: Progress,
        ) -> Result<Advantages, EstimatorError> {
            let all = groups.iter().map(|group| vec![self.level.get(); group.rewards.len()]);
            Ok(Advantages { values: all.collect(), ..Advantages::default() })
        }
    }

    fn with_flat<R>(work: impl FnOnce() -> R) -> R {
        let mut estimators = (*Registry::in_use()).clone();
        register_estimator::<Flat>(&mut estimators, "flat");
        let estimators: Arc<Estimators> = Arc::new(estimators);
        estimators.while_reading(work)
    }

    /// Every schema of a table with properties, with where it stands.
    fn tables<'a>(value: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
        match value {
            Value::Object(object) => {
                if object.get("properties").is_some_and(Value::is_object) {
                    found.push((place.to_owned(), value));
                }
                for (key, value) in object.iter().filter(|(key, _)| *key != "default") {
                    tables(value, &format!("{place}/{key}"), found);
                }
            }
            Value::Array(values) => values
                .iter()
                .enumerate()
                .for_each(|(index, value)| tables(value, &format!("{place}/{index}"), found)),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_described_and_every_table_is_closed() {
        let schema = RunConfig::schema();
        let described = Described::new(&schema);
        let mut found = Vec::new();
        tables(&schema, "", &mut found);
        assert!(found.len() > 50, "only {} tables", found.len());
        for (place, table) in found {
            assert_eq!(table["additionalProperties"], false, "`{place}` takes any key");
            for key in described.keys(table) {
                let description = described.description(key.schema);
                assert!(!description.is_empty(), "`{place}`: `{}` is not described", key.name);
                assert!(!description.contains("[`"), "`{place}`: {description}");
                assert_ne!(described.values(key.schema), "any value", "`{place}`: `{}`", key.name);
            }
        }
    }

    #[test]
    fn a_schema_is_whole_and_knows_no_null_and_no_earlier_keys() {
        let schema = with_flat(RunConfig::schema);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        let mut used = BTreeSet::new();
        references(&schema, &mut used);
        let defined: BTreeSet<String> =
            schema["$defs"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(used, defined);
        let text = schema.to_string();
        assert!(!text.contains("null"), "{text}");
        let math = &schema["properties"]["environment"]["oneOf"][0]["properties"];
        assert_eq!(math["type"]["const"], "math");
        for earlier in ["python", "tool_enabled", "objectives"] {
            assert!(math.get(earlier).is_none(), "{earlier}");
        }
    }

    #[test]
    fn pieces_of_a_program_are_in_all_documents() {
        let schema = RunConfig::schema().to_string();
        assert!(!schema.contains("flat"));
        with_flat(|| {
            let estimators = &RunConfig::schema()["properties"]["estimator"]["oneOf"];
            let own = estimators.as_array().unwrap().last().unwrap().clone();
            assert_eq!(own["properties"]["type"]["const"], "flat");
            assert_eq!(
                own["properties"]["level"]["description"],
                "What everybody gets.\n\nSee `Advantages` and `Group`."
            );
            let config = RunConfig::parse("estimator = { type = 'flat' }", "", &[]).unwrap();
            let text = config.to_commented_toml().unwrap();
            assert!(
                text.contains(
                    "# - \"flat\": An estimator of somebody's own: everybody gets the same.\n"
                ),
                "{text}"
            );
            let section = "\
# What everybody gets.
#
# See `Advantages` and `Group`.
# Number, 1e-6 to 1000000.
level = 0.5

# What it is called.
# Text.
# label = ...
";
            assert!(text.contains(section), "{text}");
            assert_eq!(RunConfig::parse(&text, "", &[]).unwrap(), config);
            let page = RunConfig::reference();
            assert!(page.contains("\n### `estimator`: `flat`\n"), "{page}");
            assert!(page.contains("| `label` | What it is called. | text | none |\n"), "{page}");
        });
    }

    /// Each key of a schema that a configuration's tables can have, as `path.key`.
    fn reachable(described: Described<'_>, schema: &Value, value: &toml::Value) -> Vec<String> {
        let table = match (described.shape(schema), value) {
            (Shape::List(items), toml::Value::Array(values)) => {
                return values
                    .iter()
                    .flat_map(|value| reachable(described, items, value))
                    .collect();
            }
            (Shape::Table(table), _) => table,
            (Shape::Kinds(kinds), _) => {
                let chosen = value["type"].as_str().unwrap();
                kinds.iter().find(|kind| kind.name == chosen).unwrap().schema
            }
            _ => return Vec::new(),
        };
        let mut all = Vec::new();
        for key in described.keys(table) {
            all.push(key.name.to_owned());
            if let Some(value) = value.get(key.name) {
                all.extend(reachable(described, key.schema, value));
            }
        }
        all
    }

    #[test]
    fn the_commented_defaults_are_the_defaults_and_have_every_key() {
        let config = RunConfig::parse("", "", &[]).unwrap();
        let text = config.to_commented_toml().unwrap();
        assert_eq!(RunConfig::parse(&text, "", &[]).unwrap(), config);
        let as_written: Table = toml::from_str(&text).unwrap();
        assert_eq!(as_written, Table::try_from(&config).unwrap());
        let is_there = |key: &str| {
            text.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                let header = line.trim_matches(['[', ']']).rsplit('.').next();
                line.starts_with(&format!("{key} = ")) || header == Some(key)
            })
        };
        let schema = RunConfig::schema();
        let keys = reachable(Described::new(&schema), &schema, &as_written.into());
        assert!(keys.len() > 80, "only {} keys", keys.len());
        for key in keys {
            assert!(is_there(&key), "`{key}` is not in the file:\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn what_is_commented_out_can_be_taken_in() {
        let config = RunConfig::parse("", "", &[]).unwrap();
        let text = config.to_commented_toml().unwrap();
        let (before, lora) = text.split_once("# [lora]\n").expect("a section that has no value");
        let (lora, after) = lora.split_once("\n\n").unwrap();
        let lora: String =
            lora.lines().map(|line| format!("{}\n", &line[2.min(line.len())..])).collect();
        let taken = format!("{before}[lora]\n{lora}\n{after}");
        let with_adapter =
            RunConfig::parse(&taken, "", &[]).unwrap_or_else(|e| panic!("{e}\n{taken}"));
        assert_eq!(with_adapter, RunConfig { lora: Some(Default::default()), ..config });
    }

    #[test]
    fn links_of_the_reference_lead_somewhere() {
        let page = RunConfig::reference();
        let mut anchors = BTreeSet::new();
        for title in page.lines().filter_map(|line| line.strip_prefix("##")) {
            let title = title.trim_start_matches('#').trim();
            assert!(anchors.insert(reference::slug(title)), "two sections are called {title}");
        }
        let links: BTreeSet<&str> =
            page.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        assert!(links.len() > 20, "only {} links", links.len());
        for link in links {
            assert!(anchors.contains(link), "no section for `{link}`");
        }
    }
}
