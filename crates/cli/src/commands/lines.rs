//! JSON lines in and out.

use crate::output::{is_wanted, outln};
use crate::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::{Path, PathBuf};

/// A file's text; `-` is standard input.
pub(super) fn read_text(path: &Path) -> Result<String, Problem> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        return std::io::stdin()
            .read_to_end(&mut bytes)
            .and_then(|_| paretopo_reading::to_text(bytes))
            .map_err(|error| Problem::unreadable(path, &error));
    }
    paretopo_reading::read_text(path).map_err(|error| Problem::unreadable(path, &error))
}

/// Every line as a value; an error names the line, and the field where that can be told.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Problem> {
    let text = read_text(path)?;
    paretopo_reading::lines(&text)
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                let place = format!("`{}` line {number}", path.display());
                Problem::mistake(format!("{place}{}", in_line(line, &error)))
            })
        })
        .collect()
}

/// A line that is an object, and where it stands.
pub(super) struct Line {
    path: PathBuf,
    number: usize,
    pub(super) object: Map<String, Value>,
}

/// Every line as an object.
pub(super) fn objects(path: &Path) -> Result<Vec<Line>, Problem> {
    let text = read_text(path)?;
    paretopo_reading::lines(&text)
        .map(|(number, line)| match serde_json::from_str(line) {
            Ok(object) => Ok(Line { path: path.to_owned(), number, object }),
            Err(error) => {
                let place = format!("`{}` line {number}", path.display());
                Err(Problem::mistake(format!("{place}{}", in_line(line, &error))))
            }
        })
        .collect()
}

impl Line {
    /// What is wrong with a field.
    pub(super) fn wrong(&self, field: &str, reason: impl std::fmt::Display) -> Problem {
        let (path, number) = (self.path.display(), self.number);
        Problem::mistake(format!("`{path}` line {number}, field `{field}`: {reason}"))
    }

    /// A list of finite numbers, as f64.
    pub(super) fn vector(&self, field: &str) -> Result<Vec<f64>, Problem> {
        let list = match self.object.get(field) {
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(Value::Array(_)) => return Err(self.wrong(field, "the list is empty")),
            Some(other) => {
                return Err(self.wrong(field, format!("`{other}` is not a list of numbers")));
            }
            None => return Err(self.wrong(field, "is missing")),
        };
        list.iter()
            .enumerate()
            .map(|(place, value)| {
                finite(value).map_err(|reason| self.wrong(field, format!("{reason} ([{place}])")))
            })
            .collect()
    }

    /// A count, if there is one; also as `2.0`.
    pub(super) fn count(&self, field: &str) -> Result<Option<usize>, Problem> {
        let value = match self.object.get(field) {
            None | Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let whole = value.as_f64().filter(|number| {
            (0.0..=9_007_199_254_740_992.0).contains(number) && number.fract() == 0.0
        });
        match whole {
            Some(number) => Ok(Some(number as usize)),
            None => Err(self.wrong(field, format!("`{value}` is not a count"))),
        }
    }
}

/// A number that an f64 holds. A decimal is the f64 next to it; a whole number must be held
/// exactly, since two that differ would become one.
fn finite(value: &Value) -> Result<f64, String> {
    let number = value.as_f64().ok_or_else(|| format!("`{value}` is not a number"))?;
    if !number.is_finite() {
        return Err(format!("`{value}` is not a finite number"));
    }
    let whole = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    if whole.is_some_and(|whole| whole != number as i128) {
        return Err(format!("`{value}` has more digits than a 64-bit float holds"));
    }
    Ok(number)
}

/// What is wrong with the JSON of a line, as the end of a message that begins with the line's
/// place: the field, the number that is none, the column.
fn in_line(line: &str, error: &serde_json::Error) -> String {
    // a line has no second line, and errors about a whole value have no place
    let reason = error.to_string().replace(" at line 1 column ", " at column ");
    if error.line() == 0 {
        return format!(": {reason}");
    }
    let before = error.column().saturating_sub(1).min(line.len());
    let field =
        field_at(line, before).map_or_else(String::new, |field| format!(", field `{field}`"));
    let of_number = |c: &u8| c.is_ascii_alphanumeric() || b"+-.".contains(c);
    let (left, right) = line.as_bytes().split_at(before);
    let start = before - left.iter().rev().take_while(|c| of_number(c)).count();
    let end = before + right.iter().take_while(|c| of_number(c)).count();
    // cut at ASCII characters
    let word = line.get(start..end).unwrap_or_default();
    let is_number = reason.starts_with("number out of range")
        || ["nan", "inf", "infinity"]
            .contains(&word.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str());
    if is_number {
        return format!("{field}: `{word}` is not a finite number");
    }
    format!("{field}: {reason}")
}

/// The field of the outermost object in which a byte of its text lies.
fn field_at(line: &str, place: usize) -> Option<&str> {
    let (mut depth, mut text, mut field) = (0usize, None, None);
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < place.min(bytes.len()) {
        match bytes[at] {
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                text = line.get(start..at.min(bytes.len()));
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 1 => field = text,
            b',' if depth == 1 => field = None,
            _ => {}
        }
        at += 1;
    }
    field
}

/// Prints values as lines. A reader that has had enough (`| head`) is no error.
pub(super) fn print<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<(), Problem> {
    for value in values {
        if !is_wanted() {
            break;
        }
        outln!("{}", serde_json::to_string(&value).map_err(Problem::failure)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wrong(line: &str) -> String {
        let error = serde_json::from_str::<Map<String, Value>>(line).unwrap_err();
        in_line(line, &error)
    }

    #[test]
    fn a_mistake_in_a_line_is_named_with_its_field() {
        for (line, message) in [
            ("{\"point\":[1,1e999]}", ", field `point`: `1e999` is not a finite number"),
            ("{\"a\":{\"b\":1},\"point\":[NaN]}", ", field `point`: `NaN` is not a finite number"),
            (
                "{\"rewards\":[1,-Infinity]}",
                ", field `rewards`: `-Infinity` is not a finite number",
            ),
            (
                "{\"a\":\"x,\\\":\",\"calls\":-1e400}",
                ", field `calls`: `-1e400` is not a finite number",
            ),
            ("{\"point\":[1,]}", ", field `point`: trailing comma at column 13"),
            ("{\"point\" [1]}", ": expected `:` at column 10"),
            ("[1]", ": invalid type: sequence, expected a map at column 0"),
        ] {
            assert_eq!(wrong(line), message, "{line}");
        }
    }

    #[test]
    fn numbers_are_held_as_they_are_or_refused() {
        assert_eq!(finite(&json!(16_777_217)), Ok(16_777_217.0));
        assert_eq!(finite(&json!(0.1)), Ok(0.1));
        // 2^53 is the last of all whole numbers that a 64-bit float holds without a gap
        assert_eq!(finite(&json!(9_007_199_254_740_992_u64)), Ok(9_007_199_254_740_992.0));
        assert!(finite(&json!(9_007_199_254_740_993_u64)).unwrap_err().contains("more digits"));
        assert!(finite(&json!(i64::MIN + 1)).unwrap_err().contains("more digits"));
        assert_eq!(finite(&json!(i64::MIN)), Ok(-9_223_372_036_854_775_808.0));
        assert!(finite(&json!("1")).unwrap_err().contains("not a number"));
    }

    #[test]
    fn counts_are_whole() {
        let line = |value: Value| Line {
            path: "f".into(),
            number: 3,
            object: Map::from_iter([("calls".to_owned(), value)]),
        };
        let count = |value| line(value).count("calls").map_err(|problem| problem.message);
        assert_eq!(count(json!(2)), Ok(Some(2)));
        assert_eq!(count(json!(2.0)), Ok(Some(2)));
        assert_eq!(count(Value::Null), Ok(None));
        for value in [json!(-1), json!(2.5), json!("2"), json!(1e300)] {
            let message = format!("`f` line 3, field `calls`: `{value}` is not a count");
            assert_eq!(count(value), Err(message));
        }
    }
}
