//! Chains of equations and inequalities, memberships, and the words and marks around relations.

use super::hedges::are_close;
use super::{Parser, single_or};
use crate::tokens::Token;
use crate::tree::{Node, Relation};

impl Parser<'_> {
    /// Members with relations between them; what stands alone is its own chain. A leading
    /// `\approx` or `=` says nothing.
    pub(super) fn chain(&mut self) -> Option<Node> {
        while matches!(self.peek(), Some(Token::Mark('=' | '&')))
            || self.at_command("approx")
            || self.at_command("equiv")
        {
            self.next();
        }
        self.hedge();
        self.article();
        let start = self.at;
        let first = self.modulo()?;
        if self.may_be_related() {
            return self.related(first, start);
        }
        Some(if matches!(first, Node::Function("bmod", _)) && self.has_equiv_behind(start) {
            as_class(first)
        } else {
            first
        })
    }

    /// Whether what comes next may relate a member to another one.
    fn may_be_related(&self) -> bool {
        let mut ahead = self.tokens[self.at..].iter().filter(|token| !token.is_space());
        match ahead.next() {
            Some(Token::Mark('=' | '<' | '>' | '&')) | Some(Token::Letters(_) | Token::Text(_)) => {
                true
            }
            Some(Token::Mark(',')) => {
                matches!(ahead.next(), Some(Token::Letters(_) | Token::Text(_)))
            }
            Some(Token::Command(command)) => {
                ["in", "approx", "ne", "le", "ge", "equiv"].contains(&command.as_str())
            }
            _ => false,
        }
    }

    fn has_equiv_behind(&self, start: usize) -> bool {
        self.tokens[start..self.at]
            .iter()
            .any(|token| matches!(token, Token::Command(command) if command == "equiv"))
    }

    /// A chain from its first member on, which began at `start`.
    #[inline(never)]
    fn related(&mut self, first: Node, start: usize) -> Option<Node> {
        if self.eat_command("in") {
            return Some(Node::Member(Box::new(first), Box::new(self.modulo()?)));
        }
        let (mut members, mut relations) = (vec![first], Vec::new());
        // an alignment mark may stand on either side
        self.alignment();
        while let Some(relation) = self.relation() {
            self.alignment();
            self.hedge();
            // "49 approximately"
            if relation == Relation::Approximate && self.peek().is_none() {
                break;
            }
            let next = self.modulo()?;
            // "5 or about 6" is no rounding of 5
            let said_in_words = self.tokens[start..self.at].iter().any(Token::is_or);
            if relation == Relation::Approximate && said_in_words && !are_close(&members, &next) {
                return None;
            }
            relations.push(relation);
            members.push(next);
            self.alignment();
        }
        if self.has_equiv_behind(start) {
            members = members.into_iter().map(as_class).collect();
        }
        Some(single_or(members, |members| Node::Chain { members, relations: relations.into() }))
    }

    /// Passes over `&` next to a relation.
    fn alignment(&mut self) {
        if self.peek() != Some(&Token::Mark('&')) {
            return;
        }
        let at = self.at;
        self.next();
        let is_relation = self.peek().is_some_and(Token::is_relation);
        let before = self.tokens[..at].iter().rev().find(|token| !token.is_space());
        let behind_relation = before.is_some_and(Token::is_relation);
        if !is_relation && !behind_relation {
            self.at = at;
        }
    }

    fn relation(&mut self) -> Option<Relation> {
        // `7/12 or about 0.58`
        let start = self.at;
        let _ = self.eat(',');
        let or = self.peek().is_some_and(Token::is_or);
        if or {
            self.next();
        }
        if self.hedge() || (or && self.eat_command("approx")) {
            return Some(Relation::Approximate);
        }
        // "49 or so"
        if or && matches!(self.peek(), Some(Token::Letters(word)) if word == "so") {
            self.next();
            return Some(Relation::Approximate);
        }
        self.at = start;
        let relation = match self.peek()? {
            Token::Mark('=') => Relation::Equal,
            Token::Mark('<') => Relation::Less,
            Token::Mark('>') => Relation::Greater,
            Token::Command(command) => match command.as_str() {
                "approx" => Relation::Approximate,
                "ne" => Relation::NotEqual,
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
}

/// A class of residues, however it is written.
fn as_class(mut node: Node) -> Node {
    if let Node::Function(name @ "bmod", _) = &mut node {
        *name = "pmod";
    }
    node
}
