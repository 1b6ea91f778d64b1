//! The math in a text that holds an answer: all of it, or what its prose ends with.

use super::formulas::formulas;
use super::phrases::sentence;
use crate::LONGEST_ANSWER;
use crate::notations::{rewritten, turned_brackets};
use crate::parser::begins_set;
use crate::seen::Seen;
use crate::spelling::tidy;
use crate::tokens::function_named;
use crate::units::{Measure, is_remark};
use std::borrow::Cow;

/// Words around formulas that make several of them one answer.
const JOINING: [&str; 9] =
    ["and", "or", "percent", "pct", "%", "\\text{and}", "\\text{or}", "x", "="];

/// The math in a text: all of it if it is math with at most a few connecting words, else the last
/// formula or number.
pub(crate) fn math_part(text: &str) -> String {
    // no answer, and not worth the work
    if text.len() > 16 * LONGEST_ANSWER {
        return text.to_owned();
    }
    let text = without_marks(text);
    let text = tidy(with_currency(rewritten(&text)));
    let text = in_signs(attached_exponents(text));
    let text = turned_brackets(text.trim()).map_or(text, Cow::Owned);
    let trimmed = without_remarks(without_punctuation(text.trim()));
    if begins_set(trimmed) {
        return trimmed.to_owned();
    }
    if !trimmed.contains('$') {
        return if is_prose(trimmed) { told(trimmed) } else { trimmed.to_owned() };
    }
    // an odd dollar sign is a currency
    if trimmed.matches('$').count() % 2 == 1 {
        let bare = trimmed.replace('$', "");
        return if is_prose(&bare) { told(&bare) } else { bare };
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
    let (start, end, last) = formulas[formulas.len() - 1];
    let (before, behind) = (&trimmed[..start], &trimmed[end..]);
    // a unit or a remark behind the only formula
    let is_unit = |word: &str| is_remark(word) || word.contains(['/', '^', '-']);
    let only_unit =
        formulas.len() == 1 && before.trim().is_empty() && behind.split_whitespace().all(is_unit);
    let is_joined = words.iter().all(|word| JOINING.contains(word));
    if is_joined || only_unit || denies(before) || is_alternative(before) {
        return trimmed.replace('$', " ");
    }
    match last_number(behind) {
        // a number that stands alone behind the last formula, as in "so there are 12 of them"
        Some((place, _)) if is_prose(behind) => with_unit(behind, place),
        _ => format!("{last} {}", unit_behind(behind)),
    }
}

/// Dollar signs that are a currency as `\$`: before a number that a word, the end, or punctuation
/// follows, where a formula would go on or end.
fn with_currency(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('$') {
        return text;
    }
    let mut marked = String::with_capacity(text.len() + 8);
    let mut rest = &*text;
    while let Some(at) = rest.find('$') {
        let escaped = rest[..at].ends_with('\\');
        marked.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if !escaped && is_price(behind) {
            // `US$20`
            for country in ["US", "USD ", "CA", "A"] {
                if marked.ends_with(country) && !marked.ends_with(&format!("\\{country}")) {
                    marked.truncate(marked.len() - country.len());
                    break;
                }
            }
            marked.push('\\');
        }
        marked.push('$');
        rest = behind;
    }
    marked.push_str(rest);
    Cow::Owned(marked)
}

/// Whether a price stands here: digits that nothing of a formula follows.
fn is_price(text: &str) -> bool {
    let digits = text
        .char_indices()
        .find(|(at, c)| {
            let goes_on = text[at + c.len_utf8()..].starts_with(|next: char| next.is_ascii_digit());
            !(c.is_ascii_digit() || (",.".contains(*c) && goes_on))
        })
        .map_or(text.len(), |(at, _)| at);
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let behind = &text[digits..];
    let word = behind.trim_start_matches(|c: char| ",.;:!?) /".contains(c));
    let letters = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
    let is_word = letters >= 2 || (letters == 1 && word.starts_with("a "));
    word.is_empty() || (is_word && !behind.starts_with(|c: char| c.is_alphabetic()))
}

/// Words for relations and signs behind a variable, and the signs: longest first.
const RELATIONS: [(&str, &str); 28] = [
    ("is less than or equal to", "\\le "),
    ("is greater than or equal to", "\\ge "),
    ("is no more than", "\\le "),
    ("is not more than", "\\le "),
    ("is no less than", "\\ge "),
    ("is not less than", "\\ge "),
    ("is not equal to", "\\ne "),
    ("is at least", "\\ge "),
    ("is at most", "\\le "),
    ("greater than or equal to", "\\ge "),
    ("less than or equal to", "\\le "),
    ("greater than", ">"),
    ("less than", "<"),
    ("is less than", "<"),
    ("is greater than", ">"),
    ("is more than", ">"),
    ("is smaller than", "<"),
    ("is larger than", ">"),
    ("is equal to", "="),
    ("does not equal", "\\ne "),
    ("cannot equal", "\\ne "),
    ("cannot be", "\\ne "),
    ("is not", "\\ne "),
    ("is positive", "> 0"),
    ("is negative", "< 0"),
    ("is nonnegative", "\\ge 0"),
    ("equals", "="),
    ("is", "="),
];

/// Relations of single variables in signs: `x is less than 3` is `x < 3`.
fn in_signs(mut text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() > LONGEST_ANSWER {
        return text;
    }
    let seen = Seen::of(&text);
    for spoken in ["plus or minus ", "+/-"] {
        if seen.may_hold(spoken) && text.contains(spoken) {
            text = Cow::Owned(text.replace(spoken, "\\pm "));
        }
    }
    let mut from = 0;
    while let Some(at) = text[from..].find([' ', '$']).map(|at| from + at) {
        from = at + 1;
        let before = text[..at].trim_end_matches('$');
        let mut letters = before.chars().rev();
        let is_variable = letters.next().is_some_and(|c| c.is_ascii_lowercase() && c != 'a')
            && letters.next().is_none_or(|c| !c.is_alphanumeric() && c != '\'' && c != '\\');
        if !is_variable {
            continue;
        }
        let behind = if text[at..].trim_start_matches([' ', '$']).starts_with("\\text{") {
            Cow::Owned(text[at..].replacen("\\text{", "", 1).replacen('}', " ", 1))
        } else {
            Cow::Borrowed(&text[at..])
        };
        let spoken = behind.trim_start_matches([' ', '$']);
        let relation = RELATIONS.iter().find(|(words, _)| {
            spoken.strip_prefix(words).is_some_and(|rest| {
                let value = rest.trim_start();
                let has_value =
                    value.starts_with(|c: char| c.is_ascii_digit() || "-\\$(".contains(c));
                (has_value && value.len() < rest.len())
                    || ((rest.is_empty() || rest.starts_with([' ', '.']))
                        && words.ends_with("tive"))
            })
        });
        if let Some((words, sign)) = relation {
            text = Cow::Owned(format!("{} {sign}{}", &text[..at], &spoken[words.len()..]));
        }
    }
    text
}

/// `7 cm$^2$` without the dollar signs, which would part the exponent from its unit.
fn attached_exponents(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('$') || !text.contains("$^") {
        return text;
    }
    let exponents: Vec<(usize, usize)> = formulas(&text)
        .into_iter()
        .filter(|(start, _, content)| content.starts_with('^') && *start > 0)
        .map(|(start, end, _)| (start, end))
        .collect();
    let mut text = text.into_owned();
    for (start, end) in exponents.into_iter().rev() {
        text.remove(end - 1);
        text.remove(start);
    }
    Cow::Owned(text)
}

/// The text without what ends a sentence, and without quotes around all of it; the dots of
/// `0.333...` stay.
fn without_punctuation(text: &str) -> &str {
    if text.ends_with("...") {
        return text;
    }
    let text = text.trim_end_matches(['.', ',', ';', ':']).trim();
    for quote in ['"', '\'', '*', '_'] {
        let inside = text.strip_prefix(quote).and_then(|inside| inside.strip_suffix(quote));
        if let Some(inside) = inside.filter(|inside| !inside.contains(quote) && !inside.is_empty())
        {
            return inside.trim();
        }
    }
    text
}

/// The text without Markdown's bold type and code: `**72**`, `` `72` ``, but not `2**3`.
fn without_marks(text: &str) -> Cow<'_, str> {
    if !text.contains(['*', '`']) && !text.contains("__") {
        return Cow::Borrowed(text);
    }
    let mut text = text.replace('`', "");
    for mark in ["***", "**", "__"] {
        while let Some(open) = opening(&text, mark) {
            let inside = open + mark.len();
            let Some(close) = text[inside..].find(mark).map(|at| inside + at) else { break };
            text.replace_range(close..close + mark.len(), "");
            text.replace_range(open..inside, "");
        }
    }
    Cow::Owned(text)
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
    // whatever is said behind a number and its word
    let begins_with_number = before.starts_with(|c: char| c.is_ascii_digit() || c == '$');
    let stem = before.trim_end().trim_end_matches(char::is_alphabetic);
    let word = &before.trim_end()[stem.len()..];
    // neither a command nor a function, to which the brackets belong
    let is_plain = !stem.ends_with('\\') && function_named(word).is_none();
    if begins_with_number && word.len() > 2 && is_plain {
        return before.trim_end();
    }
    let reasons = ["since ", "because ", "as ", "i.e"];
    if reasons.iter().any(|word| inside.to_lowercase().starts_with(word)) {
        return before.trim_end();
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
/// its last number with its unit.
fn told(text: &str) -> String {
    // a number with its words, which the parser judges
    let is_sign =
        |text: &str| ["\\dollar", "\\euro", "\\sterling"].iter().any(|s| text.starts_with(s));
    if text.starts_with(|c: char| c.is_ascii_digit()) || is_sign(text) {
        return sentence(text).to_owned();
    }
    let verbs = [" is ", " are ", " equals ", " be "];
    let tail = verbs
        .iter()
        .filter_map(|verb| text.rfind(verb).map(|at| &text[at + verb.len()..]))
        .min_by_key(|tail| tail.len());
    if let Some(tail) = tail
        && (tail.contains('\\') || tail.starts_with(['(', '[', '{']))
        && !is_prose(tail)
    {
        return tail.to_owned();
    }
    let Some((start, _)) = last_number(text) else {
        // "It is Saturday"
        return match tail.filter(|tail| tail.split_whitespace().count() <= 3) {
            Some(tail) => tail.to_owned(),
            None => text.to_owned(),
        };
    };
    let (before, behind) = text.split_at(start);
    let is_denied = [
        "too large",
        "too small",
        "is wrong",
        "is incorrect",
        "is not",
        "is false",
        "or more",
        "or less",
        "or fewer",
        "or greater",
        "or larger",
    ]
    .iter()
    .any(|words| behind.contains(words));
    if is_denied || denies(before) || is_alternative(before) {
        return text.to_owned();
    }
    with_unit(text, start)
}

/// The number at a place with the unit or the words behind it, if they are no more than that.
fn with_unit(text: &str, start: usize) -> String {
    let before = &text[..start];
    let sign = ["\\dollar ", "\\euro ", "\\sterling ", "\\yen "]
        .into_iter()
        .find(|sign| before.ends_with(sign))
        .unwrap_or("");
    let minus =
        before.ends_with('-') && !before.trim_end_matches('-').ends_with(char::is_alphanumeric);
    let number = sentence(&text[start..]);
    let digits = number.find(char::is_whitespace).unwrap_or(number.len());
    let (digits, unit) = number.split_at(digits);
    let digits = digits.trim_end_matches([',', '.', ';', ':', '!', '?', ')', '"', '\'']);
    let minus = if minus { "-" } else { "" };
    format!("{sign}{minus}{digits} {}", unit_behind(unit))
}

/// A unit at the start of a text, if nothing else follows in its sentence.
fn unit_behind(text: &str) -> &str {
    let text = sentence(text).trim();
    let is_letter = |word: &str| word.chars().count() == 1 && Measure::parse(word).is_none();
    let is_unit = |word: &str| {
        (is_remark(word) && !is_letter(word)) || word.contains(['/', '^', '-']) || word == "%"
    };
    if text.split_whitespace().all(is_unit) { text } else { "" }
}

/// Words that make something else of the number behind them.
const DENYING: [&str; 24] = [
    "not",
    "isn't",
    "never",
    "cannot",
    "wasn't",
    "than",
    "least",
    "most",
    "no",
    "but",
    "except",
    "excluding",
    "half",
    "twice",
    "thrice",
    "double",
    "triple",
    "times",
    "up",
    "minus",
    "over",
    "under",
    "between",
    "negative",
];

/// Words that do so with "of": half of, a third of, the square root of.
const PARTS: [&str; 19] = [
    "half",
    "third",
    "thirds",
    "quarter",
    "quarters",
    "fourth",
    "fifth",
    "tenth",
    "root",
    "log",
    "logarithm",
    "reciprocal",
    "opposite",
    "inverse",
    "multiple",
    "multiples",
    "square",
    "cube",
    "factor",
];

/// Whether a text ends in words that deny what follows or make something else of it: "it is not",
/// "half of".
fn denies(before: &str) -> bool {
    // "at most x = 4"
    let before = before.trim_end();
    let before = before.strip_suffix('=').map_or(before, |named| {
        named.trim_end().trim_end_matches(|c: char| c.is_alphanumeric() || c == '_')
    });
    let words: Vec<String> = before
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '\'').to_lowercase())
        .collect();
    let is_in = |list: &[&str], word: &String| list.contains(&word.as_str());
    let near = &words[words.len().saturating_sub(2)..];
    let made_of = match near {
        [what, of] => of == "of" && is_in(&PARTS, what),
        _ => false,
    };
    made_of || near.iter().any(|word| is_in(&DENYING, word))
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
