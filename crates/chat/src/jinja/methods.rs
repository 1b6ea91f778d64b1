//! Python's methods of texts and dictionaries, as far as they differ from minijinja-contrib's, and
//! the methods of a dictionary as values.
//!
//! What transformers' sandbox forbids (`append`, `pop`) is unknown here, and so an error too.

use super::generators::Tuple;
use super::refused;
use minijinja::value::{Object, ValueKind, from_args};
use minijinja::{Error, State, Value};
use std::sync::Arc;

/// Methods of a dictionary: as an attribute, each hides a key of its name.
pub(super) const DICTIONARY_METHODS: [&str; 11] = [
    "clear",
    "copy",
    "fromkeys",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];

/// What Python's `str.isspace` is true for.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Calls a method that the value itself does not have.
pub(super) fn call(
    state: &State<'_, '_>,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let answer = match value.kind() {
        ValueKind::String => text_method(value.as_str().unwrap_or_default(), method, arguments)?,
        ValueKind::Map => dictionary_method(value, method, arguments)?,
        ValueKind::Seq | ValueKind::Iterable => list_method(value, method, arguments)?,
        _ => None,
    };
    match answer {
        Some(answer) => Ok(answer),
        None => {
            minijinja_contrib::pycompat::unknown_method_callback(state, value, method, arguments)
        }
    }
}

fn texts(parts: impl Iterator<Item = impl Into<String>>) -> Value {
    Value::from(parts.map(Into::into).collect::<Vec<String>>())
}

fn text_method(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (which,): (Option<&str>,) = from_args(arguments)?;
            Value::from(strip(text, which, method != "rstrip", method != "lstrip"))
        }
        "split" | "rsplit" => {
            let (separator, most) = split_arguments(arguments)?;
            split(text, separator.as_deref(), most, method == "rsplit")?
        }
        "splitlines" => {
            let (keep_ends,): (Option<bool>,) = from_args(arguments)?;
            texts(lines(text, keep_ends.unwrap_or(false)).into_iter())
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(arguments)?;
            let parts = if method == "partition" {
                text.split_once(separator).map(|(before, after)| [before, separator, after])
            } else {
                text.rsplit_once(separator).map(|(before, after)| [before, separator, after])
            };
            let missing = if method == "partition" { [text, "", ""] } else { ["", "", text] };
            Tuple::of(parts.unwrap_or(missing).into_iter().map(Value::from).collect())
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (what,): (&str,) = from_args(arguments)?;
            let at = if method.starts_with('r') { text.rfind(what) } else { text.find(what) };
            match at {
                // Python counts characters
                Some(at) => Value::from(text[..at].chars().count()),
                None if method.ends_with("find") => Value::from(-1),
                None => return Err(refused("substring not found")),
            }
        }
        "join" => {
            let (parts,): (&Value,) = from_args(arguments)?;
            let mut joined = String::new();
            for (index, part) in parts.try_iter()?.enumerate() {
                joined.push_str(if index > 0 { text } else { "" });
                joined.push_str(part.as_str().ok_or_else(|| refused("join wants texts"))?);
            }
            Value::from(joined)
        }
        "title" => Value::from(title(text)),
        "capitalize" => Value::from(capitalize(text)),
        "swapcase" => Value::from(text.chars().map(swapped).collect::<String>()),
        "casefold" => Value::from(text.to_lowercase()),
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        "isdigit" | "isnumeric" | "isdecimal" => {
            Value::from(!text.is_empty() && text.chars().all(char::is_numeric))
        }
        "isalpha" => Value::from(!text.is_empty() && text.chars().all(char::is_alphabetic)),
        "isalnum" => Value::from(!text.is_empty() && text.chars().all(char::is_alphanumeric)),
        "islower" => Value::from(has_case(text) && !text.chars().any(char::is_uppercase)),
        "isupper" => Value::from(has_case(text) && !text.chars().any(char::is_lowercase)),
        "ljust" | "rjust" | "zfill" => {
            let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
            // beyond this a text would be refused anyway
            let missing = width.saturating_sub(text.chars().count()).min(1 << 24);
            let filling = if method == "zfill" { "0" } else { fill.unwrap_or(" ") }.repeat(missing);
            Value::from(match method {
                "ljust" => format!("{text}{filling}"),
                "zfill" if text.starts_with(['-', '+']) => {
                    format!("{}{filling}{}", &text[..1], &text[1..])
                }
                _ => format!("{filling}{text}"),
            })
        }
        "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(arguments)?;
            let missing = width.saturating_sub(text.chars().count()).min(1 << 24);
            // CPython gives the odd one to the left if the width is odd
            let left = missing / 2 + (missing & width & 1);
            let fill = fill.unwrap_or(" ");
            Value::from(fill.repeat(left) + text + &fill.repeat(missing - left))
        }
        _ => return Ok(None),
    }))
}

fn split_arguments(arguments: &[Value]) -> Result<(Option<String>, i64), Error> {
    let (separator, most, named): (Option<Value>, Option<i64>, minijinja::value::Kwargs) =
        from_args(arguments)?;
    let separator = separator.or(named.get::<Option<Value>>("sep")?).filter(|s| !s.is_none());
    let most = most.or(named.get::<Option<i64>>("maxsplit")?).unwrap_or(-1);
    named.assert_all_used()?;
    let separator = match separator {
        None => None,
        Some(value) => {
            Some(value.as_str().ok_or_else(|| refused("a separator is a text"))?.to_owned())
        }
    };
    Ok((separator, most))
}

/// A text without characters of `which`, or without white space, at its ends.
pub(super) fn strip<'t>(text: &'t str, which: Option<&str>, front: bool, back: bool) -> &'t str {
    let goes = |c: char| match which {
        Some(which) => which.contains(c),
        None => is_space(c),
    };
    let text = if front { text.trim_start_matches(goes) } else { text };
    if back { text.trim_end_matches(goes) } else { text }
}

/// `str.split`, or with `from_back` `str.rsplit`; a negative `most` is no bound.
fn split(text: &str, separator: Option<&str>, most: i64, from_back: bool) -> Result<Value, Error> {
    let most = usize::try_from(most).unwrap_or(usize::MAX - 1);
    if let Some(separator) = separator {
        if separator.is_empty() {
            return Err(refused("empty separator"));
        }
        if !from_back {
            return Ok(texts(text.splitn(most + 1, separator)));
        }
        let mut parts: Vec<&str> = text.rsplitn(most + 1, separator).collect();
        parts.reverse();
        return Ok(texts(parts.into_iter()));
    }
    let mut parts = Vec::new();
    let mut rest = strip(text, None, !from_back, from_back);
    while !rest.is_empty() {
        let at = if from_back { rest.rfind(is_space) } else { rest.find(is_space) };
        // the last part keeps the white space at its other end, if a bound made it the last
        let Some(at) = at.filter(|_| parts.len() < most) else {
            parts.push(rest);
            break;
        };
        if from_back {
            let width = rest[at..].chars().next().map_or(1, char::len_utf8);
            parts.push(&rest[at + width..]);
            rest = strip(&rest[..at], None, false, true);
        } else {
            parts.push(&rest[..at]);
            rest = strip(&rest[at..], None, true, false);
        }
    }
    if from_back {
        parts.reverse();
    }
    Ok(texts(parts.into_iter()))
}

/// `str.splitlines`.
pub(super) fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let ends_line = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends_line) {
        let first = rest[at..].chars().next().map_or(1, char::len_utf8);
        let width = if rest[at..].starts_with("\r\n") { 2 } else { first };
        lines.push(&rest[..if keep_ends { at + width } else { at }]);
        rest = &rest[at + width..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn has_case(text: &str) -> bool {
    text.chars().any(|c| c.is_lowercase() || c.is_uppercase())
}

fn swapped(c: char) -> String {
    if c.is_lowercase() { c.to_uppercase().collect() } else { c.to_lowercase().collect() }
}

/// Every letter behind something that is no letter becomes a capital one: `it's` is `It'S`.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut result = String::new();
    for c in text.chars() {
        if inside {
            result.extend(c.to_lowercase());
        } else {
            result.extend(c.to_uppercase());
        }
        inside = c.is_lowercase() || c.is_uppercase();
    }
    result
}

/// The first character in upper case, the others in lower case.
pub(super) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        None => String::new(),
        Some(first) => {
            first.to_uppercase().collect::<String>() + &characters.as_str().to_lowercase()
        }
    }
}

fn dictionary_method(
    map: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "items" => {
            let () = from_args(arguments)?;
            Value::from(pairs(map)?)
        }
        "copy" => {
            let () = from_args(arguments)?;
            map.clone()
        }
        _ => return Ok(None),
    }))
}

/// The pairs of a dictionary's keys and values.
pub(super) fn pairs(map: &Value) -> Result<Vec<Value>, Error> {
    map.try_iter()?
        .map(|key| {
            let value = map.get_item(&key)?;
            Ok(Tuple::pair(key, value))
        })
        .collect()
}

fn list_method(list: &Value, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "index" => {
            let (what,): (&Value,) = from_args(arguments)?;
            let at = list.try_iter()?.position(|item| item == *what);
            Value::from(at.ok_or_else(|| refused("value is not in the list"))?)
        }
        "copy" => {
            let () = from_args(arguments)?;
            list.clone()
        }
        _ => return Ok(None),
    }))
}

/// A method of a dictionary that is not called: true, with no attributes that templates ask for.
#[derive(Debug)]
struct BoundMethod {
    map: Value,
    name: String,
}

impl Object for BoundMethod {
    fn repr(self: &Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &State<'_, '_>, arguments: &[Value]) -> Result<Value, Error> {
        self.map.call_method(state, &self.name, arguments)
    }
}

/// `value.name` where a dictionary's method of that name comes first. Lookups on values that are
/// not dictionaries are minijinja's.
pub(super) fn attribute(value: &Value, name: &str) -> Result<Value, Error> {
    if value.kind() == ValueKind::Map {
        let map = value.clone();
        return Ok(Value::from_object(BoundMethod { map, name: name.to_owned() }));
    }
    value.get_attr(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(value: Value) -> Vec<String> {
        value.try_iter().unwrap().map(|part| part.to_string()).collect()
    }

    /// The right sides are what CPython answers.
    #[test]
    fn texts_are_split_as_python_splits_them() {
        let check = |separator, most, from_back, expected: &[&str]| {
            let found = parts(split(" a b  c ", separator, most, from_back).unwrap());
            assert_eq!(found, expected, "{separator:?} {most} {from_back}");
        };
        check(None, -1, false, &["a", "b", "c"]);
        check(None, 1, false, &["a", "b  c "]);
        check(None, 1, true, &[" a b", "c"]);
        check(Some(" "), -1, false, &["", "a", "b", "", "c", ""]);
        check(Some(" "), 1, false, &["", "a b  c "]);
        check(Some(" "), 1, true, &[" a b  c", ""]);
        assert!(split("a", Some(""), -1, false).is_err());
        assert_eq!(lines("a\r\nb\n\nc", false), ["a", "b", "", "c"]);
        assert_eq!(lines("a\r\nb\n", true), ["a\r\n", "b\n"]);
    }

    #[test]
    fn letters_change_their_case_as_in_python() {
        assert_eq!(title("it's a DAY"), "It'S A Day");
        assert_eq!(capitalize("éTÉ"), "Été");
        assert_eq!(strip("\u{1f}\u{a0}x ", None, true, false), "x ");
    }
}
