//! Answers in boxes.

use crate::seen::Seen;
use memchr::memmem;

/// An answer and where its first box starts.
pub(super) struct BoxedAnswer {
    pub(super) start: usize,
    pub(super) answer: String,
}

/// A box in a text: byte range of the whole command, and its content.
struct Boxed<'t> {
    start: usize,
    end: usize,
    content: &'t str,
}

/// Commands, and how much of each stands in front of "box".
const COMMANDS: [(&str, usize); 3] = [("\\boxed", 1), ("\\fbox", 2), ("\\framebox", 6)];

/// Searches for closing braces in vain, after which all pairs are sought at once.
const MOST_SEARCHES: usize = 4;

/// The last box, together with those before it that only connecting words part from it.
pub(super) fn last_answer(text: &str, seen: Seen) -> Option<BoxedAnswer> {
    if !seen.may_hold("\\box") {
        return None;
    }
    let boxed = boxes(text);
    let mut first = boxed.len().checked_sub(1)?;
    while first > 0 && is_connection(&text[boxed[first - 1].end..boxed[first].start]) {
        first -= 1;
    }
    let boxed = &boxed[first..];
    Some(BoxedAnswer { start: boxed[0].start, answer: join(text, boxed) })
}

/// All boxes that hold something; one inside another belongs to it.
fn boxes(text: &str) -> Vec<Boxed<'_>> {
    let mut found: Vec<Boxed<'_>> = Vec::new();
    let mut braces = Braces { text, searches: 0, pairs: None };
    let mut from = 0;
    for place in memmem::find_iter(text.as_bytes(), "box") {
        let Some((start, end)) = command_around(text, place) else { continue };
        if start < from {
            continue;
        }
        let rest = &text[end..];
        let open = end + (rest.len() - rest.trim_start().len());
        let Some(close) = braces.closing(open) else { continue };
        let content = &text[open + 1..close];
        if !is_empty(content) && !is_quoted(&text[..start]) {
            found.push(Boxed { start, end: close + 1, content });
        }
        from = close + 1;
    }
    found
}

/// Where the command for a box starts and ends that holds "box" at a place.
fn command_around(text: &str, place: usize) -> Option<(usize, usize)> {
    COMMANDS.iter().find_map(|(command, before)| {
        let start = place.checked_sub(*before)?;
        // a backslash in front, so that this is where a character starts
        text.as_bytes()[start..]
            .starts_with(command.as_bytes())
            .then_some((start, start + command.len()))
    })
}

/// Whether a box stands in a string of a program: `f("\boxed{5}")`, `return "\boxed{5}"`.
fn is_quoted(before: &str) -> bool {
    let Some(before) = before.strip_suffix(['"', '\'']) else { return false };
    let bare = before.trim_end();
    let prefixed = ["(f", "(r", "(b", "=f", " f"].iter().any(|prefix| before.ends_with(prefix));
    prefixed || bare.ends_with(['(', '=']) || bare.ends_with("return")
}

/// Whether a box holds nothing: spaces, or dots as in "put your answer in `\boxed{...}`".
fn is_empty(content: &str) -> bool {
    let is_filling = |c: char| c.is_whitespace() || "{}$~.…,;:!\\_".contains(c);
    if !content.contains('\\') {
        return content.chars().all(is_filling);
    }
    let mut bare = content.to_owned();
    for spacing in ["\\quad", "\\qquad", "\\ldots", "\\dots", "\\text", "\\phantom"] {
        bare = bare.replace(spacing, "");
    }
    bare.chars().all(is_filling)
}

/// The contents, with commas between them, and with their names if each has one.
fn join(text: &str, boxed: &[Boxed<'_>]) -> String {
    let mut names: Vec<Option<&str>> = Vec::new();
    for (index, found) in boxed.iter().enumerate() {
        let from = index.checked_sub(1).map_or(0, |before| boxed[before].end);
        names.push(name_before(&text[from..found.start]));
    }
    let named = boxed.len() > 1 && names.iter().all(Option::is_some);
    let mut parts: Vec<String> = Vec::new();
    for (found, name) in boxed.iter().zip(names) {
        let content = found.content.trim();
        let part = match name.filter(|_| named && !content.contains('=')) {
            Some(name) => format!("{name} = {content}"),
            None => content.to_owned(),
        };
        // the same answer boxed twice is one answer
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(", ")
}

/// The name in front of `=` at the end of a text: `y_1` in `and $y_1 = `.
fn name_before(text: &str) -> Option<&str> {
    let before = text.trim_end().strip_suffix('=')?.trim_end();
    let start = before
        .char_indices()
        .rev()
        .take_while(|(_, c)| c.is_alphanumeric() || "_{}'\\".contains(*c))
        .last()
        .map(|(start, _)| start)?;
    let name = &before[start..];
    let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '\\') && name.len() <= 12;
    is_name.then_some(name)
}

/// The pairs of braces in a text; escaped ones do not count.
struct Braces<'t> {
    text: &'t str,
    /// Searches in vain, each of which went through the text.
    searches: usize,
    /// For the place of every opening brace that is closed the place of the brace that closes it,
    /// and 0 for all other places; what is sought only where much is opened and not closed.
    pairs: Option<Vec<usize>>,
}

impl Braces<'_> {
    /// The place of the brace that closes the one at a place, if there is one.
    fn closing(&mut self, open: usize) -> Option<usize> {
        if self.text.as_bytes().get(open) != Some(&b'{') {
            return None;
        }
        if self.searches == MOST_SEARCHES {
            let pairs = self.pairs.get_or_insert_with(|| matching_braces(self.text));
            return pairs.get(open).copied().filter(|close| *close > open);
        }
        // behind a command or a space, so it is not escaped
        let (mut depth, mut escaped) = (0usize, false);
        for (index, byte) in self.text.as_bytes()[open..].iter().enumerate() {
            match byte {
                b'\\' => {
                    escaped = !escaped;
                    continue;
                }
                b'{' if !escaped => depth += 1,
                b'}' if !escaped => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(open + index);
                    }
                }
                _ => {}
            }
            escaped = false;
        }
        self.searches += 1;
        None
    }
}

fn matching_braces(text: &str) -> Vec<usize> {
    let (mut open, mut pairs) = (Vec::new(), vec![0; text.len()]);
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
                    pairs[start] = index;
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
    let mut text = between.replace(['$', '~', ',', ';', '&', '+', '.', '*'], " ");
    for word in [
        "as well as",
        "\\quad",
        "\\qquad",
        "\\text{and}",
        "\\text{ and }",
        "\\text{or}",
        "\\text{ or }",
        "\\textbf{and}",
        "\\mathrm{and}",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\,",
        "\\;",
        "\\ ",
    ] {
        text = text.replace(word, " ");
    }
    let words: Vec<&str> =
        text.split_whitespace().filter(|word| !["and", "or"].contains(word)).collect();
    match words.as_slice() {
        [] => true,
        [name @ .., "="] => name.concat().len() <= 12,
        [name] => name.ends_with('=') && name.len() <= 12,
        _ => false,
    }
}
