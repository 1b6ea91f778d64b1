//! One spelling for each thing: LaTeX commands that only change how an answer looks go, synonyms
//! become one command, and Unicode's mathematical characters become LaTeX ([`characters`]).
//!
//! Nothing here changes what an answer says. Left out: macros that a document defines itself.

mod characters;
mod commands;

use crate::seen::Seen;
use characters::character;
use commands::{Meaning, meaning};
use memchr::memmem;
use std::borrow::Cow;

/// Set apart by LaTeX (`{,}`, `,\!`), so surely a separator of thousands.
pub(crate) const SEPARATOR: char = '\u{1}';

/// What is more than one command or character.
const REWRITTEN: [(&str, &str); 9] = [
    ("{\\%}", "\\%"),
    ("{}", ""),
    ("\\cr ", "\\\\ "),
    ("\\cr\n", "\\\\ "),
    ("\\not=", "\\ne "),
    ("\\not =", "\\ne "),
    ("^{\\prime}", "'"),
    ("^\\prime", "'"),
    ("\\,\\!", " "),
];

/// The text with one spelling for each thing; boundaries of formulas become `$`.
pub(crate) fn tidy(text: Cow<'_, str>) -> Cow<'_, str> {
    let seen = Seen::of(&text);
    // plain characters are what they are
    if !seen.may_hold_any("\\{~$\u{1}\u{7f}") {
        return text;
    }
    let mut text = match single_backslashes(&text, seen) {
        Cow::Borrowed(_) => text,
        Cow::Owned(single) => Cow::Owned(single),
    };
    let seen = Seen::of(&text);
    for (written, meant) in REWRITTEN {
        if seen.may_hold(written) && text.contains(written) {
            text = Cow::Owned(text.replace(written, meant));
        }
    }
    let text = separators(text);
    let mut tidied = String::with_capacity(text.len() + 16);
    let mut rest = &*text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => command(rest, &mut tidied),
            // a space that does not break, or "about" in front of a number
            '~' => {
                let apart = tidied.is_empty() || tidied.ends_with(' ');
                let number = rest[1..].trim_start().starts_with(|c: char| c.is_ascii_digit());
                tidied.push_str(if apart && number { "\\approx " } else { " " });
                &rest[1..]
            }
            // `$$` opens and closes formulas as `$` does
            '$' => {
                tidied.push('$');
                rest.strip_prefix("$$").unwrap_or(&rest[1..])
            }
            ascii if ascii.is_ascii() => {
                tidied.push(ascii);
                &rest[1..]
            }
            _ => character(rest, &mut tidied),
        };
    }
    Cow::Owned(tidied)
}

/// Separators of thousands that LaTeX sets apart.
fn separators(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains([',', '\\']) {
        return text;
    }
    let has_group = text.contains("{,") || text.contains("{ ,");
    let has_narrow_space = text.contains(",\\!");
    if !has_group && !has_narrow_space && !text.contains(SEPARATOR) {
        return text;
    }
    let mut text = text.into_owned();
    if has_group {
        text = text.replace(" {,", "{,");
        for spelling in ["{,}", "{, }", "{ , }"] {
            text = text.replace(spelling, "\u{1}");
        }
    }
    if has_narrow_space {
        text = text.replace(",\\! ", "\u{1}").replace(",\\!", "\u{1}");
    }
    Cow::Owned(text.replace("\u{1} ", "\u{1}"))
}

/// Writes what the command at the start of `rest` stands for; what is left behind it.
fn command<'t>(rest: &'t str, tidied: &mut String) -> &'t str {
    let behind = &rest[1..];
    let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
    if letters == 0 {
        return symbol_command(behind, tidied);
    }
    let (name, mut rest) = behind.split_at(letters);
    // a star, as in `\operatorname*`
    if let Some(starred) = rest.strip_prefix('*')
        && ["operatorname", "hspace", "vspace", "tag"].contains(&name)
    {
        rest = starred;
    }
    match meaning(name) {
        Some(Meaning::Nothing) => {
            // no delimiter on this side
            let invisible = ["left", "right", "middle"].contains(&name);
            if !invisible {
                tidied.push(' ');
                return rest;
            }
            // `\left<` is an angle bracket
            for (mark, bracket) in [(".", ""), ("<", "\\langle "), (">", "\\rangle ")] {
                if let Some(behind) = rest.strip_prefix(mark) {
                    tidied.push_str(bracket);
                    return behind;
                }
            }
        }
        Some(Meaning::NothingWithArguments(arguments)) => {
            for _ in 0..arguments {
                rest = behind_group(rest);
            }
        }
        Some(Meaning::Argument) => {
            // `\\bbox[5px]{...}`
            if let Some((_, behind)) = rest
                .strip_prefix('[')
                .filter(|_| name == "bbox")
                .and_then(|inside| inside.split_once(']'))
            {
                rest = behind;
            }
            tidied.push(' ');
        }
        Some(Meaning::Synonym(spelling)) => tidied.push_str(spelling),
        None => {
            tidied.push('\\');
            tidied.push_str(name);
        }
    }
    rest
}

/// Writes what a backslash before a mark, no letter, stands for; what is left behind it.
fn symbol_command<'t>(behind: &'t str, tidied: &mut String) -> &'t str {
    let Some(mark) = behind.chars().next() else {
        return behind;
    };
    let rest = &behind[mark.len_utf8()..];
    match mark {
        // the end of a row, perhaps with the distance to the next: `\\[2pt]`
        '\\' => {
            tidied.push_str("\\\\");
            let rest = rest.strip_prefix('*').unwrap_or(rest);
            let distance = rest.strip_prefix('[').and_then(|inside| inside.split_once(']'));
            return match distance {
                Some((size, behind)) if is_length(size) => behind,
                _ => rest,
            };
        }
        '!' => {}
        ',' | ';' | ':' | '>' | ' ' | '/' | '\n' => tidied.push(' '),
        '(' | ')' | '[' | ']' => tidied.push('$'),
        '$' => tidied.push_str("\\dollar "),
        '%' => tidied.push('%'),
        '#' => {}
        '{' | '}' | '|' => {
            tidied.push('\\');
            tidied.push(mark);
        }
        other => {
            tidied.push('\\');
            tidied.push(other);
        }
    }
    rest
}

/// Whether a text is a length of TeX: `2pt`, `-0.5 em`.
fn is_length(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || "-+. ".contains(c)).trim();
    unit.len() < text.len() && ["pt", "em", "ex", "mm", "cm", "in", "mu", "px"].contains(&unit)
}

/// What stands behind a group in braces, or behind one in square brackets and one in braces.
fn behind_group(text: &str) -> &str {
    let mut rest = text.trim_start();
    if let Some((_, behind)) = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        rest = behind.trim_start();
    }
    if !rest.starts_with('{') {
        return text;
    }
    let mut depth = 0usize;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &rest[index + 1..];
        }
    }
    text
}

/// `\\boxed` and the like, doubled by an escaping that was done twice, become `\boxed`; line breaks
/// of matrices stay.
pub(crate) fn single_backslashes(text: &str, seen: Seen) -> Cow<'_, str> {
    let holds = |word: &str| memmem::find(text.as_bytes(), word.as_bytes()).is_some();
    if !seen.may_hold("\\") || !holds("\\\\") || holds("\\begin") {
        return Cow::Borrowed(text);
    }
    let mut single = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\\\") {
        single.push_str(&rest[..at]);
        let behind = &rest[at + 2..];
        let is_command = behind.starts_with(|c: char| c.is_ascii_alphabetic());
        single.push_str(if is_command { "\\" } else { "\\\\" });
        rest = behind;
    }
    single.push_str(rest);
    // the two characters of an escaped line break
    Cow::Owned(single.replace("\\n\\n", "\n").replace("\\n\n", "\n"))
}

/// Lower case without spaces, dollar signs, braces and text commands: what is compared when a text
/// cannot be read as math.
pub(crate) fn bare(text: &str) -> String {
    let mut text = Cow::Borrowed(text);
    for command in ["\\text", "\\mathrm", "\\mathbf", "\\dollar"] {
        if text.contains('\\') && text.contains(command) {
            text = Cow::Owned(text.replace(command, ""));
        }
    }
    let ignored = ['$', '{', '}', SEPARATOR];
    let kept = text.chars().filter(|c| !c.is_whitespace() && !ignored.contains(c));
    let bare: String = kept.flat_map(char::to_lowercase).collect();
    let bare = bare.trim_matches(['.', ',', ';']);
    // `(A)` is A, `[0, 1)` stays
    match bare.strip_prefix('(').and_then(|inside| inside.strip_suffix(')')) {
        Some(inside) if !inside.contains(['(', ')']) => inside.to_owned(),
        _ => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(tidy(text.into()).split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn looks_go_and_meanings_stay() {
        check("\\left(1,2\\right]", "(1,2]");
        check("\\left.x\\right|", "x|");
        check("x \\rightarrow y", "x \\rightarrow y");
        check("\\textcolor{red}{5}", "{5}");
        check("{\\color{blue} 5}", "{ 5}");
        check("\\dfrac12", "\\frac12");
        check("10{,}000", "10\u{1}000");
        check("11,\\! 111", "11\u{1}111");
        check("1\\\\[2pt]2", "1\\\\2");
        check("\\$5", "\\dollar 5");
    }

    #[test]
    fn characters_become_commands() {
        check("x²y⁻¹", "x^{2}y^{-1}");
        check("3½", "3\\frac{1}{2}");
        check("a₁₂", "a_{12}");
        check("√12", "\\sqrt {12}");
        check("π", "\\pi");
        check("𝟒𝑥", "4x");
        check("（１，２）", "(1,2)");
        check("λόγος", "λόγος");
    }
}
