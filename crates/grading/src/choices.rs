//! Answers to questions with choices, and to questions that are answered with yes or no.

/// A choice: its letter, and what stands behind it.
struct Choice {
    letter: char,
    rest: String,
}

/// Bytes of "yes" and its like with commands around.
const LONGEST_WORD: usize = 30;

/// How two answers with choices are decided.
pub(crate) enum Verdict<'t> {
    Decided(bool),
    /// These texts are compared instead.
    Compare(&'t str, String),
    Swapped(String, &'t str),
}

/// What the letters and values of two answers say of each other; `None` if neither is a choice with
/// its text, so that they are compared as they stand.
///
/// `B` is `(B) 12` and `Option B`; `12` is `(B) 12`.
pub(crate) fn by_choice<'t>(gold: &'t str, prediction: &'t str) -> Option<Verdict<'t>> {
    if let Some(verdict) = yes_or_no(gold, prediction) {
        return Some(Verdict::Decided(verdict));
    }
    let (a, b) = (choice(gold), choice(prediction));
    match (a, b) {
        (Some(a), Some(b)) => Some(Verdict::Decided(a.letter == b.letter)),
        (None, Some(b)) => Some(match single_letter(gold) {
            Some(letter) => Verdict::Decided(letter == b.letter),
            None if b.rest.is_empty() => return None,
            None => Verdict::Compare(gold, b.rest),
        }),
        (Some(a), None) => Some(match single_letter(prediction) {
            Some(letter) => Verdict::Decided(letter == a.letter),
            None if a.rest.is_empty() => return None,
            None => Verdict::Swapped(a.rest, prediction),
        }),
        (None, None) => None,
    }
}

/// The text without commands for text, so that labels are seen.
fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    if text.contains(['\\', '~']) {
        plain = text.replace("\\ ", " ").replace("\\,", " ").replace('~', " ");
        for command in ["\\textbf{", "\\textrm{", "\\text{", "\\mathrm{", "\\mathbf{", "\\bf{"] {
            plain = plain.replace(command, "{");
        }
    }
    // the braces that belonged to the label
    if plain.starts_with(['{', '(']) && plain.contains('{') {
        plain = plain.replacen('{', "", 1).replacen('}', "", 1);
    }
    plain.trim().to_owned()
}

/// `B`, `(B)`, `B.`
fn single_letter(text: &str) -> Option<char> {
    let plain = plain(text);
    let bare = plain.trim_matches(|c: char| "().:$ ".contains(c));
    let mut letters = bare.chars();
    let letter = letters.next().filter(char::is_ascii_uppercase)?;
    letters.next().is_none().then_some(letter)
}

/// `(B) 12`, `B) 12`, `B. 12`, `B: 12`, `Option B`, `Option (B)`.
fn choice(text: &str) -> Option<Choice> {
    // most answers are none, which their beginning shows
    let start = text.trim_start_matches(['(', '{', '$', ' ']);
    let is_marked = ["\\text", "\\math", "\\bf"].iter().any(|mark| start.starts_with(mark));
    let is_named = start.starts_with(['o', 'O', 'c', 'C']);
    if !is_marked && !is_named && !start.starts_with(|c: char| ('A'..='J').contains(&c)) {
        return None;
    }
    let plain = plain(text);
    let lowered = plain.to_lowercase();
    let named = ["option ", "choice "].iter().find(|name| lowered.starts_with(**name));
    let body = match named {
        Some(name) => plain[name.len()..].trim_start(),
        None => plain.as_str(),
    };
    let opened = body.starts_with('(');
    let body = body.trim_start_matches('(').trim_start();
    let mut characters = body.chars();
    let letter = characters.next().filter(|c| ('A'..='J').contains(c))?;
    let behind = characters.as_str().trim_start();
    let rest = if opened {
        behind.strip_prefix(')')?
    } else if let Some(rest) = [")", ".", ":"].iter().find_map(|mark| behind.strip_prefix(*mark)) {
        // `B.5` is no choice
        if !rest.is_empty() && !rest.starts_with([' ', '}', '\\', '$']) {
            return None;
        }
        rest
    } else if named.is_some() && behind.is_empty() {
        behind
    } else {
        return None;
    };
    let rest = rest.trim_start_matches([')', '.', ':', ' ', '}']).trim();
    let joins = [",", ";", "and ", "or ", "&", "\\text{and", "\\text{ and"];
    let is_list = joins.iter().any(|join| rest.starts_with(join));
    if is_list || (rest.is_empty() && named.is_none()) {
        return None;
    }
    Some(Choice { letter, rest: rest.to_owned() })
}

/// Whether an answer begins with the gold "yes", "no", "true" or "false".
fn yes_or_no(gold: &str, prediction: &str) -> Option<bool> {
    if gold.len() > LONGEST_WORD || !gold.contains(['y', 'Y', 'n', 'N', 't', 'T', 'f', 'F']) {
        return None;
    }
    let word = plain(gold).trim_matches(['{', '}', '.']).to_lowercase();
    if !["yes", "no", "true", "false"].contains(&word.as_str()) {
        return None;
    }
    let lowered = plain(prediction).to_lowercase();
    let lowered = lowered.trim_start_matches('{');
    let first = lowered.split([',', '.', '!', ';', '}', ' ', ':']).next()?;
    let behind = lowered[first.len()..].trim_start();
    if behind.starts_with("or ") || behind.starts_with("and ") {
        return None;
    }
    ["yes", "no", "true", "false"].contains(&first).then_some(first == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_seen_and_values_are_none() {
        let read = |text| choice(text).map(|choice| (choice.letter, choice.rest));
        assert_eq!(read("(B) 12"), Some(('B', "12".into())));
        assert_eq!(read("\\text{(B)} 12"), Some(('B', "12".into())));
        assert_eq!(read("C. $7$"), Some(('C', "$7$".into())));
        assert_eq!(read("Option (B)"), Some(('B', String::new())));
        assert_eq!(read("(B)"), None);
        assert_eq!(read("A(2, 3)"), None);
        assert_eq!(read("(A, B)"), None);
        assert_eq!(read("B = 5"), None);
        assert_eq!(yes_or_no("\\text{Yes}", "Yes, it is"), Some(true));
        assert_eq!(yes_or_no("yes", "no"), Some(false));
        assert_eq!(yes_or_no("yes", "maybe"), None);
    }
}
