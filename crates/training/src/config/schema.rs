//! The JSON Schema of configurations, for editors that complete and check them. It is made of the
//! types and of the pieces in use; here it becomes what a reader of TOML needs: no `null`, which
//! TOML has not, descriptions without the syntax of our sources, and no definition that nothing
//! refers to. Left out: keys of earlier versions, which are still read.

use super::RunConfig;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where definitions stand.
pub(super) const DEFINITIONS: &str = "#/$defs/";

/// The schema of a configuration over the pieces in use, draft 2020-12.
pub(super) fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(without_null))
        .with_transform(RecursiveTransform(in_plain_words));
    let schema = settings.into_generator().into_root_schema_for::<RunConfig>();
    let mut schema = schema.to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), "A configuration of paretopo".into());
        without_unused(root);
    }
    schema
}

/// What may be left out need not be `null`.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// Makes a description what a person reads: lines are joined, and links into the sources are not
/// links.
fn in_plain_words(schema: &mut Schema) {
    let Some(Value::String(description)) = schema.get_mut("description") else { return };
    let paragraphs = description.split("\n\n");
    let joined = paragraphs.map(|lines| without_links(&lines.replace('\n', " ")));
    *description = joined.collect::<Vec<_>>().join("\n\n");
}

/// ``[`name`](path)`` and ``[`name`]`` as `` `name` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        plain.push_str(before);
        let Some((name, after)) = link.split_once("`]") else {
            plain.push_str("[`");
            rest = link;
            continue;
        };
        plain.push_str(&format!("`{name}`"));
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// Drops definitions that are not referred to, by way of others or at once.
fn without_unused(root: &mut Map<String, Value>) {
    let Some(Value::Object(definitions)) = root.remove("$defs") else { return };
    let mut used = BTreeSet::new();
    root.values().for_each(|value| references(value, &mut used));
    let mut pending: Vec<String> = used.iter().cloned().collect();
    while let Some(name) = pending.pop() {
        let mut more = BTreeSet::new();
        definitions.get(&name).into_iter().for_each(|value| references(value, &mut more));
        let new = more.into_iter().filter(|name| used.insert(name.clone()));
        pending.extend(new);
    }
    let kept = definitions.into_iter().filter(|(name, _)| used.contains(name)).collect();
    root.insert("$defs".into(), Value::Object(kept));
}

/// The names of the definitions that a schema refers to.
pub(super) fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            let reference = object.get("$ref").and_then(Value::as_str);
            found.extend(
                reference.and_then(|name| name.strip_prefix(DEFINITIONS)).map(ToOwned::to_owned),
            );
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
