//! Single values: numbers, brackets, sets, commands, matrices.

use super::numbers::{number, repeating};
use super::{Parser, single_or, value_of_named};
use crate::tokens::{Digits, Token, function_named};
use crate::tree::{Clock, Node};

/// Rows and columns of a determinant that is worked out.
const LARGEST_DETERMINANT: usize = 4;
/// Nodes of all its entries beyond which it is not.
const LARGEST_ENTRIES: usize = 200;

impl Parser<'_> {
    pub(super) fn base(&mut self) -> Option<Node> {
        loop {
            return match self.next()? {
                Token::Number(digits) => self.digits(digits),
                Token::Repeating(digits, period) => repeating(digits, period),
                Token::Time(clock, parts) => self.time(*clock, parts),
                Token::Letter(letter) => Some(variable(*letter)),
                Token::Letters(letters) => self.letters(letters),
                Token::Text(text) => self.words(text),
                Token::Mark(open @ ('(' | '[')) => self.bracket(*open),
                Token::Mark('{') => {
                    // an empty group is nothing
                    if self.eat('}') {
                        continue;
                    }
                    self.group()
                }
                Token::Mark('⟨') => {
                    // the brace of a system of equations is never closed
                    if !self.tokens.contains(&Token::Mark('⟩')) {
                        continue;
                    }
                    self.set()
                }
                Token::Mark('|') => self.between_bars(),
                Token::Mark('‖') => self.norm(),
                Token::Command(command) => self.command(command),
                _ => None,
            };
        }
    }

    fn digits(&mut self, digits: &Digits) -> Option<Node> {
        let number = number(digits)?;
        match self.peek() {
            Some(Token::Afternoon(_) | Token::OClock) => Some(self.time_of_day(number)),
            _ => Some(number),
        }
    }

    fn norm(&mut self) -> Option<Node> {
        let node = self.sum()?;
        self.eat('‖').then(|| Node::Function("norm", vec![node]))
    }

    /// What a group in braces that is open holds.
    fn group(&mut self) -> Option<Node> {
        let bars = std::mem::take(&mut self.bars);
        let node = self.list(&['}'])?;
        self.bars = bars;
        self.eat('}').then_some(node)
    }

    /// A group in braces, or a number, letter or command.
    pub(super) fn argument(&mut self) -> Option<Node> {
        self.enter()?;
        let node = self.unlimited_argument()?;
        self.leave();
        Some(node)
    }

    fn unlimited_argument(&mut self) -> Option<Node> {
        match self.peek()? {
            Token::Mark('{') => {
                self.next();
                if self.eat('}') {
                    return self.argument();
                }
                self.group()
            }
            Token::Mark('-') => {
                self.next();
                Some(self.argument()?.negative())
            }
            _ => self.base(),
        }
    }

    /// `8 a.m.` is a time, `8` alone is not.
    fn time_of_day(&mut self, number: Node) -> Node {
        let afternoon = match self.peek() {
            Some(Token::Afternoon(afternoon)) => Some(*afternoon),
            Some(Token::OClock) => None,
            _ => return number,
        };
        let hours = match &number {
            Node::Number { value, decimal: None } => {
                value.to_i64().and_then(|value| u32::try_from(value).ok())
            }
            _ => None,
        };
        let Some(hours) = hours.filter(|hours| *hours <= 24) else { return number };
        self.next();
        let clock = Clock { seconds: hours * 3600, afternoon };
        Node::Time { clock, ratio: vec![number] }
    }

    fn time(&mut self, mut clock: Clock, parts: &[String]) -> Option<Node> {
        let ratio = parts
            .iter()
            .map(|part| number(&Digits { text: part.clone(), exponent: None }))
            .collect::<Option<Vec<_>>>()?;
        if let Some(Token::Afternoon(afternoon)) = self.peek() {
            clock.afternoon = Some(*afternoon);
            self.next();
        }
        Some(Node::Time { clock, ratio })
    }

    /// Behind an opening `|`.
    fn between_bars(&mut self) -> Option<Node> {
        let bars = self.bars;
        self.bars = bars + 1;
        let node = self.sum();
        self.bars = bars;
        let node = node?;
        self.eat('|').then(|| Node::Absolute(Box::new(node)))
    }

    fn bracket(&mut self, open: char) -> Option<Node> {
        let bars = std::mem::take(&mut self.bars);
        if open == '[' && self.eat(']') {
            self.bars = bars;
            return Some(Node::Set(Vec::new()));
        }
        let node = self.list(&[')', ']'])?;
        self.bars = bars;
        let close = match self.next()? {
            Token::Mark(close @ (')' | ']')) => *close,
            _ => return None,
        };
        bracketed(open, close, node)
    }

    /// Behind an opening `\{`.
    fn set(&mut self) -> Option<Node> {
        let bars = std::mem::take(&mut self.bars);
        if self.eat('⟩') {
            self.bars = bars;
            return Some(Node::Set(Vec::new()));
        }
        if let Some(condition) = self.condition() {
            self.bars = bars;
            return self.eat('⟩').then_some(condition);
        }
        let node = self.list(&['⟩'])?;
        self.bars = bars;
        let items = match node {
            Node::List(items) | Node::Alternatives(items) => items,
            single => vec![single],
        };
        self.eat('⟩').then_some(Node::Set(items))
    }

    /// `{x | x > 2}` says what `x > 2` says, and so does `{x \in \mathbb{R} | x > 2}`.
    fn condition(&mut self) -> Option<Node> {
        self.attempt(|parser| {
            let Some(Token::Letter(_)) = parser.next() else { return None };
            // the reals say nothing
            if parser.eat_command("in") && parser.base()? != Node::Symbol("mathbb R".into()) {
                return None;
            }
            if !parser.eat('|') && !parser.eat(':') {
                return None;
            }
            parser.list(&['⟩'])
        })
    }

    fn command(&mut self, command: &str) -> Option<Node> {
        if command != "sqrt"
            && command != "binom"
            && let Some(function) = function_named(command)
        {
            return self.function(function);
        }
        match command {
            "frac" => self.fraction(),
            "binom" => self.binomial(),
            "sqrt" => self.root(),
            "pi" => Some(Node::Pi),
            "infty" => Some(Node::Infinity),
            "emptyset" => Some(Node::Set(Vec::new())),
            "lfloor" => self.delimited("rfloor", "floor"),
            "lceil" => self.delimited("rceil", "ceil"),
            "langle" => self.vector(),
            "overline" | "overrightarrow" | "vec" | "hat" | "bar" | "mathbb" | "mathcal"
            | "widehat" | "dot" => {
                let of = self.argument()?;
                named_by(command, &of)
            }
            "angle" | "triangle" => {
                let of = self.factor()?;
                named_by(command, &of)
            }
            name if is_currency(name) => self.money(name),
            "begin matrix" => self.matrix_or_rows(),
            "begin determinant" => determinant(&self.matrix("end determinant")?),
            "begin rows" => self.rows("end rows"),
            // relations that are not understood are no factors
            "subset" | "subseteq" | "supset" | "supseteq" | "perp" | "parallel" | "notin"
            | "mapsto" | "cong" | "propto" | "nmid" | "ni" | "sum" | "int" | "prod" | "lim"
            | "not" | "dots" | "to" | "implies" | "rightarrow" | "Rightarrow" | "rfloor"
            | "rceil" | "rangle" => None,
            name if name.starts_with("begin ") || name.starts_with("end ") => None,
            name => Some(Node::Symbol(format!("\\{name}"))),
        }
    }

    fn fraction(&mut self) -> Option<Node> {
        let (above, below) = self.two_arguments()?;
        Some(Node::Quotient(Box::new(above), Box::new(below)))
    }

    pub(super) fn binomial(&mut self) -> Option<Node> {
        let (n, k) = self.two_arguments()?;
        Some(Node::Function("binom", vec![n, k]))
    }

    fn root(&mut self) -> Option<Node> {
        let mut index = 2;
        if self.eat('[') {
            let Token::Number(digits) = self.next()? else { return None };
            index = digits.text.parse().ok().filter(|index| (1..=100).contains(index))?;
            if !self.eat(']') {
                return None;
            }
        }
        let of = self.argument()?;
        Some(Node::Root { index, of: Box::new(of) })
    }

    fn vector(&mut self) -> Option<Node> {
        let Node::List(items) = self.list(&[])? else { return None };
        self.eat_command("rangle").then_some(Node::Bracket { open: '(', close: ')', items })
    }

    /// A matrix, or an array of equations.
    fn matrix_or_rows(&mut self) -> Option<Node> {
        match self.attempt(|parser| parser.matrix("end matrix")) {
            Some(rows) => Some(Node::Matrix(rows)),
            None => self.rows("end matrix"),
        }
    }

    fn delimited(&mut self, closing: &str, function: &'static str) -> Option<Node> {
        let node = self.sum()?;
        self.eat_command(closing).then(|| Node::Function(function, vec![node]))
    }

    /// Two arguments of a command; `\frac12` has one digit for each.
    fn two_arguments(&mut self) -> Option<(Node, Node)> {
        let digit = |digit: &str| number(&Digits { text: digit.to_owned(), exponent: None });
        self.skip_space();
        if let Some(Token::Number(digits)) = self.tokens.get(self.at)
            && digits.is_whole()
            && digits.text.len() >= 2
        {
            let (first, rest) = digits.text.split_at(1);
            // `\frac123` would leave digits over
            if rest.len() > 1 {
                return None;
            }
            let both = (digit(first)?, digit(rest)?);
            self.at += 1;
            return Some(both);
        }
        let first = self.argument()?;
        self.skip_space();
        if let Some(Token::Number(digits)) = self.tokens.get(self.at)
            && digits.text.len() > 1
        {
            return None;
        }
        Some((first, self.argument()?))
    }

    /// Rows of equal length up to the end of an environment.
    fn matrix(&mut self, end: &str) -> Option<Vec<Vec<Node>>> {
        let mut rows: Vec<Vec<Node>> = vec![Vec::new()];
        loop {
            if self.eat_command(end) {
                break;
            }
            if self.peek() == Some(&Token::Break) {
                self.next();
                rows.push(Vec::new());
                continue;
            }
            if self.eat('&') || self.eat_command("hline") {
                continue;
            }
            let entry = self.sum()?;
            rows.last_mut()?.push(entry);
        }
        rows.retain(|row| !row.is_empty());
        let is_rectangle = !rows.is_empty() && rows.iter().all(|row| row.len() == rows[0].len());
        is_rectangle.then_some(rows)
    }

    /// Equations below each other are a list.
    fn rows(&mut self, end: &str) -> Option<Node> {
        self.enter()?;
        let mut items = Vec::new();
        loop {
            while matches!(self.peek(), Some(Token::Break | Token::Mark('&' | ',' | '.' | ';'))) {
                self.next();
            }
            if self.eat_command(end) {
                break;
            }
            // `&= 42` goes on where the row above ended
            let goes_on = self.peek() == Some(&Token::Mark('=')) && !items.is_empty();
            match self.list(&[])? {
                item if goes_on && !matches!(item, Node::List(_)) => {
                    items.pop();
                    items.push(item);
                }
                Node::List(more) => items.extend(more),
                item => items.push(item),
            }
        }
        self.leave();
        (!items.is_empty()).then(|| single_or(items, Node::List))
    }
}

/// What brackets of two kinds hold.
fn bracketed(open: char, close: char, node: Node) -> Option<Node> {
    match node {
        Node::List(items) => Some(Node::Bracket {
            open,
            close,
            items: items.into_iter().map(value_of_named).collect(),
        }),
        // a row of one, as programs print it
        single if open == '[' && close == ']' && !matches!(single, Node::Bracket { .. }) => {
            Some(single)
        }
        single @ Node::Bracket { .. } if open == '[' && close == ']' => {
            Some(Node::Bracket { open, close, items: vec![single] })
        }
        single if (open == '(') == (close == ')') => Some(single),
        _ => None,
    }
}

/// `\overline{AB}`, `\angle A`: a name that holds its command.
fn named_by(command: &str, of: &Node) -> Option<Node> {
    Some(Node::Symbol(format!("{command} {}", label(of)?)))
}

/// Commands for the signs of currencies.
pub(super) fn is_currency(command: &str) -> bool {
    ["dollar", "euro", "sterling", "yen"].contains(&command)
}

/// A letter as a constant or variable.
pub(super) fn variable(letter: char) -> Node {
    match letter {
        'i' => Node::I,
        'e' => Node::E,
        letter => Node::Symbol(letter.to_string()),
    }
}

/// `x: 1, y: 2` as equations.
pub(super) fn entries(items: Vec<Node>) -> Vec<Node> {
    let is_entry = |item: &Node| match item {
        Node::Ratio(parts) => {
            parts.len() == 2 && matches!(parts[0], Node::Symbol(_) | Node::Word(_))
        }
        _ => false,
    };
    if !items.iter().all(is_entry) {
        return items;
    }
    let equation = |item: Node| match item {
        Node::Ratio(mut members) => {
            let value = members.remove(1);
            Node::equation(members.remove(0), value)
        }
        other => other,
    };
    items.into_iter().map(equation).collect()
}

/// The determinant, expanded by the first row: `|a b; c d| = a d - b c`.
pub(super) fn determinant(rows: &[Vec<Node>]) -> Option<Node> {
    // the entries are copied, those of determinants among them again
    let entries: usize = rows.iter().flatten().map(Node::size).sum();
    if entries > LARGEST_ENTRIES {
        return None;
    }
    let size = rows.len();
    if size > LARGEST_DETERMINANT || rows.iter().any(|row| row.len() != size) {
        return None;
    }
    if size == 1 {
        return Some(rows[0][0].clone());
    }
    let mut terms = Vec::new();
    for (column, entry) in rows[0].iter().enumerate() {
        let minor: Vec<Vec<Node>> = rows[1..]
            .iter()
            .map(|row| {
                let kept = row.iter().enumerate().filter(|(of, _)| *of != column);
                kept.map(|(_, entry)| entry.clone()).collect()
            })
            .collect();
        let term = Node::Product(vec![entry.clone(), determinant(&minor)?]);
        terms.push(if column % 2 == 0 { term } else { term.negative() });
    }
    Some(Node::Sum(terms))
}

/// The text of an index.
pub(super) fn label(node: &Node) -> Option<String> {
    match node {
        Node::Number { value, .. } => Some(value.to_string()),
        Node::Symbol(name) | Node::Word(name) => Some(name.clone()),
        Node::I => Some("i".into()),
        Node::E => Some("e".into()),
        Node::Product(parts) | Node::Sum(parts) | Node::List(parts) => {
            parts.iter().map(label).collect::<Option<Vec<_>>>().map(|parts| parts.join(" "))
        }
        Node::Negative(of) => label(of).map(|text| format!("-{text}")),
        Node::Power(a, b) => Some(format!("{}^{}", label(a)?, label(b)?)),
        _ => None,
    }
}
