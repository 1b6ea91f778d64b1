//! Functions and what they apply to.

use super::values::determinant;
use super::{Parser, single_or};
use crate::fraction::Fraction;
use crate::tokens::{Token, is_trigonometric};
use crate::tree::Node;

impl Parser<'_> {
    /// A function's application, its name behind us.
    pub(super) fn function(&mut self, name: &'static str) -> Option<Node> {
        if name == "sqrt" || name == "cbrt" {
            let index = if name == "sqrt" { 2 } else { 3 };
            let of = self.argument()?;
            return Some(Node::Root { index, of: Box::new(of) });
        }
        if name == "binom" && self.peek() != Some(&Token::Mark('(')) {
            return self.binomial();
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
        let outside = std::mem::replace(&mut self.angle, is_trigonometric(name));
        let argument = self.function_argument();
        self.angle = outside;
        let node = applied(name, argument?, base)?;
        match exponent {
            Some(exponent) => raised(name, node, exponent),
            None => Some(node),
        }
    }

    /// What a function applies to: a group, or the factors up to the next sign, function or end
    /// (`\sin 2x`). A power behind the group is one of the function's value: `\sin(x)^2`.
    fn function_argument(&mut self) -> Option<Node> {
        if matches!(self.peek(), Some(Token::Mark('(' | '{' | '|' | '['))) {
            return self.base();
        }
        let mut parts = vec![self.factor()?];
        let goes_on = |token: Option<&Token>| match token {
            Some(Token::Number(_) | Token::Letter(_)) => true,
            Some(Token::Command(command)) => {
                ["pi", "theta", "alpha", "beta", "phi", "omega", "frac"].contains(&command.as_str())
            }
            _ => false,
        };
        while goes_on(self.peek()) {
            parts.push(self.factor()?);
        }
        Some(single_or(parts, Node::Product))
    }
}

/// The value of a function, of a logarithm to a base if it has one.
fn applied(name: &'static str, argument: Node, base: Option<Node>) -> Option<Node> {
    Some(match (name, argument) {
        ("factorial", of) => Node::Factorial(Box::new(of)),
        ("abs", of) => Node::Absolute(Box::new(of)),
        ("det", Node::Matrix(rows)) => determinant(&rows)?,
        ("det", _) => return None,
        ("min" | "max" | "gcd" | "lcm" | "binom" | "log", Node::Bracket { items, .. }) => {
            Node::Function(name, items)
        }
        ("min" | "max", Node::Set(items) | Node::List(items)) => Node::Function(name, items),
        ("binom", _) => return None,
        (_, single) => Node::Function(name, std::iter::once(single).chain(base).collect()),
    })
}

/// A function's value raised to what stood behind its name: `\sin^2 x`, `\sin^{-1} x`.
fn raised(name: &str, node: Node, exponent: Node) -> Option<Node> {
    if is_minus_one(&exponent) {
        return inverse(name, node);
    }
    Some(Node::Power(Box::new(node), Box::new(exponent)))
}

fn is_minus_one(node: &Node) -> bool {
    let Node::Negative(of) = node else { return false };
    matches!(&**of, Node::Number { value, .. } if *value == Fraction::ONE)
}

/// `\sin^{-1}` is the inverse function.
fn inverse(name: &str, node: Node) -> Option<Node> {
    let inverse = match name {
        "sin" => "arcsin",
        "cos" => "arccos",
        "tan" => "arctan",
        _ => return None,
    };
    let Node::Function(_, arguments) = node else { return None };
    Some(Node::Function(inverse, arguments))
}
