//! The pages of `docs/`: all are in the site's summary, their links lead somewhere, and the errors
//! that `questions.md` explains are errors that the program gives.

use crate::checkout;
use crate::tutorial::{files_below, read};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The page's lines outside of code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where the links of a page lead that name no other server.
fn links(page: &str) -> Vec<String> {
    // a link's text may be broken over two lines
    let text = prose(page).collect::<Vec<_>>().join("\n");
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// The anchors of a page's headings, as GitHub and mdBook make them: lower case, spaces as hyphens,
/// and nothing but letters, digits, hyphens and underscores.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let names = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |name: String| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        letters.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    names.map(kept).collect()
}

/// Why a link leads nowhere.
fn broken(page: &Path, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => page.to_owned(),
        path => page.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Some(format!("{}: there is no `{path}`", page.display()));
    }
    let is_page = target.extension().is_some_and(|extension| extension == "md");
    if !anchor.is_empty() && is_page && !anchors(&read(&target)).contains(anchor) {
        return Some(format!("{}: `{path}` has no `#{anchor}`", page.display()));
    }
    None
}

#[test]
fn links_lead_somewhere() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for page in files_below(&checkout("."), &[".md"]) {
        for link in links(&read(&page)) {
            count += 1;
            wrong.extend(broken(&page, &link));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 150, "only {count} links found");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = checkout("docs/README.md");
    assert_eq!(broken(&page, "concepts.md#stage-2-ranks-become-advantages"), None);
    assert!(broken(&page, "concepts.md#stage-3").unwrap().contains("has no `#stage-3`"));
    assert!(broken(&page, "nowhere.md").unwrap().contains("there is no `nowhere.md`"));
    assert_eq!(
        links("a [b](c.md)\n```\n[d](e.md)\n```\n[f](https://g.h) [i\nj](k.md#l)"),
        ["c.md", "k.md#l"]
    );
}

#[test]
fn every_page_is_in_the_summary() {
    let folder = checkout("docs");
    let listed: BTreeSet<PathBuf> =
        links(&read(&folder.join("SUMMARY.md"))).iter().map(|link| folder.join(link)).collect();
    for page in files_below(&folder, &[".md"]) {
        let is_listed = listed.contains(&page) || page.ends_with("SUMMARY.md");
        assert!(is_listed, "`{}` is not in `docs/SUMMARY.md`", page.display());
    }
}

#[test]
fn explained_errors_are_errors_that_the_program_gives() {
    let page = read(&checkout("docs/questions.md"));
    let sources: String = ["crates", "models"]
        .iter()
        .flat_map(|folder| files_below(&checkout(folder), &[".rs"]))
        .map(|path| read(&path).replace("\\\n", "").replace("  ", ""))
        .collect();
    // the last section is about what is not said
    let said = page.split("## When nothing is said").next().unwrap();
    let rows = said.lines().filter(|line| line.starts_with("| `"));
    let mut count = 0;
    for row in rows {
        let phrase = row.split('`').nth(1).unwrap();
        assert!(sources.contains(phrase), "no error says `{phrase}`");
        count += 1;
    }
    assert!(count >= 15, "only {count} phrases found");
}
