//! Letters without a command, words, and the units behind a value.

use super::sets_in_words::set_in_words;
use super::values::{is_currency, variable};
use super::{Parser, is_hedge, single_or};
use crate::tokens::{Token, function_named};
use crate::tree::{Clock, Node};
use crate::units::{Measure, Unit, is_remark, multiplier};

/// Words behind a value that are looked at.
const MOST_WORDS: usize = 16;

/// A word behind a value, and the place behind its token.
struct WordBehind {
    text: String,
    end: usize,
}

impl Parser<'_> {
    /// Letters without a command: a function, a constant, a word, or a product of variables.
    pub(super) fn letters(&mut self, letters: &str) -> Option<Node> {
        if let Some(function) = function_named(letters) {
            return self.function(function);
        }
        if let Some(node) = self.program_object(letters) {
            return Some(node);
        }
        match letters {
            "pi" => return Some(Node::Pi),
            "inf" | "oo" | "infty" | "infinity" => return Some(Node::Infinity),
            "emptyset" | "EmptySet" => return Some(Node::Set(Vec::new())),
            "Reals" => return Some(Node::Symbol("mathbb R".into())),
            _ => {}
        }
        if let Some(node) = self.joined_function(letters) {
            return Some(node);
        }
        // a word rather than variables side by side
        let followed = matches!(
            self.peek(),
            Some(Token::Letters(word)) if !["and", "or"].contains(&word.as_str())
        );
        if (letters.len() > 3 && letters.chars().skip(1).all(char::is_lowercase)) || followed {
            return self.words(letters);
        }
        let mut parts: Vec<Node> = letters.chars().map(variable).collect();
        // an exponent or index behind belongs to the last letter
        let last = parts.pop()?;
        parts.push(self.postfix(last)?);
        Some(Node::Product(parts))
    }

    /// `sinx` and `lnx`, which nobody would take for a product.
    fn joined_function(&mut self, letters: &str) -> Option<Node> {
        let (name, rest) = ["sin", "cos", "tan", "ln", "log"]
            .into_iter()
            .find_map(|name| Some((name, letters.strip_prefix(name)?)))?;
        if !["x", "y", "z", "A", "B", "C"].contains(&rest) {
            return None;
        }
        let variable = Node::Symbol(rest.to_owned());
        let variable = self.postfix(variable)?;
        Some(Node::Function(function_named(name)?, vec![variable]))
    }

    fn postfix(&mut self, node: Node) -> Option<Node> {
        let mut node = node;
        let mut attached = 0;
        loop {
            attached += 1;
            self.bounded_height(&node, attached)?;
            if self.eat('^') {
                node = Node::Power(Box::new(node), Box::new(self.argument()?));
            } else if self.eat('_') {
                let index = self.argument()?;
                let Node::Symbol(name) = node else { return None };
                node = Node::Symbol(format!("{name}_{}", super::values::label(&index)?));
            } else {
                return Some(node);
            }
        }
    }

    /// A word and those behind it.
    pub(super) fn words(&mut self, first: &str) -> Option<Node> {
        let joins = |word: &str| ["and", "or", "except", "excluding"].contains(&word.trim());
        let mut words = vec![first.trim().to_lowercase()];
        loop {
            match self.peek() {
                Some(Token::Letters(word) | Token::Text(word)) if !joins(word) => {
                    words.push(word.to_lowercase());
                }
                Some(Token::Letter(letter)) => words.push(letter.to_lowercase().to_string()),
                _ => break,
            }
            self.next();
        }
        let text = words.join(" ");
        let text = text.trim().trim_matches(['(', ')', '.', ',']).trim().to_owned();
        // what is denied is not told
        let denied = ["not ", "never ", "isn't ", "at least ", "at most ", "least ", "most "];
        if ["not", "never"].contains(&text.as_str())
            || denied.iter().any(|word| text.starts_with(word))
        {
            return None;
        }
        if let Some(node) = set_in_words(&text) {
            return Some(node);
        }
        if let Some(afternoon) = ["midnight", "noon"].iter().position(|word| *word == text) {
            let clock = Clock { seconds: Clock::NOON, afternoon: Some(afternoon == 1) };
            return Some(Node::Time { clock, ratio: vec![Node::Word(text)] });
        }
        let text = ["the ", "an ", "a "]
            .iter()
            .find_map(|article| text.strip_prefix(article))
            .map_or(text.clone(), str::to_owned);
        // one letter is a variable, or the choice of a test
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(letter), None) if first.chars().any(char::is_uppercase) => {
                Some(Node::Symbol(letter.to_uppercase().to_string()))
            }
            (Some(letter), None) => Some(Node::Symbol(letter.to_string())),
            _ => Some(Node::Word(text)),
        }
    }

    /// Multiplies by a word such as `million`.
    pub(super) fn multiplier(&mut self, parts: &mut Vec<Node>) -> bool {
        let is_number = matches!(parts.as_slice(), [Node::Number { .. }]);
        let word = match self.peek() {
            Some(Token::Letters(word) | Token::Text(word)) if is_number => word.to_lowercase(),
            _ => return false,
        };
        let Some(factor) = multiplier(word.trim()) else { return false };
        self.next();
        parts.push(Node::whole(factor));
        true
    }

    /// The unit or the words behind a value, if that is what comes next.
    pub(super) fn unit(&mut self, parts: &[Node]) -> Option<Unit> {
        match self.peek()? {
            Token::Text(_) | Token::Letters(_) | Token::Letter(_) => {}
            Token::Command(command) if command == "frac" || is_currency(command) => {}
            _ => return None,
        }
        if !parts.iter().all(Node::is_scalar)
            || parts.iter().any(|part| part.any(&|of| matches!(of, Node::Quantity { .. })))
        {
            return None;
        }
        if let Some(unit) = self.unit_fraction() {
            return Some(unit);
        }
        let marked = matches!(self.peek(), Some(Token::Text(_) | Token::Command(_)));
        let is_constant = parts.iter().all(Node::is_constant);
        // letters behind a variable are variables
        if !marked && !is_constant {
            return None;
        }
        if self.at_to() {
            return None;
        }
        let words = self.words_behind(marked || self.letters_are_words);
        if words.is_empty() {
            return None;
        }
        for count in (1..=words.len()).rev() {
            let text = words[..count].iter().map(|word| word.text.as_str()).collect::<Vec<_>>();
            let Some(unit) = Measure::parse(&text.join(" ")) else { continue };
            let end = words[count - 1].end;
            // a part of a text command cannot be taken alone
            if words.get(count).is_some_and(|next| next.end == end) {
                continue;
            }
            self.at = end;
            // `5 cm long`
            if let Some(last) = self.remark(&words[count..]) {
                self.at = last;
            }
            return Some(Unit::Known(Box::new(unit)));
        }
        // letters that touch the number, or are few, may be variables
        let letters = words[0].text.chars().count();
        let is_apart = self.tokens.get(self.at) == Some(&Token::Space);
        let is_word = letters > 3 || (words.len() > 1 && letters > 1);
        let may_be_word = self.letters_are_words && letters > 2;
        if !marked && !(is_apart && (is_word || may_be_word)) {
            return None;
        }
        let end = self.remark(&words)?;
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        self.at = end;
        Some(Unit::Words(words.join(" ").to_lowercase()))
    }

    /// `\frac{\mathrm{m}}{\mathrm{s}}` behind a value.
    fn unit_fraction(&mut self) -> Option<Unit> {
        if !self.at_command("frac") {
            return None;
        }
        let start = self.at;
        self.next();
        let mut halves = Vec::new();
        for _ in 0..2 {
            let mut words = Vec::new();
            if self.eat('{') {
                self.at_words(&mut words);
                if !self.eat('}') {
                    words.clear();
                }
            } else {
                self.at_words(&mut words);
            }
            halves.push(words.join(" "));
        }
        let marked = self.tokens[start..self.at].iter().any(|of| matches!(of, Token::Text(_)));
        let unit = Measure::parse(&format!("{} / {}", halves[0], halves[1]));
        let marked = marked || self.letters_are_words;
        match unit.filter(|_| marked && halves.iter().all(|half| !half.is_empty())) {
            Some(unit) => Some(Unit::Known(Box::new(unit))),
            None => {
                self.at = start;
                None
            }
        }
    }

    /// Collects the words that come next.
    fn at_words(&mut self, words: &mut Vec<String>) {
        loop {
            match self.peek() {
                Some(Token::Text(word) | Token::Letters(word)) => words.push(word.clone()),
                Some(Token::Letter(letter)) => words.push(letter.to_string()),
                _ => return,
            }
            self.next();
        }
    }

    /// The place behind words that say nothing about the number before them; `None` if one of them
    /// does.
    fn remark(&self, words: &[WordBehind]) -> Option<usize> {
        let last = words.last()?;
        words.iter().all(|word| is_remark(&word.text)).then_some(last.end)
    }

    /// Words up to something else, with `/` and exponents as in `km/h` and `m^2`. Single letters
    /// count only in text commands or where `letters` says so.
    fn words_behind(&self, letters: bool) -> Vec<WordBehind> {
        let mut words: Vec<WordBehind> = Vec::new();
        let mut at = self.at;
        while words.len() < MOST_WORDS {
            let single = letters || words.last().is_some_and(|word| word.text == "/");
            match self.tokens.get(at) {
                Some(Token::Space) => {}
                Some(Token::Text(text)) => {
                    let joins = ["and", "or", "percent", "pct", "mod", ""].contains(&text.trim())
                        || is_hedge(text);
                    if joins {
                        break;
                    }
                    for word in text.split_whitespace() {
                        words.push(WordBehind { text: word.to_owned(), end: at + 1 });
                    }
                }
                Some(Token::Letters(word)) if word == "and" && self.joins_words(&words, at) => {}
                Some(Token::Letters(word)) => {
                    let joins = ["and", "or", "percent", "pct", "mod", "union", "except"]
                        .contains(&word.as_str());
                    let function =
                        function_named(word).is_some() && !["min", "sec"].contains(&word.as_str());
                    if joins || function || is_hedge(word) {
                        break;
                    }
                    words.push(WordBehind { text: word.clone(), end: at + 1 });
                }
                Some(Token::Letter(letter)) if single || self.is_word_between(at) => {
                    words.push(WordBehind { text: letter.to_string(), end: at + 1 });
                }
                Some(Token::Mark('/')) if !words.is_empty() && self.is_word(at + 1) => {
                    words.push(WordBehind { text: "/".into(), end: at + 1 });
                }
                // `5€`
                Some(Token::Command(sign)) if words.is_empty() && is_currency(sign) => {
                    words.push(WordBehind { text: sign.clone(), end: at + 1 });
                }
                // "boys and girls", "three-digit"
                Some(Token::Mark('-' | '&'))
                    if words.last().is_some_and(|word| word.text.len() > 1)
                        && matches!(
                            self.tokens[at + 1..].iter().find(|of| !of.is_space()),
                            Some(Token::Letters(_))
                        ) => {}
                // the full stop of an abbreviation
                Some(Token::Mark('.'))
                    if !words.is_empty() && self.tokens.get(at + 1).is_some() => {}
                Some(Token::Mark('^')) => match (words.last_mut(), self.exponent(at + 1)) {
                    (Some(word), Some((exponent, end))) => {
                        word.text.push_str(&format!("^{exponent}"));
                        word.end = end;
                        at = end;
                        continue;
                    }
                    _ => break,
                },
                _ => break,
            }
            at += 1;
        }
        words
    }

    /// Whether "and" at a place stands between two words: "boys and girls".
    fn joins_words(&self, words: &[WordBehind], at: usize) -> bool {
        let next = self.tokens[at + 1..].iter().find(|token| !token.is_space());
        words.last().is_some_and(|word| word.text.len() > 1)
            && matches!(next, Some(Token::Letters(word)) if function_named(word).is_none())
    }

    /// Whether a word stands at a place, perhaps behind a space.
    fn is_word(&self, at: usize) -> bool {
        self.tokens[at..].iter().find(|token| !token.is_space()).is_some_and(|token| {
            matches!(token, Token::Letter(_) | Token::Letters(_) | Token::Text(_))
        })
    }

    /// `a` in `times a day`.
    fn is_word_between(&self, at: usize) -> bool {
        self.tokens.get(at) == Some(&Token::Letter('a'))
            && at > self.at
            && matches!(self.tokens.get(at + 2), Some(Token::Letters(_)))
    }

    /// A whole number as the exponent of a unit, and the place behind it.
    fn exponent(&self, at: usize) -> Option<(String, usize)> {
        match self.tokens.get(at)? {
            Token::Number(digits) if digits.is_whole() => Some((digits.text.clone(), at + 1)),
            Token::Mark('{') => {
                let (sign, at) = match self.tokens.get(at + 1)? {
                    Token::Mark('-') => ("-", at + 1),
                    _ => ("", at),
                };
                match (self.tokens.get(at + 1)?, self.tokens.get(at + 2)?) {
                    (Token::Number(digits), Token::Mark('}')) if digits.is_whole() => {
                        Some((format!("{sign}{}", digits.text), at + 3))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// A sum of money, its sign behind us.
    pub(super) fn money(&mut self, sign: &str) -> Option<Node> {
        let negative = self.eat('-');
        let mut parts = vec![self.factor()?];
        while self.multiplier(&mut parts) {}
        let value = single_or(parts, Node::Product);
        let value = if negative { value.negative() } else { value };
        // `\$72 dollars`
        if let Some(unit) = self.price_per(sign) {
            return Some(Node::Quantity { value: Box::new(value), unit });
        }
        let unit = match self.unit(std::slice::from_ref(&value)) {
            Some(unit @ Unit::Known(_)) => unit,
            _ => Unit::Known(Box::new(Measure::parse(sign)?)),
        };
        match value {
            value if value.is_constant() => Some(Node::Quantity { value: Box::new(value), unit }),
            // a price that depends on something
            value => Some(value),
        }
    }

    /// `/hour` or "per hour" behind a price.
    fn price_per(&mut self, sign: &str) -> Option<Unit> {
        let start = self.at;
        if !self.eat('/') {
            let per = matches!(
                self.peek(),
                Some(Token::Letters(word) | Token::Text(word))
                    if ["per", "an", "each"].contains(&word.as_str()) || word.starts_with("per ")
            );
            if !per {
                return None;
            }
        }
        let words = self.words_behind(true);
        let text: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = text.join(" ");
        let per = if text.starts_with("per") { "" } else { "per " };
        let unit = Measure::parse(&format!("{sign} {per}{text}"));
        match (unit, words.last()) {
            (Some(unit), Some(last)) => {
                self.at = last.end;
                Some(Unit::Known(Box::new(unit)))
            }
            _ => {
                self.at = start;
                None
            }
        }
    }
}
