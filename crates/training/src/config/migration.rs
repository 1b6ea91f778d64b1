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

/// The same where an override has replaced the whole environment: what it says of tools and objectives
/// replaces what was said of them, too.
pub(super) fn migrate_replaced(config: &mut Table) {
    let Some(environment) = environment_of(config) else { return };
    let says = |keys: &[&str]| keys.iter().any(|key| environment.contains_key(*key));
    let (objectives, tools) =
        (says(&["objectives"]), says(&["python", "passages", "topk", "tool_enabled"]));
    if objectives {
        config.remove("objectives");
    }
    if tools {
        config.remove("tools");
    }
    migrate(config);
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

#[cfg(test)]
mod tests {
    use crate::RunConfig;
    use paretopo_tools::{PassageSource, PythonConfig, SearchConfig};

    fn parse(text: &str, overrides: &[&str]) -> Result<RunConfig, String> {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        RunConfig::parse(text, "x.toml", &overrides).map_err(|error| error.to_string())
    }

    fn python(config: &RunConfig) -> PythonConfig {
        config.tools()[0].tool.settings_of("python").unwrap()
    }

    fn search(config: &RunConfig) -> SearchConfig {
        config.tools()[0].tool.settings_of("search").unwrap()
    }

    #[test]
    fn tools_and_objectives_of_an_environment_are_read_as_before() {
        let old = "[environment]\ntype = \"math\"\nobjectives = [{ type = \"task\" }, \
                   { type = \"response_length\", scale = 50 }]\n[environment.python]\nsession = true\n";
        let new = "[environment]\ntype = \"math\"\n[[tools]]\ntype = \"python\"\nsession = true\n\
                   [[objectives]]\ntype = \"task\"\n[[objectives]]\ntype = \"response_length\"\nscale = 50\n";
        assert_eq!(parse(old, &[]), parse(new, &[]));
        assert!(python(&parse(old, &[]).unwrap()).session);
        let without = parse("[environment]\ntype = \"math\"\ntool_enabled = false", &[]).unwrap();
        assert!(without.tools().is_empty());
        let old = "[environment]\ntype = \"qa\"\ntopk = 5\npassages = { type = \"contexts\" }\n";
        let config = parse(old, &[]).unwrap();
        assert_eq!(search(&config), SearchConfig { topk: 5, ..SearchConfig::default() });
        let environment = config.environment.settings();
        assert_eq!(environment["demonstrations"]["topk"].as_integer(), Some(5));
        let corpus =
            "[environment]\ntype = \"qa\"\n[environment.passages]\ntype = \"corpus\"\npath = \"c\"";
        let passages = PassageSource::Corpus { path: "c".into() };
        assert_eq!(search(&parse(corpus, &[]).unwrap()).passages, passages);
    }

    #[test]
    fn overrides_reach_them_where_they_were_and_where_they_are() {
        for assignment in
            ["environment.python.session=true", "tools.python.session=true", "tools.0.session=true"]
        {
            assert!(python(&parse("", &[assignment]).unwrap()).session, "{assignment}");
        }
        assert!(parse("", &["environment.tool_enabled=false"]).unwrap().tools().is_empty());
        let qa = "environment={ type = \"qa\" }";
        // the usual tools are those of the new environment
        assert_eq!(search(&parse("", &[qa]).unwrap()), SearchConfig::default());
        assert_eq!(search(&parse("", &[qa, "environment.topk=3"]).unwrap()).topk, 3);
        let whole = "environment={ type = \"math\", tool_enabled = false, objectives = [{ type = \"task\" }] }";
        let config = parse("", &[whole, "estimator={ type = \"grpo\" }"]);
        // two weights, one objective, until the estimator has none
        assert!(parse("", &[whole]).unwrap_err().contains("1 objectives"), "{config:?}");
        let config = config.unwrap();
        assert_eq!((config.tools().len(), config.objectives.len()), (0, 1));
        let limited = parse("", &["tools.python.max_calls=2", "tools.python.price=3"]).unwrap();
        let terms = &limited.tools()[0].terms;
        assert_eq!((terms.max_calls, terms.price.get()), (2, 3.0));
    }

    #[test]
    fn what_is_wrong_in_them_is_named_where_it_stands() {
        let old = "[environment]\ntype = \"math\"\n[environment.python.limits]\nseconds = -1\n";
        let error = parse(old, &[]).unwrap_err();
        assert!(error.contains("line 4, column 11"), "{error}");
        assert!(error.contains("`environment.python.limits.seconds`: `-1` is not"), "{error}");
        let unknown = "[environment]\ntype = \"qa\"\ntopk = 2\ntopkk = 3\n";
        let error = parse(unknown, &[]).unwrap_err();
        assert!(error.contains("line 4, column 1") && error.contains("`topkk`"), "{error}");
        let both = "[environment]\ntype = \"math\"\npython = {}\n[[tools]]\ntype = \"python\"\n";
        assert!(parse(both, &[]).unwrap_err().contains("unknown field `python`"));
    }
}
