//! A run's configuration as a flat table, so that two can be held side by side.

use std::collections::BTreeMap;
use std::path::Path;

/// The settings of a run by their dotted keys, as TOML writes their values; empty where there is no
/// configuration that can be read.
pub(crate) fn flat_settings(run: &Path) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let text = paretopo_reading::read_text(&run.join("config.toml")).unwrap_or_default();
    if let Ok(table) = text.parse::<toml::Table>() {
        add("", &toml::Value::Table(table), &mut flat);
    }
    flat
}

fn add(key: &str, value: &toml::Value, flat: &mut BTreeMap<String, String>) {
    let below = |name: &str| match key.is_empty() {
        true => name.to_owned(),
        false => format!("{key}.{name}"),
    };
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(name, value)| add(&below(name), value, flat));
        }
        // a list of tables by place, as tools and objectives are
        toml::Value::Array(values) if values.iter().any(toml::Value::is_table) => {
            for (place, value) in values.iter().enumerate() {
                add(&below(&place.to_string()), value, flat);
            }
        }
        toml::Value::String(text) => drop(flat.insert(key.to_owned(), text.clone())),
        value => drop(flat.insert(key.to_owned(), value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_lists_of_tables_become_dotted_keys() {
        let folder = tempfile::tempdir().unwrap();
        assert!(flat_settings(folder.path()).is_empty());
        let text = "seed = 4\nw = [0.5, 1.0]\n[a.b]\nc = \"x\"\n[[tools]]\ntype = \"t\"\n";
        std::fs::write(folder.path().join("config.toml"), text).unwrap();
        let flat: Vec<(String, String)> = flat_settings(folder.path()).into_iter().collect();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let wanted = [
            pair("a.b.c", "x"),
            pair("seed", "4"),
            pair("tools.0.type", "t"),
            pair("w", "[0.5, 1.0]"),
        ];
        assert_eq!(flat, wanted);
    }
}
