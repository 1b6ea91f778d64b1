//! Answers behind "the answer is", "final answer" and `####`.

use super::formulas::leading_formula;
use super::prose::is_prose;
use crate::LONGEST_ANSWER;
use crate::notations::end_of_turn;
use crate::seen::Seen;
use crate::tokens::function_named;
use memchr::memmem;

/// An answer that was stated in words.
pub(super) struct Stated {
    /// Where the words start.
    pub(super) start: usize,
    /// Whether they say that it is final.
    pub(super) is_final: bool,
    pub(super) answer: String,
}

/// What marks an answer in some data.
const MARKS: &str = "####";

/// What is said of an answer, and how much of that stands in front of the word.
const PHRASES: [(&str, usize); 6] = [
    ("final answer", 6),
    ("answer is", 0),
    ("answers are", 0),
    ("answer:", 0),
    ("answer\n", 0),
    ("answer**", 0),
];

/// Words in front of an answer that say nothing about it.
const ADVERBS: [&str; 8] =
    ["therefore ", "thus ", "hence ", "then ", "simply ", "just ", "indeed ", "clearly "];

/// Words that begin a remark on the answer before them.
const REMARKS: [&str; 16] = [
    "because",
    "since",
    "which",
    "so",
    "as",
    "therefore",
    "thus",
    "hence",
    "after",
    "when",
    "but",
    "where",
    "assuming",
    "meaning",
    "i.e.",
    "rather",
];

/// Statements that are looked at, from the last on.
const MOST_STATEMENTS: usize = 32;
/// Bytes between "final answer" and a phrase that states it again.
const NEAR: usize = 40;

/// The last answer that is stated.
pub(super) fn last_statement(text: &str, seen: Seen) -> Option<Stated> {
    let holds = |word: &str| {
        seen.may_hold(word) && memmem::find(text.as_bytes(), word.as_bytes()).is_some()
    };
    let has_marks = holds(MARKS);
    // most texts that are graded are bare answers
    if !has_marks && !holds("swer") && !holds("SWER") {
        return None;
    }
    let lowered = text.to_ascii_lowercase();
    let mut statements = stated_places(&lowered);
    if has_marks {
        let places = lowered.rmatch_indices(MARKS).take(MOST_STATEMENTS);
        statements.extend(places.map(|(at, _)| (at, MARKS)));
    }
    statements.sort_unstable_by_key(|(at, phrase)| std::cmp::Reverse((at + phrase.len(), *at)));
    for (start, phrase) in statements.into_iter().take(MOST_STATEMENTS) {
        let behind = &text[start + phrase.len()..];
        let Some(answer) = rest_of(phrase, text, start, behind).and_then(stated) else { continue };
        // "Final Answer: The final answer is $4$"
        let mut near = start.saturating_sub(NEAR);
        while !lowered.is_char_boundary(near) {
            near += 1;
        }
        let is_final =
            phrase == "final answer" || phrase != MARKS && lowered[near..start].contains("final ");
        if (is_final || phrase == MARKS || phrase.starts_with("answer\n")) && !is_value(&answer) {
            continue;
        }
        return Some(Stated { start, is_final, answer });
    }
    None
}

/// The places of the phrases in a text in small letters.
fn stated_places(lowered: &str) -> Vec<(usize, &'static str)> {
    let bytes = lowered.as_bytes();
    let mut places = Vec::new();
    for word in memmem::find_iter(bytes, "answer") {
        for (phrase, before) in PHRASES {
            if let Some(start) = word.checked_sub(before)
                && bytes[start..].starts_with(phrase.as_bytes())
            {
                places.push((start, phrase));
            }
        }
    }
    places
}

/// What follows a phrase; `None` where the phrase only mentions an answer.
fn rest_of<'t>(phrase: &str, text: &str, at: usize, behind: &'t str) -> Option<&'t str> {
    let line = text[..at].rsplit('\n').next().unwrap_or_default().trim();
    let is_heading =
        line.chars().all(|c| "#*_ ".contains(c)) || line.to_lowercase().ends_with("the");
    // "### Answer" and the line behind it
    if ["answer\n", "answer**"].contains(&phrase) {
        return is_heading.then_some(behind);
    }
    if phrase != "final answer" {
        return Some(behind);
    }
    let rest = behind.trim_start_matches(['*', '_', ' ', '"']);
    for told in [":", "：", "is:", "is ", "is\n", "=", "is$", "is\\"] {
        if rest.to_ascii_lowercase().starts_with(told) {
            let skipped = if told.starts_with("is") { 2 } else { told.len() };
            return Some(&rest[skipped..]);
        }
    }
    // a heading of its own
    (is_heading && rest.starts_with('\n')).then_some(rest)
}

/// Whether an answer is a value rather than a sentence about it.
fn is_value(answer: &str) -> bool {
    let has_value = answer.contains(|c: char| c.is_ascii_digit() || "$\\".contains(c));
    let words = answer.split_whitespace().count();
    !is_prose(answer) && (has_value || words <= 3)
        || (has_value && answer.contains(['$', '\\']))
        || (is_prose(answer) && answer.chars().any(|c| c.is_ascii_digit()) && words <= 12)
}

/// The answer at the start of what follows a phrase.
fn stated(rest: &str) -> Option<String> {
    let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || ":*_>：".contains(c));
    let mut end = rest.len().min(LONGEST_ANSWER);
    while !rest.is_char_boundary(end) {
        end -= 1;
    }
    let mut rest = &rest[..end];
    while let Some(behind) = ADVERBS.iter().find_map(|adverb| rest.strip_prefix(adverb)) {
        rest = behind.trim_start_matches([' ', ',']);
    }
    // "the answer is: **72**" and "the answer is `72`" were left of their marks; behind them
    // stands a remark
    let sentence = sentence(rest);
    // "Final Answer: The volume of $ABC$ is 120"
    let told = sentence.rfind(" is ").map_or(sentence, |is| &sentence[is + " is ".len()..]);
    let told = told.replace("\\\"", "\"");
    let answer = told.trim_matches(['*', ' ', '"', ':', '_', '`', '\n']);
    let answer = answer.trim_end_matches(['.', ' ']).trim_matches(['"', '*', ' ', '`', '_']);
    (!answer.is_empty()).then(|| answer.to_owned())
}

/// Up to the end of the sentence or line, or to a remark; formulas are passed over as a whole.
pub(super) fn sentence(text: &str) -> &str {
    let mut depth = 0i32;
    let mut at = 0;
    let mut has_value = false;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if let Some(length) = leading_formula(rest) {
            at += length;
            has_value = true;
            continue;
        }
        let behind = &rest[c.len_utf8()..];
        match c {
            '\n' => return &text[..at],
            '.' if depth <= 0 && ends_sentence(behind) && !is_abbreviated(&text[..at]) => {
                return &text[..at];
            }
            // the end of what was set in bold or as code
            '*' | '`' if has_value && depth <= 0 && closes_mark(&text[..at], rest) => {
                return &text[..at];
            }
            ',' if depth <= 0 && begins_remark(behind, !has_value) => return &text[..at],
            ' ' if has_value && depth <= 0 && begins_remark(behind, true) => return &text[..at],
            '—' if has_value => return &text[..at],
            '<' if end_of_turn(rest) == Some(0) => return &text[..at],
            ';' | '-' if has_value && depth <= 0 && begins_clause(&text[..at], c, behind) => {
                return &text[..at];
            }
            '(' if has_value && depth <= 0 && begins_aside(&text[..at], behind) => {
                return &text[..at];
            }
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        has_value |= c.is_ascii_digit() || c == '\\';
        at += c.len_utf8();
    }
    text
}

/// Whether a clause of its own follows: "42; the rest is extra", "42 - as computed".
fn begins_clause(before: &str, sign: char, behind: &str) -> bool {
    let word = behind.trim_start();
    let letters = word.find(|c: char| !c.is_alphabetic()).unwrap_or(word.len());
    let word = &word[..letters];
    let is_word = letters >= 2 && !["and", "or"].contains(&word) && function_named(word).is_none();
    // a minus sign may stand between letters
    let is_dash = before.ends_with(' ')
        && behind.starts_with(' ')
        && (letters >= 4 || REMARKS.contains(&word));
    is_word && (sign == ';' || is_dash)
}

/// Whether a remark in brackets begins: "42 (not 41)", "42 (since ...)".
fn begins_aside(before: &str, inside: &str) -> bool {
    let word = inside.split(|c: char| !(c.is_alphabetic() || c == '.')).next().unwrap_or_default();
    let lowered = word.to_lowercase();
    before.ends_with(' ')
        && (REMARKS.contains(&lowered.as_str()) || ["not", "that", "i.e"].contains(&&*lowered))
}

/// Whether a full stop belongs to the unit or hedge before it.
fn is_abbreviated(before: &str) -> bool {
    let word = before.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    ["sq", "cu", "approx", "ft", "yd", "oz", "lb", "lbs", "hr", "hrs", "min", "sec"]
        .contains(&word.to_lowercase().as_str())
}

fn ends_sentence(behind: &str) -> bool {
    behind.chars().next().is_none_or(|next| next.is_whitespace() || "<*\"".contains(next))
}

/// Whether `**` here closes bold type rather than being a power.
fn closes_mark(before: &str, rest: &str) -> bool {
    let behind = rest.trim_start_matches(['*', '`']);
    let spaced_before = before.ends_with(char::is_whitespace);
    let ends =
        behind.chars().next().is_none_or(|next| next.is_whitespace() || ".,;:)".contains(next));
    !spaced_before && ends && (rest.starts_with("**") || rest.starts_with('`'))
}

/// Whether a remark on the answer follows: any word behind a comma that is no part of a list, or
/// one of those that begin a clause.
fn begins_remark(behind: &str, any_place: bool) -> bool {
    let behind = behind.trim_start_matches(' ');
    let word: &str = {
        let end = behind.find(|c: char| !(c.is_alphabetic() || c == '.')).unwrap_or(behind.len());
        &behind[..end]
    };
    let lowered = word.to_lowercase();
    // ", and we are done"
    if lowered == "and" {
        let next = behind[word.len()..].trim_start();
        let end = next.find(|c: char| !c.is_alphabetic()).unwrap_or(next.len());
        let clause = ["we", "this", "the", "it", "so", "that", "is", "are", "then", "hence", "i"];
        return clause.contains(&next[..end].to_lowercase().as_str());
    }
    if any_place {
        return REMARKS.contains(&lowered.as_str()) || lowered == "–";
    }
    let letters = word.trim_end_matches('.');
    let names_next = behind[word.len()..].trim_start().starts_with(['=', '(', '_', '<', '>', '\\']);
    letters.chars().count() >= 2
        && letters.is_ascii()
        && !["and", "or", "pi", "oo", "inf"].contains(&lowered.as_str())
        && function_named(letters).is_none()
        && !names_next
}
