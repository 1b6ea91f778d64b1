//! From tidied text to tokens: commands, text, signs and letters here, numbers and times in
//! [`numbers`]. The length of the text and of numbers is limited.

mod functions;
mod numbers;

pub(crate) use functions::{function_named, is_trigonometric};

use crate::spelling::SEPARATOR;
use crate::tree::Clock;
use crate::units::Measure;

/// Tokens beyond which a text is not read.
const MOST_TOKENS: usize = 2000;
/// Text commands inside text commands.
const DEEPEST_TEXT: usize = 4;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A number as it was written.
    Number(Digits),
    /// A decimal number and the digits that are repeated behind it.
    Repeating(String, String),
    /// `8:05`, which may also be a ratio; its numbers as they were written.
    Time(Clock, Vec<String>),
    /// `a.m.` is false, `p.m.` is true.
    Afternoon(bool),
    /// `o'clock`
    OClock,
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

impl Token {
    pub(crate) fn is_space(&self) -> bool {
        matches!(self, Self::Space)
    }

    /// Whether it is the word "or".
    pub(crate) fn is_or(&self) -> bool {
        matches!(self, Self::Letters(word) | Self::Text(word) if word.trim() == "or")
    }

    /// Whether it is the word or command for residues.
    pub(crate) fn is_mod(&self) -> bool {
        match self {
            Self::Letters(word) | Self::Text(word) => word == "mod",
            Self::Command(command) => command == "mod" || command == "bmod",
            _ => false,
        }
    }

    /// Whether it is a sign or command for a relation.
    pub(crate) fn is_relation(&self) -> bool {
        match self {
            Self::Mark(mark) => "=<>".contains(*mark),
            Self::Command(command) => {
                ["approx", "ne", "le", "ge", "equiv"].contains(&command.as_str())
            }
            _ => false,
        }
    }
}

/// Digits with their separators removed.
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

/// The tokens of a text; `None` where it is too long or has an unknown escape.
pub(crate) fn tokens(text: &str, commas: Commas) -> Option<Vec<Token>> {
    let characters: Vec<char> = text.chars().collect();
    let tokens = Vec::with_capacity(characters.len());
    let mut lexer = Lexer { characters, at: 0, brackets: 0, commas, tokens, depth: 0 };
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
                '.' if self.is_digit(1) || self.is_marked_digit() => self.number()?,
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
            "text" | "mathrm" | "mathbf" => self.text(&name),
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
    fn text(&mut self, command: &str) -> Option<()> {
        while self.peek(0) == Some(' ') {
            self.at += 1;
        }
        if self.peek(0) != Some('{') {
            return Some(());
        }
        let upright = command != "text";
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
        let behind_value = self.tokens.iter().rev().find(|token| !token.is_space());
        let behind_value =
            matches!(behind_value, Some(Token::Number(_) | Token::Mark('}' | ')' | '⟩')));
        if let (Some(letter), None) = (letters.next(), letters.next())
            && letter.is_alphabetic()
        {
            // `5\mathrm{m}` is five metres, `2\mathbf{x}` twice x
            let is_unit = behind_value && command != "mathbf" && Measure::parse(bare).is_some();
            if (upright || "ie".contains(letter)) && !is_unit {
                self.tokens.push(Token::Letter(letter));
                return Some(());
            }
        }
        if let (Some(mark @ ('.' | ',' | ';' | ':' | '%')), 1) =
            (bare.chars().next(), bare.chars().count())
        {
            self.tokens.push(Token::Mark(mark));
            return Some(());
        }
        let is_plain = if upright {
            bare.chars().all(|c| c.is_alphabetic() || c == ' ' || c == '.')
        } else {
            let joins = [" and ", " or "].iter().any(|word| bare.contains(word));
            !joins && !bare.chars().any(|c| c.is_ascii_digit() || "\\=<>^+{},".contains(c))
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
        // the alignment of a matrix: `\begin{pmatrix*}[r]`
        if which == "begin" && self.peek(0) == Some('[') && self.peek(2) == Some(']') {
            self.at += 3;
        }
        let plain = name.trim_end_matches('*');
        let kind = match plain {
            "vmatrix" => "determinant",
            "Vmatrix" => return None,
            "array" => "matrix",
            _ if plain.ends_with("matrix") => "matrix",
            "cases" | "aligned" | "align" | "gathered" | "gather" | "split" | "equation"
            | "alignedat" | "dcases" | "center" => "rows",
            other => other,
        };
        self.tokens.push(Token::Command(format!("{which} {kind}")));
        Some(())
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
        check("8:05", std::slice::from_ref(&time));
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
