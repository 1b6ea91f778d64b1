//! From tidied text to tokens. The length of the text and of numbers is limited.

use crate::spelling::SEPARATOR;
use crate::tree::Clock;
use crate::units::Measure;

/// Tokens beyond which a text is not read.
const MOST_TOKENS: usize = 2000;
/// Digits of a number beyond which a text is not read.
const MOST_DIGITS: usize = 400;
/// Text commands inside text commands.
const DEEPEST_TEXT: usize = 4;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// Digits with their separators removed, perhaps with a decimal point; `printed` are those
    /// before an exponent was applied, if there was one.
    Number(Digits),
    /// A decimal number and the digits that are repeated behind it.
    Repeating(String, String),
    /// `8:05`, which may also be a ratio; its numbers as they were written.
    Time(Clock, Vec<String>),
    /// `a.m.` is false, `p.m.` is true.
    Afternoon(bool),
    Letter(char),
    /// Two letters or more that stand together.
    Letters(String),
    Command(String),
    Text(String),
    Mark(char),
    /// The end of a matrix's row.
    Break,
    Space,
}

/// A number as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Digits {
    /// Digits, perhaps with a decimal point.
    pub(crate) text: String,
    /// The exponent behind `e`.
    pub(crate) exponent: Option<i32>,
}

impl Digits {
    /// Whether it is digits alone.
    pub(crate) fn is_whole(&self) -> bool {
        self.exponent.is_none() && !self.text.contains('.')
    }
}

/// How commas between digits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commas {
    /// `1,234` is a number where no bracket is open.
    Thousands,
    /// They always part items.
    Items,
    /// `2,74` is a decimal number.
    Decimal,
}

/// Functions by the names that LaTeX and programs give them, and the name that is kept.
const FUNCTIONS: [(&str, &str); 43] = [
    ("arcsin", "arcsin"),
    ("arccos", "arccos"),
    ("arctan", "arctan"),
    ("asin", "arcsin"),
    ("acos", "arccos"),
    ("atan", "arctan"),
    ("sinh", "sinh"),
    ("cosh", "cosh"),
    ("tanh", "tanh"),
    ("sin", "sin"),
    ("cos", "cos"),
    ("tan", "tan"),
    ("cot", "cot"),
    ("sec", "sec"),
    ("csc", "csc"),
    ("cosec", "csc"),
    ("log", "log"),
    ("ln", "ln"),
    ("lg", "lg"),
    ("exp", "exp"),
    ("min", "min"),
    ("max", "max"),
    ("Min", "min"),
    ("Max", "max"),
    ("gcd", "gcd"),
    ("GCD", "gcd"),
    ("igcd", "gcd"),
    ("lcm", "lcm"),
    ("LCM", "lcm"),
    ("ilcm", "lcm"),
    ("sqrt", "sqrt"),
    ("cbrt", "cbrt"),
    ("binom", "binom"),
    ("binomial", "binom"),
    ("comb", "binom"),
    ("floor", "floor"),
    ("ceil", "ceil"),
    ("ceiling", "ceil"),
    ("factorial", "factorial"),
    ("abs", "abs"),
    ("Abs", "abs"),
    ("det", "det"),
    ("sgn", "sgn"),
];

/// The kept name of a function.
pub(crate) fn function_named(name: &str) -> Option<&'static str> {
    FUNCTIONS.iter().find(|(of, _)| *of == name).map(|(_, kept)| *kept)
}

/// Functions of angles, in which a degree sign counts.
pub(crate) fn is_trigonometric(function: &str) -> bool {
    ["sin", "cos", "tan", "cot", "sec", "csc"].contains(&function)
}

/// The tokens of a text; `None` where it is too long or has an unknown escape.
pub(crate) fn tokens(text: &str, commas: Commas) -> Option<Vec<Token>> {
    let mut lexer = Lexer {
        characters: text.chars().collect(),
        at: 0,
        brackets: 0,
        commas,
        tokens: Vec::new(),
        depth: 0,
    };
    lexer.run()?;
    Some(lexer.tokens)
}

struct Lexer {
    characters: Vec<char>,
    at: usize,
    /// Brackets that are open, in which commas part items.
    brackets: usize,
    commas: Commas,
    tokens: Vec<Token>,
    /// Text commands around.
    depth: usize,
}

impl Lexer {
    fn run(&mut self) -> Option<()> {
        while let Some(c) = self.peek(0) {
            if self.tokens.len() > MOST_TOKENS {
                return None;
            }
            match c {
                '\\' => self.command()?,
                c if c.is_ascii_digit() => self.number()?,
                '.' if self.is_digit(1) => self.number()?,
                c if c.is_alphabetic() => self.letters(),
                c if c.is_whitespace() => {
                    self.space();
                    self.at += 1;
                }
                '$' => self.at += 1,
                _ => self.mark(c),
            }
        }
        Some(())
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn is_digit(&self, ahead: usize) -> bool {
        self.peek(ahead).is_some_and(|c| c.is_ascii_digit())
    }

    fn space(&mut self) {
        if self.tokens.last() != Some(&Token::Space) {
            self.tokens.push(Token::Space);
        }
    }

    fn open(&mut self) {
        self.brackets += 1;
    }

    fn close(&mut self) {
        self.brackets = self.brackets.saturating_sub(1);
    }

    /// A sign, a bracket, or several characters that make one sign.
    fn mark(&mut self, c: char) {
        let pair = self.peek(1).map(|next| (c, next));
        let double = match pair {
            Some(('!', '=')) => Some(Token::Command("ne".into())),
            Some(('<', '=')) | Some(('=', '<')) => Some(Token::Command("le".into())),
            Some(('>', '=')) | Some(('=', '>')) => Some(Token::Command("ge".into())),
            Some(('=', '=')) => Some(Token::Mark('=')),
            // a power, as programs write it
            Some(('*', '*')) => Some(Token::Mark('^')),
            _ => None,
        };
        if let Some(token) = double {
            self.tokens.push(token);
            self.at += 2;
            return;
        }
        match c {
            '(' | '[' => self.open(),
            ')' | ']' => self.close(),
            _ => {}
        }
        self.tokens.push(Token::Mark(if c == SEPARATOR { ',' } else { c }));
        self.at += 1;
    }

    fn command(&mut self) -> Option<()> {
        let name: String =
            self.characters[self.at + 1..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
        if name.is_empty() {
            let mark = self.peek(1)?;
            self.at += 2;
            let token = match mark {
                '\\' => Token::Break,
                '{' => {
                    self.open();
                    Token::Mark('⟨')
                }
                '}' => {
                    self.close();
                    Token::Mark('⟩')
                }
                '|' => Token::Mark('‖'),
                _ => return None,
            };
            self.tokens.push(token);
            return Some(());
        }
        self.at += 1 + name.len();
        match name.as_str() {
            "text" | "mathrm" => self.text(name == "mathrm"),
            "begin" | "end" => self.environment(&name),
            _ => {
                self.tokens.push(Token::Command(name));
                Some(())
            }
        }
    }

    /// The content of a group in braces that starts here, and a step behind it.
    fn group(&mut self) -> Option<String> {
        let (mut depth, start) = (0, self.at + 1);
        while let Some(c) = self.peek(0) {
            depth += i32::from(c == '{') - i32::from(c == '}');
            if depth == 0 {
                break;
            }
            self.at += 1;
        }
        let content = self.characters.get(start..self.at)?.iter().collect();
        self.at += 1;
        Some(content)
    }

    /// `\text{...}` and its kind. Words stay words; what holds numbers or formulas is read as if
    /// the command were not there. Of commands of formulas (`upright`) one letter is a variable.
    fn text(&mut self, upright: bool) -> Option<()> {
        while self.peek(0) == Some(' ') {
            self.at += 1;
        }
        if self.peek(0) != Some('{') {
            return Some(());
        }
        let content = self.group()?;
        let content = content.replace(['$', '~'], " ");
        let word = content.trim();
        // a command that was set inside: `\text{\textbf{odd}}`
        let bare = word.trim_start_matches(['{', ' ']).trim_end_matches(['}', ' ']);
        if let Some(function) = function_named(bare) {
            self.tokens.push(Token::Command(function.to_owned()));
            return Some(());
        }
        let mut letters = bare.chars();
        let behind_value = self.tokens.iter().rev().find(|token| **token != Token::Space);
        let behind_value =
            matches!(behind_value, Some(Token::Number(_) | Token::Mark('}' | ')' | '⟩')));
        if let (Some(letter), None) = (letters.next(), letters.next())
            && letter.is_alphabetic()
            && (("ie".contains(letter) && !behind_value) || (upright && !behind_value))
        {
            self.tokens.push(Token::Letter(letter));
            return Some(());
        }
        let is_plain = if upright {
            bare.chars().all(|c| c.is_alphabetic() || c == ' ' || c == '.')
        } else {
            !bare.chars().any(|c| c.is_ascii_digit() || "\\=<>^+{},".contains(c))
        };
        if is_plain || Measure::parse(bare).is_some() {
            self.tokens.push(Token::Text(bare.to_owned()));
            return Some(());
        }
        if self.depth >= DEEPEST_TEXT {
            return None;
        }
        let mut inner = Lexer {
            characters: content.chars().collect(),
            at: 0,
            brackets: self.brackets,
            commas: self.commas,
            tokens: Vec::new(),
            depth: self.depth + 1,
        };
        inner.run()?;
        self.space();
        self.tokens.append(&mut inner.tokens);
        self.space();
        Some(())
    }

    /// `\begin{...}` and `\end{...}`.
    fn environment(&mut self, which: &str) -> Option<()> {
        let name: String =
            self.characters.get(self.at + 1..)?.iter().take_while(|c| **c != '}').collect();
        self.at += name.chars().count() + 2;
        // the column specification of an array
        if which == "begin" && name == "array" && self.peek(0) == Some('{') {
            self.group()?;
        }
        let plain = name.trim_end_matches('*');
        let kind = match plain {
            "vmatrix" => "determinant",
            "Vmatrix" => return None,
            "array" => "matrix",
            _ if plain.ends_with("matrix") => "matrix",
            "cases" | "aligned" | "align" | "gathered" | "gather" | "split" | "equation"
            | "alignedat" | "dcases" => "rows",
            other => other,
        };
        self.tokens.push(Token::Command(format!("{which} {kind}")));
        Some(())
    }

    /// Digits with separators, a decimal point, repeated digits, an exponent; or a time of day.
    fn number(&mut self) -> Option<()> {
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

    /// `a.m.` or `p.m.` behind a number or time.
    fn afternoon(&mut self) {
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

    fn letters(&mut self) {
        let mut run: String =
            self.characters[self.at..].iter().take_while(|c| c.is_alphabetic()).collect();
        // `1orx=2`
        if let Some(word) = ["or", "and"].into_iter().find(|word| {
            run.strip_prefix(word).is_some_and(|rest| rest.starts_with(char::is_uppercase))
        }) {
            run.truncate(word.len());
        }
        self.at += run.chars().count();
        let mut letters = run.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => self.tokens.push(Token::Letter(letter)),
            _ => self.tokens.push(Token::Letters(run)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Token]) {
        assert_eq!(tokens(text, Commas::Thousands).as_deref(), Some(expected), "`{text}`");
    }

    fn number(text: &str) -> Token {
        Token::Number(Digits { text: text.into(), exponent: None })
    }

    #[test]
    fn numbers_and_times() {
        check("1,234,567", &[number("1234567")]);
        check("10 000", &[number("10000")]);
        check(
            "1 100/3",
            &[number("1"), Token::Space, number("100"), Token::Mark('/'), number("3")],
        );
        check("0.1\\overline{6}", &[Token::Repeating("0.1".into(), "6".into())]);
        check("0.\\dot{1}4\\dot{2}", &[Token::Repeating("0.".into(), "142".into())]);
        check("0.1666...", &[Token::Repeating("0.1666".into(), "6".into())]);
        check("3rd", &[number("3")]);
        // 8 hours and 5 minutes are 29,100 seconds
        let clock = Clock { seconds: 29_100, afternoon: None };
        let time = Token::Time(clock, vec!["8".into(), "05".into()]);
        check("8:05", &[time.clone()]);
        check("8:05\\text{ p.m.}", &[time, Token::Afternoon(true)]);
        check("8 am", &[number("8"), Token::Afternoon(false)]);
        check("2:3", &[number("2"), Token::Mark(':'), number("3")]);
    }

    #[test]
    fn words_stay_words_and_numbers_in_them_are_read() {
        check("\\text{odd}", &[Token::Text("odd".into())]);
        check("\\text{cm^2}", &[Token::Text("cm^2".into())]);
        check("\\mathrm{x}", &[Token::Letter('x')]);
        check("5\\mathrm{m}", &[number("5"), Token::Text("m".into())]);
        check("\\text{72}", &[Token::Space, number("72"), Token::Space]);
    }
}
