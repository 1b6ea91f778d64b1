//! Reading a configuration, with errors that name the key.
//!
//! serde's errors do not: inside an enum that is told apart by a `type` field they have neither key
//! nor place. So the key is looked for once something is wrong. A reader stops at the first value
//! it refuses, and it meets values in their order. When a value is replaced by a text that no
//! setting takes, the error is about that text exactly if the value is met before the refused one or
//! is the refused one itself; of all such values the one that is met last is the refused one.

use serde::de::DeserializeOwned;
use std::fmt;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// A text that is no number, no switch and no variant.
const MARKER: &str = "(what no setting takes)";
/// Another one.
const OTHER_MARKER: &str = "(nor does any take this)";

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

/// A setting that stands elsewhere than it once did: both places as in messages,
/// `tools[0].interpreter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Where it stands in the text.
    pub was: String,
    /// Where it is read.
    pub is: String,
}

/// Reads a configuration from TOML text.
///
/// # Errors
/// Names key, value and range, line and column of what is refused.
pub fn read_toml<T: DeserializeOwned>(text: &str) -> Result<T, Refused> {
    read_moved_toml(text, |_| Vec::new())
}

/// The same of a text in which settings may stand where an earlier version had them: `migrate` puts
/// them where they belong, and says what it moved.
///
/// # Errors
/// Names key, value and range, line and column of what is refused.
pub fn read_moved_toml<T: DeserializeOwned>(
    text: &str,
    migrate: impl FnOnce(&mut toml::Table) -> Vec<Moved>,
) -> Result<T, Refused> {
    let unreadable = |error: toml::de::Error| Refused {
        key: None,
        reason: error.to_string().trim_end().into(),
        place: None,
    };
    let mut table: toml::Table = toml::from_str(text).map_err(unreadable)?;
    let moved = migrate(&mut table);
    let error = match table.clone().try_into::<T>() {
        Ok(settings) => return Ok(settings),
        Err(error) => error,
    };
    let plain = || match moved.is_empty() {
        // which has a place
        true => {
            toml::from_str::<T>(text).err().map_or_else(|| unreadable(error.clone()), unreadable)
        }
        false => unreadable(error.clone()),
    };
    let fault = Fault::of::<T>(&table);
    let parsed = DeTable::parse(text);
    let (Some(fault), Ok(parsed)) = (fault, parsed) else { return Err(plain()) };
    let path = written_at(fault.path, &moved);
    let Some(span) = span_of(parsed.get_ref(), &path, fault.is_key) else { return Err(plain()) };
    let key = (!fault.is_said).then(|| joined(&path));
    Err(Refused { key, reason: fault.reason, place: Some(place(text, span)) })
}

/// Where in the text the value stands that is read at `path`.
fn written_at(path: Vec<Step>, moved: &[Moved]) -> Vec<Step> {
    let of_prefix = |moved: &Moved| {
        let rest = path.strip_prefix(&split(&moved.is)[..])?;
        Some([&split(&moved.was)[..], rest].concat())
    };
    // the longest prefix is the setting itself, and not the section that it is in
    let longest = moved
        .iter()
        .max_by_key(|moved| if of_prefix(moved).is_some() { moved.is.len() + 1 } else { 0 });
    longest.and_then(of_prefix).unwrap_or(path)
}

/// The steps of a path as it is written in messages.
fn split(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        steps.extend(pieces.next().map(|key| Step::Key(key.to_owned())));
        let index = |piece: &str| piece.trim_end_matches(']').parse().ok().map(Step::Index);
        steps.extend(pieces.filter_map(index));
    }
    steps
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
    Err(match Fault::of::<T>(&table) {
        Some(Fault { path, reason, is_said: false, .. }) => {
            Refused { key: Some(joined(&path)), reason, place: None }
        }
        _ => Refused { key: None, reason: error.message().to_owned(), place: None },
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

/// What is wrong with a table, and where.
struct Fault {
    path: Vec<Step>,
    reason: String,
    /// Whether the key is wrong and not its value.
    is_key: bool,
    /// Whether the reason names the key already.
    is_said: bool,
}

impl Fault {
    /// `None` where nothing is wrong, or the place cannot be found.
    fn of<T: DeserializeOwned>(table: &toml::Table) -> Option<Self> {
        let said = |table: &toml::Table| {
            table.clone().try_into::<T>().err().map(|error| error.message().to_owned())
        };
        let reason = said(table)?;
        let table = Value::Table(table.clone());
        if let Some(name) = quoted_behind(&reason, "unknown field ") {
            let without = |table: &mut Value, path: &[Step]| {
                let section = value_at_mut(table, path)?.as_table_mut()?;
                section.remove(name)?;
                Some(())
            };
            let helps = |other: Option<&str>| (other != Some(&reason)).then_some(());
            let (mut path, ()) = section_where(&table, &mut Vec::new(), &said, &without, &helps)?;
            path.push(Step::Key(name.to_owned()));
            return Some(Self { path, reason, is_key: true, is_said: true });
        }
        if let Some(name) = quoted_behind(&reason, "missing field ") {
            let with = |table: &mut Value, path: &[Step]| {
                let section = value_at_mut(table, path)?.as_table_mut()?;
                section.insert(name.to_owned(), MARKER.into()).is_none().then_some(())
            };
            if name == "type" {
                let names = |other: Option<&str>| other.and_then(names_in);
                let (path, names) = section_where(&table, &mut Vec::new(), &said, &with, &names)?;
                let reason = format!("has no `type`, which is one of {names}");
                return Some(Self { path, reason, is_key: false, is_said: false });
            }
            // where it is not missing it is a key too many
            let helps = |other: Option<&str>| {
                let is_other = |other: &str| other != reason && !other.starts_with("unknown field");
                other.is_none_or(is_other).then_some(())
            };
            let (path, ()) = section_where(&table, &mut Vec::new(), &said, &with, &helps)?;
            return Some(Self { path, reason, is_key: false, is_said: true });
        }
        if reason.starts_with("duplicate field") {
            return None;
        }
        let mut path = Vec::new();
        while let Some(step) = last_met(&table, &path, &reason, &said) {
            path.push(step);
        }
        if path.is_empty() {
            return None;
        }
        let reason = named(&table, &path, &said).unwrap_or(reason);
        Some(Self { path, reason, is_key: false, is_said: false })
    }
}

/// The name behind the start of a message.
fn quoted_behind<'a>(reason: &'a str, start: &str) -> Option<&'a str> {
    reason.strip_prefix(start)?.strip_prefix('`')?.split('`').next()
}

/// The section at `path` or below in which a change makes the reader say something of which `found`
/// makes more, and what it makes.
fn section_where<R>(
    table: &Value,
    path: &mut Vec<Step>,
    said: &impl Fn(&toml::Table) -> Option<String>,
    change: &impl Fn(&mut Value, &[Step]) -> Option<()>,
    found: &impl Fn(Option<&str>) -> Option<R>,
) -> Option<(Vec<Step>, R)> {
    let mut changed = table.clone();
    if change(&mut changed, path).is_some()
        && let Some(found) = found(said(changed.as_table()?).as_deref())
    {
        return Some((path.clone(), found));
    }
    for step in steps(value_at(table, path)?) {
        path.push(step);
        let below = section_where(table, path, said, change, found);
        if below.is_some() {
            return below;
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
    let with = |marked: &[(&Step, &str)]| {
        let mut changed = table.clone();
        for (step, marker) in marked {
            let section = value_at_mut(&mut changed, path)?;
            *child_mut(section, step)? = (*marker).into();
        }
        said(changed.as_table()?)
    };
    let mut last: Option<Step> = None;
    for step in steps(value_at(table, path)?) {
        match with(&[(&step, MARKER)]) {
            Some(other) if other.contains(MARKER) => {
                let is_later = last.as_ref().is_none_or(|last| {
                    let both = with(&[(last, MARKER), (&step, OTHER_MARKER)]);
                    both.is_some_and(|met| met.contains(MARKER))
                });
                if is_later {
                    last = Some(step);
                }
            }
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

/// The bytes of the value at a path, or of its key.
fn span_of(table: &DeTable<'_>, path: &[Step], is_key: bool) -> Option<std::ops::Range<usize>> {
    let (Step::Key(first), rest) = path.split_first()? else { return None };
    let (mut key, mut value) = table.get_key_value(first.as_str())?;
    for step in rest {
        match (step, value.get_ref()) {
            (Step::Key(name), DeValue::Table(table)) => {
                (key, value) = table.get_key_value(name.as_str())?;
            }
            (Step::Index(index), DeValue::Array(values)) => value = values.get(*index)?,
            _ => return None,
        }
    }
    Some(if is_key { key.span() } else { value.span() })
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
