//! What a JSON Schema says of settings, in words and as tables of keys: what the commented
//! configuration and the reference are made of.

use super::schema::DEFINITIONS;
use serde_json::Value;

/// A schema with its definitions.
#[derive(Clone, Copy)]
pub(super) struct Described<'a> {
    root: &'a Value,
}

/// What a setting is.
pub(super) enum Shape<'a> {
    /// A table with these keys.
    Table(&'a Value),
    /// A table whose keys depend on its `type`.
    Kinds(Vec<Choice<'a>>),
    /// A list of such tables.
    List(&'a Value),
    /// One of these texts.
    Choice(Vec<Choice<'a>>),
    /// Anything else.
    Plain,
}

/// A text that a setting can be, or a `type`.
pub(super) struct Choice<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) schema: &'a Value,
}

/// A key of a table.
pub(super) struct Key<'a> {
    pub(super) name: &'a str,
    pub(super) schema: &'a Value,
    pub(super) default: Option<&'a Value>,
    pub(super) is_required: bool,
}

impl<'a> Described<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root }
    }

    /// A schema that is a reference, as what it refers to.
    pub(super) fn resolved(self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(target) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix(DEFINITIONS))
            .and_then(|name| self.root.get("$defs")?.get(name))
        {
            schema = target;
        }
        schema
    }

    /// What it is for: its own words, else those of what it refers to.
    pub(super) fn description(self, schema: &'a Value) -> &'a str {
        let own = schema.get("description").and_then(Value::as_str);
        let of_type = || self.resolved(schema).get("description").and_then(Value::as_str);
        own.or_else(of_type).unwrap_or_default()
    }

    pub(super) fn shape(self, schema: &'a Value) -> Shape<'a> {
        let schema = self.resolved(schema);
        if let Some(variants) = list(schema, "oneOf") {
            let kinds = variants.iter().map(|variant| self.kind(variant));
            if let Some(kinds) = kinds.collect() {
                return Shape::Kinds(kinds);
            }
        }
        if let Some(choices) = self.choices(schema) {
            return Shape::Choice(choices);
        }
        if schema.get("properties").is_some() {
            return Shape::Table(schema);
        }
        match schema.get("items") {
            Some(items) if self.is_table(items) => Shape::List(items),
            _ => Shape::Plain,
        }
    }

    pub(super) fn is_table(self, schema: &'a Value) -> bool {
        matches!(self.shape(schema), Shape::Table(_) | Shape::Kinds(_))
    }

    fn kind(self, variant: &'a Value) -> Option<Choice<'a>> {
        let schema = self.resolved(variant);
        let name = schema.pointer("/properties/type/const")?.as_str()?;
        Some(Choice { name, description: self.description(variant), schema })
    }

    fn choices(self, schema: &'a Value) -> Option<Vec<Choice<'a>>> {
        let choice = |schema: &'a Value, name: &'a Value, description: &'a str| {
            Some(Choice { name: name.as_str()?, description, schema })
        };
        if let Some(names) = list(schema, "enum") {
            return names.iter().map(|name| choice(schema, name, "")).collect();
        }
        let mut choices = Vec::new();
        for variant in list(schema, "oneOf")? {
            match (variant.get("const"), list(variant, "enum")) {
                (Some(name), _) => choices.push(choice(variant, name, self.description(variant))?),
                (None, names) => {
                    for name in names? {
                        choices.push(choice(variant, name, self.description(variant))?);
                    }
                }
            }
        }
        Some(choices)
    }

    /// The keys of a table, without the `type` that chooses it.
    pub(super) fn keys(self, table: &'a Value) -> Vec<Key<'a>> {
        let required = list(table, "required").unwrap_or_default();
        let properties = table.get("properties").and_then(Value::as_object);
        let is_tag = |name: &str, schema: &Value| name == "type" && schema.get("const").is_some();
        let own = properties.into_iter().flatten().filter(|(name, schema)| !is_tag(name, schema));
        let key = |(name, schema): (&'a String, &'a Value)| Key {
            name,
            schema,
            default: schema.get("default"),
            is_required: required.iter().any(|other| other == name),
        };
        own.map(key).collect()
    }

    /// What values it can have, in words.
    pub(super) fn values(self, schema: &'a Value) -> String {
        let shape = self.shape(schema);
        let schema = self.resolved(schema);
        match shape {
            Shape::Table(_) | Shape::Kinds(_) => return "table".into(),
            Shape::List(_) => return "list of tables".into(),
            Shape::Choice(choices) => {
                let names = choices.iter().map(|choice| format!("`{:?}`", choice.name));
                return either(&names.collect::<Vec<_>>());
            }
            Shape::Plain => {}
        }
        match schema.get("type").and_then(Value::as_str) {
            Some("boolean") => "`true` or `false`".into(),
            Some("integer") => format!("whole number{}", behind_comma(&range(schema))),
            Some("number") => format!("number{}", behind_comma(&range(schema))),
            Some("string") => "text".into(),
            Some("array") => self.list_values(schema),
            Some("object") => "table".into(),
            _ => self.alternatives(schema),
        }
    }

    fn alternatives(self, schema: &'a Value) -> String {
        let all = list(schema, "anyOf").or_else(|| list(schema, "oneOf")).unwrap_or_default();
        if all.is_empty() {
            return "any value".into();
        }
        let mut values: Vec<String> = all.iter().map(|choice| self.values(choice)).collect();
        values.dedup();
        either(&values)
    }

    fn list_values(self, schema: &'a Value) -> String {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        let count = match (bound("minItems"), bound("maxItems")) {
            (Some(low), Some(high)) if low == high => format!(" of {low}"),
            (None | Some(0), None) => String::new(),
            (Some(low), None) => format!(" of {low} or more"),
            (low, Some(high)) => format!(" of {} to {high}", low.unwrap_or_default()),
        };
        let items = schema.get("items").map(|items| format!("; each: {}", self.values(items)));
        let not_all_zero = schema.get("contains").map_or("", |_| "; not all 0");
        format!("list{count}{}{not_all_zero}", items.unwrap_or_default())
    }
}

fn list<'a>(schema: &'a Value, key: &str) -> Option<&'a [Value]> {
    schema.get(key)?.as_array().map(Vec::as_slice)
}

fn behind_comma(range: &str) -> String {
    if range.is_empty() { String::new() } else { format!(", {range}") }
}

/// `a`, `a or b`, `a, b or c`.
fn either(values: &[String]) -> String {
    match values {
        [] => String::new(),
        [only] => only.clone(),
        [all @ .., last] => format!("{} or {last}", all.join(", ")),
    }
}

/// The range of a number: `1 to 300`, `above 0 to 1`, `0 or 1e-12 to 1000000`.
fn range(schema: &Value) -> String {
    if let Some(parts) = list(schema, "anyOf") {
        return either(&parts.iter().map(range).collect::<Vec<_>>());
    }
    if let Some(only) = schema.get("const") {
        return only.to_string();
    }
    let low = match (schema.get("minimum"), schema.get("exclusiveMinimum")) {
        (Some(low), _) => low.to_string(),
        (None, Some(low)) => format!("above {low}"),
        (None, None) => String::new(),
    };
    let high = match (schema.get("maximum"), schema.get("exclusiveMaximum")) {
        (Some(high), _) => high.to_string(),
        (None, Some(high)) => format!("below {high}"),
        (None, None) => String::new(),
    };
    match (low.is_empty(), high.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!("at most {high}"),
        (false, true) if schema.get("minimum").is_none() => low,
        (false, true) => format!("at least {low}"),
        (false, false) => format!("{low} to {high}"),
    }
}
