//! What Python and its packages print around values.

use super::Parser;
use crate::exact::whole;
use crate::tokens::Token;
use crate::tree::Node;

impl Parser<'_> {
    /// What Python and its packages print around values: `Fraction(1, 6)`, `Decimal('0.5')`,
    /// `np.float64(0.5)`, `Matrix([[1, 2]])`, `FiniteSet(1, 2)`.
    pub(super) fn program_object(&mut self, name: &str) -> Option<Node> {
        self.attempt(|parser| parser.program_object_inside(name))
    }

    fn program_object_inside(&mut self, name: &str) -> Option<Node> {
        // `np.float64`
        if ["np", "numpy", "mpmath", "sympy", "math", "fractions", "decimal"].contains(&name)
            && self.eat('.')
        {
            let Token::Letters(inner) = self.next()? else { return None };
            if inner == "pi" {
                return Some(Node::Pi);
            }
            if inner == "float" || inner == "int" {
                let Token::Number(_) = self.next()? else { return None };
                return self.only_argument();
            }
            return self.letters(inner);
        }
        match name {
            "Fraction" | "Rational" => match self.arguments()?.as_slice() {
                [above, below] => {
                    Some(Node::Quotient(Box::new(above.clone()), Box::new(below.clone())))
                }
                [value] => Some(value.clone()),
                _ => None,
            },
            "Decimal" | "Integer" | "Float" | "mpf" | "float" | "int" => self.only_argument(),
            "FiniteSet" | "set" | "frozenset" => match self.arguments()?.as_slice() {
                [Node::Set(items)] => Some(Node::Set(items.clone())),
                items => Some(Node::Set(items.to_vec())),
            },
            "Matrix" | "array" => self.only_argument(),
            "root" => match self.arguments()?.as_slice() {
                [of, index] => {
                    let index = u32::try_from(whole(index)?).ok()?;
                    (1..=100)
                        .contains(&index)
                        .then(|| Node::Root { index, of: Box::new(of.clone()) })
                }
                _ => None,
            },
            "Interval" => self.interval(),
            "Union" => Some(Node::Union(self.arguments()?)),
            "Intersection" => Some(Node::Intersection(self.arguments()?)),
            "Eq" => match self.arguments()?.as_slice() {
                [left, right] => Some(Node::equation(left.clone(), right.clone())),
                _ => None,
            },
            _ => None,
        }
    }

    /// `Interval(1, 2)` is closed, `Interval.open`, `.Lopen` and `.Ropen` are open where they say.
    fn interval(&mut self) -> Option<Node> {
        let mut kind = "";
        if self.eat('.') {
            let Token::Letters(letters) = self.next()? else { return None };
            kind = letters;
        }
        let (open, close) = match kind {
            "" => ('[', ']'),
            "open" => ('(', ')'),
            "Lopen" => ('(', ']'),
            "Ropen" => ('[', ')'),
            _ => return None,
        };
        let items = self.arguments()?;
        (items.len() == 2).then_some(Node::Bracket { open, close, items })
    }

    /// What stands in round brackets, with quotes around text left out.
    fn arguments(&mut self) -> Option<Vec<Node>> {
        if !self.eat('(') {
            return None;
        }
        if self.eat(')') {
            return Some(Vec::new());
        }
        let quoted = self.eat('\'');
        let node = self.list(&[')', '\''])?;
        if quoted && !self.eat('\'') {
            return None;
        }
        let items = match node {
            Node::List(items) => items,
            single => vec![single],
        };
        self.eat(')').then_some(items)
    }

    fn only_argument(&mut self) -> Option<Node> {
        let mut arguments = self.arguments()?;
        (arguments.len() == 1).then(|| arguments.remove(0))
    }
}
