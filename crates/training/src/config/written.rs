//! A configuration as a file to start from: every key with what it is for, its range or choices,
//! and its value. Keys that have no value are there behind `#`, to be taken in. All words come from
//! the JSON Schema.

use super::described::{Choice, Described, Key, Shape};
use super::values::{WIDTH, shown, to_toml, wrapped};
use serde_json::Value as Schema;
use toml::{Table, Value};

/// Tables in tables that have no value; a type that holds itself would never end.
const DEEPEST: usize = 8;

/// The file: `values` are written, and described by `schema`.
pub(super) fn written(schema: &Schema, values: &Table) -> String {
    let mut writer = Writer::new(Described::new(schema), WIDTH);
    writer.table(&[], schema, values);
    let text = writer.lines.join("\n");
    format!("{}\n", text.trim_start_matches('\n'))
}

struct Writer<'a> {
    described: Described<'a>,
    lines: Vec<String>,
    /// Characters of a line.
    width: usize,
    /// Whether what `type` can be stands above already, at an earlier table of the same list.
    is_listed: bool,
}

impl<'a> Writer<'a> {
    fn new(described: Described<'a>, width: usize) -> Self {
        Self { described, lines: Vec::new(), width, is_listed: false }
    }
}

/// A key of a table, with what is known of it and its value.
struct Entry<'a, 'v> {
    name: &'v str,
    schema: Option<&'a Schema>,
    value: Option<&'v Value>,
}

impl<'a> Writer<'a> {
    /// The keys of a table: first those that are no tables, as TOML wants it.
    fn table(&mut self, path: &[&str], schema: &'a Schema, values: &Table) {
        let is_listed = std::mem::take(&mut self.is_listed);
        let kinds = match self.described.shape(schema) {
            Shape::Kinds(kinds) => kinds,
            _ => Vec::new(),
        };
        let chosen = values.get("type").and_then(Value::as_str);
        let kind = kinds.iter().find(|kind| Some(kind.name) == chosen);
        let own = kind.map_or(self.described.resolved(schema), |kind| kind.schema);
        let keys = self.described.keys(own);
        if let Some(chosen) = values.get("type").filter(|_| kind.is_some()) {
            if !is_listed {
                self.choices(&kinds);
            }
            self.lines.push(format!("type = {chosen}"));
        }
        let is_written = |name: &str| {
            (kind.is_some() && name == "type") || keys.iter().any(|key| key.name == name)
        };
        let others = values
            .iter()
            .filter(|(name, _)| !is_written(name))
            .map(|(name, value)| Entry { name, schema: None, value: Some(value) });
        let described = keys.iter().map(|key| {
            let Key { name, schema, .. } = *key;
            Entry { name, schema: Some(schema), value: values.get(name) }
        });
        let entries: Vec<Entry<'_, '_>> = described.chain(others).collect();
        let (tables, plain): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| self.is_section(entry));
        plain.into_iter().for_each(|entry| self.plain(entry));
        tables.into_iter().for_each(|entry| self.section(path, entry));
    }

    /// Whether it has a header of its own.
    fn is_section(&self, entry: &Entry<'a, '_>) -> bool {
        match (entry.value, entry.schema) {
            (Some(Value::Array(values)), _) => {
                !values.is_empty() && values.iter().all(Value::is_table)
            }
            (Some(value), _) => value.is_table(),
            (None, Some(schema)) => self.described.is_table(schema),
            (None, None) => false,
        }
    }

    fn plain(&mut self, entry: &Entry<'a, '_>) {
        self.lines.push(String::new());
        if let Some(schema) = entry.schema {
            self.comment(self.described.description(schema));
            match self.described.shape(schema) {
                Shape::Choice(choices) => self.choices(&choices),
                _ => self.comment(&sentence(&self.described.values(schema))),
            }
        }
        let name = quoted(entry.name);
        self.lines.push(match entry.value {
            Some(value) => format!("{name} = {}", shown(value)),
            None => format!("# {name} = ..."),
        });
    }

    fn section(&mut self, path: &[&str], entry: &Entry<'a, '_>) {
        let own_path: Vec<&str> = path.iter().copied().chain([entry.name]).collect();
        let header = own_path.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(".");
        self.lines.push(String::new());
        if let Some(schema) = entry.schema {
            self.comment(self.described.description(schema));
        }
        match (entry.value, entry.schema) {
            (Some(Value::Array(values)), schema) => {
                let schema = schema.map(|schema| self.described.resolved(schema));
                let items = schema.and_then(|schema| schema.get("items"));
                for (place, value) in values.iter().filter_map(Value::as_table).enumerate() {
                    if place > 0 {
                        self.lines.push(String::new());
                    }
                    self.lines.push(format!("[[{header}]]"));
                    self.is_listed = place > 0;
                    self.table(&own_path, items.unwrap_or(&Schema::Null), value);
                }
            }
            (Some(Value::Table(values)), schema) => {
                self.lines.push(format!("[{header}]"));
                self.table(&own_path, schema.unwrap_or(&Schema::Null), values);
            }
            (_, Some(schema)) => self.absent(&own_path, &header, schema),
            (_, None) => {}
        }
    }

    /// A table that has no value, as it would be, behind `#`.
    fn absent(&mut self, path: &[&str], header: &str, schema: &'a Schema) {
        let mut inner = Writer::new(self.described, self.width - "# ".len());
        inner.lines.push(format!("[{header}]"));
        let table = match self.described.shape(schema) {
            Shape::Kinds(kinds) => {
                inner.choices(&kinds);
                inner.lines.push("type = ...".into());
                None
            }
            Shape::Table(table) if path.len() < DEEPEST => Some(table),
            _ => None,
        };
        if let Some(table) = table {
            inner.table(path, table, &defaults(self.described, table));
        }
        let behind = |line: &String| match line.is_empty() {
            true => "#".to_owned(),
            false => format!("# {line}"),
        };
        self.lines.extend(inner.lines.iter().map(behind));
    }

    /// What a key can be, each with its description.
    fn choices(&mut self, choices: &[Choice<'_>]) {
        self.comment("One of:");
        for choice in choices {
            let first = choice.description.split("\n\n").next().unwrap_or_default();
            let text = match first.is_empty() {
                true => format!("- {:?}", choice.name),
                false => format!("- {:?}: {first}", choice.name),
            };
            self.lines.extend(wrapped(&text, "# ", "#   ", self.width));
        }
    }

    fn comment(&mut self, text: &str) {
        for (place, paragraph) in text.split("\n\n").enumerate() {
            if place > 0 {
                self.lines.push("#".into());
            }
            self.lines.extend(wrapped(paragraph, "# ", "# ", self.width));
        }
    }
}

/// What a table has where only its header is written.
fn defaults(described: Described<'_>, table: &Schema) -> Table {
    let keys = described.keys(table);
    let value = |key: &Key<'_>| to_toml(key.default?);
    keys.iter().filter_map(|key| Some((key.name.to_owned(), value(key)?))).collect()
}

/// A key as TOML has it.
fn quoted(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => Value::from(name).to_string(),
    }
}

fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
