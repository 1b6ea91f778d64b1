//! Numbers with their separators, repeated digits and exponents, ordinals, and times of day.

use super::{Commas, Digits, Lexer, Token};
use crate::spelling::SEPARATOR;
use crate::tree::Clock;

/// Digits of a number beyond which a text is not read.
const MOST_DIGITS: usize = 400;

impl Lexer {
    /// Digits with separators, a decimal point, repeated digits, an exponent; or a time of day.
    pub(super) fn number(&mut self) -> Option<()> {
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
                ',' if may_group && self.commas == Commas::Thousands && self.brackets == 0 => {
                    separated = Some(c);
                }
                ' ' if may_group && !number.is_empty() && self.is_spaced_number() => {
                    separated = Some(c);
                }
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
        if number.len() > MOST_DIGITS {
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

    /// Whether exactly three digits stand ahead.
    fn is_group(&self, ahead: usize) -> bool {
        (ahead..ahead + 3).all(|place| self.is_digit(place)) && !self.is_digit(ahead + 3)
    }

    /// Whether spaces part groups of three digits here: `10 000`, but not `1 100/3`.
    fn is_spaced_number(&self) -> bool {
        !matches!(self.peek(4), Some('/' | '^' | '_' | '!')) && self.brackets == 0
    }

    /// `0.1\overline{6}`, `0.\dot{1}4\dot{2}`, `0.(3)`, `0.333...`: the digits in front and those
    /// that are repeated.
    fn repeating(&mut self, number: &str) -> Option<(String, String)> {
        if !matches!(self.peek(0), Some('.' | '\\' | '(')) {
            return None;
        }
        let rest: String = self.characters[self.at..].iter().take(120).collect();
        let point = if number.contains('.') { "" } else { "." };
        let behind = rest.strip_prefix(point)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        for (opening, closing) in [("\\overline{", "}"), ("\\bar{", "}"), ("(", ")")] {
            // `2.5(4)` is a product
            let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction);
            if opening == "(" && !fraction.is_empty() && !number.starts_with("0.") {
                continue;
            }
            if let Some((period, _)) =
                behind.strip_prefix(opening).and_then(|inside| inside.split_once(closing))
                && digits(period)
            {
                self.at += point.len() + opening.len() + period.len() + closing.len();
                return Some((format!("{number}{point}"), period.to_owned()));
            }
        }
        for opening in ["\\overline ", "\\bar ", "\\dot ", "\\overline", "\\bar"] {
            let period = behind.strip_prefix(opening).and_then(|inside| inside.get(..1));
            if let Some(period) = period.filter(|period| digits(period)) {
                self.at += point.len() + opening.len() + 1;
                return Some((format!("{number}{point}"), period.to_owned()));
            }
        }
        // dots over the first and the last digit of the period
        if let Some(inside) = behind.strip_prefix("\\dot{") {
            let first = inside.get(..1).filter(|digit| digits(digit))?;
            let inside = inside[1..].strip_prefix('}')?;
            let between = &inside[..inside.bytes().take_while(u8::is_ascii_digit).count()];
            let last = inside[between.len()..].strip_prefix("\\dot{");
            let last = last.and_then(|of| of.get(..1)).filter(|digit| digits(digit));
            let period = match last {
                Some(last) => format!("{first}{between}{last}"),
                None if between.is_empty() => first.to_owned(),
                None => return None,
            };
            let written = "\\dot{}".len() * if last.is_some() { 2 } else { 1 };
            self.at += point.len() + written + period.len();
            return Some((format!("{number}{point}"), period));
        }
        // `0.1666...`: what has been repeated twice goes on
        let fraction = number.split_once('.').map(|(_, fraction)| fraction)?;
        let dots = ["...", "\\dots"].into_iter().find(|dots| behind.starts_with(dots))?;
        for length in 1..=fraction.len() / 2 {
            let period = &fraction[fraction.len() - length..];
            let times = if length == 1 { 3 } else { 2 };
            if fraction.ends_with(&period.repeat(times)) {
                self.at += dots.len();
                return Some((number.to_owned(), period.to_owned()));
            }
        }
        // else it is the number that was cut
        self.at += dots.len();
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
        let rest: String = self.characters[self.at..].iter().take(16).collect();
        let is_whole = matches!(self.tokens.last(), Some(Token::Number(of)) if of.is_whole());
        if !is_whole {
            return;
        }
        for ending in ["st", "nd", "rd", "th"] {
            let spellings = [
                ending.to_owned(),
                format!("^{{{ending}}}"),
                format!("^\\text{{{ending}}}"),
                format!("^{{\\text{{{ending}}}}}"),
                format!("\\text{{{ending}}}"),
                format!("^\\mathrm{{{ending}}}"),
                format!("^{{\\mathrm{{{ending}}}}}"),
            ];
            for spelling in spellings {
                let behind = rest.strip_prefix(spelling.as_str());
                if behind.is_some_and(|rest| !rest.starts_with(char::is_alphabetic)) {
                    self.at += spelling.chars().count();
                    return;
                }
            }
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
        if !matches!(next, Some('a' | 'p' | 'A' | 'P' | '\\')) {
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
