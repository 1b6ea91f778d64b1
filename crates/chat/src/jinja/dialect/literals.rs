//! Texts in quotes, whose escapes Python and minijinja know differently.

use super::tokens::{Kind, tokens};

/// Texts with backslashes, written with escapes that both know.
pub(super) fn rewrite_texts(inside: &str) -> String {
    let mut result = String::new();
    let mut from = 0;
    for token in tokens(inside) {
        let text = &inside[token.at.clone()];
        if token.kind == Kind::Text && text.contains('\\') && text.len() >= 2 {
            result.push_str(&inside[from..token.at.start]);
            result.push('"');
            for c in unescaped(&text[1..text.len() - 1]).chars() {
                match c {
                    '"' => result.push_str("\\\""),
                    '\\' => result.push_str("\\\\"),
                    c => result.push(c),
                }
            }
            result.push('"');
            from = token.at.end;
        }
    }
    result + &inside[from..]
}

/// What Python's codec `unicode-escape` makes of a text; what it does not know stays as it is.
fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(code) = rest.chars().next() else {
            result.push('\\');
            break;
        };
        let behind = &rest[code.len_utf8()..];
        let digits = |from: &str, most: usize, radix: u32| -> Option<(char, usize)> {
            let length = from.chars().take(most).take_while(|c| c.is_digit(radix)).count();
            let value = u32::from_str_radix(&from[..length], radix).ok()?;
            Some((char::from_u32(value)?, length))
        };
        let (character, length) = match code {
            '\n' => (None, 0),
            '\\' | '\'' | '"' => (Some(code), 0),
            'a' => (Some('\u{7}'), 0),
            'b' => (Some('\u{8}'), 0),
            'f' => (Some('\u{c}'), 0),
            'n' => (Some('\n'), 0),
            'r' => (Some('\r'), 0),
            't' => (Some('\t'), 0),
            'v' => (Some('\u{b}'), 0),
            'x' | 'u' | 'U' => {
                let width = match code {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                match digits(behind, width, 16) {
                    Some((c, length)) if length == width => (Some(c), length),
                    _ => {
                        result.push('\\');
                        (Some(code), 0)
                    }
                }
            }
            '0'..='7' => match digits(rest, 3, 8) {
                Some((c, length)) => (Some(c), length - 1),
                None => (Some(code), 0),
            },
            _ => {
                result.push('\\');
                (Some(code), 0)
            }
        };
        result.extend(character);
        rest = &behind[length..];
    }
    result + rest
}
