//! Every checked-in configuration parses and says how to run it.

use crate::checkout;
use paretopo_training::RunConfig;
use std::path::Path;

#[test]
fn every_configuration_parses_and_names_its_command() {
    let entries = |folder: &Path| {
        std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let folders = entries(&checkout("experiments")).into_iter().filter(|path| path.is_dir());
    let mut count = 0;
    for path in folders.flat_map(|folder| entries(&folder)) {
        let folder = path.parent().unwrap();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let command = text.lines().next().unwrap_or_default();
        assert!(
            command.starts_with("# just ") || command.starts_with("# paretopo "),
            "`{}` must begin with its command",
            path.display()
        );
        if text.contains("[[methods]]") {
            let experiment: toml::Table = toml::from_str(&text).unwrap();
            for method in experiment["methods"].as_array().unwrap() {
                let config = folder.join(method["config"].as_str().unwrap());
                let strings = |value: Option<&toml::Value>| -> Vec<String> {
                    value
                        .and_then(toml::Value::as_array)
                        .into_iter()
                        .flatten()
                        .map(|text| text.as_str().unwrap().to_owned())
                        .collect()
                };
                let mut set = strings(experiment.get("set"));
                set.extend(strings(method.get("set")));
                let settings = method.get("knob").and_then(|knob| knob.get("settings"));
                let of_knob: Vec<_> = match settings.and_then(toml::Value::as_array) {
                    Some(settings) => settings.iter().map(|of| strings(of.get("set"))).collect(),
                    None => vec![Vec::new()],
                };
                for of_knob in of_knob {
                    RunConfig::parse(
                        &std::fs::read_to_string(&config).unwrap(),
                        &config.display().to_string(),
                        &[set.clone(), of_knob].concat(),
                    )
                    .unwrap();
                }
            }
        } else {
            RunConfig::parse(&text, &path.display().to_string(), &[]).unwrap();
        }
        count += 1;
    }
    assert!(count >= 5, "only {count} configurations found");
}
