//! From tokens to a tree: lists here, relations in [`chains`], residues, unions and ratios in
//! [`sets`], sums and products in [`arithmetic`], single values in [`values`] and [`functions`],
//! words and units in [`words`].
//!
//! Bounded: the depth of nesting, the height of the tree, the length of the text and the number of
//! steps are limited. `tests/stack.rs` says how much of the stack the deepest texts take.

mod arithmetic;
mod chains;
mod functions;
mod hedges;
mod numbers;
mod programs;
mod sets;
mod sets_in_words;
mod values;
mod words;

use crate::tokens::{Commas, Token, tokens};
use crate::tree::{Node, Relation};
use hedges::is_hedge;
use values::entries;

pub(crate) use sets_in_words::begins_set;

/// Nesting beyond which a text is not read.
const DEEPEST: usize = 40;

/// Groups and factors beyond which a text is not read: what is attempted in several ways at every
/// level would take twice as long for each.
const MOST_STEPS: usize = 5_000;

/// Nodes above each other, beyond which a text is not read: powers, factorials and quotients grow
/// without groups.
const HIGHEST: usize = 160;

/// Nodes that are put above each other at one level of nesting without a look at the height.
const UNBOUNDED: usize = 3;

/// Lines below each other that are read.
const MOST_LINES: usize = 20;

/// How what can be read in several ways is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) commas: Commas,
    /// Letters behind a single number are a unit or words, not variables: `5 m`.
    pub(crate) letters_are_words: bool,
}

/// The tree of a tidied answer; `None` if it is not math that is understood.
pub(crate) fn parse(text: &str, reading: Reading) -> Option<Node> {
    let tokens = tokens(text, reading.commas)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
        angle: false,
        bars: 0,
        steps: 0,
        letters_are_words: reading.letters_are_words,
    };
    let mut lines = vec![parser.list(&[])?];
    parser.punctuation();
    // lines below each other are items
    while parser.at < tokens.len() && lines.len() <= MOST_LINES {
        if !matches!(
            tokens[..parser.at].iter().rfind(|token| !token.is_space()),
            Some(Token::Break)
        ) {
            return None;
        }
        lines.push(parser.list(&[])?);
        parser.punctuation();
    }
    let items = |line: Node| match line {
        Node::List(items) => items,
        single => vec![single],
    };
    let node = match lines.len() {
        1 => lines.remove(0),
        _ => Node::List(lines.into_iter().flat_map(items).collect()),
    };
    (parser.at == tokens.len()).then_some(node)
}

struct Parser<'t> {
    tokens: &'t [Token],
    at: usize,
    depth: usize,
    /// Whether this is the argument of a trigonometric function, in which a degree sign means
    /// something: an angle as an answer is compared by its number.
    angle: bool,
    /// Bars that are open: the next one closes an absolute value.
    bars: usize,
    /// Groups and factors that were begun, in attempts that failed, too.
    steps: usize,
    letters_are_words: bool,
}

/// What parts the items of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    Comma,
    Semicolon,
    And,
    Or,
}

/// What parts two items, or the last one from the end.
#[derive(Clone, Copy, Default)]
struct Parted {
    /// Whether there is anything.
    at_all: bool,
    semicolon: bool,
    or: bool,
    /// Whether there is anything but "and".
    not_and: bool,
}

/// Commands that end a factor: operators, relations, and closing delimiters.
const ENDING: [&str; 33] = [
    "cup",
    "cap",
    "setminus",
    "in",
    "pm",
    "mp",
    "cdot",
    "times",
    "div",
    "approx",
    "ne",
    "le",
    "ge",
    "equiv",
    "lor",
    "land",
    "to",
    "rightarrow",
    "Rightarrow",
    "implies",
    "iff",
    "rfloor",
    "rceil",
    "rangle",
    "over",
    "choose",
    "atop",
    "pmod",
    "bmod",
    "mod",
    "hline",
    "notin",
    "quad",
];

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t Token> {
        match self.tokens.get(self.at)? {
            Token::Space => self.tokens[self.at..].iter().find(|token| !token.is_space()),
            token => Some(token),
        }
    }

    fn skip_space(&mut self) {
        while self.tokens.get(self.at).is_some_and(Token::is_space) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<&'t Token> {
        self.skip_space();
        let token = self.tokens.get(self.at);
        self.at += usize::from(token.is_some());
        token
    }

    fn eat(&mut self, mark: char) -> bool {
        let there = matches!(self.peek(), Some(Token::Mark(next)) if *next == mark);
        if there {
            self.next();
        }
        there
    }

    fn eat_command(&mut self, name: &str) -> bool {
        let there = self.at_command(name);
        if there {
            self.next();
        }
        there
    }

    fn at_command(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Command(command)) if command == name)
    }

    /// Goes one level down, if that is not too deep.
    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        self.steps += 1;
        (self.depth <= DEEPEST && self.steps <= MOST_STEPS).then_some(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads something, or goes back to where it began.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = (self.at, self.depth, self.bars, self.angle);
        let found = read(self);
        if found.is_none() {
            (self.at, self.depth, self.bars, self.angle) = before;
        }
        found
    }

    /// Refuses what has become too high by attaching things to it `times` times at one level.
    fn bounded_height(&self, node: &Node, times: usize) -> Option<()> {
        (times < UNBOUNDED || node.is_at_most(HIGHEST)).then_some(())
    }

    /// Full stops and the like behind an answer.
    fn punctuation(&mut self) {
        while matches!(
            self.tokens.get(self.at),
            Some(Token::Space | Token::Break | Token::Mark('.' | ',' | ';' | ':' | '"' | '*'))
        ) {
            self.at += 1;
        }
    }

    fn separator(&mut self) -> Option<Separator> {
        let separator = match self.peek()? {
            Token::Mark(',') => Separator::Comma,
            Token::Mark(';') => Separator::Semicolon,
            Token::Mark('&') => Separator::And,
            Token::Text(word) | Token::Letters(word) => {
                match word.trim_matches([',', ' ']).to_lowercase().as_str() {
                    "and" => Separator::And,
                    "or" => Separator::Or,
                    "" if matches!(self.peek(), Some(Token::Text(_))) => Separator::And,
                    _ => return None,
                }
            }
            Token::Command(command) if command == "lor" => Separator::Or,
            Token::Command(command) if command == "land" => Separator::And,
            Token::Command(command) if command == "quad" => Separator::Comma,
            _ => return None,
        };
        self.next();
        Some(separator)
    }

    /// Items up to one of `closing` or the end.
    fn list(&mut self, closing: &[char]) -> Option<Node> {
        self.enter()?;
        while self.eat_command("quad") {}
        let first = self.chain()?;
        let parted = self.parted();
        self.full_stop_before(closing);
        let node = match self.at_end_of(closing) {
            true => first,
            false => self.items(first, parted, closing)?,
        };
        self.leave();
        Some(node)
    }

    /// Passes over what parts items.
    fn parted(&mut self) -> Parted {
        let mut parted = Parted::default();
        while let Some(separator) = self.separator() {
            parted.at_all = true;
            parted.or |= separator == Separator::Or;
            parted.not_and |= separator != Separator::And;
            parted.semicolon |= separator == Separator::Semicolon;
        }
        parted
    }

    /// Items behind the first one, up to one of `closing` or the end.
    #[inline(never)]
    fn items(&mut self, first: Node, mut parted: Parted, closing: &[char]) -> Option<Node> {
        let mut groups: Vec<Vec<Node>> = vec![vec![first]];
        let mut semicolons = false;
        let mut or = parted.or;
        let mut not_and = parted.not_and;
        loop {
            if !parted.at_all {
                return None;
            }
            if parted.semicolon {
                semicolons = true;
                groups.push(Vec::new());
            }
            let item = self.chain()?;
            groups.last_mut()?.push(item);
            parted = self.parted();
            or |= parted.or;
            not_and |= parted.not_and;
            self.full_stop_before(closing);
            if self.at_end_of(closing) {
                break;
            }
        }
        if semicolons {
            // groups of several items are tuples
            let groups: Vec<Node> =
                groups.into_iter().filter(|group| !group.is_empty()).map(tuple).collect();
            return Some(single_or(groups, Node::List));
        }
        let items = entries(groups.remove(0));
        // "x > 0 and x < 1" is both
        let is_order = |item: &Node| {
            matches!(item, Node::Chain { relations, .. }
                if relations.iter().all(|of| of.is_inequality()))
        };
        if !not_and && items.iter().all(is_order) {
            return Some(Node::Intersection(items));
        }
        Some(if or { Node::Alternatives(items) } else { Node::List(items) })
    }

    /// Passes over a full stop in front of what closes: `(x = 1.)`.
    fn full_stop_before(&mut self, closing: &[char]) {
        let mut ahead = self.tokens[self.at..].iter().filter(|token| !token.is_space());
        let is_stop = ahead.next() == Some(&Token::Mark('.'));
        let closes = matches!(ahead.next(), Some(Token::Mark(mark)) if closing.contains(mark));
        if is_stop && closes {
            self.next();
        }
    }

    fn at_end_of(&self, closing: &[char]) -> bool {
        match self.peek() {
            None | Some(Token::Break) => true,
            Some(Token::Mark(mark)) => {
                closing.contains(mark) || (closing.is_empty() && *mark == '.')
            }
            Some(Token::Command(command)) => command.starts_with("end ") || command == "rangle",
            _ => false,
        }
    }
}

/// The only item, or what `many` makes of several.
fn single_or(mut items: Vec<Node>, many: impl FnOnce(Vec<Node>) -> Node) -> Node {
    if items.len() == 1 { items.remove(0) } else { many(items) }
}

fn tuple(items: Vec<Node>) -> Node {
    single_or(items, |items| Node::Bracket {
        open: '(',
        close: ')',
        items: items.into_iter().map(value_of_named).collect(),
    })
}

/// `x = 3` inside a tuple says 3.
fn value_of_named(node: Node) -> Node {
    match node {
        Node::Chain { mut members, relations }
            if relations.iter().all(|relation| *relation == Relation::Equal)
                && members[0].is_name() =>
        {
            members.remove(members.len() - 1)
        }
        node => node,
    }
}
