//! Reading a configuration, with errors that name the key.
//!
//! serde's errors do not: inside an enum that is told apart by a `type` field they have neither key
//! nor place. So the key is looked for once something is wrong. A reader stops at the first value
//! it refuses, and it meets values in their order. When a value is replaced by a text that no
//! setting takes, the error is about that text exactly if the value stands before the refused one
//! or is the refused one itself; the last such value is the refused one.

use serde::de::DeserializeOwned;
use std::fmt;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// A text that is no number, no switch and no variant.
const MARKER: &str = "(what no setting takes)";

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The key of the refused value, `train.optimizer.learning_rate`; `None` where something else
    /// is wrong: the syntax, a key that nobody knows or that is missing.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// Where in the text, if it was read from one: the lines that the `toml` crate puts in front.
    place: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            writeln!(f, "{place}")?;
        }
        if let Some(key) = &self.key {
            write!(f, "`{key}`: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refused {}

/// Reads a configuration from TOML text.
///
/// # Errors
/// Names key, value and range, line and column of what is refused.
pub fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, Refused> {
    let error = match toml::from_str::<T>(text) {
        Ok(settings) => return Ok(settings),
        Err(error) => error,
    };
    let plain = || Refused { key: None, reason: error.to_string().trim_end().into(), place: None };
    let Ok(table) = toml::from_str::<toml::Table>(text) else { return Err(plain()) };
    let Some((path, reason)) = refused_value::<T>(table) else { return Err(plain()) };
    let span = DeTable::parse(text).ok().and_then(|table| span_of(table.get_ref(), &path));
    let Some(span) = span else { return Err(plain()) };
    Err(Refused { key: Some(joined(&path)), reason, place: Some(place(text, span)) })
}

/// Reads a configuration from a table.
///
/// # Errors
/// Names key, value and range of what is refused.
pub fn read_table<T: DeserializeOwned>(table: toml::Table) -> Result<T, Refused> {
    let error = match table.clone().try_into::<T>() {
        Ok(settings) => return Ok(settings),
        Err(error) => error,
    };
    Err(match refused_value::<T>(table) {
        Some((path, reason)) => Refused { key: Some(joined(&path)), reason, place: None },
        None => Refused { key: None, reason: error.message().to_owned(), place: None },
    })
}

/// A step from a table or list to one of its values.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

fn joined(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Where the refused value of a table is, and why it is refused; `None` when no value is.
fn refused_value<T: DeserializeOwned>(table: toml::Table) -> Option<(Vec<Step>, String)> {
    let said = |table: &toml::Table| {
        table.clone().try_into::<T>().err().map(|error| error.message().to_owned())
    };
    let reason = said(&table)?;
    if reason == "missing field `type`" {
        return without_type(&table.into(), &mut Vec::new(), &said);
    }
    // these name the key themselves
    if ["unknown field", "missing field", "duplicate field"]
        .iter()
        .any(|start| reason.starts_with(start))
    {
        return None;
    }
    let table = Value::Table(table);
    let mut path = Vec::new();
    while let Some(step) = last_met(&table, &path, &reason, &said) {
        path.push(step);
    }
    if path.is_empty() {
        return None;
    }
    let reason = named(&table, &path, &said).unwrap_or(reason);
    Some((path, reason))
}

/// The first table at `path` or below that needs a `type` and has none.
fn without_type(
    table: &Value,
    path: &mut Vec<Step>,
    said: &impl Fn(&toml::Table) -> Option<String>,
) -> Option<(Vec<Step>, String)> {
    let value = value_at(table, path)?;
    if value.is_table() && value.get("type").is_none() {
        let mut changed = table.clone();
        let place = value_at_mut(&mut changed, path)?.as_table_mut()?;
        place.insert("type".into(), MARKER.into());
        let reason = said(changed.as_table()?)?;
        if let Some(names) = names_in(&reason) {
            return Some((path.clone(), format!("has no `type`, which is one of {names}")));
        }
    }
    for step in steps(value) {
        path.push(step);
        if let Some(found) = without_type(table, path, said) {
            return Some(found);
        }
        path.pop();
    }
    None
}

/// The names that a message about the marker lists.
fn names_in(reason: &str) -> Option<String> {
    let names = reason.strip_prefix(&format!("unknown variant `{MARKER}`, expected "))?;
    Some(names.trim_start_matches("one of ").replace("` or `", "`, `"))
}

/// What is wrong with the value at `path` where one of a list of names is wanted, or a table with one
/// as its `type`; `None` where something else is.
fn named(
    table: &Value,
    path: &[Step],
    said: &impl Fn(&toml::Table) -> Option<String>,
) -> Option<String> {
    let value = value_at(table, path)?;
    let names_with = |probe: Value| {
        let mut changed = table.clone();
        *value_at_mut(&mut changed, path)? = probe;
        names_in(&said(changed.as_table()?)?)
    };
    if let Some(names) = names_with(MARKER.into()) {
        return Some(format!("`{}` is none of {names}", shown(value)));
    }
    let tagged = toml::Table::from_iter([("type".to_owned(), Value::from(MARKER))]);
    let names = names_with(tagged.into()).filter(|_| !value.is_table())?;
    Some(format!("`{}` is no table with a `type`, one of {names}", shown(value)))
}

/// A value as it may be written; a text without its quotation marks.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Table(_) => "{ .. }".into(),
        Value::Array(_) => "[ .. ]".into(),
        other => other.to_string(),
    }
}

/// The step from the value at `path` to the one below it that is refused, or holds what is.
fn last_met(
    table: &Value,
    path: &[Step],
    reason: &str,
    said: &impl Fn(&toml::Table) -> Option<String>,
) -> Option<Step> {
    let mut last = None;
    for step in steps(value_at(table, path)?) {
        let mut changed = table.clone();
        let place = value_at_mut(&mut changed, path).and_then(|value| child_mut(value, &step))?;
        *place = MARKER.into();
        match said(changed.as_table()?) {
            Some(other) if other.contains(MARKER) => last = Some(step),
            // behind the refused value, or a setting that takes any text
            Some(other) if other == reason => {}
            // a setting that takes any text, but not what stood there
            _ => return Some(step),
        }
    }
    last
}

/// The steps to the values of `value`, in the order in which they are read: `type`, which decides
/// what the others are, before them.
fn steps(value: &Value) -> Vec<Step> {
    match value {
        Value::Table(table) => {
            let (tags, others): (Vec<_>, Vec<_>) = table.keys().partition(|key| *key == "type");
            tags.into_iter().chain(others).cloned().map(Step::Key).collect()
        }
        // numbers in a list are one setting
        Value::Array(values) if values.iter().any(Value::is_table) => {
            (0..values.len()).map(Step::Index).collect()
        }
        _ => Vec::new(),
    }
}

fn child_mut<'a>(value: &'a mut Value, step: &Step) -> Option<&'a mut Value> {
    match step {
        Step::Key(key) => value.get_mut(key.as_str()),
        Step::Index(index) => value.get_mut(*index),
    }
}

fn value_at_mut<'a>(value: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, child_mut)
}

fn value_at<'a>(value: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get(key.as_str()),
        Step::Index(index) => value.get(*index),
    })
}

/// The bytes of the value at a path.
fn span_of(table: &DeTable<'_>, path: &[Step]) -> Option<std::ops::Range<usize>> {
    let (first, rest) = path.split_first()?;
    let Step::Key(key) = first else { return None };
    let mut value = table.get(key.as_str())?;
    for step in rest {
        value = match (step, value.get_ref()) {
            (Step::Key(key), DeValue::Table(table)) => table.get(key.as_str())?,
            (Step::Index(index), DeValue::Array(values)) => values.get(*index)?,
            _ => return None,
        };
    }
    Some(value.span())
}

/// Line and column, and the line with its fault underlined, as the `toml` crate shows them.
fn place(text: &str, span: std::ops::Range<usize>) -> String {
    let before = &text[..span.start];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let (number, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count());
    let end = span.end.min(line_start + line.len()).max(span.start);
    let width = text[span.start..end].chars().count().max(1);
    let gutter = " ".repeat(number.to_string().len());
    format!(
        "TOML parse error at line {number}, column {}\n{gutter} |\n{number} | {line}\n{gutter} | {}{}",
        column + 1,
        " ".repeat(column),
        "^".repeat(width)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Share, Weights, within};
    use serde::Deserialize;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        name: String,
        switch: bool,
        level: Level,
        kind: Option<Kind>,
        kinds: Vec<Kind>,
        inner: Inner,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        low: Option<Share>,
        high: Option<Share>,
        weights: Option<Weights>,
        name: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    enum Kind {
        One {
            #[serde(deserialize_with = "within::<1, 9, _, _>")]
            count: usize,
            #[serde(default)]
            name: String,
        },
        Two {
            share: Share,
            #[serde(default)]
            level: Level,
            inner: Inner,
        },
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Level {
        #[default]
        Low,
        High,
    }

    fn key(text: &str) -> Option<String> {
        let from_text = read_toml::<Settings>(text).unwrap_err();
        let from_table = read_table::<Settings>(toml::from_str(text).unwrap()).unwrap_err();
        assert_eq!(from_text.key, from_table.key, "{text}");
        from_text.key
    }

    #[test]
    fn the_refused_key_is_found_wherever_it_is() {
        for (text, expected) in [
            ("name = 3", "name"),
            ("name = 'a'\nswitch = 3", "switch"),
            ("inner = 3", "inner"),
            ("[inner]\nlow = -1", "inner.low"),
            ("[inner]\nlow = {}", "inner.low"),
            // two with the same value: the first
            ("[inner]\nlow = -1\nhigh = -1", "inner.low"),
            ("[inner]\nhigh = -1\nlow = -1", "inner.high"),
            ("[inner]\nname = 'x'\nlow = 0.5\nhigh = nan\nweights = [1]", "inner.high"),
            ("[inner]\nweights = [0, 0]", "inner.weights"),
            ("[inner]\nweights = [1, -1]", "inner.weights"),
            ("[inner]\nlow = 'x'\nname = 'y'", "inner.low"),
            ("[inner]\nname = 7\nlow = 0.1", "inner.name"),
            ("[kind]\ntype = 'one'\ncount = 0", "kind.count"),
            ("[kind]\ncount = 0\ntype = 'one'", "kind.count"),
            ("[kind]\nname = 'x'\ncount = 0\ntype = 'one'", "kind.count"),
            ("[kind]\ntype = 'three'\ncount = 1", "kind.type"),
            ("kind = { type = 'two', share = 0.1, inner = { low = inf } }", "kind.inner.low"),
            ("kind = { type = 'two', share = 1.1, inner = { low = inf } }", "kind.share"),
            (
                "kinds = [{ type = 'one', count = 1 }, { type = 'one', count = 99 }]",
                "kinds[1].count",
            ),
            ("kinds = 3", "kinds"),
        ] {
            assert_eq!(key(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["[inner]\nlou = 1", "[kind]\ntype = 'one'", "[kind]\ntype = 'one'\ncant = 1"] {
            assert_eq!(key(text), None, "{text}");
        }
    }

    #[test]
    fn where_a_name_is_wanted_all_names_are_told() {
        let reason = |text: &str| {
            let from_text = read_toml::<Settings>(text).unwrap_err();
            let from_table = read_table::<Settings>(toml::from_str(text).unwrap()).unwrap_err();
            assert_eq!((&from_text.key, &from_text.reason), (&from_table.key, &from_table.reason));
            (from_text.key.unwrap_or_default(), from_text.reason)
        };
        for (text, key, said) in [
            ("level = 32", "level", "`32` is none of `low`, `high`"),
            ("level = 1.5", "level", "`1.5` is none of `low`, `high`"),
            ("level = true", "level", "`true` is none of `low`, `high`"),
            ("level = [1]", "level", "`[ .. ]` is none of `low`, `high`"),
            ("level = {}", "level", "`{ .. }` is none of `low`, `high`"),
            ("level = 'hihg'", "level", "`hihg` is none of `low`, `high`"),
            ("kind = { type = 3 }", "kind.type", "`3` is none of `one`, `two`"),
            ("kind = { type = 'three' }", "kind.type", "`three` is none of `one`, `two`"),
            ("kind = 'one'", "kind", "`one` is no table with a `type`, one of `one`, `two`"),
            ("kind = 3", "kind", "`3` is no table with a `type`, one of `one`, `two`"),
            ("kind = { count = 1 }", "kind", "has no `type`, which is one of `one`, `two`"),
            ("[inner]\n[kind]", "kind", "has no `type`, which is one of `one`, `two`"),
            (
                "kinds = [{ type = 'one', count = 1 }, {}]",
                "kinds[1]",
                "has no `type`, which is one of `one`, `two`",
            ),
            ("kinds = [{ type = 'x' }]", "kinds[0].type", "`x` is none of `one`, `two`"),
            (
                "kind = { type = 'two', share = 1, level = 7, inner = {} }",
                "kind.level",
                "`7` is none of `low`, `high`",
            ),
        ] {
            assert_eq!(reason(text), (key.to_owned(), said.to_owned()), "{text}");
        }
        // what is no name stays as it was
        assert!(reason("switch = 3").1.contains("expected a boolean"));
        assert!(reason("inner = 3").1.contains("invalid type: integer `3`"));
    }

    #[test]
    fn messages_have_place_key_value_and_range() {
        let text = "switch = true\n\n[kind]\ntype = 'two'\nshare = 12.5 # too much\ninner = {}\n";
        assert_eq!(
            read_toml::<Settings>(text).unwrap_err().to_string(),
            "TOML parse error at line 5, column 9\n  |\n5 | share = 12.5 # too much\n  |         \
             ^^^^\n`kind.share`: `12.5` is not a number from 0 to 1"
        );
        let unknown = read_toml::<Settings>("switch = true\nswich = 1\n").unwrap_err().to_string();
        assert!(unknown.contains("line 2") && unknown.contains("`swich`"), "{unknown}");
        assert!(read_toml::<Settings>("[inner\n").unwrap_err().to_string().contains("line 1"));
    }
}
