//! Residues, unions and differences of sets, and ratios: what stands between a relation and a sum.

use super::{Parser, single_or};
use crate::tokens::Token;
use crate::tree::Node;

impl Parser<'_> {
    /// A value or set, up to a residue: `a \pmod m`, `a \bmod m`, `a (mod m)`.
    ///
    /// At this level and those below, what follows a value is read by functions of their own: a
    /// value that stands alone, as most do in nested groups, then takes little of the stack.
    pub(super) fn modulo(&mut self) -> Option<Node> {
        let value = self.union()?;
        if !self.may_be_residue() {
            return Some(value);
        }
        self.residue(value)
    }

    fn may_be_residue(&self) -> bool {
        match self.peek() {
            Some(Token::Command(command)) => ["pmod", "bmod", "mod"].contains(&command.as_str()),
            Some(Token::Letters(word) | Token::Text(word)) => word == "mod",
            Some(Token::Mark('(')) => true,
            _ => false,
        }
    }

    #[inline(never)]
    fn residue(&mut self, value: Node) -> Option<Node> {
        let at = self.at;
        let name = match self.next() {
            Some(Token::Command(command)) if command == "pmod" => "pmod",
            Some(Token::Mark('(')) if self.is_mod() => {
                self.next();
                let modulus = self.sum()?;
                let node = Node::Function("pmod", vec![value, modulus]);
                return self.eat(')').then_some(node);
            }
            Some(Token::Mark(_)) | None => {
                self.at = at;
                return Some(value);
            }
            Some(_) => "bmod",
        };
        let modulus = if name == "pmod" { self.argument()? } else { self.sum()? };
        Some(Node::Function(name, vec![value, modulus]))
    }

    fn is_mod(&self) -> bool {
        self.peek().is_some_and(Token::is_mod)
    }

    /// Unions, intersections and differences of sets, from left to right.
    fn union(&mut self) -> Option<Node> {
        let node = self.ratio()?;
        let may_go_on = match self.peek() {
            Some(Token::Command(command)) => ["cup", "cap", "setminus"].contains(&command.as_str()),
            Some(Token::Letters(_) | Token::Text(_) | Token::Letter(_)) => true,
            _ => false,
        };
        if may_go_on { self.united(node) } else { Some(node) }
    }

    /// What is united with a set, taken from it, or the like.
    #[inline(never)]
    fn united(&mut self, mut node: Node) -> Option<Node> {
        let mut differences = 0;
        loop {
            if self.eat_command("cup") || self.eat_words(&["union", "U"]) {
                let other = self.ratio()?;
                match &mut node {
                    Node::Union(parts) => parts.push(other),
                    _ => node = Node::Union(vec![node, other]),
                }
            } else if self.eat_command("cap") {
                let other = self.ratio()?;
                match &mut node {
                    Node::Intersection(parts) => parts.push(other),
                    _ => node = Node::Intersection(vec![node, other]),
                }
            } else if self.eat_command("setminus") || self.eat_words(&["except", "excluding"]) {
                let other = self.left_out()?;
                node = Node::Difference(Box::new(node), Box::new(other));
                differences += 1;
                self.bounded_height(&node, differences)?;
            } else {
                return Some(node);
            }
        }
    }

    /// What is taken from a set: "-1 and 1" behind "except".
    fn left_out(&mut self) -> Option<Node> {
        let mut others = vec![self.ratio()?];
        while others[0].is_constant()
            && let Some(other) = self.attempt(|parser| {
                parser.separator()?;
                parser.ratio().filter(Node::is_constant)
            })
        {
            others.push(other);
        }
        Some(single_or(others, Node::Set))
    }

    /// A word between two sets; `U` between brackets is a union, too.
    fn eat_words(&mut self, words: &[&str]) -> bool {
        let behind_bracket = self.tokens[..self.at]
            .iter()
            .rev()
            .find(|token| !token.is_space())
            .is_some_and(|token| matches!(token, Token::Mark(')' | ']' | '⟩')));
        let there = match self.peek() {
            Some(Token::Letters(word) | Token::Text(word)) => {
                words.contains(&word.to_lowercase().as_str())
            }
            Some(Token::Letter(letter)) => {
                behind_bracket && words.contains(&letter.to_string().as_str())
            }
            _ => false,
        };
        if there {
            self.next();
        }
        there
    }

    /// Whether "to" and a number come next: `3 to 1`.
    pub(super) fn at_to(&self) -> bool {
        let mut tokens = self.tokens[self.at..].iter().filter(|token| !token.is_space());
        let to =
            matches!(tokens.next(), Some(Token::Letters(word) | Token::Text(word)) if word == "to");
        to && matches!(tokens.next(), Some(Token::Number(_)))
    }

    fn ratio(&mut self) -> Option<Node> {
        let first = self.sum()?;
        if self.peek() == Some(&Token::Mark(':')) || self.at_to() {
            return self.ratio_to(first);
        }
        Some(first)
    }

    #[inline(never)]
    fn ratio_to(&mut self, first: Node) -> Option<Node> {
        let mut parts = vec![first];
        while self.peek() == Some(&Token::Mark(':')) || self.at_to() {
            let at = self.at;
            self.next();
            // a colon at the end is punctuation
            if self.peek().is_none() {
                self.at = at;
                break;
            }
            parts.push(self.sum()?);
        }
        Some(single_or(parts, Node::Ratio))
    }
}
