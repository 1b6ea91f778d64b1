//! Sums, products with their implied signs, and what is attached to a factor.

use super::sets_in_words::positive_reals;
use super::{ENDING, Parser, is_hedge, single_or};
use crate::tokens::Token;
use crate::tree::Node;
use crate::units::{Measure, Unit};

/// Terms of a sum and factors of a product beyond which a text is not read.
const MOST_PARTS: usize = 100;

/// The sign in front of a term.
enum Sign {
    Plus,
    Minus,
    Both,
}

impl Parser<'_> {
    /// Terms; `{a \over b}` and `{a \choose b}` part everything around them.
    pub(super) fn sum(&mut self) -> Option<Node> {
        let above = match self.sign() {
            Some(_) => self.terms(Vec::new())?,
            None => self.term()?,
        };
        match self.peek() {
            Some(Token::Command(command)) if command == "over" || command == "choose" => {
                self.below(above, command == "choose")
            }
            _ => Some(above),
        }
    }

    /// A first term without a sign, and those behind it.
    fn term(&mut self) -> Option<Node> {
        let first = self.product()?;
        if self.sign().is_some() { self.terms(vec![first]) } else { Some(first) }
    }

    #[inline(never)]
    fn below(&mut self, above: Node, is_binomial: bool) -> Option<Node> {
        self.next();
        let below = match self.sign() {
            Some(_) => self.terms(Vec::new())?,
            None => self.term()?,
        };
        Some(if is_binomial {
            Node::Function("binom", vec![above, below])
        } else {
            Node::Quotient(Box::new(above), Box::new(below))
        })
    }

    /// The sign that comes next.
    fn sign(&self) -> Option<Sign> {
        match self.peek()? {
            Token::Mark('+') => Some(Sign::Plus),
            Token::Mark('-') => Some(Sign::Minus),
            Token::Command(command) if command == "pm" || command == "mp" => Some(Sign::Both),
            _ => None,
        }
    }

    /// Terms with their signs in front of them, behind others.
    #[inline(never)]
    fn terms(&mut self, mut parts: Vec<Node>) -> Option<Node> {
        while let Some(sign) = self.sign() {
            if parts.len() > MOST_PARTS {
                return None;
            }
            self.next();
            // `+-` is both signs, too
            let both = matches!(sign, Sign::Plus)
                && self.tokens.get(self.at) == Some(&Token::Mark('-'))
                && parts.is_empty();
            let sign = if both {
                self.next();
                Sign::Both
            } else {
                sign
            };
            let part = self.product()?;
            parts.push(signed(&sign, part));
        }
        Some(single_or(parts, Node::Sum))
    }

    fn product(&mut self) -> Option<Node> {
        let first = self.factor()?;
        if self.may_go_on() { self.factors(first) } else { Some(first) }
    }

    /// Whether what comes next may belong to a product.
    fn may_go_on(&self) -> bool {
        match self.peek() {
            Some(Token::Mark(mark)) => ['*', '/', '|', '(', '[', '{', '⟨'].contains(mark),
            None | Some(Token::Afternoon(_) | Token::OClock | Token::Break) => false,
            Some(_) => true,
        }
    }

    /// A product from its first factor on.
    #[inline(never)]
    fn factors(&mut self, first: Node) -> Option<Node> {
        let mut parts = vec![first];
        let mut steps = 0;
        let mut quotients = 0;
        while self.may_go_on() {
            steps += 1;
            if steps > MOST_PARTS {
                return None;
            }
            if let Some(divides) = self.operator() {
                self.next();
                let negative = self.eat('-');
                let factor = self.factor()?;
                let factor = if negative { factor.negative() } else { factor };
                if divides {
                    let above = single_or(std::mem::take(&mut parts), Node::Product);
                    parts.push(Node::Quotient(Box::new(above), Box::new(factor)));
                    quotients += 1;
                    self.bounded_height(&parts[0], quotients)?;
                } else {
                    parts.push(factor);
                }
                continue;
            }
            if self.multiplier(&mut parts) {
                continue;
            }
            if let Some(unit) = self.unit(&parts) {
                let value = single_or(std::mem::take(&mut parts), Node::Product);
                parts.push(self.quantity(value, unit)?);
                continue;
            }
            if !self.begins_factor() {
                break;
            }
            let mixed = self.mixed_number(&parts);
            let factor = self.factor()?;
            self.join_factor(mixed, factor, &mut parts)?;
        }
        Some(single_or(parts, Node::Product))
    }

    /// Whether a sign of division comes next, or one of multiplication.
    fn operator(&self) -> Option<bool> {
        match self.peek()? {
            Token::Mark('*') => Some(false),
            Token::Mark('/') => Some(true),
            Token::Command(command) => match command.as_str() {
                "cdot" | "times" => Some(false),
                "div" => Some(true),
                _ => None,
            },
            _ => None,
        }
    }

    /// Takes in a factor without a sign before it; a fraction behind a whole number makes a mixed
    /// number.
    #[inline(never)]
    fn join_factor(
        &mut self,
        mixed: Option<bool>,
        factor: Node,
        parts: &mut Vec<Node>,
    ) -> Option<()> {
        let is_number = matches!(factor, Node::Number { .. });
        match (mixed, parts.last()) {
            // 3 1/2: the slash belongs to the fraction
            (Some(true), _) if is_number && self.peek() == Some(&Token::Mark('/')) => {
                self.next();
                let below = self.factor()?;
                let whole = parts.pop()?;
                let fraction = Node::Quotient(Box::new(factor), Box::new(below));
                parts.push(Node::Sum(vec![whole, fraction]));
            }
            (Some(false), _) if is_proper_fraction(&factor) => {
                let whole = parts.pop()?;
                parts.push(Node::Sum(vec![whole, factor]));
            }
            // the percent sign behind a mixed number is that of the whole
            (Some(false), _) if is_proper_percentage(&factor) => {
                let whole = parts.pop()?;
                let Node::Percent(fraction) = factor else { return None };
                parts.push(Node::Percent(Box::new(Node::Sum(vec![whole, *fraction]))));
            }
            (_, Some(Node::Number { .. })) if is_number => return None,
            _ => parts.push(factor),
        }
        Some(())
    }

    /// Whether a fraction that comes next makes a mixed number with the whole number before it:
    /// `Some(true)` for digits with a slash behind a space, `Some(false)` for `\frac`.
    fn mixed_number(&self, parts: &[Node]) -> Option<bool> {
        let [Node::Number { value, decimal: None }] = parts else { return None };
        if !value.is_integer() {
            return None;
        }
        match self.peek()? {
            Token::Command(command) if command == "frac" => Some(false),
            Token::Mark('{') => Some(false),
            Token::Number(_) if self.tokens.get(self.at) == Some(&Token::Space) => Some(true),
            _ => None,
        }
    }

    /// A value with its unit, and a smaller unit of the same kind behind it: `1 hour 30 minutes`
    /// is 90 minutes.
    fn quantity(&mut self, value: Node, unit: Unit) -> Option<Node> {
        let quantity =
            |value: Node, unit: Unit| Some(Node::Quantity { value: Box::new(value), unit });
        let Unit::Known(large) = &unit else { return quantity(value, unit) };
        let smaller = self.attempt(|parser| {
            let _ = parser.eat_and() || parser.eat(',');
            if !matches!(parser.peek(), Some(Token::Number(_))) {
                return None;
            }
            let rest = parser.factor().filter(Node::is_constant)?;
            let Unit::Known(small) = parser.unit(std::slice::from_ref(&rest))? else {
                return None;
            };
            let is_smaller =
                small.is_convertible(large) && !small.is_generic() && small.factor < large.factor;
            is_smaller.then_some((rest, small))
        });
        let Some((rest, small)) = smaller else { return quantity(value, unit) };
        let ratio = &large.factor / &small.factor;
        let ratio = Node::Number { value: ratio, decimal: None };
        let sum = Node::Sum(vec![Node::Product(vec![value, ratio]), rest]);
        // three units in a row: hours, minutes, seconds
        self.quantity(sum, Unit::Known(small))
    }

    fn eat_and(&mut self) -> bool {
        let there = matches!(
            self.peek(), Some(Token::Letters(word) | Token::Text(word)) if word.trim() == "and"
        );
        if there {
            self.next();
        }
        there
    }

    fn begins_factor(&self) -> bool {
        let joins = |word: &str| {
            ["and", "or", "", "mod", "union", "except", "excluding"]
                .contains(&word.trim_matches([',', ' ']).to_lowercase().as_str())
                || is_hedge(word)
        };
        match self.peek() {
            Some(Token::Number(_) | Token::Repeating(..) | Token::Time(..) | Token::Letter(_)) => {
                !self.begins_union()
            }
            Some(Token::Letters(word) | Token::Text(word)) => !joins(word) && !self.at_to(),
            Some(Token::Mark('|')) => self.bars == 0,
            Some(Token::Mark('(')) => !self.begins_mod(),
            Some(Token::Mark(mark)) => ['[', '{', '⟨'].contains(mark),
            Some(Token::Command(command)) => {
                !ENDING.contains(&command.as_str()) && !command.starts_with("end ")
            }
            _ => false,
        }
    }

    /// Whether a `U` between brackets comes next.
    fn begins_union(&self) -> bool {
        let brackets = |token: Option<&Token>| {
            matches!(token, Some(Token::Mark(')' | ']' | '(' | '[' | '⟩' | '⟨')))
        };
        let mut around = self.tokens[self.at..].iter().filter(|token| !token.is_space());
        let before = self.tokens[..self.at].iter().rev().find(|token| !token.is_space());
        around.next() == Some(&Token::Letter('U')) && brackets(before) && brackets(around.next())
    }

    /// Whether `(mod` comes next.
    fn begins_mod(&self) -> bool {
        let mut tokens = self.tokens[self.at..].iter().filter(|token| !token.is_space());
        tokens.next();
        tokens.next().is_some_and(Token::is_mod)
    }

    pub(super) fn factor(&mut self) -> Option<Node> {
        self.enter()?;
        let mut node = match self.peek() {
            Some(Token::Mark('-')) => {
                self.next();
                self.factor()?.negative()
            }
            Some(Token::Mark('+')) => {
                self.next();
                self.factor()?
            }
            _ => self.base()?,
        };
        let mut attached = 0;
        while self.at_attachment(&node) {
            node = self.attached(node)?;
            attached += 1;
            self.bounded_height(&node, attached)?;
        }
        self.leave();
        Some(node)
    }

    /// Whether a power, an index, a factorial or a percent sign comes next.
    fn at_attachment(&self, node: &Node) -> bool {
        match self.peek() {
            Some(Token::Mark('^' | '_' | '!' | '%')) => true,
            Some(Token::Mark('\'')) => matches!(node, Node::Symbol(_)),
            Some(Token::Text(word) | Token::Letters(word)) => {
                ["percent", "pct"].contains(&word.trim())
            }
            _ => false,
        }
    }

    /// Attaches it; `None` if it cannot be read.
    #[inline(never)]
    fn attached(&mut self, before: Node) -> Option<Node> {
        match self.next()? {
            Token::Mark('^') => self.raised(before),
            Token::Mark('_') => self.indexed(before),
            Token::Mark('!') => {
                let double = self.tokens.get(self.at) == Some(&Token::Mark('!'));
                Some(if double {
                    self.next();
                    Node::Function("double factorial", vec![before])
                } else {
                    Node::Factorial(Box::new(before))
                })
            }
            Token::Mark('\'') => match before {
                Node::Symbol(name) => Some(Node::Symbol(format!("{name}'"))),
                other => Some(other),
            },
            _ => Some(Node::Percent(Box::new(before))),
        }
    }

    /// Behind `^`.
    fn raised(&mut self, base: Node) -> Option<Node> {
        match self.raised_otherwise(base) {
            Ok(node) => Some(node),
            Err(base) => {
                let exponent = self.argument()?;
                Some(Node::Power(Box::new(base), Box::new(exponent)))
            }
        }
    }

    /// What is raised, but is no power; the base as it was where it is one.
    #[inline(never)]
    fn raised_otherwise(&mut self, base: Node) -> Result<Node, Node> {
        if self.eat_command("circ") {
            return Ok(self.degree(base));
        }
        if let Some(behind) = self.grouped_degree() {
            self.at = behind;
            return Ok(self.degree(base));
        }
        if self.peek() == Some(&Token::Mark('\'')) {
            self.next();
            return Ok(base);
        }
        // `60^o`
        if matches!(base, Node::Number { .. }) {
            let start = self.at;
            let grouped = self.eat('{');
            let is_degree = match self.next() {
                Some(Token::Letter('o')) => true,
                Some(Token::Text(word)) => word == "o",
                _ => false,
            };
            if is_degree && (!grouped || self.eat('}')) {
                return Ok(self.degree(base));
            }
            self.at = start;
        }
        self.positive(&base, '+').ok_or(base)
    }

    /// `\mathbb{R}^+` and `\mathbb{R}_{>0}`, the sign ahead of us.
    fn positive(&mut self, base: &Node, sign: char) -> Option<Node> {
        let Node::Symbol(name) = base else { return None };
        if !["mathbb R", "mathbb Z"].contains(&name.as_str()) {
            return None;
        }
        let start = self.at;
        let grouped = self.eat('{');
        let there = self.eat(sign)
            && (sign == '+' || matches!(self.next(), Some(Token::Number(of)) if of.text == "0"))
            && (!grouped || self.eat('}'));
        if !there {
            self.at = start;
            return None;
        }
        Some(if name.ends_with('R') { positive_reals() } else { Node::Symbol(format!("{name}^+")) })
    }

    /// Behind `_`.
    fn indexed(&mut self, base: Node) -> Option<Node> {
        if let Some(positive) = self.positive(&base, '>') {
            return Some(positive);
        }
        let index = self.argument()?;
        match (base, index) {
            (Node::Number { value, decimal: None }, Node::Number { value: base, .. }) => {
                let base: u32 =
                    base.truncated().try_into().ok().filter(|base| (2..=36).contains(base))?;
                Some(Node::Based { digits: value.truncated().to_string(), base })
            }
            (Node::Symbol(name), index) => {
                Some(Node::Symbol(format!("{name}_{}", super::values::label(&index)?)))
            }
            _ => None,
        }
    }

    /// An angle in degrees: in radians where that matters, else a quantity.
    fn degree(&mut self, node: Node) -> Node {
        if !self.angle {
            // degrees Celsius and Fahrenheit
            let scale = match self.peek() {
                Some(Token::Text(word)) => word.clone(),
                Some(Token::Letter(letter @ ('C' | 'F'))) => letter.to_string(),
                _ => String::new(),
            };
            if ["C", "F"].contains(&scale.as_str())
                && let Some(unit) = Measure::parse(&scale)
            {
                self.next();
                return Node::Quantity { value: Box::new(node), unit: Unit::Known(Box::new(unit)) };
            }
            let unit = Unit::Known(Box::new(Measure::degree()));
            let value = self.with_arcminutes(node);
            return Node::Quantity { value: Box::new(value), unit };
        }
        let half_turn = Node::whole(180);
        Node::Quotient(Box::new(Node::Product(vec![node, Node::Pi])), Box::new(half_turn))
    }

    /// Degrees with the minutes behind them: `22^\circ 30'` is 22 + 30/60.
    fn with_arcminutes(&mut self, degrees: Node) -> Node {
        let start = self.at;
        if let Some(Token::Number(minutes)) = self.next()
            && let Some(minutes) = super::numbers::number(minutes)
            && self.eat('\'')
        {
            let part = Node::Quotient(Box::new(minutes), Box::new(Node::whole(60)));
            return Node::Sum(vec![degrees, part]);
        }
        self.at = start;
        degrees
    }

    /// Behind `{\circ}`, if that comes next.
    fn grouped_degree(&self) -> Option<usize> {
        let mut place = self.at;
        for part in 0..3 {
            while self.tokens.get(place) == Some(&Token::Space) {
                place += 1;
            }
            let is_right = match (part, self.tokens.get(place)?) {
                (0, Token::Mark('{')) | (2, Token::Mark('}')) => true,
                (1, Token::Command(command)) => command == "circ",
                _ => false,
            };
            if !is_right {
                return None;
            }
            place += 1;
        }
        Some(place)
    }
}

fn signed(sign: &Sign, part: Node) -> Node {
    match sign {
        Sign::Plus => part,
        Sign::Minus => part.negative(),
        Sign::Both => Node::PlusMinus(Box::new(part)),
    }
}

fn is_proper_percentage(node: &Node) -> bool {
    matches!(node, Node::Percent(of) if is_proper_fraction(of))
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
