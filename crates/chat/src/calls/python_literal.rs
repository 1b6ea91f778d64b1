//! Python's literals as JSON values: what stands behind a keyword in a pythonic call.
//!
//! Strings in either quotes (also tripled, and with `\` escapes), numbers, `True`, `False`, `None`
//! (and JSON's spelling of them), lists, tuples (as lists) and dicts. Left out: byte strings,
//! f-strings, sets, complex numbers, and everything that would have to be computed.

use serde_json::{Map, Number, Value};

/// How deep lists and dicts may nest.
const DEEPEST: usize = 64;

/// A text that is read from left to right.
pub(super) struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest().chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub(super) fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Reads a text behind spaces, if it stands there.
    pub(super) fn take(&mut self, token: &str) -> bool {
        self.skip_spaces();
        let is_there = self.rest().starts_with(token);
        if is_there {
            self.at += token.len();
        }
        is_there
    }

    /// # Errors
    /// When something else stands there.
    pub(super) fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.take(token) {
            Ok(())
        } else {
            Err(format!("`{token}` is missing {}", self.place()))
        }
    }

    /// A name, with dots for `module.function`.
    pub(super) fn name(&mut self) -> Option<&'t str> {
        self.skip_spaces();
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let name = &rest[..length];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.at += length;
        Some(name)
    }

    /// Where the reader is, for messages.
    pub(super) fn place(&self) -> String {
        let rest: String = self.rest().chars().take(20).collect();
        if rest.is_empty() { "at the end".into() } else { format!("at `{rest}`") }
    }

    /// # Errors
    /// When no literal stands there.
    pub(super) fn value(&mut self) -> Result<Value, String> {
        self.skip_spaces();
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("lists are nested more than {DEEPEST} deep"));
        }
        let value = match self.rest().chars().next() {
            Some('"' | '\'') => self.strings().map(Value::String),
            Some('[') => self.list("[", "]"),
            Some('(') => self.list("(", ")"),
            Some('{') => self.dict(),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn word(&mut self) -> Result<Value, String> {
        let place = self.place();
        match self.name() {
            Some("True" | "true") => Ok(true.into()),
            Some("False" | "false") => Ok(false.into()),
            Some("None" | "null") => Ok(Value::Null),
            _ => Err(format!("no value stands {place}")),
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | '_');
        let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
        let text = rest[..length].replace('_', "");
        let text = text.strip_prefix('+').unwrap_or(&text);
        let whole = text.parse::<i64>().ok().map(Number::from);
        let real = || text.parse::<f64>().ok().and_then(Number::from_f64);
        let Some(number) = whole.or_else(real) else {
            return Err(format!("`{text}` is no number"));
        };
        self.at += length;
        Ok(number.into())
    }

    /// One string, or several side by side, which Python joins.
    fn strings(&mut self) -> Result<String, String> {
        let mut joined = self.string()?;
        loop {
            self.skip_spaces();
            if !self.rest().starts_with(['"', '\'']) {
                return Ok(joined);
            }
            joined.push_str(&self.string()?);
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let quote = if self.rest().starts_with('"') { "\"" } else { "'" };
        let tripled = quote.repeat(3);
        let end = if self.rest().starts_with(&tripled) { tripled.as_str() } else { quote };
        self.at += end.len();
        let mut text = String::new();
        loop {
            if self.rest().starts_with(end) {
                self.at += end.len();
                return Ok(text);
            }
            match self.next() {
                None => return Err("a string is not closed".into()),
                Some('\\') => self.escape(&mut text)?,
                Some(c) => text.push(c),
            }
        }
    }

    /// What stands behind a `\`; an escape that Python does not know is both characters.
    fn escape(&mut self, text: &mut String) -> Result<(), String> {
        let Some(kind) = self.next() else { return Err("a string is not closed".into()) };
        match kind {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            '0' => text.push('\0'),
            '\n' => {}
            '\\' | '\'' | '"' => text.push(kind),
            'x' | 'u' | 'U' => {
                let digits = match kind {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let code = self.rest().get(..digits);
                let found = code.and_then(|code| u32::from_str_radix(code, 16).ok());
                let Some(c) = found.and_then(char::from_u32) else {
                    return Err(format!("`\\{kind}` is followed by no character's number"));
                };
                self.at += digits;
                text.push(c);
            }
            other => text.extend(['\\', other]),
        }
        Ok(())
    }

    fn list(&mut self, open: &str, close: &str) -> Result<Value, String> {
        self.expect(open)?;
        let mut values = Vec::new();
        while !self.take(close) {
            values.push(self.value()?);
            if !self.take(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(values.into())
    }

    fn dict(&mut self) -> Result<Value, String> {
        self.expect("{")?;
        let mut entries = Map::new();
        while !self.take("}") {
            let key = match self.value()? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            self.expect(":")?;
            entries.insert(key, self.value()?);
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(entries.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        for (text, want) in [
            ("'it\\'s'", json!("it's")),
            (r#""a\n\x41\u00e4\d""#, json!("a\nA\u{e4}\\d")),
            ("'''two\nlines'''", json!("two\nlines")),
            ("'a' \"b\"", json!("ab")),
            ("-3", json!(-3)),
            ("1_000", json!(1000)),
            ("2.5e3", json!(2500.0)),
            (".5", json!(0.5)),
            ("True", json!(true)),
            ("None", json!(null)),
            ("[1, 'b', (2,), {}]", json!([1, "b", [2], {}])),
            ("{'a': [1, {2: None}],}", json!({ "a": [1, { "2": null }] })),
        ] {
            let mut reader = Reader::new(text);
            assert_eq!(reader.value(), Ok(want), "{text}");
            assert_eq!(reader.rest(), "", "{text}");
        }
    }

    #[test]
    fn what_is_no_literal_is_named() {
        for (text, reason) in [
            ("'a", "not closed"),
            ("1 + 1", ""),
            ("1.2.3", "no number"),
            ("f(x)", "no value stands at `f(x)`"),
            ("[1", "`]` is missing at the end"),
            ("{'a' 1}", "`:` is missing at `1}`"),
            ("", "no value stands at the end"),
            ("'\\u12'", "no character's number"),
        ] {
            let found = Reader::new(text).value();
            match reason {
                // the first literal is read; who asked looks at the rest
                "" => assert_eq!(found, Ok(json!(1))),
                _ => {
                    assert!(found.as_ref().is_err_and(|error| error.contains(reason)), "{found:?}")
                }
            }
        }
        let deep = "[".repeat(100_000);
        assert!(Reader::new(&deep).value().unwrap_err().contains("nested"));
    }
}
