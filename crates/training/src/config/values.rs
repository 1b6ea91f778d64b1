//! Values and texts as files and pages show them.

use super::described::{Described, Shape};
use serde_json::{Map, Value};

/// Where lines end.
pub(super) const WIDTH: usize = 100;

/// A value as it stands behind `=`. What is `null` is left out; alone, it is no value.
pub(super) fn inline(value: &Value) -> Option<String> {
    to_toml(value).as_ref().map(shown)
}

/// A value as it stands behind `=`; small numbers as `1e-8`, not as `0.00000001`.
pub(super) fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) if number.is_finite() => format!("{number:?}"),
        value => value.to_string(),
    }
}

/// A value of the schema as TOML has it.
pub(super) fn to_toml(value: &Value) -> Option<toml::Value> {
    match value {
        Value::Object(object) => {
            let entries = object.iter();
            let table = entries.filter_map(|(key, value)| Some((key.clone(), to_toml(value)?)));
            Some(toml::Value::Table(table.collect()))
        }
        Value::Array(values) => {
            Some(toml::Value::Array(values.iter().filter_map(to_toml).collect()))
        }
        value => toml::Value::try_from(value).ok(),
    }
}

/// What a table holds beyond its keys' own defaults; any other value as it is.
pub(super) fn without_defaults(described: Described<'_>, schema: &Value, value: &Value) -> Value {
    let Value::Object(object) = value else { return value.clone() };
    let chosen = object.get("type").and_then(Value::as_str);
    let own = match described.shape(schema) {
        Shape::Table(table) => Some(table),
        Shape::Kinds(kinds) => {
            kinds.iter().find(|kind| Some(kind.name) == chosen).map(|kind| kind.schema)
        }
        _ => None,
    };
    let Some(own) = own else { return value.clone() };
    let keys = described.keys(own);
    let is_usual = |name: &str, value: &Value| {
        let key = keys.iter().find(|key| key.name == name);
        value.is_null() || key.is_some_and(|key| key.default == Some(value))
    };
    let others = object.iter().filter(|(name, value)| !is_usual(name, value));
    others.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}

/// Lines of words of at most `width` characters, the first and the later ones behind what they begin
/// with.
pub(super) fn wrapped(text: &str, first: &str, later: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut has_words = false;
    for word in text.split_whitespace() {
        let columns = line.chars().count() + 1 + word.chars().count();
        if has_words && columns > width {
            lines.push(std::mem::replace(&mut line, later.to_owned()));
            has_words = false;
        }
        if has_words {
            line.push(' ');
        }
        line.push_str(word);
        has_words = true;
    }
    if has_words {
        lines.push(line);
    }
    lines
}
