//! Finding the final answer in a response.

use crate::normal::{single_backslashes, tidy};
use std::collections::HashMap;

/// The final answer in a response: the last balanced `\boxed{...}` or `\fbox{...}` (several, if
/// nothing but a few connecting words stands between them), unless a "final answer is" follows;
/// else what follows the last "final answer is", "answer is", "answer:" or `####`.
pub fn extract_answer(response: &str) -> Option<String> {
    let boxed = boxed_answers(response);
    let last_box = boxed.last().map(|found| found.start);
    match phrase_answer(response) {
        Some((at, strong, answer)) if last_box.is_none_or(|start| strong && at > start) => {
            Some(answer)
        }
        _ => (!boxed.is_empty()).then(|| join(&boxed)),
    }
}

/// Like [`extract_answer`], but also for text that is an answer itself, or prose that ends with
/// one.
pub(crate) fn answer_part(text: &str) -> String {
    let text = single_backslashes(text);
    if let Some(answer) = extract_answer(&text) {
        return math_part(&answer);
    }
    // a box that was never closed
    let open = text.rfind("\\boxed{").map_or(0, |at| at + "\\boxed{".len());
    math_part(&text[open..])
}

/// A box in a text: byte range of the whole command, and its content.
struct Boxed<'t> {
    start: usize,
    end: usize,
    content: &'t str,
}

/// The boxes that make up the last answer.
fn boxed_answers(text: &str) -> Vec<Boxed<'_>> {
    let mut found: Vec<Boxed<'_>> = Vec::new();
    if !text.contains("\\boxed") && !text.contains("\\fbox") {
        return found;
    }
    let braces = matching_braces(text);
    let mut at = 0;
    while let Some(offset) = text[at..].find('\\') {
        let start = at + offset;
        at = start + 1;
        let Some(command) =
            ["\\boxed", "\\fbox"].into_iter().find(|command| text[start..].starts_with(command))
        else {
            continue;
        };
        let rest = &text[start + command.len()..];
        let open = start + command.len() + (rest.len() - rest.trim_start().len());
        let Some(close) = braces.get(&open) else { continue };
        found.push(Boxed { start, end: close + 1, content: &text[open + 1..*close] });
        at = close + 1;
    }
    // keep the last and those before it that only connecting words part from it
    let mut first = found.len().saturating_sub(1);
    while first > 0 && is_connection(&text[found[first - 1].end..found[first].start]) {
        first -= 1;
    }
    found.drain(..first);
    found
}

/// The contents, with commas between them.
fn join(boxed: &[Boxed<'_>]) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for found in boxed {
        // the same answer boxed twice is one answer
        if !parts.contains(&found.content.trim()) {
            parts.push(found.content.trim());
        }
    }
    parts.join(", ")
}

/// For every opening brace that is closed, its place and that of the brace that closes it; escaped
/// braces do not count.
fn matching_braces(text: &str) -> HashMap<usize, usize> {
    let (mut open, mut pairs) = (Vec::new(), HashMap::new());
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'\\' => {
                escaped = !escaped;
                continue;
            }
            b'{' if !escaped => open.push(index),
            b'}' if !escaped => {
                if let Some(start) = open.pop() {
                    pairs.insert(start, index);
                }
            }
            _ => {}
        }
        escaped = false;
    }
    pairs
}

/// Whether a text between two answers only joins them: spacing, punctuation, "and", "or", or a name
/// in front of the next (`y = `).
fn is_connection(between: &str) -> bool {
    if between.len() > 60 || between.contains("\n\n") {
        return false;
    }
    let mut text = between.replace(['$', '~', ',', ';', '&', '+', '.'], " ");
    for word in [
        "\\quad",
        "\\qquad",
        "\\text{and}",
        "\\text{ and }",
        "\\text{or}",
        "\\text{ or }",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\,",
        "\\ ",
    ] {
        text = text.replace(word, " ");
    }
    let words: Vec<&str> =
        text.split_whitespace().filter(|word| !["and", "or"].contains(word)).collect();
    match words.as_slice() {
        [] => true,
        [name @ .., "="] => name.concat().len() <= 12,
        _ => false,
    }
}

/// What follows the last telling phrase: its place, whether it says "final answer", and the rest of
/// its sentence.
fn phrase_answer(text: &str) -> Option<(usize, bool, String)> {
    if let Some((before, rest)) = text.rsplit_once("####") {
        let line = rest.trim_start().lines().next().unwrap_or_default().trim();
        if !line.is_empty() {
            return Some((before.len(), true, line.to_owned()));
        }
    }
    let lowered = text.to_ascii_lowercase();
    let mut best: Option<(usize, usize, bool)> = None;
    for (phrase, strong) in [
        ("final answer:", true),
        ("final answer is", true),
        ("answer is", false),
        ("answer:", false),
    ] {
        if let Some(at) = lowered.rfind(phrase)
            && best.is_none_or(|(end, _, _)| at + phrase.len() > end)
        {
            best = Some((
                at + phrase.len(),
                at,
                strong || best.is_some_and(|(end, _, strong)| strong && end + 4 >= at),
            ));
        }
    }
    let (end, at, strong) = best?;
    let rest = text[end..].trim_start_matches([':', ' ', '*']);
    let sentence = sentence(rest);
    // "Final Answer: The volume of $ABC$ is 120"
    let told = sentence.rfind(" is ").map_or(sentence, |is| &sentence[is + 4..]);
    let told = told.replace("\\\"", "\"");
    let answer = told
        .trim_matches(['*', ' ', '"', ':'])
        .trim_end_matches(['.', ' '])
        .trim_matches(['"', '*', ' ']);
    (!answer.is_empty()).then(|| (at, strong, answer.to_owned()))
}

/// Up to the end of the sentence or line.
fn sentence(text: &str) -> &str {
    let line = text.trim_start().split("\n").next().unwrap_or_default();
    let bytes = line.as_bytes();
    let mut dollars = 0;
    for (index, byte) in bytes.iter().enumerate() {
        dollars += usize::from(*byte == b'$');
        let stops = *byte == b'.'
            && bytes.get(index + 1).is_none_or(|next| next.is_ascii_whitespace() || *next == b'<');
        if stops && dollars % 2 == 0 {
            return &line[..index];
        }
    }
    line
}

/// The math in a text: all of it if it is math with at most a few connecting words, else the last
/// formula or number.
fn math_part(text: &str) -> String {
    let text = tidy(text);
    let trimmed = text.trim().trim_end_matches(['.', ',', ';', ':']).trim();
    // an odd dollar sign is a currency
    if trimmed.matches('$').count() % 2 == 1 {
        return if is_prose(trimmed) {
            last_number(trimmed).unwrap_or_default()
        } else {
            trimmed.replace('$', "")
        };
    }
    let formulas = formulas(trimmed);
    if formulas.is_empty() {
        return if is_prose(trimmed) {
            last_number(trimmed).unwrap_or_else(|| trimmed.to_owned())
        } else {
            trimmed.to_owned()
        };
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
    let joining = |word: &&str| {
        ["and", "or", "percent", "pct", "%", "\\quad", "\\text{and}", "\\text{or}"].contains(word)
    };
    if words.iter().all(joining) {
        return trimmed.replace('$', " ");
    }
    let (_, end, last) = formulas[formulas.len() - 1];
    let behind = &trimmed[end..];
    match last_number(behind) {
        // a number that stands alone behind the last formula, as in "so there are 12 of them"
        Some(number) if is_prose(behind) => number,
        _ => last.to_owned(),
    }
}

/// Byte ranges and contents of `$...$` and `$$...$$` (other delimiters have been turned into
/// these).
fn formulas(text: &str) -> Vec<(usize, usize, &str)> {
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    let mut open: Option<usize> = None;
    for (index, _) in text.match_indices('$') {
        match open.take() {
            None => open = Some(index),
            Some(start) => {
                let content = &text[start + 1..index];
                // `$a$ + $b$` is one formula
                let joined = found
                    .last()
                    .filter(|(_, end, _)| ["+", "-", "="].contains(&text[*end..start].trim()))
                    .copied();
                if let Some((first, _, _)) = joined {
                    found.pop();
                    found.push((first, index + 1, &text[first + 1..index]));
                } else if !content.trim().is_empty() {
                    found.push((start, index + 1, content));
                }
            }
        }
    }
    found
}

/// Whether a text is a sentence rather than a formula: two ordinary words in a row.
fn is_prose(text: &str) -> bool {
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

/// The last number of a text that is not part of a word: digits with separators, a decimal part, a
/// fraction.
fn last_number(text: &str) -> Option<String> {
    let characters: Vec<char> = text.chars().collect();
    let digit = |index: usize| characters.get(index).is_some_and(char::is_ascii_digit);
    let mut found = None;
    let mut at = 0;
    while at < characters.len() {
        let starts = digit(at) || (characters[at] == '.' && digit(at + 1));
        // inside a word, an index or an exponent
        let in_word =
            at > 0 && (characters[at - 1].is_alphanumeric() || "_^{".contains(characters[at - 1]));
        if !starts || in_word {
            at += 1;
            continue;
        }
        let start = at;
        while at < characters.len()
            && (digit(at) || (",./".contains(characters[at]) && digit(at + 1)))
        {
            at += 1;
        }
        let minus = start > 0
            && characters[start - 1] == '-'
            && (start < 2 || !characters[start - 2].is_alphanumeric());
        let number: String = characters[start..at].iter().collect();
        found = Some(if minus { format!("-{number}") } else { number });
        // exponents and the like of a unit: `m²`, `cm2`
        while at < characters.len() && characters[at].is_alphanumeric() {
            at += 1;
        }
    }
    found
}
