//! Values as Python prints them: `str()` for what stands in `{{ }}` or is joined to a text,
//! `repr()` inside of lists and dictionaries.
//!
//! Objects that Python prints with an address, such as functions, have no text that could be equal
//! and are printed as minijinja does.

use super::generators::Generator;
use super::refused;
use minijinja::value::ValueKind;
use minijinja::{Error, Value};
use std::fmt::Write;

/// How deep a list may lie in lists; a template can nest them without an end.
const DEEPEST: usize = 100;

/// `str(value)`; an undefined value is an empty text.
pub(super) fn python_str(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(String::new()),
        ValueKind::String => Ok(value.as_str().unwrap_or_default().to_owned()),
        _ => {
            let mut text = String::new();
            represent(&mut text, value, DEEPEST)?;
            Ok(text)
        }
    }
}

fn represent(text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth == 0 {
        return Err(refused("a value is nested too deeply"));
    }
    match value.kind() {
        ValueKind::Undefined => text.push_str("Undefined"),
        ValueKind::None => text.push_str("None"),
        ValueKind::Bool => text.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => text.push_str(&number(value)),
        ValueKind::String => quoted(text, value.as_str().unwrap_or_default()),
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                represent(text, &key, depth - 1)?;
                text.push_str(": ");
                represent(text, &value.get_item(&key)?, depth - 1)?;
            }
            text.push('}');
        }
        ValueKind::Seq | ValueKind::Iterable
            if value.downcast_object_ref::<Generator>().is_none() =>
        {
            let (open, close) = if is_tuple(value) { ('(', ')') } else { ('[', ']') };
            text.push(open);
            let mut count = 0;
            for item in value.try_iter()? {
                text.push_str(if count > 0 { ", " } else { "" });
                represent(text, &item, depth - 1)?;
                count += 1;
            }
            text.push_str(if close == ')' && count == 1 { "," } else { "" });
            text.push(close);
        }
        _ => {
            let _ = write!(text, "{value}");
        }
    }
    Ok(())
}

fn is_tuple(value: &Value) -> bool {
    value.downcast_object_ref::<super::generators::Tuple>().is_some()
}

/// A number's digits: whole numbers as they are, others by [`float`].
pub(super) fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float)
}

/// `repr` of a float: the shortest digits that read back the same, with an exponent below 1e-4 and
/// from 1e16.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("`:e` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`:e` writes a whole exponent");
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = value.to_string();
    if plain.contains('.') { plain } else { plain + ".0" }
}

/// `repr` of a text: in single quotes, unless it holds them and no double ones.
fn quoted(text: &mut String, content: &str) {
    let quote = if content.contains('\'') && !content.contains('"') { '"' } else { '\'' };
    text.push(quote);
    for c in content.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == quote => {
                text.push('\\');
                text.push(c);
            }
            // what Python does not call printable: controls and separators other than a space
            c if c.is_control() || (c.is_whitespace() && c != ' ') || is_format(c) => {
                let _ = match c as u32 {
                    code @ 0..=0xff => write!(text, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(text, "\\u{code:04x}"),
                    code => write!(text, "\\U{code:08x}"),
                };
            }
            c => text.push(c),
        }
    }
    text.push(quote);
}

/// Characters of the classes Cf and Co that texts hold: soft hyphens, joiners, marks of direction,
/// the mark of byte order, private use.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right sides are what CPython 3.11 prints.
    #[test]
    fn values_are_printed_as_python_prints_them() {
        let value = serde_json::json!([
            true, null, 1, 1.0, 1.5e-7, 1e16, 123456.75, -0.0, 1e-4, "it's", "\"'", "a\nä\u{200b}",
            {"k": {}, "l": []}
        ]);
        let numbers = "True, None, 1, 1.0, 1.5e-07, 1e+16, 123456.75, -0.0, 0.0001";
        let texts = r#""it's", '"\'', 'a\nä\u200b', {'k': {}, 'l': []}"#;
        let expected = format!("[{numbers}, {texts}]");
        assert_eq!(python_str(&Value::from_serialize(value)).unwrap(), expected);
        assert_eq!(python_str(&Value::from("it's")).unwrap(), "it's");
        assert_eq!(python_str(&Value::UNDEFINED).unwrap(), "");
    }
}
