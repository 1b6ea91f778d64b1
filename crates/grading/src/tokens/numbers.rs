//! Numbers with their separators, repeated digits and exponents, ordinals, and times of day.

use super::{Commas, Digits, Lexer, Token};
use crate::spelling::SEPARATOR;
use crate::tree::Clock;

/// Digits of a number beyond which a text is not read.
const MOST_DIGITS: usize = 400;

impl Lexer {
    /// Digits with separators, a decimal point, repeated digits, an exponent; or a time of day.
    pub(super) fn number(&mut self) -> Option<()> {
        if let Some(length) = self.plain_number() {
            let digits = &self.characters[self.at..self.at + length];
            let is_padded = digits[0] == '0' && length > 1 && !digits.contains(&'.');
            if length > MOST_DIGITS || (is_padded && self.commas == Commas::Items) {
                return None;
            }
            let text = digits.iter().collect();
            self.at += length;
            self.tokens.push(Token::Number(Digits { text, exponent: None }));
            return Some(());
        }
        if let Some((clock, parts, length)) = self.time() {
            self.tokens.push(Token::Time(clock, parts));
            self.at += length;
            self.afternoon();
            return Some(());
        }
        let mut number = String::new();
        let mut separated = None;
        while let Some(c) = self.peek(0) {
            let is_whole = !number.contains('.');
            let may_group = is_whole
                && self.is_group(1)
                && !number.starts_with('0')
                && (number.len() <= 3 || separated.is_some())
                && separated.is_none_or(|of| of == c);
            match c {
                c if c.is_ascii_digit() => number.push(c),
                '.' if is_whole && self.is_digit(1) => number.push('.'),
                SEPARATOR if may_group => separated = Some(c),
                // in brackets commas part items, but none is written `000`
                ',' if may_group
                    && self.commas == Commas::Thousands
                    && (self.brackets == 0 || self.peek(1) == Some('0')) =>
                {
                    separated = Some(c);
                }
                ' ' if may_group && !number.is_empty() && self.is_spaced_number(number.len()) => {
                    separated = Some(c);
                }
                // as programs may write it
                '_' | '\'' if may_group && !number.is_empty() => separated = Some(c),
                ',' if is_whole
                    && self.commas == Commas::Decimal
                    && self.is_digit(1)
                    && !self.is_group(1) =>
                {
                    number.push('.');
                }
                _ => break,
            }
            self.at += 1;
        }
        // `5,007` is no list of 5 and 7
        let is_padded = number.len() > 1 && number.starts_with('0') && !number.contains('.');
        if number.len() > MOST_DIGITS || (is_padded && self.commas == Commas::Items) {
            return None;
        }
        if let Some((whole, period)) = self.repeating(&number) {
            self.tokens.push(Token::Repeating(whole, period));
            return Some(());
        }
        let mut exponent = None;
        if let Some((length, value)) = exponent_of(&self.characters[self.at..]) {
            self.at += length;
            exponent = Some(value);
        }
        self.tokens.push(Token::Number(Digits { text: number, exponent }));
        self.ordinal();
        self.afternoon();
        self.oclock();
        Some(())
    }

    /// The length of digits, perhaps with a decimal point, behind which nothing stands that may
    /// belong to them: most numbers.
    fn plain_number(&self) -> Option<usize> {
        let rest = &self.characters[self.at..];
        let digits = |from: usize| rest[from..].iter().take_while(|c| c.is_ascii_digit()).count();
        let whole = digits(0);
        let mut length = whole;
        let has_point = rest.get(whole) == Some(&'.');
        if has_point {
            length = whole + 1 + digits(whole + 1);
            if length == whole + 1 {
                return None;
            }
        }
        let (next, second) = (rest.get(length), rest.get(length + 1));
        let is_plain = match next {
            None => true,
            Some(')' | ']' | '}' | '+' | '-' | '*' | '/' | '=' | '<' | '>' | '|' | '!' | '%')
            | Some(';' | '&' | '$' | 'x' | 'y') => true,
            // the repeated digits of `0.(3)` and the like
            Some('(' | '{') => !has_point,
            Some(',') => !second.is_some_and(char::is_ascii_digit),
            // `4^{th}`
            Some('^') => match second {
                Some('{') => rest.get(length + 2).is_some_and(char::is_ascii_digit),
                second => second.is_some_and(char::is_ascii_digit),
            },
            Some(' ') => {
                let behind = rest[length..].iter().find(|c| !c.is_whitespace());
                behind.is_none_or(|c| "+-*/=<>&)]},".contains(*c))
            }
            _ => false,
        };
        is_plain.then_some(length)
    }

    /// Whether exactly three digits stand ahead.
    fn is_group(&self, ahead: usize) -> bool {
        (ahead..ahead + 3).all(|place| self.is_digit(place)) && !self.is_digit(ahead + 3)
    }

    /// Whether spaces part groups of three digits here: `10 000`, but not `1 100/3`.
    fn is_spaced_number(&self, digits: usize) -> bool {
        // the index of `\log_2 100` is a number of its own
        let before = self.at.checked_sub(digits + 1).map(|at| self.characters[at]);
        let is_argument = before.is_some_and(|c| c == '_' || c == '^' || c.is_alphabetic());
        !is_argument && !matches!(self.peek(4), Some('/' | '^' | '_' | '!')) && self.brackets == 0
    }

    /// Whether a decimal point is followed by repeated digits at once: `.\overline{3}`.
    pub(super) fn is_marked_digit(&self) -> bool {
        let rest: String = self.characters[self.at + 1..].iter().take(10).collect();
        REPETITIONS.iter().any(|mark| rest.starts_with(&format!("\\{mark}")))
    }

    /// `0.1\overline{6}`, `0.\dot{1}4\dot{2}`, `0.(3)`, `0.333...`, "0.3 repeating": the digits in
    /// front and those that are repeated.
    fn repeating(&mut self, number: &str) -> Option<(String, String)> {
        if !matches!(self.peek(0), Some('.' | '\\' | '(' | '{' | ' ')) {
            return None;
        }
        let rest: String = self.characters[self.at..].iter().take(120).collect();
        let point = if number.contains('.') { "" } else { "." };
        let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
        if !fraction.is_empty() && rest.trim_start().starts_with("repeating") {
            let spaces = rest.chars().count() - rest.trim_start().chars().count();
            self.at += spaces + "repeating".len();
            let front = &number[..number.len() - fraction.len()];
            return Some((front.to_owned(), fraction.to_owned()));
        }
        let behind = rest.strip_prefix(point)?;
        if let Some((period, length)) = marked_digits(behind) {
            self.at += point.len() + length;
            return Some((format!("{number}{point}"), period));
        }
        // `2.5(4)` is a product
        if (fraction.is_empty() || number.starts_with("0."))
            && let Some((period, _)) =
                behind.strip_prefix('(').and_then(|inside| inside.split_once(')'))
            && !period.is_empty()
            && period.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.at += point.len() + "()".len() + period.len();
            return Some((format!("{number}{point}"), period.to_owned()));
        }
        // `0.1666...`: what has been repeated goes on
        let dots = ["...", "\\dots"].into_iter().find(|dots| behind.starts_with(dots))?;
        if fraction.is_empty() {
            return None;
        }
        self.at += dots.len();
        for length in 1..=fraction.len() / 2 {
            let period = &fraction[fraction.len() - length..];
            let times = if length == 1 { 3 } else { 2 };
            if fraction.ends_with(&period.repeat(times)) {
                return Some((number.to_owned(), period.to_owned()));
            }
        }
        // else it is the number that was cut
        Some((number.to_owned(), String::new()))
    }

    /// `8:05` or `8:05:30`, its parts, and its length.
    fn time(&self) -> Option<(Clock, Vec<String>, usize)> {
        let mut parts: Vec<String> = Vec::new();
        let mut ahead = 0;
        loop {
            let mut part = String::new();
            while self.is_digit(ahead) {
                part.push(self.peek(ahead)?);
                ahead += 1;
            }
            let is_right = if parts.is_empty() { part.len() <= 2 } else { part.len() == 2 };
            if !is_right || part.is_empty() || parts.len() == 3 {
                return None;
            }
            parts.push(part);
            if self.peek(ahead) == Some(':') && self.is_digit(ahead + 1) {
                ahead += 1;
            } else {
                break;
            }
        }
        let behind = self.at.checked_sub(1).map(|at| self.characters[at]);
        let is_part = behind.is_some_and(|c| c == ':' || c == '.' || c.is_alphanumeric());
        let goes_on = matches!(self.peek(ahead), Some('.')) && self.is_digit(ahead + 1);
        if parts.len() < 2 || is_part || goes_on {
            return None;
        }
        let numbers: Vec<u32> = parts.iter().filter_map(|part| part.parse().ok()).collect();
        let (hours, minutes) = (numbers[0], numbers[1]);
        let seconds = numbers.get(2).copied().unwrap_or(0);
        if hours > 24 || minutes > 59 || seconds > 59 {
            return None;
        }
        let clock = Clock { seconds: hours * 3600 + minutes * 60 + seconds, afternoon: None };
        Some((clock, parts, ahead))
    }

    /// The ending of an ordinal directly behind digits: `3rd`, `4^{th}`.
    fn ordinal(&mut self) {
        if !matches!(self.peek(0), Some('s' | 'n' | 'r' | 't' | '^' | '\\')) {
            return;
        }
        let is_whole = matches!(self.tokens.last(), Some(Token::Number(of)) if of.is_whole());
        if is_whole && let Some(length) = ordinal_ending(&self.characters[self.at..]) {
            self.at += length;
        }
    }

    /// `o'clock` behind a number.
    fn oclock(&mut self) {
        let rest = &self.characters[self.at..];
        let spaces = rest.iter().take_while(|c| c.is_whitespace()).count();
        let spelling = "o'clock";
        if rest[spaces..].iter().take(spelling.len()).copied().eq(spelling.chars()) {
            self.at += spaces + spelling.len();
            self.tokens.push(Token::OClock);
        }
    }

    /// `a.m.` or `p.m.` behind a number or time.
    fn afternoon(&mut self) {
        let next = self.characters[self.at..].iter().find(|c| !c.is_whitespace());
        if !matches!(next, Some('a' | 'p' | 'A' | 'P' | 'i' | '\\')) {
            return;
        }
        let rest: String = self.characters[self.at..].iter().take(24).collect();
        let lowered = rest.to_lowercase();
        let spaced = lowered.trim_start();
        let skipped = lowered.chars().count() - spaced.chars().count();
        let (inside, wrapped) = match spaced.strip_prefix("\\text{") {
            Some(inside) => (inside, true),
            None => match spaced.strip_prefix("\\mathrm{") {
                Some(inside) => (inside, true),
                None => (spaced, false),
            },
        };
        let padding = inside.chars().count() - inside.trim_start().chars().count();
        for (spelling, afternoon) in [
            ("a.m.", false),
            ("p.m.", true),
            ("a.m", false),
            ("p.m", true),
            ("am", false),
            ("pm", true),
            ("in the morning", false),
            ("in the afternoon", true),
            ("in the evening", true),
            ("at night", true),
        ] {
            let Some(behind) = inside.trim_start().strip_prefix(spelling) else { continue };
            if behind.starts_with(char::is_alphanumeric) {
                continue;
            }
            let mut length = skipped + padding + spelling.len();
            if wrapped {
                let Some(_) = behind.trim_start().strip_prefix('}') else { continue };
                let opening = spaced.chars().count() - inside.chars().count();
                let spaces = behind.chars().count() - behind.trim_start().chars().count();
                length += opening + spaces + 1;
            }
            self.at += length;
            self.tokens.push(Token::Afternoon(afternoon));
            return;
        }
    }
}

/// The length of the ending of an ordinal: `rd`, `^{rd}`, `\text{rd}`, `^\mathrm{rd}`,
/// `^{\text{rd}}`.
fn ordinal_ending(rest: &[char]) -> Option<usize> {
    let starts = |at: usize, word: &str| {
        rest.get(at..).is_some_and(|rest| rest.iter().take(word.len()).copied().eq(word.chars()))
    };
    let raised = starts(0, "^");
    let braced = starts(0, "^{");
    let mut at = usize::from(raised) + usize::from(braced);
    let wrapping = ["\\text{", "\\mathrm{"].into_iter().find(|wrapping| starts(at, wrapping));
    at += wrapping.map_or(0, str::len);
    let is_known = match wrapping {
        Some(wrapping) => raised || wrapping.starts_with("\\text"),
        None => raised == braced,
    };
    if !is_known || !["st", "nd", "rd", "th"].into_iter().any(|ending| starts(at, ending)) {
        return None;
    }
    at += 2;
    for _ in 0..usize::from(wrapping.is_some()) + usize::from(braced) {
        if !starts(at, "}") {
            return None;
        }
        at += 1;
    }
    (!rest.get(at).is_some_and(|c| c.is_alphabetic())).then_some(at)
}

/// Marks over digits that are repeated.
const REPETITIONS: [&str; 6] = ["overline", "bar", "dot", "widehat", "overbar", "hat"];

/// Digits under marks at the start of a text, those between two dots with them, and the length of
/// what was read.
fn marked_digits(text: &str) -> Option<(String, usize)> {
    let (mut period, mut at, mut end) = (String::new(), 0, 0);
    let wrapped = text.starts_with("{\\");
    if wrapped {
        at = 1;
    }
    loop {
        let rest = &text[at..];
        let Some((mark, inside)) = REPETITIONS.iter().find_map(|mark| {
            Some((mark, rest.strip_prefix('\\')?.strip_prefix(mark)?.trim_start()))
        }) else {
            break;
        };
        let digits = match inside.strip_prefix('{') {
            Some(inside) => inside.split_once('}')?.0,
            None => inside.get(..1)?,
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        period.push_str(digits);
        let braces = if inside.starts_with('{') { 2 } else { 0 };
        at = text.len() - inside.len() + digits.len() + braces;
        end = at;
        // digits between the dots over the first and the last
        if *mark == "dot" {
            let between = text[at..].bytes().take_while(u8::is_ascii_digit).count();
            if between > 0 && text[at + between..].starts_with("\\dot") {
                period.push_str(&text[at..at + between]);
                at += between;
            }
        }
    }
    if period.is_empty() {
        return None;
    }
    if wrapped {
        end += text[end..].starts_with('}').then_some(1)?;
    }
    // `0.\overline{3}\ldots`
    for dots in ["\\dots", "..."] {
        if text[end..].trim_start().starts_with(dots) {
            end = text.len() - text[end..].trim_start().len() + dots.len();
        }
    }
    Some((period, end))
}

/// Length and value of `e-5` in `1.5e-5`, as programs print it; at most three digits, and nothing
/// that goes on like a word or number.
fn exponent_of(rest: &[char]) -> Option<(usize, i32)> {
    if !matches!(rest.first(), Some('e' | 'E')) {
        return None;
    }
    let sign = usize::from(matches!(rest.get(1), Some('+' | '-')));
    let digits = rest[1 + sign..].iter().take_while(|c| c.is_ascii_digit()).count();
    let end = 1 + sign + digits;
    let goes_on = rest.get(end).is_some_and(|c| c.is_alphanumeric())
        || (rest.get(end) == Some(&'.') && rest.get(end + 1).is_some_and(char::is_ascii_digit));
    if !(1..=3).contains(&digits) || goes_on {
        return None;
    }
    let text: String = rest[1..end].iter().collect();
    Some((end, text.parse().ok()?))
}
