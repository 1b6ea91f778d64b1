//! From LaTeX (or plain text) to a tree. Bounded: the depth of nesting and the length of the text
//! are limited.

use crate::node::{Node, Relation};
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

const DEEPEST: usize = 40;
const MOST_TOKENS: usize = 2000;
const MOST_DIGITS: usize = 200;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    /// Digits with their separators removed, perhaps with a decimal point.
    Number(String),
    /// A decimal number and the digits that are repeated behind it.
    Repeating(String, String),
    Letter(char),
    /// Two letters or more that stand together.
    Letters(String),
    Command(String),
    Text(String),
    Mark(char),
    Break,
    Space,
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

const FUNCTIONS: [&str; 24] = [
    "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc",
    "log", "ln", "lg", "exp", "min", "max", "gcd", "lcm", "sqrt", "binom", "floor", "ceil",
];
/// Units that stand behind a number without a text command.
const UNITS: [&str; 41] = [
    "cm", "mm", "km", "dm", "ft", "in", "yd", "kg", "mg", "lb", "lbs", "oz", "ml", "hr", "hrs",
    "min", "sec", "mph", "km/h", "percent", "pct", "unit", "units", "inch", "inches", "foot",
    "feet", "meter", "meters", "mile", "miles", "degree", "degrees", "dollar", "dollars", "cent",
    "cents", "hour", "hours", "minutes", "square",
];

/// The tree of an answer; `None` if it is not math that is understood.
pub(crate) fn parse(text: &str, commas: Commas) -> Option<Node> {
    let tokens = tokens(text, commas)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0, angle: false };
    let node = parser.list(&[])?;
    parser.skip_space();
    parser.punctuation();
    (parser.at == tokens.len()).then_some(node)
}

fn tokens(text: &str, commas: Commas) -> Option<Vec<Token>> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut brackets) = (0, 0usize);
    let digit = |index: usize| characters.get(index).is_some_and(char::is_ascii_digit);
    while at < characters.len() {
        if tokens.len() > MOST_TOKENS {
            return None;
        }
        let c = characters[at];
        match c {
            '\\' => {
                let letters: String =
                    characters[at + 1..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
                if letters.is_empty() {
                    match characters.get(at + 1)? {
                        '\\' => tokens.push(Token::Break),
                        '{' => tokens.push(Token::Mark('⟨')),
                        '}' => tokens.push(Token::Mark('⟩')),
                        '|' => tokens.push(Token::Mark('|')),
                        _ => return None,
                    }
                    brackets = match characters[at + 1] {
                        '{' => brackets + 1,
                        '}' => brackets.saturating_sub(1),
                        _ => brackets,
                    };
                    at += 2;
                    continue;
                }
                at += 1 + letters.len();
                match letters.as_str() {
                    "text" | "textbf" | "textrm" | "mathrm" | "mathbf" | "mbox" | "textit"
                    | "operatorname" | "mathit" | "bold" => {
                        while characters.get(at) == Some(&' ') {
                            at += 1;
                        }
                        if characters.get(at) != Some(&'{') {
                            continue;
                        }
                        let (mut depth, start) = (0, at + 1);
                        while let Some(c) = characters.get(at) {
                            depth += i32::from(*c == '{') - i32::from(*c == '}');
                            if depth == 0 {
                                break;
                            }
                            at += 1;
                        }
                        let content: String = characters.get(start..at)?.iter().collect();
                        at += 1;
                        // numbers that are set upright
                        match content.as_str() {
                            "i" | "e" => {
                                tokens.push(Token::Letter(if content == "i" { 'i' } else { 'e' }))
                            }
                            _ => tokens.push(Token::Text(
                                content.replace(['$', '~'], " ").trim().to_owned(),
                            )),
                        }
                    }
                    "begin" | "end" => {
                        let name: String =
                            characters.get(at + 1..)?.iter().take_while(|c| **c != '}').collect();
                        at += name.len() + 2;
                        // the column specification of an array
                        if letters == "begin" && name == "array" && characters.get(at) == Some(&'{')
                        {
                            at += characters[at..].iter().position(|c| *c == '}')? + 1;
                        }
                        tokens.push(Token::Command(format!(
                            "{letters} {}",
                            if name.ends_with("matrix") || name == "array" {
                                "matrix"
                            } else {
                                &name
                            }
                        )));
                    }
                    "lbrace" => tokens.push(Token::Mark('⟨')),
                    "rbrace" => tokens.push(Token::Mark('⟩')),
                    "vert" | "lvert" | "rvert" => tokens.push(Token::Mark('|')),
                    _ => tokens.push(Token::Command(letters)),
                }
            }
            c if c.is_ascii_digit() || (c == '.' && digit(at + 1)) => {
                let (mut number, mut separated) = (String::new(), false);
                let group =
                    |at: usize| digit(at) && digit(at + 1) && digit(at + 2) && !digit(at + 3);
                while at < characters.len() {
                    let whole = !number.contains('.');
                    let may_group = whole
                        && group(at + 1)
                        && !number.starts_with('0')
                        && (number.len() <= 3 || separated);
                    match characters[at] {
                        c if c.is_ascii_digit() => number.push(c),
                        '.' if whole && digit(at + 1) => number.push('.'),
                        // set apart by LaTeX, so surely a separator
                        '\u{1}' if may_group => separated = true,
                        ',' if may_group && commas == Commas::Thousands && brackets == 0 => {
                            separated = true
                        }
                        ',' if whole
                            && commas == Commas::Decimal
                            && digit(at + 1)
                            && !group(at + 1) =>
                        {
                            number.push('.')
                        }
                        _ => break,
                    }
                    at += 1;
                }
                if number.len() > MOST_DIGITS {
                    return None;
                }
                // 0.1\overline{6}
                let rest: String = characters[at..].iter().take(40).collect();
                let point = if number.contains('.') { "" } else { "." };
                if let Some((repeating, _)) = rest
                    .strip_prefix(&format!("{point}\\overline{{"))
                    .and_then(|rest| rest.split_once('}'))
                    && !repeating.is_empty()
                    && repeating.bytes().all(|byte| byte.is_ascii_digit())
                {
                    at += point.len() + "\\overline{}".len() + repeating.len();
                    tokens.push(Token::Repeating(format!("{number}{point}"), repeating.to_owned()));
                    continue;
                }
                if let Some((length, exponent)) = exponent_of(&characters[at..]) {
                    at += length;
                    number = shifted(&number, exponent);
                }
                tokens.push(Token::Number(number));
            }
            c if c.is_alphabetic() => {
                let mut run: String =
                    characters[at..].iter().take_while(|c| c.is_alphabetic()).collect();
                // `1orx=2`
                if let Some(word) = ["or", "and"].into_iter().find(|word| {
                    run.strip_prefix(word).is_some_and(|rest| rest.starts_with(char::is_uppercase))
                }) {
                    run.truncate(word.len());
                }
                at += run.chars().count();
                if run.chars().count() == 1 {
                    tokens.push(Token::Letter(c))
                } else {
                    tokens.push(Token::Letters(run))
                }
            }
            c if c.is_whitespace() => {
                if tokens.last() != Some(&Token::Space) {
                    tokens.push(Token::Space);
                }
                at += 1;
            }
            '$' => at += 1,
            '\u{1}' => {
                tokens.push(Token::Mark(','));
                at += 1;
            }
            '!' if characters.get(at + 1) == Some(&'=') => {
                tokens.push(Token::Command("ne".into()));
                at += 2;
            }
            '<' | '>' if characters.get(at + 1) == Some(&'=') => {
                tokens.push(Token::Command(if c == '<' { "le" } else { "ge" }.into()));
                at += 2;
            }
            _ => {
                brackets = match c {
                    '(' | '[' => brackets + 1,
                    ')' | ']' => brackets.saturating_sub(1),
                    _ => brackets,
                };
                tokens.push(Token::Mark(c));
                at += 1;
            }
        }
    }
    Some(tokens)
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
    /// Whether this is the argument of a trigonometric function, in which a degree sign means
    /// something: an angle as an answer is compared by its number.
    angle: bool,
}

/// What parts the items of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    Comma,
    Semicolon,
    And,
    Or,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens[self.at..].iter().find(|token| **token != Token::Space)
    }

    fn skip_space(&mut self) {
        while self.tokens.get(self.at) == Some(&Token::Space) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<Token> {
        self.skip_space();
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn eat(&mut self, mark: char) -> bool {
        let there = self.peek() == Some(&Token::Mark(mark));
        if there {
            self.next();
        }
        there
    }

    fn eat_command(&mut self, name: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Command(command)) if command == name);
        if there {
            self.next();
        }
        there
    }

    /// Full stops and the like behind an answer.
    fn punctuation(&mut self) {
        while matches!(
            self.tokens.get(self.at),
            Some(Token::Space | Token::Mark('.' | ',' | ';' | ':' | '"' | '*'))
        ) {
            self.at += 1;
        }
    }

    fn separator(&mut self) -> Option<Separator> {
        let separator = match self.peek()? {
            Token::Mark(',') => Separator::Comma,
            Token::Mark(';') => Separator::Semicolon,
            Token::Text(word) | Token::Letters(word) if word.trim_matches([',', ' ']) == "and" => {
                Separator::And
            }
            Token::Text(word) | Token::Letters(word) if word.trim_matches([',', ' ']) == "or" => {
                Separator::Or
            }
            Token::Text(word) if word.is_empty() => Separator::And,
            Token::Command(command) if command == "vee" || command == "lor" => Separator::Or,
            Token::Command(command) if command == "wedge" || command == "land" => Separator::And,
            _ => return None,
        };
        self.next();
        Some(separator)
    }

    /// Items up to one of `closing` or the end.
    fn list(&mut self, closing: &[char]) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let mut groups: Vec<Vec<Node>> = vec![Vec::new()];
        let mut semicolons = false;
        let mut or = false;
        loop {
            let group = groups.last_mut().expect("there is a group from the start");
            group.push(self.chain()?);
            let mut parted = false;
            let mut semicolon = false;
            while let Some(separator) = self.separator() {
                parted = true;
                or |= separator == Separator::Or;
                semicolon |= separator == Separator::Semicolon;
            }
            let ends = match self.peek() {
                None => true,
                Some(Token::Mark(mark)) => {
                    closing.contains(mark) || (closing.is_empty() && *mark == '.')
                }
                Some(Token::Command(command)) => command.starts_with("end "),
                Some(Token::Break) => true,
                _ => false,
            };
            if ends {
                break;
            }
            if !parted {
                return None;
            }
            if semicolon {
                semicolons = true;
                groups.push(Vec::new());
            }
        }
        self.depth -= 1;
        let single = |mut items: Vec<Node>| {
            if items.len() == 1 { items.remove(0) } else { Node::List(items) }
        };
        if semicolons {
            // groups of several items are tuples
            let tuple = |items: Vec<Node>| match items.len() {
                1 => single(items),
                _ => Node::Bracket {
                    open: '(',
                    close: ')',
                    items: items.into_iter().map(value_of).collect(),
                },
            };
            let groups: Vec<Node> =
                groups.into_iter().filter(|group| !group.is_empty()).map(tuple).collect();
            return Some(single(groups));
        }
        let items = groups.remove(0);
        Some(if or && items.len() > 1 { Node::Union(items) } else { single(items) })
    }

    fn relation(&mut self) -> Option<Relation> {
        let relation = match self.peek()? {
            Token::Mark('=') => Relation::Equal,
            Token::Mark('<') => Relation::Less,
            Token::Mark('>') => Relation::Greater,
            Token::Command(command) => match command.as_str() {
                "approx" | "simeq" | "sim" => Relation::Approximate,
                "ne" => Relation::NotEqual,
                "lt" => Relation::Less,
                "gt" => Relation::Greater,
                "le" => Relation::LessOrEqual,
                "ge" => Relation::GreaterOrEqual,
                "equiv" => Relation::Equal,
                _ => return None,
            },
            _ => return None,
        };
        self.next();
        Some(relation)
    }

    fn chain(&mut self) -> Option<Node> {
        let first = self.union()?;
        if self.eat_command("in") {
            return Some(Node::Member(Box::new(first), Box::new(self.union()?)));
        }
        let (mut members, mut relations) = (vec![first], Vec::new());
        while let Some(relation) = self.relation() {
            // an alignment mark
            self.eat('&');
            relations.push(relation);
            members.push(self.union()?);
        }
        Some(if relations.is_empty() {
            members.remove(0)
        } else {
            Node::Chain { members, relations }
        })
    }

    fn union(&mut self) -> Option<Node> {
        let mut parts = vec![self.ratio()?];
        while self.eat_command("cup") {
            parts.push(self.ratio()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::Union(parts) })
    }

    fn ratio(&mut self) -> Option<Node> {
        let mut parts = vec![self.sum()?];
        while self.peek() == Some(&Token::Mark(':'))
            && self.tokens[self.at..]
                .iter()
                .skip_while(|token| **token == Token::Space)
                .nth(1)
                .is_some()
        {
            self.next();
            parts.push(self.sum()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::Ratio(parts) })
    }

    fn sum(&mut self) -> Option<Node> {
        let mut parts = Vec::new();
        loop {
            let sign = match self.peek() {
                Some(Token::Mark('+')) => Some('+'),
                Some(Token::Mark('-')) => Some('-'),
                Some(Token::Command(command)) if command == "pm" || command == "mp" => Some('±'),
                _ => None,
            };
            match sign {
                Some(sign) => {
                    self.next();
                    let part = self.product()?;
                    parts.push(match sign {
                        '+' => part,
                        '-' => Node::Negative(Box::new(part)),
                        _ => Node::PlusMinus(Box::new(part)),
                    });
                }
                None if parts.is_empty() => parts.push(self.product()?),
                None => break,
            }
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::Sum(parts) })
    }

    fn product(&mut self) -> Option<Node> {
        let mut parts = vec![self.factor()?];
        loop {
            let divides = match self.peek() {
                Some(Token::Mark('*')) => Some(false),
                Some(Token::Mark('/')) => Some(true),
                Some(Token::Command(command)) => match command.as_str() {
                    "cdot" | "times" | "ast" => Some(false),
                    "div" => Some(true),
                    _ => None,
                },
                _ => None,
            };
            match divides {
                Some(divides) => {
                    self.next();
                    let negative = self.eat('-');
                    let factor = self.factor()?;
                    let factor = if negative { Node::Negative(Box::new(factor)) } else { factor };
                    if divides {
                        let above = if parts.len() == 1 {
                            parts.remove(0)
                        } else {
                            Node::Product(std::mem::take(&mut parts))
                        };
                        parts = vec![Node::Quotient(Box::new(above), Box::new(factor))];
                    } else {
                        parts.push(factor);
                    }
                }
                None => {
                    if self.unit(&parts) {
                        continue;
                    }
                    if !self.begins_factor() {
                        break;
                    }
                    let mixed = self.mixed_number(&parts);
                    let factor = self.factor()?;
                    match (mixed, parts.last()) {
                        // 3 1/2: the slash belongs to the fraction
                        (Some(true), _)
                            if matches!(factor, Node::Number { .. })
                                && self.peek() == Some(&Token::Mark('/')) =>
                        {
                            self.next();
                            let below = self.factor()?;
                            let whole = parts.pop()?;
                            parts.push(Node::Sum(vec![
                                whole,
                                Node::Quotient(Box::new(factor), Box::new(below)),
                            ]));
                        }
                        (Some(false), _) if is_proper_fraction(&factor) => {
                            let whole = parts.pop()?;
                            parts.push(Node::Sum(vec![whole, factor]));
                        }
                        (_, Some(Node::Number { .. })) if matches!(factor, Node::Number { .. }) => {
                            return None;
                        }
                        _ => parts.push(factor),
                    }
                }
            }
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::Product(parts) })
    }

    /// Whether a fraction that comes next makes a mixed number with the whole number before it:
    /// `Some(true)` for digits with a slash behind a space, `Some(false)` for `\frac`.
    fn mixed_number(&self, parts: &[Node]) -> Option<bool> {
        let [Node::Number { value, places: None }] = parts else { return None };
        if !value.is_integer() {
            return None;
        }
        match self.peek()? {
            Token::Command(command) if command == "frac" => Some(false),
            Token::Number(_) if self.tokens.get(self.at) == Some(&Token::Space) => Some(true),
            _ => None,
        }
    }

    /// Passes over a unit behind a value.
    fn unit(&mut self, parts: &[Node]) -> bool {
        let is_value = parts.last().is_some_and(|part| !matches!(part, Node::Word(_)));
        let is_unit = match self.peek() {
            Some(Token::Text(text)) => {
                !["and", "or", "", "percent", "pct"].contains(&text.trim_matches([',', ' ']))
            }
            Some(Token::Letters(letters)) => {
                UNITS.contains(&letters.as_str())
                    && matches!(
                        parts.last(),
                        Some(Node::Number { .. } | Node::Quotient(..) | Node::Sum(_))
                    )
            }
            _ => false,
        };
        if !is_value || !is_unit {
            return false;
        }
        self.next();
        // square and cubic units
        if self.eat('^') {
            let _ = self.argument();
        }
        while self.peek() == Some(&Token::Mark('/'))
            && matches!(self.tokens.get(self.at + 1), Some(Token::Text(_)))
        {
            self.next();
            self.next();
        }
        true
    }

    fn begins_factor(&self) -> bool {
        match self.peek() {
            Some(Token::Number(_) | Token::Repeating(..) | Token::Letter(_)) => true,
            Some(Token::Letters(letters)) => !["and", "or"].contains(&letters.as_str()),
            Some(Token::Text(text)) => !["and", "or", ""].contains(&text.trim_matches([',', ' '])),
            Some(Token::Mark(mark)) => ['(', '[', '{', '⟨'].contains(mark),
            Some(Token::Command(command)) => {
                let others = [
                    "cup",
                    "in",
                    "pm",
                    "mp",
                    "cdot",
                    "times",
                    "ast",
                    "div",
                    "approx",
                    "simeq",
                    "sim",
                    "ne",
                    "lt",
                    "gt",
                    "le",
                    "ge",
                    "equiv",
                    "vee",
                    "lor",
                    "wedge",
                    "land",
                    "cap",
                    "to",
                    "rightarrow",
                    "implies",
                ];
                !others.contains(&command.as_str()) && !command.starts_with("end ")
            }
            _ => false,
        }
    }

    fn factor(&mut self) -> Option<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let mut node = if self.eat('-') {
            Node::Negative(Box::new(self.factor()?))
        } else if self.eat('+') {
            self.factor()?
        } else {
            self.base()?
        };
        loop {
            if self.eat('^') {
                if self.eat_command("circ") {
                    node = self.degree(node);
                    continue;
                }
                if let Some(degrees) = self.degrees() {
                    self.at = degrees;
                    node = self.degree(node);
                    continue;
                }
                if self.peek() == Some(&Token::Mark('\'')) {
                    self.next();
                    continue;
                }
                let exponent = self.argument()?;
                node = Node::Power(Box::new(node), Box::new(exponent));
            } else if self.peek() == Some(&Token::Mark('_')) {
                self.next();
                let index = self.argument()?;
                node = match (node, index) {
                    (Node::Number { value, places: None }, Node::Number { value: base, .. }) => {
                        let base: u32 = base
                            .to_integer()
                            .try_into()
                            .ok()
                            .filter(|base| (2..=36).contains(base))?;
                        Node::Based { digits: value.to_integer().to_string(), base }
                    }
                    (Node::Symbol(name), index) => {
                        Node::Symbol(format!("{name}_{}", label(&index)?))
                    }
                    _ => return None,
                };
            } else if self.eat('!') {
                node = Node::Factorial(Box::new(node));
            } else if self.eat('%') {
                node = Node::Percent(Box::new(node));
            } else if matches!(self.peek(), Some(Token::Text(word) | Token::Letters(word)) if ["percent", "pct"].contains(&word.trim()))
            {
                self.next();
                node = Node::Percent(Box::new(node));
            } else if self.peek() == Some(&Token::Mark('\'')) {
                self.next();
                if let Node::Symbol(name) = &mut node {
                    name.push('\'');
                }
            } else {
                self.depth -= 1;
                return Some(node);
            }
        }
    }

    /// An angle in degrees in radians, where that matters.
    fn degree(&self, node: Node) -> Node {
        if !self.angle {
            return node;
        }
        let half_turn = Node::Number { value: BigRational::from_integer(180.into()), places: None };
        Node::Quotient(Box::new(Node::Product(vec![node, Node::Pi])), Box::new(half_turn))
    }

    /// Behind `{\circ}`, if that comes next.
    fn degrees(&self) -> Option<usize> {
        let mut place = self.at;
        for expected in [Token::Mark('{'), Token::Command("circ".into()), Token::Mark('}')] {
            while self.tokens.get(place) == Some(&Token::Space) {
                place += 1;
            }
            if self.tokens.get(place)? != &expected {
                return None;
            }
            place += 1;
        }
        Some(place)
    }

    /// A group in braces, or a number, letter or command.
    fn argument(&mut self) -> Option<Node> {
        self.skip_space();
        match self.tokens.get(self.at)?.clone() {
            Token::Mark('{') => {
                self.next();
                let node = self.list(&['}'])?;
                self.eat('}').then_some(node)
            }
            Token::Mark('-') => {
                self.next();
                Some(Node::Negative(Box::new(self.argument()?)))
            }
            _ => self.base(),
        }
    }

    fn base(&mut self) -> Option<Node> {
        match self.next()? {
            Token::Number(digits) => number(&digits),
            Token::Repeating(digits, period) => repeating(&digits, &period),
            Token::Letter('i') => Some(Node::I),
            Token::Letter('e') => Some(Node::E),
            Token::Letter(letter) => Some(Node::Symbol(letter.to_string())),
            Token::Letters(letters) => self.letters(&letters),
            Token::Text(text) => self.words(&text),
            Token::Mark(open @ ('(' | '[')) => self.bracket(open),
            Token::Mark('{') => {
                if self.eat('}') {
                    return self.base();
                }
                let node = self.list(&['}'])?;
                self.eat('}').then_some(node)
            }
            Token::Mark('⟨') => {
                if self.eat('⟩') {
                    return Some(Node::Set(Vec::new()));
                }
                // `{x | x > 2}` says what `x > 2` says
                let start = self.at;
                if matches!(self.next(), Some(Token::Letter(_)))
                    && (self.eat('|') || self.eat(':') || self.eat_command("mid"))
                {
                    let condition = self.list(&['⟩'])?;
                    return self.eat('⟩').then_some(condition);
                }
                self.at = start;
                let node = self.list(&['⟩'])?;
                let items = match node {
                    Node::List(items) | Node::Union(items) => items,
                    single => vec![single],
                };
                self.eat('⟩').then_some(Node::Set(items))
            }
            Token::Mark('|') => {
                let node = self.sum()?;
                self.eat('|').then(|| Node::Absolute(Box::new(node)))
            }
            Token::Command(command) => self.command(&command),
            _ => None,
        }
    }

    fn bracket(&mut self, open: char) -> Option<Node> {
        let node = self.list(&[')', ']'])?;
        let close = match self.next()? {
            Token::Mark(close @ (')' | ']')) => close,
            _ => return None,
        };
        match node {
            Node::List(items) => Some(Node::Bracket {
                open,
                close,
                items: items.into_iter().map(value_of).collect(),
            }),
            single if (open == '(') == (close == ')') => Some(single),
            _ => None,
        }
    }

    /// Letters without a command: a function, a constant, or a product of variables.
    fn letters(&mut self, letters: &str) -> Option<Node> {
        if let Some(function) = FUNCTIONS.iter().find(|function| **function == letters) {
            return self.function(function);
        }
        match letters {
            "pi" => return Some(Node::Pi),
            "inf" | "oo" | "infty" | "infinity" => return Some(Node::Infinity),
            _ => {}
        }
        // a word rather than variables side by side
        if letters.len() > 3 && letters.chars().skip(1).all(char::is_lowercase) {
            return self.words(letters);
        }
        let of = |letter: char| match letter {
            'i' => Node::I,
            'e' => Node::E,
            letter => Node::Symbol(letter.to_string()),
        };
        let mut parts: Vec<Node> = letters.chars().map(of).collect();
        // an exponent or index behind belongs to the last letter
        let last = parts.pop()?;
        if matches!(self.peek(), Some(Token::Mark('^' | '_' | '\''))) {
            let mut tail =
                Parser { tokens: self.tokens, at: self.at, depth: self.depth, angle: false };
            let finished = tail.postfix(last)?;
            self.at = tail.at;
            parts.push(finished);
        } else {
            parts.push(last);
        }
        Some(Node::Product(parts))
    }

    fn postfix(&mut self, node: Node) -> Option<Node> {
        let mut node = node;
        loop {
            if self.eat('^') {
                node = Node::Power(Box::new(node), Box::new(self.argument()?));
            } else if self.eat('_') {
                let index = self.argument()?;
                let Node::Symbol(name) = node else { return None };
                node = Node::Symbol(format!("{name}_{}", label(&index)?));
            } else {
                return Some(node);
            }
        }
    }

    /// A word and those behind it.
    fn words(&mut self, first: &str) -> Option<Node> {
        let mut words = vec![first.to_lowercase()];
        loop {
            match self.peek() {
                Some(Token::Letters(word)) if !["and", "or"].contains(&word.as_str()) => {
                    words.push(word.to_lowercase())
                }
                Some(Token::Text(word)) if !["and", "or"].contains(&word.trim()) => {
                    words.push(word.to_lowercase())
                }
                Some(Token::Letter(letter)) => words.push(letter.to_lowercase().to_string()),
                _ => break,
            }
            self.next();
        }
        let text = words.join(" ");
        let text = text.trim().trim_matches(['(', ')', '.', ',']).trim().to_owned();
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

    fn function(&mut self, name: &'static str) -> Option<Node> {
        if name == "sqrt" {
            return Some(Node::Root { index: 2, of: Box::new(self.argument()?) });
        }
        let mut exponent = None;
        let mut base = None;
        loop {
            if self.eat('^') {
                exponent = Some(self.argument()?);
            } else if self.eat('_') {
                base = Some(self.argument()?);
            } else {
                break;
            }
        }
        let outside = std::mem::replace(
            &mut self.angle,
            ["sin", "cos", "tan", "cot", "sec", "csc"].contains(&name),
        );
        let argument = self.function_argument();
        self.angle = outside;
        let argument = argument?;
        let mut arguments = match argument {
            Node::Bracket { items, .. } if ["min", "max", "gcd", "lcm"].contains(&name) => items,
            single => vec![single],
        };
        arguments.extend(base);
        let node = Node::Function(name, arguments);
        Some(match exponent {
            // sin^{-1} is the inverse function
            Some(Node::Negative(one)) if matches!(&*one, Node::Number { value, .. } if value.is_one()) =>
            {
                let inverse = match name {
                    "sin" => "arcsin",
                    "cos" => "arccos",
                    "tan" => "arctan",
                    _ => return None,
                };
                let Node::Function(_, arguments) = node else { return None };
                Node::Function(inverse, arguments)
            }
            Some(exponent) => Node::Power(Box::new(node), Box::new(exponent)),
            None => node,
        })
    }

    /// What a function applies to: a group, or the factors up to the next sign, function or end
    /// (`\sin 2x`).
    fn function_argument(&mut self) -> Option<Node> {
        if matches!(self.peek(), Some(Token::Mark('(' | '{' | '|'))) {
            return self.factor();
        }
        let mut parts = vec![self.factor()?];
        while matches!(self.peek(), Some(Token::Number(_) | Token::Letter(_)))
            || matches!(self.peek(), Some(Token::Command(command)) if ["pi", "theta", "alpha", "beta", "frac"].contains(&command.as_str()))
        {
            parts.push(self.factor()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Node::Product(parts) })
    }

    fn command(&mut self, command: &str) -> Option<Node> {
        if let Some(function) = FUNCTIONS.iter().find(|function| **function == command)
            && !["sqrt", "binom"].contains(function)
        {
            return self.function(function);
        }
        match command {
            "frac" => {
                let (above, below) = self.two_arguments()?;
                Some(Node::Quotient(Box::new(above), Box::new(below)))
            }
            "binom" | "dbinom" | "tbinom" => {
                let (n, k) = self.two_arguments()?;
                Some(Node::Function("binom", vec![n, k]))
            }
            "sqrt" => {
                let mut index = 2;
                if self.eat('[') {
                    let Token::Number(digits) = self.next()? else { return None };
                    index = digits.parse().ok().filter(|index| (1..=100).contains(index))?;
                    if !self.eat(']') {
                        return None;
                    }
                }
                Some(Node::Root { index, of: Box::new(self.argument()?) })
            }
            "pi" => Some(Node::Pi),
            "infty" => Some(Node::Infinity),
            "emptyset" | "varnothing" => Some(Node::Set(Vec::new())),
            "lfloor" => {
                let node = self.sum()?;
                self.eat_command("rfloor").then(|| Node::Function("floor", vec![node]))
            }
            "lceil" => {
                let node = self.sum()?;
                self.eat_command("rceil").then(|| Node::Function("ceil", vec![node]))
            }
            "langle" => {
                let node = self.list(&[])?;
                let Node::List(items) = node else { return None };
                self.eat_command("rangle").then_some(Node::Bracket { open: '(', close: ')', items })
            }
            "overline" | "overrightarrow" | "vec" | "hat" | "bar" | "mathbb" | "mathcal"
            | "widehat" => {
                let of = self.argument()?;
                Some(Node::Symbol(format!("{command} {}", label(&of)?)))
            }
            "angle" | "triangle" => {
                let of = self.product()?;
                Some(Node::Symbol(format!("{command} {}", label(&of)?)))
            }
            "begin matrix" => self.matrix(),
            "sum" | "int" | "prod" | "lim" | "pmod" | "bmod" | "mod" | "not" | "cap"
            | "setminus" | "ldots" | "dots" | "cdots" => None,
            name if name.starts_with("begin ") || name.starts_with("end ") => None,
            name => Some(Node::Symbol(format!("\\{name}"))),
        }
    }

    /// Two arguments of a command; `\frac12` has one digit for each.
    fn two_arguments(&mut self) -> Option<(Node, Node)> {
        self.skip_space();
        if let Some(Token::Number(digits)) = self.tokens.get(self.at)
            && !digits.contains('.')
            && digits.len() >= 2
        {
            let (first, rest) = digits.split_at(1);
            let (second, more) = rest.split_at(1);
            // `\frac123` would leave digits over
            if !more.is_empty() {
                return None;
            }
            let both = (number(first)?, number(second)?);
            self.at += 1;
            return Some(both);
        }
        let first = self.argument()?;
        self.skip_space();
        if let Some(Token::Number(digits)) = self.tokens.get(self.at)
            && digits.len() > 1
        {
            return None;
        }
        Some((first, self.argument()?))
    }

    fn matrix(&mut self) -> Option<Node> {
        let mut rows: Vec<Vec<Node>> = vec![Vec::new()];
        loop {
            if self.eat_command("end matrix") {
                break;
            }
            if self.peek() == Some(&Token::Break) {
                self.next();
                rows.push(Vec::new());
                continue;
            }
            if self.eat('&') {
                continue;
            }
            if self.eat_command("hline") {
                continue;
            }
            let entry = self.sum()?;
            rows.last_mut()?.push(entry);
        }
        rows.retain(|row| !row.is_empty());
        (!rows.is_empty() && rows.iter().all(|row| row.len() == rows[0].len()))
            .then_some(Node::Matrix(rows))
    }
}

/// `x = 3` inside a tuple says 3.
fn value_of(node: Node) -> Node {
    match node {
        Node::Chain { mut members, relations }
            if relations.iter().all(|relation| *relation == Relation::Equal)
                && members[0].is_name() =>
        {
            members.pop().expect("a chain has members")
        }
        node => node,
    }
}

fn is_proper_fraction(node: &Node) -> bool {
    let Node::Quotient(above, below) = node else { return false };
    let (Node::Number { value: above, .. }, Node::Number { value: below, .. }) =
        (&**above, &**below)
    else {
        return false;
    };
    !above.is_zero() && above < below && !above.is_negative()
}

/// The text of an index.
fn label(node: &Node) -> Option<String> {
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

/// `0.1` with the period `6` is 0.1 + 0.0666... = 0.1 + 6 / 90.
fn repeating(digits: &str, period: &str) -> Option<Node> {
    let Node::Number { value, places } = number(digits)? else { return None };
    let scale =
        BigInt::from(10).pow(places? as u32) * (BigInt::from(10).pow(period.len() as u32) - 1);
    let value = value + BigRational::new(BigInt::parse_bytes(period.as_bytes(), 10)?, scale);
    Some(Node::Number { value, places: None })
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
    if !(1..=3).contains(&digits) || rest.get(end).is_some_and(|c| c.is_alphanumeric() || *c == '.')
    {
        return None;
    }
    let text: String = rest[1..end].iter().collect();
    Some((end, text.parse().ok()?))
}

/// A decimal number times a power of ten, again as a decimal number.
fn shifted(number: &str, exponent: i32) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let point = whole.len() as i32 + exponent;
    match usize::try_from(point) {
        Ok(point) if point >= digits.len() => digits.clone() + &"0".repeat(point - digits.len()),
        Ok(point) => format!("{}.{}", &digits[..point], &digits[point..]),
        Err(_) => format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
    }
}

fn number(digits: &str) -> Option<Node> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let value = BigInt::parse_bytes(format!("0{whole}{fraction}").as_bytes(), 10)?;
    let value = BigRational::new(value, BigInt::from(10).pow(fraction.len() as u32));
    Some(Node::Number { value, places: digits.contains('.').then_some(fraction.len()) })
}
