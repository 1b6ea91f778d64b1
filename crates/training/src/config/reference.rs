//! The reference of all keys, as Markdown: a section for each table and each kind of piece, made
//! from the JSON Schema. What several tables share has one section, to which all link.

use super::described::{Choice, Described, Key, Shape};
use super::values::{WIDTH, inline, without_defaults, wrapped};
use serde_json::Value;
use std::fmt::Write;

/// The deepest heading.
const LEVELS: usize = 4;

/// The page: `introduction`, then all keys.
pub(super) fn reference(schema: &Value, introduction: &str) -> String {
    let described = Described::new(schema);
    let mut page = Page { described, text: introduction.to_owned(), known: Vec::new() };
    page.table(schema, &Place { path: String::new(), kinds: Vec::new(), level: 1 });
    page.text
}

struct Page<'a> {
    described: Described<'a>,
    text: String,
    /// What has a section, with its anchor.
    known: Vec<(*const Value, String)>,
}

/// A section that is still to be written.
struct Section<'a> {
    schema: &'a Value,
    /// What the key that led to it is for.
    of_key: &'a str,
    place: Place<'a>,
}

/// Where a table stands in a configuration, and on the page.
struct Place<'a> {
    /// The keys that lead to it: `train.optimizer`.
    path: String,
    /// Each `type` that has to be chosen for it to be there.
    kinds: Vec<&'a str>,
    /// Of its heading.
    level: usize,
}

impl<'a> Place<'a> {
    fn below(&self, key: &str) -> Self {
        let path = match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        };
        Self { path, kinds: self.kinds.clone(), level: LEVELS.min(self.level + 1) }
    }

    fn of_kind(&self, kind: &'a str) -> Self {
        let kinds = self.kinds.iter().copied().chain([kind]).collect();
        Self { path: self.path.clone(), kinds, level: self.level }
    }

    fn title(&self) -> String {
        if self.kinds.is_empty() {
            return format!("`{}`", self.path);
        }
        let kinds: Vec<String> = self.kinds.iter().map(|kind| format!("`{kind}`")).collect();
        format!("`{}` of {}", self.path, kinds.join(", "))
    }
}

impl<'a> Page<'a> {
    /// The keys, and then the sections of those that are tables.
    fn table(&mut self, table: &'a Value, place: &Place<'a>) {
        let sections = self.keys(table, place);
        sections.into_iter().for_each(|section| self.section(section));
    }

    /// The keys. What of them has a section that is not written yet is returned.
    fn keys(&mut self, table: &'a Value, place: &Place<'a>) -> Vec<Section<'a>> {
        let mut sections = Vec::new();
        self.text.push_str("\n| key | what | values | default |\n|---|---|---|---|\n");
        for key in &self.described.keys(table) {
            let values = match self.section_of(key.schema) {
                None => self.values(key),
                Some(schema) => {
                    let place = place.below(key.name);
                    let (anchor, is_new) = self.anchor(schema, &place);
                    if is_new {
                        let of_key = self.described.description(key.schema);
                        sections.push(Section { schema, of_key, place });
                    }
                    format!("[{}](#{anchor})", self.described.values(key.schema))
                }
            };
            let what = cell(self.described.description(key.schema));
            let default = self.default(key);
            let _ = writeln!(self.text, "| `{}` | {what} | {values} | {default} |", key.name);
        }
        sections
    }

    /// What has a section of its own: a table, a choice of tables, or what a list of these holds.
    fn section_of(&self, schema: &'a Value) -> Option<&'a Value> {
        match self.described.shape(schema) {
            Shape::Table(_) | Shape::Kinds(_) => Some(self.described.resolved(schema)),
            Shape::List(items) => Some(self.described.resolved(items)),
            Shape::Choice(_) | Shape::Plain => None,
        }
    }

    /// Where the section is, and whether it is still to be written.
    fn anchor(&mut self, section: &'a Value, place: &Place<'a>) -> (String, bool) {
        let pointer = std::ptr::from_ref(section);
        if let Some((_, anchor)) = self.known.iter().find(|(known, _)| *known == pointer) {
            return (anchor.clone(), false);
        }
        let anchor = slug(&place.title());
        self.known.push((pointer, anchor.clone()));
        (anchor, true)
    }

    fn section(&mut self, section: Section<'a>) {
        let Section { schema, of_key, place } = section;
        self.heading(place.level, &place.title());
        self.paragraph(match self.described.description(schema) {
            "" => of_key,
            own => own,
        });
        match self.described.shape(schema) {
            Shape::Table(table) => self.table(table, &place),
            Shape::Kinds(kinds) => self.kinds(&kinds, &place),
            Shape::List(_) | Shape::Choice(_) | Shape::Plain => {}
        }
    }

    /// What `type` can be, and the settings of each.
    fn kinds(&mut self, kinds: &[Choice<'a>], place: &Place<'a>) {
        self.text.push_str("\n| `type` | what |\n|---|---|\n");
        for kind in kinds {
            let _ = writeln!(self.text, "| `{:?}` | {} |", kind.name, cell(kind.description));
        }
        let described = self.described;
        let mut sections = Vec::new();
        for kind in kinds.iter().filter(|kind| !described.keys(kind.schema).is_empty()) {
            let own_place = place.of_kind(kind.name);
            // pieces and policies, which a reader looks for by their names
            if place.level == 2 {
                self.heading(3, &format!("`{}`: `{}`", place.path, kind.name));
                self.table(kind.schema, &Place { level: 3, ..own_place });
            } else {
                self.paragraph(&format!("With `type = {:?}`:", kind.name));
                sections.extend(self.keys(kind.schema, &own_place));
            }
        }
        sections.into_iter().for_each(|section| self.section(section));
    }

    fn heading(&mut self, level: usize, title: &str) {
        let _ = writeln!(self.text, "\n{} {title}", "#".repeat(level));
    }

    fn paragraph(&mut self, text: &str) {
        for paragraph in text.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            let lines = wrapped(paragraph, "", "", WIDTH);
            let _ = writeln!(self.text, "\n{}", lines.join("\n"));
        }
    }

    fn values(&self, key: &Key<'a>) -> String {
        let Shape::Choice(choices) = self.described.shape(key.schema) else {
            return self.described.values(key.schema);
        };
        let line = |choice: &Choice<'_>| match choice.description {
            "" => format!("`{:?}`", choice.name),
            description => format!("`{:?}`: {}", choice.name, cell(description)),
        };
        choices.iter().map(line).collect::<Vec<_>>().join("<br>")
    }

    fn default(&self, key: &Key<'a>) -> String {
        let Some(default) = key.default else {
            return if key.is_required { "required" } else { "none" }.into();
        };
        let own = without_defaults(self.described, key.schema, default);
        if own.as_object().is_some_and(|own| own.is_empty()) {
            return "those of its keys".into();
        }
        inline(&own).map_or_else(String::new, |value| format!("`{}`", cell(&value)))
    }
}

/// A text that stands in a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("\n\n", "<br>").replace('\n', " ")
}

/// The anchor that GitHub and others give a heading.
pub(super) fn slug(title: &str) -> String {
    let letter = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
    };
    title.chars().filter_map(letter).collect()
}
