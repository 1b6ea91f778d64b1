//! The math in a text that holds an answer: all of it, or what its prose ends with.

use super::formulas::formulas;
use super::phrases::sentence;
use crate::parser::begins_set;
use crate::spelling::tidy;
use crate::units::is_remark;

/// Words around formulas that make several of them one answer.
const JOINING: [&str; 9] =
    ["and", "or", "percent", "pct", "%", "\\text{and}", "\\text{or}", "x", "="];

/// The math in a text: all of it if it is math with at most a few connecting words, else the last
/// formula or number.
pub(super) fn math_part(text: &str) -> String {
    let text = attached_exponents(tidy(&without_marks(text)));
    let trimmed = without_remarks(without_punctuation(text.trim()));
    if begins_set(trimmed) {
        return trimmed.to_owned();
    }
    // an odd dollar sign is a currency
    if trimmed.matches('$').count() % 2 == 1 {
        return if is_prose(trimmed) {
            told_number(trimmed).unwrap_or_default()
        } else {
            trimmed.replace('$', "")
        };
    }
    let formulas = formulas(trimmed);
    if formulas.is_empty() {
        return if is_prose(trimmed) { told(trimmed) } else { trimmed.to_owned() };
    }
    // formulas joined by connecting words, or with a unit behind, are one answer
    let mut outside = String::new();
    let mut at = 0;
    for (start, end, _) in &formulas {
        outside.push_str(&trimmed[at..*start]);
        outside.push(' ');
        at = *end;
    }
    outside.push_str(&trimmed[at..]);
    let words: Vec<&str> = outside
        .split(|c: char| c.is_whitespace() || c == ',' || c == ';')
        .filter(|word| !word.is_empty())
        .collect();
    if words.iter().all(|word| JOINING.contains(word)) {
        return trimmed.replace('$', " ");
    }
    let (start, end, last) = formulas[formulas.len() - 1];
    let behind = &trimmed[end..];
    // a unit or a remark behind the only formula
    let remarks: Vec<&str> = behind.split_whitespace().collect();
    if formulas.len() == 1
        && trimmed[..start].trim().is_empty()
        && remarks.iter().all(|word| is_remark(word) || word.contains(['/', '^']))
    {
        return trimmed.replace('$', " ");
    }
    if denies(&trimmed[..start]) {
        return trimmed.replace('$', " ");
    }
    match last_number(behind) {
        // a number that stands alone behind the last formula, as in "so there are 12 of them"
        Some((_, number)) if is_prose(behind) => number,
        _ => last.to_owned(),
    }
}

/// `7 cm$^2$` without the dollar signs, which would part the exponent from its unit.
fn attached_exponents(text: String) -> String {
    let exponents: Vec<(usize, usize)> = formulas(&text)
        .into_iter()
        .filter(|(start, _, content)| content.starts_with('^') && *start > 0)
        .map(|(start, end, _)| (start, end))
        .collect();
    let mut text = text;
    for (start, end) in exponents.into_iter().rev() {
        text.remove(end - 1);
        text.remove(start);
    }
    text
}

/// The text without what ends a sentence, and without quotes around all of it; the dots of
/// `0.333...` stay.
fn without_punctuation(text: &str) -> &str {
    if text.ends_with("...") {
        return text;
    }
    let text = text.trim_end_matches(['.', ',', ';', ':']).trim();
    for quote in ['"', '*', '_'] {
        let inside = text.strip_prefix(quote).and_then(|inside| inside.strip_suffix(quote));
        if let Some(inside) = inside.filter(|inside| !inside.contains(quote) && !inside.is_empty())
        {
            return inside.trim();
        }
    }
    text
}

/// The text without Markdown's bold type and code: `**72**`, `` `72` ``, but not `2**3`.
fn without_marks(text: &str) -> String {
    if !text.contains(['*', '_', '`']) {
        return text.to_owned();
    }
    let mut text = text.replace('`', "");
    for mark in ["**", "__"] {
        while let Some(open) = opening(&text, mark) {
            let inside = open + mark.len();
            let Some(close) = text[inside..].find(mark).map(|at| inside + at) else { break };
            text.replace_range(close..close + mark.len(), "");
            text.replace_range(open..inside, "");
        }
    }
    text
}

/// Where a mark opens: at the start of a word.
fn opening(text: &str, mark: &str) -> Option<usize> {
    text.match_indices(mark).map(|(at, _)| at).find(|at| {
        let before = text[..*at].chars().next_back();
        let behind = text[at + mark.len()..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || "(:\"$".contains(c))
            && behind.is_some_and(|c| !c.is_whitespace() && c != '*')
    })
}

/// The text without a remark in brackets at its end: `72 (in total)`, `7/12 (about 0.58)`.
fn without_remarks(text: &str) -> &str {
    let Some(inside_end) = text.strip_suffix(')') else { return text };
    let mut depth = 1;
    let mut start = None;
    for (index, byte) in inside_end.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            start = Some(index);
            break;
        }
    }
    let Some(start) = start else { return text };
    let (before, inside) = (&text[..start], inside_end[start + 1..].trim());
    if before.trim().is_empty() || !before.ends_with(char::is_whitespace) {
        return text;
    }
    let about =
        ["\\approx", "about ", "approximately ", "approx", "roughly ", "or about ", "or approx"];
    let is_about = about.iter().any(|word| inside.to_lowercase().starts_with(word));
    let words: Vec<&str> = inside.split_whitespace().collect();
    let is_words = words.iter().all(|word| is_remark(word) && !word.contains('\\'))
        && words.iter().any(|word| word.len() > 2 && *word != "mod");
    if is_about || is_words { before.trim_end().trim_end_matches(',') } else { text }
}

/// What prose without formulas tells: what stands behind its last "is" or "=" if that is math, else
/// its last number.
fn told(text: &str) -> String {
    let verbs = [" is ", " are ", " equals ", " be "];
    let tail = verbs.iter().filter_map(|verb| text.rfind(verb).map(|at| &text[at + verb.len()..]));
    if let Some(tail) = tail.min_by_key(|tail| tail.len())
        && tail.contains('\\')
        && !is_prose(tail)
    {
        return tail.to_owned();
    }
    if let Some(number) = told_number(text) {
        return number;
    }
    // "It is Saturday"
    let tail = verbs.iter().filter_map(|verb| text.rfind(verb).map(|at| &text[at + verb.len()..]));
    match tail.min_by_key(|tail| tail.len()) {
        Some(tail) if last_number(text).is_none() && tail.split_whitespace().count() <= 3 => {
            tail.to_owned()
        }
        _ => text.to_owned(),
    }
}

/// The last number of prose, unless the prose denies it, names another beside it, or began with one
/// of its own.
fn told_number(text: &str) -> Option<String> {
    let begins_with_number = text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    let text = if begins_with_number { sentence(text) } else { text };
    let (start, number) = last_number(text)?;
    if denies(&text[..start]) || is_alternative(&text[..start]) {
        return None;
    }
    if !begins_with_number {
        return Some(number);
    }
    // "72 apples" is 72, "72 or more" and "72 apples and 3 pears" are not
    let behind = text.trim_start_matches(|c: char| !c.is_whitespace());
    behind.split_whitespace().all(is_remark).then_some(number)
}

/// Whether a text ends in words that deny what follows: "it is not".
fn denies(before: &str) -> bool {
    let words: Vec<String> = before.split_whitespace().map(str::to_lowercase).collect();
    let denying = |word: &String| {
        ["not", "isn't", "never", "cannot", "wasn't", "than", "least", "most"]
            .contains(&word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\''))
    };
    let near = &words[words.len().saturating_sub(2)..];
    near.iter().any(denying)
}

/// Whether a text ends in "or" behind another number: "72 or".
fn is_alternative(before: &str) -> bool {
    let words: Vec<&str> = before.split_whitespace().collect();
    let near = &words[words.len().saturating_sub(5)..];
    let is_or = |word: &&str| word.eq_ignore_ascii_case("or");
    let Some(or) = near.iter().rposition(is_or) else { return false };
    near[..or].iter().any(|word| word.contains(|c: char| c.is_ascii_digit()))
}

/// Whether a text is a sentence rather than a formula: two ordinary words in a row.
pub(super) fn is_prose(text: &str) -> bool {
    let mut run = 0;
    for word in text.split_whitespace() {
        let plain = word.trim_matches([',', '.', ':', ';', '(', ')']);
        let is_word = plain.len() >= 2 && plain.chars().all(|c| c.is_alphabetic() || c == '\'');
        run = if is_word { run + 1 } else { 0 };
        if run >= 2 || (is_word && word.ends_with(':')) {
            return true;
        }
    }
    text.contains(" : ") && text.chars().next().is_some_and(char::is_alphabetic)
}

/// The last number of a text that is not part of a word, and where it starts: digits with
/// separators, a decimal part, a fraction.
fn last_number(text: &str) -> Option<(usize, String)> {
    let characters: Vec<(usize, char)> = text.char_indices().collect();
    let character = |index: usize| characters.get(index).map(|(_, c)| *c);
    let digit = |index: usize| character(index).is_some_and(|c| c.is_ascii_digit());
    let mut found = None;
    let mut at = 0;
    while let Some(c) = character(at) {
        let starts = digit(at) || (c == '.' && digit(at + 1));
        // inside a word, an index or an exponent
        let before = at.checked_sub(1).and_then(character);
        let in_word = before.is_some_and(|c| c.is_alphanumeric() || "_^{".contains(c));
        if !starts || in_word {
            at += 1;
            continue;
        }
        let start = at;
        while let Some(c) = character(at)
            && (digit(at) || (",./:".contains(c) && digit(at + 1)))
        {
            at += 1;
        }
        let minus = before == Some('-')
            && !start.checked_sub(2).and_then(character).is_some_and(char::is_alphanumeric);
        let number: String = characters[start..at].iter().map(|(_, c)| *c).collect();
        let place = characters[start].0;
        found = Some((place, if minus { format!("-{number}") } else { number }));
        // exponents and the like of a unit: `m²`, `cm2`
        while character(at).is_some_and(char::is_alphanumeric) {
            at += 1;
        }
    }
    found
}
