//! Notations that are rewritten before an answer is read: arrays as numpy prints them, brackets
//! that are turned around, vectors between angle brackets, equations on lines of their own, HTML.

use std::borrow::Cow;

/// The text in the notation that the parser reads.
pub(crate) fn rewritten(text: &str) -> Cow<'_, str> {
    match without_tags(text) {
        Cow::Borrowed(text) => notation(text),
        Cow::Owned(text) => Cow::Owned(notation(&text).into_owned()),
    }
}

fn notation(text: &str) -> Cow<'_, str> {
    let text = match text.trim() {
        "{}" | "\\{\\}" => return Cow::Borrowed("\\emptyset"),
        text => text.strip_prefix("> ").or_else(|| text.strip_prefix("* ")).unwrap_or(text),
    };
    if let Some(array) = array_with_commas(text) {
        return Cow::Owned(array);
    }
    if let Some(interval) = turned_brackets(text) {
        return Cow::Owned(interval);
    }
    let inside = text.strip_prefix('<').and_then(|inside| inside.strip_suffix('>'));
    if let Some(inside) = inside.filter(|inside| inside.contains(',') && !inside.contains('<')) {
        return Cow::Owned(format!("({inside})"));
    }
    if text.contains('\n') && text.contains('=') {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<&str> = lines.collect();
        let is_equation = |line: &&str| line.contains('=') && !line.ends_with("\\\\");
        if lines.len() > 1 && lines.iter().all(is_equation) && !text.contains("\\begin") {
            return Cow::Owned(lines.join(", "));
        }
    }
    Cow::Borrowed(text)
}

/// `[[1 2] [3 4]]` and `[0.5 1.]` with commas; `None` for anything but brackets and numbers that
/// only spaces part.
fn array_with_commas(text: &str) -> Option<String> {
    let is_array = text.starts_with('[')
        && text.ends_with(']')
        && text.contains(char::is_whitespace)
        && text.chars().all(|c| c.is_ascii_digit() || c.is_whitespace() || "[]-+.e".contains(c));
    if !is_array {
        return None;
    }
    let apart = text.replace('[', " [ ").replace(']', " ] ");
    let mut array = String::new();
    let mut last = "[";
    for word in apart.split_whitespace() {
        if last != "[" && word != "]" {
            array.push_str(", ");
        }
        // `1.` is how numpy prints 1.0
        array.push_str(word.strip_suffix('.').unwrap_or(word));
        last = word;
    }
    Some(array)
}

/// `]1,2[` as `(1,2)`, `[1,2[` as `[1,2)`.
pub(crate) fn turned_brackets(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let turned = match (bytes.first()?, bytes.last()?) {
        (b']', b'[') => ('(', ')'),
        (b']', b']') => ('(', ']'),
        (b'[', b'[') => ('[', ')'),
        _ => return None,
    };
    let inside = text.get(1..text.len() - 1)?;
    let is_plain = inside.matches(',').count() == 1 && !inside.contains(['[', ']', '\n']);
    is_plain.then(|| format!("{}{inside}{}", turned.0, turned.1))
}

/// Tags of HTML that only change how a text looks; raised text becomes a power.
fn without_tags(text: &str) -> Cow<'_, str> {
    if !text.contains('<') {
        return Cow::Borrowed(text);
    }
    let mut text = text.replace("<sup>", "^{").replace("</sup>", "}");
    for name in ["b", "i", "u", "strong", "em", "span", "p", "center", "div", "code", "mark"] {
        for tag in [format!("<{name}>"), format!("</{name}>")] {
            text = text.replace(&tag, "");
        }
    }
    if let Some(end) = end_of_turn(&text) {
        text.truncate(end);
    }
    Cow::Owned(text)
}

/// Where a turn ends by a special token: `<|im_end|>`, but not `0 <|x| < 2`.
pub(crate) fn end_of_turn(text: &str) -> Option<usize> {
    text.match_indices("<|").map(|(at, _)| at).find(|at| {
        let inside = &text[at + "<|".len()..];
        let name =
            inside.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inside.len());
        name >= 3 && inside[name..].starts_with("|>")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations_of_others() {
        assert_eq!(rewritten("[[1. 2.]\n [3. 4.]]"), "[[1, 2], [3, 4]]");
        assert_eq!(rewritten("[1, 2]"), "[1, 2]");
        assert_eq!(rewritten("]1,2["), "(1,2)");
        assert_eq!(rewritten("<3,-1>"), "(3,-1)");
        assert_eq!(rewritten("x = 1\ny = 2"), "x = 1, y = 2");
        assert_eq!(rewritten("<b>5</b> cm<sup>2</sup>"), "5 cm^{2}");
        assert_eq!(rewritten("1 < 2"), "1 < 2");
    }
}
