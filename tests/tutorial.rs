//! The tutorial shows what is in `examples/`, which is short, and shows all of it.

use crate::checkout;
use std::path::{Path, PathBuf};

/// All files below a folder whose names end in one of these, but for what builds and runs leave.
pub(crate) fn files_below(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            let is_left = ["target", "runs", ".git"].iter().any(|name| path.ends_with(name));
            if !is_left {
                found.extend(files_below(&path, endings));
            }
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a page with their languages.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut lines = page.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block = lines.by_ref().take_while(|line| *line != "```");
        found.push((language.to_owned(), block.flat_map(|line| [line, "\n"]).collect()));
    }
    found
}

#[test]
fn every_block_of_code_stands_in_an_example() {
    let sources = files_below(&checkout("examples"), &[".rs", ".toml", ".py"]);
    let sources: Vec<String> = sources.iter().map(|path| read(path)).collect();
    let mut compared = 0;
    for path in files_below(&checkout("docs/tutorial"), &[".md"]) {
        for (language, block) in blocks(&read(&path)) {
            match language.as_str() {
                "rust" | "toml" | "python" => {
                    let is_there = sources.iter().any(|source| source.contains(&block));
                    assert!(is_there, "`{}`: in no example:\n{block}", path.display());
                    compared += 1;
                }
                // commands, and what they print
                "sh" | "text" => {}
                other => panic!("`{}`: a block of `{other}`", path.display()),
            }
        }
    }
    assert!(compared >= 10, "only {compared} blocks found");
}

/// An architecture needs more: each of its files, the configuration and the model, may have 249.
#[test]
fn examples_are_short_and_have_a_page() {
    let mut count = 0;
    for entry in std::fs::read_dir(checkout("examples")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // one that is a script has no crate
        let folder = entry.path().join("src");
        let sources = if folder.is_dir() { files_below(&folder, &[".rs"]) } else { Vec::new() };
        let lengths = sources.iter().map(|path| read(path).lines().count());
        let (lines, most) = match name.as_str() {
            "architecture" => (lengths.max().unwrap_or_default(), 249),
            _ => (lengths.sum(), 99),
        };
        assert!(lines <= most, "`examples/{name}`: {lines} lines, but {most} are allowed");
        let page = checkout("docs/tutorial").join(format!("{name}.md"));
        assert!(page.exists(), "`{}` is missing", page.display());
        count += 1;
    }
    assert!(count >= 5, "only {count} examples found");
}

#[test]
fn a_block_that_is_changed_is_found() {
    let page = "Text\n```rust\nfn a() {}\n```\nmore\n```text\nout\n```\n";
    let expected = [("rust", "fn a() {}\n"), ("text", "out\n")];
    let expected = expected.map(|(language, block)| (language.to_owned(), block.to_owned()));
    assert_eq!(blocks(page), expected);
}
