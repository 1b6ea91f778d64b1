//! The invariants of ARCHITECTURE.md that the manifests can hold.

use crate::checkout;

/// The names under `[dependencies]` of a member's manifest.
fn dependencies(member: &str) -> Vec<String> {
    let text = std::fs::read_to_string(checkout(member).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&text).unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

#[track_caller]
fn check_absent(member: &str, absent: &[&str]) {
    for name in dependencies(member) {
        assert!(
            !absent.iter().any(|prefix| name.starts_with(prefix)),
            "`{member}` must not depend on `{name}`"
        );
    }
}

#[test]
fn what_knows_text_does_not_know_burn() {
    for member in [
        "crates/containment",
        "crates/durable",
        "crates/trajectory",
        "crates/chat",
        "crates/dashboards",
        "crates/hub",
        "crates/pareto",
        "crates/reading",
        "crates/records",
        "crates/retrieval",
        "crates/settings",
        "crates/tools",
        "crates/environments",
        "crates/generation",
        "crates/grading",
        "crates/health",
        "crates/report",
        "crates/serving",
        "crates/vectorised",
        "crates/view",
    ] {
        check_absent(
            member,
            &[
                "burn",
                "paretopo-models",
                "paretopo-algorithms",
                "paretopo-agent",
                "paretopo-training",
            ],
        );
    }
}

/// The turn loop does not know what generates.
#[test]
fn the_turn_loop_has_no_tensors() {
    check_absent(
        "crates/agent",
        &["burn", "paretopo-models", "paretopo-engine", "paretopo-algorithms", "paretopo-training"],
    );
    check_absent("crates/engine", &["paretopo-agent", "paretopo-tools", "paretopo-environments"]);
}

#[test]
fn the_foundations_depend_on_nothing_of_ours() {
    for member in [
        "crates/collective",
        "crates/containment",
        "crates/durable",
        "crates/trajectory",
        "crates/grading",
        "crates/hub",
        "crates/pareto",
        "crates/reading",
        "crates/settings",
        "crates/vectorised",
    ] {
        check_absent(member, &["paretopo-"]);
    }
    // but for the reading of text, the writing of files, the ranges of their settings and the
    // volumes that reports need, too
    let low = ["paretopo-durable", "paretopo-pareto", "paretopo-reading", "paretopo-settings"];
    for member in ["crates/retrieval", "crates/algorithms", "models"] {
        let others: Vec<String> = dependencies(member)
            .into_iter()
            .filter(|name| name.starts_with("paretopo-") && !low.contains(&name.as_str()))
            .collect();
        assert!(others.is_empty(), "`{member}` must not depend on {others:?}");
    }
}

/// Whoever reads a person's text reads it through `crates/reading`, which knows of byte-order
/// marks. What remains are files that only this program writes, and those of the system.
#[test]
fn texts_are_read_in_one_place() {
    let own = ["/proc/", "metrics", "&log)", "state.json", "refs", "finished.rs", "/check/"];
    for member in [
        "agent",
        "chat",
        "cli",
        "environments",
        "health",
        "hub",
        "records",
        "report",
        "retrieval",
        "training",
        "view",
    ] {
        for path in sources(&checkout("crates").join(member).join("src")) {
            let text = std::fs::read_to_string(&path).unwrap();
            let tested = text.find("#[cfg(test)]").unwrap_or(text.len());
            let lines: Vec<&str> = text[..tested].lines().collect();
            for (index, line) in lines.iter().enumerate() {
                let around =
                    lines[index.saturating_sub(2)..=index].concat() + &path.to_string_lossy();
                assert!(
                    !line.contains("fs::read_to_string(")
                        || own.iter().any(|own| around.contains(own)),
                    "`{}` line {}: read it with `paretopo_reading`",
                    path.display(),
                    index + 1
                );
            }
        }
    }
}

/// What a run writes can fail at every operation in a test, since it passes one seam.
#[test]
fn runs_and_checkpoints_are_written_in_one_place() {
    let changes = [
        "fs::write(",
        "File::create(",
        "File::options(",
        "OpenOptions",
        "fs::rename(",
        "fs::copy(",
        "fs::remove_",
        "fs::create_dir",
        "serialize_to_file",
    ];
    for folder in ["crates/training/src", "crates/records/src", "models/src"] {
        let paths = sources(&checkout(folder)).into_iter();
        for path in paths.filter(|path| !path.to_string_lossy().contains("/faults/")) {
            let text = code_of(&path);
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for line in text.lines().filter(|line| !line.contains("paretopo_durable")) {
                // `File` is that of `paretopo_durable` where it is imported from there
                let own = line.contains(" File::create(") && text.contains("durable::{File");
                let found = changes.iter().find(|change| line.contains(*change) && !own);
                assert_eq!(found, None, "`{}`: `{line}`", path.display());
            }
        }
    }
}

/// What decoding sends to the device is counted, since it passes one function.
#[test]
fn numbers_go_to_the_device_in_one_place() {
    let mut seen = 0;
    for folder in ["crates/engine/src", "models/src"] {
        for path in sources(&checkout(folder)) {
            let text = code_of(&path);
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let sends = ["from_data(", "from_floats(", "from_ints("];
            for line in text.lines().filter(|line| sends.iter().any(|send| line.contains(send))) {
                assert!(path.ends_with("upload.rs"), "`{}`: `{line}`", path.display());
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 1);
}

/// A trajectory is read by the one function that knows every version of its format, and refuses
/// keys that its version does not have.
#[test]
fn trajectories_are_read_in_one_place() {
    let members = std::fs::read_dir(checkout("crates")).unwrap().flatten();
    let roots = members.map(|entry| entry.path().join("src")).filter(|root| root.is_dir());
    for path in roots.flat_map(|root| sources(&root)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let found =
            ["::<Trajectory>", "::<Vec<Trajectory>>"].iter().find(|way| text.contains(*way));
        assert_eq!(found, None, "`{}`: read it by `Trajectory::from_line`", path.display());
    }
}

/// What is read from files that the program itself wrote, or from a protocol.
const NO_SETTINGS: [&str; 10] = [
    "Conversation",
    "ParetoPoState",
    "ValidationState",
    "LagrangianState",
    "Tries",
    "Stored",
    "Archive",
    "TrainingState",
    "RunMemory",
    "RetrieveRequest",
];

/// A configuration is what refuses keys that it does not know.
#[test]
fn every_number_of_a_configuration_has_a_range() {
    let mut numbers = 0;
    // with `trajectory`, whose types are data, left out
    let crates = [
        "agent",
        "algorithms",
        "chat",
        "cli",
        "dashboards",
        "environments",
        "generation",
        "hub",
        "retrieval",
        "tools",
        "training",
    ];
    let roots = crates.map(|name| checkout("crates").join(name));
    for path in roots.iter().chain([&checkout("models/src")]).flat_map(|root| sources(root)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        // examples in documentation are a reader's
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        let text = text.lines().filter(is_code).collect::<Vec<_>>().join("\n");
        for part in text.split("deny_unknown_fields").skip(1) {
            let body = part.split("\n}").next().unwrap();
            let name = body.split(['{', '(']).find_map(|head| {
                head.split_once("struct ")
                    .or_else(|| head.split_once("enum "))
                    .map(|(_, name)| name.trim())
            });
            if name.is_none_or(|name| NO_SETTINGS.contains(&name)) {
                continue;
            }
            // what stands in front of a field since the last one is about it
            for field in body.split(",\n").filter(|field| !field.trim().is_empty()) {
                let line = field.lines().next_back().unwrap_or_default().trim();
                let Some((_, kind)) = line.rsplit_once(": ") else { continue };
                let words: Vec<&str> = kind.split(|c: char| !c.is_ascii_alphanumeric()).collect();
                let of = |kinds: &[&str]| words.iter().any(|word| kinds.contains(word));
                assert!(
                    !of(&["f32", "f64"]),
                    "`{line}` in `{}` is a bare number: take a type of `paretopo_settings`",
                    path.display()
                );
                let whole = of(&["u8", "u16", "u32", "u64", "usize", "i32", "i64", "isize"]);
                assert!(
                    !whole || field.contains("within::<"),
                    "`{line}` in `{}` has no range: `deserialize_with = \"within::<..>\"`",
                    path.display()
                );
                numbers += usize::from(whole);
            }
        }
    }
    assert!(numbers > 30, "only {numbers} whole numbers found");
}

/// What an editor is told of a whole number is what the program takes.
#[test]
fn schemas_have_the_ranges_that_are_checked() {
    let mut ranges = 0;
    for path in ["crates", "models/src"].iter().flat_map(|root| sources(&checkout(root))) {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        // the list of an experiment's runs is no part of a configuration
        if path.ends_with("commands/experiment.rs") {
            continue;
        }
        // what stands in front of a field since the last one is about it
        for field in text.split(",\n") {
            let code = field.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<String>();
            let bounds = |function: &str| {
                let (_, behind) = code.split_once(&format!("\"{function}::<"))?;
                let (bounds, _) = behind.split_once('>')?;
                Some(bounds.split(", ").take(2).collect::<Vec<_>>().join(", "))
            };
            for (checked, told) in
                [("within", "whole"), ("all_within", "all_whole"), ("some_within", "some_whole")]
            {
                assert_eq!(
                    bounds(checked),
                    bounds(told),
                    "in `{}`: give `{checked}` and `{told}` the same bounds in\n{field}",
                    path.display()
                );
                ranges += usize::from(bounds(checked).is_some());
            }
        }
    }
    assert!(ranges > 50, "only {ranges} ranges found");
}

#[test]
fn only_backend_crates_name_a_backend() {
    let backends = ["burn-flex", "burn-ndarray", "burn-wgpu", "burn-cuda"];
    let generic = [
        "algorithms",
        "agent",
        "engine",
        "generation",
        "records",
        "training",
        "cli",
        "../models",
        "../examples/architecture",
    ];
    for member in generic {
        check_absent(&format!("crates/{member}"), &backends);
    }
}

/// Everything above `models` is generic over a family of models; the binary chooses ours. Unit
/// tests may take it, too.
#[test]
fn only_the_binary_names_our_family_of_models() {
    let crates = std::fs::read_dir(checkout("crates")).unwrap().flatten();
    let backends = std::fs::read_dir(checkout("crates/backends")).unwrap().flatten();
    let roots = crates.chain(backends).filter(|entry| entry.file_name() != "cli");
    let roots = roots.map(|entry| entry.path().join("src")).filter(|root| root.is_dir());
    let ours = ["AutoModel", "AutoConfig", "AutoFamily"];
    let mut looked_at = 0;
    for path in roots.flat_map(|root| sources(&root)) {
        if path.components().any(|part| part.as_os_str() == "faults") {
            continue;
        }
        let text = code_of(&path);
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let named = ours.iter().find(|name| text.contains(**name));
        assert_eq!(named, None, "`{}` is for one family of models alone", path.display());
        looked_at += 1;
    }
    assert!(looked_at > 100, "only {looked_at} files found");
    // inside `models` one file picks the architecture
    for path in sources(&checkout("models/src")) {
        let own = ["auto.rs", "lib.rs", "family.rs", "one_of.rs"]
            .map(|name| path.ends_with(name))
            .contains(&true);
        let text = std::fs::read_to_string(&path).unwrap();
        let named = ours.iter().find(|name| text.contains(**name));
        assert!(own || named.is_none(), "`{}` names {named:?}", path.display());
    }
}

/// The macros of the standard library end a program whose output cannot be written. The command
/// line has its own, in `output.rs`; everything else says nothing.
#[test]
fn only_the_command_line_prints_and_by_its_own_writer() {
    let crates = std::fs::read_dir(checkout("crates")).unwrap().flatten();
    let mut roots: Vec<_> = crates.map(|entry| entry.path().join("src")).collect();
    let backends = std::fs::read_dir(checkout("crates/backends")).unwrap().flatten();
    roots.extend(backends.map(|entry| entry.path().join("src")));
    roots.push(checkout("models/src"));
    let mut looked_at = 0;
    for path in roots.iter().filter(|root| root.is_dir()).flat_map(|root| sources(root)) {
        let text = code_of(&path);
        let place = path.strip_prefix(checkout("")).unwrap().to_str().unwrap().to_owned();
        for name in ["print", "println", "eprint", "eprintln", "dbg"] {
            let is_used = |line: &str| {
                line.match_indices(&format!("{name}!")).any(|(start, _)| {
                    !line[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_')
                })
            };
            let used = text.lines().position(is_used);
            assert_eq!(
                used, None,
                "`{place}` uses `{name}!`, which panics: take `outln!`, `errln!`"
            );
        }
        // a bar asks whether there is a terminal
        let writes = ["io::stdout()", "io::stderr()"].iter().any(|stream| {
            text.match_indices(stream)
                .any(|(start, _)| !text[start + stream.len()..].starts_with(".is_terminal()"))
        });
        let own = [
            "crates/cli/src/output.rs",
            // without memory there is nothing to hand a text to
            "crates/cli/src/allocator.rs",
            // tests that say how many faults they injected
            "crates/training/src/faults/mod.rs",
            "crates/training/src/faults/power_loss.rs",
        ];
        assert!(!writes || own.contains(&place.as_str()), "`{place}` writes to a stream");
        looked_at += 1;
    }
    assert!(looked_at > 100, "only {looked_at} files found");
}

#[test]
fn no_file_is_a_drawer_for_everything() {
    for root in ["crates", "models/src", "tests"] {
        for path in sources(&checkout(root)) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(
                !["utils", "common", "core", "helpers", "misc"].contains(&name),
                "{}",
                path.display()
            );
        }
    }
}

/// Functions above 60 lines, and why each is not cut: a table or a `match` whose arms are read one
/// by one, or steps whose order is the point.
const LONG_FUNCTIONS: [(&str, &str); 16] = [
    ("crates/chat/src/jinja/filters.rs", "add"),
    ("crates/chat/src/jinja/methods.rs", "text_method"),
    ("crates/cli/src/commands/benchmarks.rs", "evaluate"),
    ("crates/cli/src/commands/benchmarks.rs", "found"),
    ("crates/cli/src/commands/mod.rs", "run"),
    ("crates/grading/src/compare.rs", "same"),
    ("crates/grading/src/complex.rs", "function"),
    ("crates/grading/src/lib.rs", "equal_values_in_other_clothes"),
    ("crates/grading/src/parser/words.rs", "words_behind"),
    ("crates/grading/src/real_sets.rs", "describe"),
    ("crates/grading/src/spelling/characters.rs", "character"),
    ("crates/grading/src/tokens/mod.rs", "text"),
    ("crates/grading/src/tokens/numbers.rs", "number"),
    ("crates/hub/src/download.rs", "read"),
    ("crates/tools/src/python/sandbox/mod.rs", "become_interpreter"),
    ("models/src/unsupported.rs", "refuse_unsupported"),
];

/// A function that does not fit on a page does more than one thing, but for those above.
#[test]
fn functions_fit_on_a_page() {
    let mut seen = 0;
    for root in ["crates", "models/src"] {
        for path in sources(&checkout(root)) {
            let place = path.strip_prefix(checkout("")).unwrap().to_str().unwrap().to_owned();
            if !place.contains("src/") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (start, line) in lines.iter().enumerate() {
                let Some((before, rest)) = line.split_once("fn ") else { continue };
                let words = ["pub", "const", "unsafe", "async", "(crate)", "(super)"];
                let indent = before.len() - before.trim_start().len();
                let is_item = before
                    .split_whitespace()
                    .all(|word| words.iter().any(|known| word.starts_with(known)));
                if !is_item {
                    continue;
                }
                let closing = format!("{}}}", " ".repeat(indent));
                let ends_early = |line: &&str| line.ends_with(';') || line.ends_with("{}");
                let body = lines[start..].iter().position(|line| line.ends_with('{'));
                let Some(body) = body else { continue };
                if lines[start..start + body].iter().any(ends_early) {
                    continue;
                }
                let length = lines[start..].iter().position(|line| *line == closing).unwrap_or(0);
                let name = rest.split(['(', '<']).next().unwrap();
                let is_known = LONG_FUNCTIONS.contains(&(place.as_str(), name));
                assert!(length < 60 || is_known, "`{name}` in `{place}` has {} lines", length + 1);
                seen += 1;
            }
        }
    }
    assert!(seen > 2000, "only {seen} functions were found");
}

/// A file without its comments: an example in documentation may print, write files and choose a
/// model, as its reader does.
fn code_of(path: &std::path::Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text.split_inclusive('\n').filter(is_code).collect()
}

fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
