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
        "crates/trajectory",
        "crates/chat",
        "crates/hub",
        "crates/reading",
        "crates/retrieval",
        "crates/tools",
        "crates/environments",
        "crates/grading",
        "crates/report",
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

#[test]
fn the_foundations_depend_on_nothing_of_ours() {
    for member in [
        "crates/containment",
        "crates/trajectory",
        "crates/grading",
        "crates/hub",
        "crates/reading",
        "crates/algorithms",
    ] {
        check_absent(member, &["paretopo-"]);
    }
    // but for the reading of text
    for member in ["crates/retrieval", "models"] {
        let ours: Vec<String> =
            dependencies(member).into_iter().filter(|name| name.starts_with("paretopo-")).collect();
        assert_eq!(ours, ["paretopo-reading"], "`{member}`");
    }
}

/// Whoever reads a person's text reads it through `crates/reading`, which knows of byte-order
/// marks. What remains are files that only this program writes, and those of the system.
#[test]
fn texts_are_read_in_one_place() {
    let own = ["/proc/", "metrics", "&log)", "state.json", "refs", "finished.rs", "check.rs"];
    for member in ["agent", "chat", "cli", "environments", "hub", "report", "retrieval", "training"]
    {
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

#[test]
fn only_backend_crates_name_a_backend() {
    let backends = ["burn-flex", "burn-ndarray", "burn-wgpu", "burn-cuda"];
    for member in ["crates/algorithms", "crates/agent", "crates/training", "crates/cli", "models"] {
        check_absent(member, &backends);
    }
}

#[test]
fn only_the_command_line_prints() {
    for member in [
        "containment",
        "trajectory",
        "chat",
        "hub",
        "reading",
        "retrieval",
        "tools",
        "environments",
        "grading",
        "algorithms",
        "agent",
        "training",
        "report",
    ] {
        for path in sources(&checkout("crates").join(member).join("src")) {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("println!"), "`{}` prints", path.display());
        }
    }
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
