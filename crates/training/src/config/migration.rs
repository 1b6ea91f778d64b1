//! Settings that stood elsewhere in earlier versions: tools and objectives were part of the
//! environment. Files and `--set` that have them there are read as before.

use paretopo_settings::Moved;
use toml::{Table, Value};

/// Puts the settings of a configuration where they belong, and says what it moved. What it does not
/// understand it leaves, to be refused.
pub(super) fn migrate(config: &mut Table) -> Vec<Moved> {
    let mut moved = Vec::new();
    if !config.contains_key("objectives")
        && let Some(objectives) = environment_of(config).and_then(|own| own.remove("objectives"))
    {
        config.insert("objectives".into(), objectives);
        moved.push(note("environment.objectives", "objectives"));
    }
    if config.contains_key("tools") {
        return moved;
    }
    let Some(environment) = environment_of(config) else { return moved };
    let (tool, keys): (_, &[&str]) = match environment.get("type").and_then(Value::as_str) {
        Some("math") => ("python", &["python"]),
        Some("qa") => ("search", &["passages", "topk"]),
        _ => return moved,
    };
    let is_enabled = environment.get("tool_enabled").map(Value::as_bool);
    if is_enabled == Some(None) || !has_tables(environment) {
        return moved;
    }
    if is_enabled.is_none() && !keys.iter().any(|key| environment.contains_key(*key)) {
        return moved;
    }
    environment.remove("tool_enabled");
    let mut settings = Table::from_iter([("type".to_owned(), Value::from(tool))]);
    if let Some(Value::Table(python)) = environment.remove("python") {
        settings.extend(python);
        moved.push(note("environment.python", "tools[0]"));
    }
    if let Some(passages) = environment.remove("passages") {
        settings.insert("passages".into(), with_environment(passages));
        moved.push(note("environment.passages", "tools[0].passages"));
    }
    if let Some(topk) = environment.remove("topk") {
        if let Some(demonstrations) = section_in(environment, "demonstrations") {
            demonstrations.entry("topk").or_insert(topk.clone());
        }
        settings.insert("topk".into(), topk);
        moved.push(note("environment.topk", "tools[0].topk"));
        moved.push(note("environment.topk", "environment.demonstrations.topk"));
    }
    let tools = match is_enabled {
        Some(Some(false)) => Vec::new(),
        _ => vec![Value::Table(settings)],
    };
    config.insert("tools".into(), tools.into());
    moved
}

/// Whether what is to be moved is what it once was.
fn has_tables(environment: &Table) -> bool {
    ["python", "passages", "demonstrations"]
        .iter()
        .all(|key| environment.get(*key).is_none_or(Value::is_table))
}

fn environment_of(config: &mut Table) -> Option<&mut Table> {
    config.get_mut("environment")?.as_table_mut()
}

fn section_in<'a>(table: &'a mut Table, key: &str) -> Option<&'a mut Table> {
    table.entry(key).or_insert_with(|| Table::new().into()).as_table_mut()
}

fn note(was: &str, is: &str) -> Moved {
    Moved { was: was.into(), is: is.into() }
}

/// The passages of a generated world and those in a file of questions are the environment's.
fn with_environment(mut passages: Value) -> Value {
    if let Some(name) = passages.get_mut("type")
        && matches!(name.as_str(), Some("world" | "contexts"))
    {
        *name = "environment".into();
    }
    passages
}

/// Where an override belongs, and its value there.
pub(super) fn of_override(path: &str, value: Value) -> (String, Value) {
    let moved = [
        ("environment.python", "tools.python"),
        ("environment.passages", "tools.search.passages"),
        ("environment.topk", "tools.search.topk"),
        ("environment.objectives", "objectives"),
    ];
    for (was, is) in moved {
        let Some(rest) = path.strip_prefix(was) else { continue };
        if rest.is_empty() || rest.starts_with('.') {
            let path = format!("{is}{rest}");
            return match path.as_str() {
                "tools.search.passages" => (path, with_environment(value)),
                _ => (path, value),
            };
        }
    }
    match (path, &value) {
        ("environment.tool_enabled", Value::Boolean(false)) => {
            ("tools".into(), Value::Array(Vec::new()))
        }
        _ => (path.to_owned(), value),
    }
}
