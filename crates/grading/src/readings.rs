//! The readings of two answers that are compared: first as they are usually meant, then as what
//! could also be meant.

use crate::LONGEST_ANSWER;
use crate::compare::equal;
use crate::complex::numeric;
use crate::extract::math_part;
use crate::parser::{Reading, parse};
use crate::spelling::bare;
use crate::tokens::Commas;
use crate::tree::Node;
use crate::units::Unit;

/// Relative difference of a value and what is said of it in brackets behind it.
const REMARKED: f64 = 0.01;

/// An answer's text, and its tree if it can be read as math.
struct Read<'t> {
    text: &'t str,
    tree: Option<Node>,
}

/// Whether two stated answers mean the same.
pub(crate) fn same(gold: &str, prediction: &str) -> bool {
    let (gold, prediction) = (math_part(gold), math_part(prediction));
    if gold.trim().is_empty() || prediction.trim().is_empty() {
        return false;
    }
    if gold.len().max(prediction.len()) > LONGEST_ANSWER {
        return gold.trim() == prediction.trim();
    }
    // the same text says the same, unless it says nothing
    if gold == prediction && !bare(&gold).is_empty() {
        return true;
    }
    let plain = Reading { commas: Commas::Thousands, letters_are_words: false };
    let gold = Read { text: &gold, tree: parse(&gold, plain) };
    let prediction = Read { text: &prediction, tree: parse(&prediction, plain) };
    if let (Some(a), Some(b)) = (&gold.tree, &prediction.tree)
        && equal(a, b)
    {
        return true;
    }
    same_text(gold.text, prediction.text, gold.tree.is_some() && prediction.tree.is_some())
        || with_other_commas(plain, &gold, &prediction)
        || with_imaginary_unit(plain, &gold, &prediction)
        || with_words(plain, &gold, &prediction)
        || without_left_side(plain, &gold, &prediction)
        || without_remark(plain, &gold, &prediction)
}

fn equal_as(reading: Reading, gold: &str, prediction: &str) -> bool {
    let (a, b) = (parse(gold, reading), parse(prediction, reading));
    matches!((a, b), (Some(a), Some(b)) if equal(&a, &b))
}

/// Whether both are the same text, in capitals or not. Where both can be read as math they must be
/// words: marked as text on a side (`\\text{odd}` and `odd`), or of three letters, since two may
/// well be variables.
fn same_text(gold: &str, prediction: &str, are_math: bool) -> bool {
    let (a, b) = (bare(gold), bare(prediction));
    if a != b || a.is_empty() {
        return false;
    }
    let is_marked = |text: &str| text.contains("\\text") || text.contains("\\mathrm");
    let is_long = a.chars().count() > 2 || is_marked(gold) || is_marked(prediction);
    !are_math || (a.chars().all(char::is_alphabetic) && is_long)
}

/// Commas as those between items or before decimals.
fn with_other_commas(plain: Reading, gold: &Read<'_>, prediction: &Read<'_>) -> bool {
    let is_number = |read: &Read<'_>| matches!(read.tree, Some(Node::Number { .. }));
    match (gold.text.contains(','), prediction.text.contains(',')) {
        (true, true) => {
            equal_as(Reading { commas: Commas::Items, ..plain }, gold.text, prediction.text)
        }
        (false, false) => false,
        _ => {
            (is_number(gold) || is_number(prediction))
                && equal_as(
                    Reading { commas: Commas::Decimal, ..plain },
                    gold.text,
                    prediction.text,
                )
        }
    }
}

/// `2j` and `2*I`, as programs print the imaginary unit.
fn with_imaginary_unit(plain: Reading, gold: &Read<'_>, prediction: &Read<'_>) -> bool {
    let is_complex = |node: &Node| node.any(&|part| matches!(part, Node::I));
    let (Some(a), Some(b)) = (&gold.tree, &prediction.tree) else { return false };
    is_complex(a)
        && !is_complex(b)
        && parse(&imaginary(prediction.text), plain).is_some_and(|b| equal(a, &b))
}

/// `j` behind a digit and `I` alone as `i`.
fn imaginary(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let is_letter = |at: Option<usize>| {
        at.and_then(|at| characters.get(at)).is_some_and(|c| c.is_alphabetic() || *c == '\\')
    };
    let unit = |(at, c): (usize, &char)| {
        let alone = !is_letter(at.checked_sub(1)) && !is_letter(Some(at + 1));
        let behind_digit = at > 0 && characters[at - 1].is_ascii_digit();
        if alone && (*c == 'I' || (*c == 'j' && behind_digit)) { 'i' } else { *c }
    };
    characters.iter().enumerate().map(unit).collect()
}

/// Letters behind a number as words or its unit: where the gold answer has no variables, or both
/// have known units so.
fn with_words(plain: Reading, gold: &Read<'_>, prediction: &Read<'_>) -> bool {
    let without_variables = |node: &Node| !node.any(&|part| matches!(part, Node::Symbol(_)));
    if !has_letters_behind(gold.text) && !has_letters_behind(prediction.text) {
        return false;
    }
    let reading = Reading { letters_are_words: true, ..plain };
    let (Some(a), Some(b)) = (parse(gold.text, reading), parse(prediction.text, reading)) else {
        return false;
    };
    let has_unit = |node: &Node| matches!(node, Node::Quantity { unit: Unit::Known(_), .. });
    let is_allowed =
        gold.tree.as_ref().is_none_or(without_variables) || (has_unit(&a) && has_unit(&b));
    is_allowed && equal(&a, &b)
}

/// Whether letters that are no command stand behind a number or group, or a unit may.
fn has_letters_behind(text: &str) -> bool {
    if text.contains("\\mathrm") {
        return true;
    }
    let mut before = ' ';
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if c.is_alphabetic() && (before.is_ascii_digit() || ")}".contains(before)) {
            return true;
        }
        before = c;
    }
    false
}

/// What stands behind the last equals sign, where what stands before cannot be read: sums,
/// integrals, limits.
fn without_left_side(plain: Reading, gold: &Read<'_>, prediction: &Read<'_>) -> bool {
    if prediction.tree.is_some() || gold.text.contains('=') {
        return false;
    }
    let Some((left, right)) = prediction.text.rsplit_once('=') else { return false };
    let is_whole = left.matches('{').count() == left.matches('}').count();
    let (Some(a), Some(b)) = (&gold.tree, parse(right, plain)) else { return false };
    is_whole && equal(a, &b)
}

/// The value without another form of it in brackets behind it: `5/4 (or 1.25)`.
fn without_remark(plain: Reading, gold: &Read<'_>, prediction: &Read<'_>) -> bool {
    let Some(inside) = prediction.text.trim_end().strip_suffix(')') else { return false };
    let Some((before, remark)) = inside.rsplit_once('(') else { return false };
    // `5(5)` is a product
    if !before.ends_with(char::is_whitespace) {
        return false;
    }
    let remark = ["or ", "\\text{or }", "=", "\\approx ", "i.e. ", "i.e., "]
        .iter()
        .find_map(|word| remark.trim_start().strip_prefix(*word))
        .unwrap_or(remark);
    let (Some(gold), Some(value), Some(remark)) =
        (&gold.tree, parse(before, plain), parse(remark, plain))
    else {
        return false;
    };
    let (Some(x), Some(y)) = (numeric(&value, 0), numeric(&remark, 0)) else { return false };
    let close = |factor: f64| {
        (x.re - factor * y.re).abs() <= REMARKED * x.re.abs() && (x - y).im.abs() < 1e-12
    };
    let is_percent = matches!(value, Node::Percent(_));
    value.is_constant() && (close(1.0) || (is_percent && close(100.0))) && equal(gold, &value)
}
