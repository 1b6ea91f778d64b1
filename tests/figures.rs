//! The figures of `experiments/` have the page's style: a method has the same colour in all of
//! them, the one that `paretopo_report::styles` gives it. Figures of earlier versions, whose runs
//! are gone, name methods in a legend of circles; one of an archive names its method above.

use crate::checkout;
use paretopo_report::{Style, styles};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// All figures that lie beside the results of methods.
fn figures() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![checkout("experiments")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|kind| kind == "svg") => found.push(path),
                false => {}
            }
        }
    }
    found.retain(|path| !methods(path).0.is_empty());
    found.sort();
    found
}

/// The methods of an experiment, in the order of its results, and the one that leads. Its results have
/// the figure's name, or else are those of its folder.
fn methods(figure: &std::path::Path) -> (Vec<String>, Option<String>) {
    let own = figure.with_extension("json");
    let results = if own.exists() { own } else { figure.with_file_name("results.json") };
    let results = crate::json(&results);
    let mut methods: Vec<String> = Vec::new();
    for run in results["runs"].as_array().into_iter().flatten() {
        let method = run["method"].as_str().unwrap().to_owned();
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    (methods, results["lead"]["method"].as_str().map(str::to_owned))
}

fn attribute<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (_, behind) = line.split_once(&format!(" {name}=\""))?;
    behind.split('"').next()
}

fn hex([red, green, blue]: [u8; 3]) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// The colour of what is written of a method: darker, so that it can be read.
fn ink(colour: [u8; 3]) -> String {
    hex(colour.map(|part| (u16::from(part) * 7 / 10) as u8))
}

/// Texts with their lines' places.
fn texts<'l>(lines: &[&'l str]) -> Vec<(usize, &'l str)> {
    let is_text = |place: &usize| lines[*place].starts_with("<text ");
    (0..lines.len())
        .filter(is_text)
        .filter_map(|at| Some((at, lines.get(at + 1)?.trim())))
        .collect()
}

/// Methods in a legend of circles: the circle's line, and its method.
fn legend<'m>(lines: &[&str], methods: &'m [String]) -> Vec<(usize, &'m String)> {
    let found = texts(lines).into_iter().filter_map(|(at, text)| {
        let circle = lines.get(at.checked_sub(1)?)?;
        let is_beside =
            circle.starts_with("<circle ") && attribute(circle, "cy") == attribute(lines[at], "y");
        let method = methods.iter().find(|method| *method == text)?;
        is_beside.then_some((at - 1, method))
    });
    found.collect()
}

/// The method whose archive is drawn, with the fills of what is drawn of it.
fn archive<'l>(lines: &[&'l str]) -> Option<(&'l str, Vec<&'l str>)> {
    let (_, method) =
        texts(lines).into_iter().find_map(|(_, text)| text.split_once("Archive of "))?;
    let is_drawn = |line: &&str| line.starts_with("<circle ") || is_pale(line);
    let fills = lines.iter().copied().filter(is_drawn);
    Some((method, fills.filter_map(|line| attribute(line, "fill")).collect()))
}

/// Whether it is what an archive dominates.
fn is_pale(line: &str) -> bool {
    line.starts_with("<rect ") && attribute(line, "opacity").is_some_and(|share| share != "1")
}

/// The longest method that a text begins with, perhaps with a setting behind it.
fn named<'s>(text: &str, styled: &[(&'s String, &'s Style)]) -> Option<(&'s String, &'s Style)> {
    let is_own = |(method, _): &&(&String, &Style)| {
        text.strip_prefix(method.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    styled.iter().filter(is_own).max_by_key(|(method, _)| method.len()).copied()
}

/// What is written in three languages is one list.
#[test]
fn figures_of_python_and_the_page_have_the_same_colours() {
    let colours = |path: &str| {
        let text = std::fs::read_to_string(checkout(path)).unwrap();
        let (_, list) = text.split_once("COLOURS = [").unwrap();
        let list = list.split_once(']').unwrap().0.to_uppercase();
        list.split(',').map(|one| one.trim().trim_matches('"').to_owned()).collect::<Vec<_>>()
    };
    let methods: Vec<String> = ["lead", "GDPO", "scalarized", "HDPO", "Lagrangian", "GRPO", "OTC"]
        .map(str::to_owned)
        .to_vec();
    let of_figures: Vec<String> =
        styles(&methods, Some("lead")).into_iter().map(|style| hex(style.colour)).collect();
    assert_eq!(colours("experiments/style.py"), of_figures);
    assert_eq!(colours("crates/view/assets/basis.js"), of_figures);
    let text = std::fs::read_to_string(checkout("experiments/speed/scaling.svg")).unwrap();
    assert!(text.to_uppercase().contains("#0072B2") && !text.contains("#1f77b4"));
}

#[test]
fn the_leading_method_is_read_as_compare_writes_it() {
    let (methods, lead) = methods(&checkout("experiments/math/front.svg"));
    assert_eq!((methods.len(), lead.as_deref()), (13, Some("ParetoPO")));
}

#[test]
fn a_method_has_one_colour_in_all_figures_and_on_the_page() {
    let mut drawn = BTreeMap::new();
    let figures = figures();
    for kind in ["front.svg", "curves.svg", "archive.svg", "picture.svg"] {
        assert!(figures.iter().any(|path| path.ends_with(kind)), "{kind}");
    }
    for path in figures {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (methods, lead) = methods(&path);
        let styles = styles(&methods, lead.as_deref());
        let styled: Vec<(&String, &Style)> = methods.iter().zip(&styles).collect();
        let mut seen = 0;
        for (at, method) in legend(&lines, &methods) {
            let (_, style) = styled.iter().find(|(own, _)| *own == method).unwrap();
            // rings, or what fills them
            let order = if style.dash > 0 { ["stroke", "fill"] } else { ["fill", "stroke"] };
            let paints = order.into_iter().filter_map(|place| attribute(lines[at], place));
            let found = paints.into_iter().find(|paint| *paint != "none").unwrap();
            assert_eq!(found, hex(style.colour), "{method} in {}", path.display());
            drawn.entry(method.clone()).or_insert_with(Vec::new).push(**style);
            seen += 1;
        }
        // figures of today write a method's name, perhaps with its setting, in its own colour
        for (at, text) in texts(&lines) {
            let fill = attribute(lines[at], "fill").unwrap();
            let found = named(text, &styled).filter(|_| fill != "#000000");
            let Some((method, style)) = found else { continue };
            assert_eq!(fill, ink(style.colour), "{text} in {}", path.display());
            drawn.entry(method.clone()).or_insert_with(Vec::new).push(*style);
            seen += 1;
        }
        if let Some((text, fills)) = archive(&lines) {
            let (method, style) = named(text, &styled).unwrap();
            for fill in fills {
                assert_eq!(fill, hex(style.colour), "{method} in {}", path.display());
            }
            drawn.entry(method.clone()).or_insert_with(Vec::new).push(*style);
            seen += 1;
        }
        assert!(seen > 0, "{} names no method", path.display());
    }
    // in each of three experiments
    for method in ["ParetoPO", "GDPO", "GRPO", "scalarized", "MO-GRPO"] {
        let styles = &drawn[method];
        assert!(styles.len() >= 4 && styles.iter().all(|style| *style == styles[0]), "{method}");
    }
}
