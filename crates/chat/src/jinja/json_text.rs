//! `tojson` as transformers defines it: `json.dumps`, with `ensure_ascii=False` and nothing escaped
//! for HTML.

use super::generators::Generator;
use super::printing::float;
use super::refused;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, Value};
use std::fmt::Write;

/// How deep a value may be nested.
const DEEPEST: usize = 200;

/// What the filter was told.
struct Style {
    ensure_ascii: bool,
    /// What a level of nesting is indented by; without it everything stands in one line.
    indent: Option<String>,
    between_items: String,
    behind_key: String,
    sort_keys: bool,
}

/// `value | tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn to_json(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    separators: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let ensure_ascii = ensure_ascii.or(options.get::<Option<Value>>("ensure_ascii")?);
    let indent = indent.or(options.get::<Option<Value>>("indent")?);
    let separators = separators.or(options.get::<Option<Value>>("separators")?);
    let sort_keys: Option<Value> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let indent = match indent.filter(|indent| !indent.is_none()) {
        None => None,
        Some(width) => Some(match width.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(i64::try_from(width)?.max(0)).unwrap_or(0)),
        }),
    };
    let (between_items, behind_key) = match separators.filter(|pair| !pair.is_none()) {
        Some(pair) => {
            let part = |index| -> Result<String, Error> {
                Ok(pair.get_item_by_index(index)?.as_str().ok_or_else(not_two_texts)?.to_owned())
            };
            (part(0)?, part(1)?)
        }
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let style = Style {
        ensure_ascii: ensure_ascii.is_some_and(|value| value.is_true()),
        indent,
        between_items,
        behind_key,
        sort_keys: sort_keys.is_some_and(|value| value.is_true()),
    };
    let mut text = String::new();
    style.write(&mut text, value, 0)?;
    Ok(text)
}

fn not_two_texts() -> Error {
    refused("`separators` of tojson are not two texts")
}

fn not_json(what: impl std::fmt::Display) -> Error {
    refused(format!("object of type {what} is not JSON serializable"))
}

impl Style {
    fn write(&self, text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(not_json("a value that is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(&number(value)),
            ValueKind::String => self.quote(text, value.as_str().unwrap_or_default()),
            ValueKind::Map => self.write_map(text, value, depth)?,
            ValueKind::Seq | ValueKind::Iterable
                if value.downcast_object_ref::<Generator>().is_none() =>
            {
                text.push('[');
                let mut count = 0;
                for item in value.try_iter()? {
                    self.before_item(text, count, depth + 1);
                    self.write(text, &item, depth + 1)?;
                    count += 1;
                }
                self.before_close(text, count, depth);
                text.push(']');
            }
            kind => return Err(not_json(kind)),
        }
        Ok(())
    }

    fn write_map(&self, text: &mut String, map: &Value, depth: usize) -> Result<(), Error> {
        let mut keys: Vec<Value> = map.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        text.push('{');
        for (count, key) in keys.iter().enumerate() {
            self.before_item(text, count, depth + 1);
            match key.kind() {
                ValueKind::String => self.quote(text, key.as_str().unwrap_or_default()),
                ValueKind::None | ValueKind::Bool | ValueKind::Number => {
                    text.push('"');
                    self.write(text, key, depth + 1)?;
                    text.push('"');
                }
                kind => return Err(not_json(kind)),
            }
            text.push_str(&self.behind_key);
            self.write(text, &map.get_item(key)?, depth + 1)?;
        }
        self.before_close(text, keys.len(), depth);
        text.push('}');
        Ok(())
    }

    fn before_item(&self, text: &mut String, count: usize, depth: usize) {
        if count > 0 {
            text.push_str(&self.between_items);
        }
        self.new_line(text, depth);
    }

    /// An empty list or dictionary has no line of its own.
    fn before_close(&self, text: &mut String, count: usize, depth: usize) {
        if count > 0 {
            self.new_line(text, depth);
        }
    }

    fn new_line(&self, text: &mut String, depth: usize) {
        if let Some(indent) = &self.indent {
            text.push('\n');
            for _ in 0..depth {
                text.push_str(indent);
            }
        }
    }

    fn quote(&self, text: &mut String, content: &str) {
        text.push('"');
        for c in content.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
                c => text.push(c),
            }
        }
        text.push('"');
    }
}

/// `float.__repr__`, but for what JSON has no number for.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(number) if number.is_nan() => "NaN".into(),
        Ok(number) if number.is_infinite() => {
            if number > 0.0 {
                "Infinity".into()
            } else {
                "-Infinity".into()
            }
        }
        Ok(number) => float(number),
        Err(_) => value.to_string(),
    }
}
