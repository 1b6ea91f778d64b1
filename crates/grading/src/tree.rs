//! What an answer is made of.

use crate::fraction::Fraction;
use crate::units::Unit;
use std::cell::{Cell, RefCell};

/// How two neighbours of a chain are related.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Approximate,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Relation {
    /// The relation seen from the other side.
    pub(crate) fn flipped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// Whether it orders or tells apart.
    pub(crate) fn is_inequality(self) -> bool {
        !matches!(self, Self::Equal | Self::Approximate)
    }

    /// Whether it orders.
    pub(crate) fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::Approximate | Self::NotEqual)
    }

    /// Whether it holds to the left of a bound: `x < 1`.
    pub(crate) fn is_below(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual)
    }

    /// Whether the bound belongs to it.
    pub(crate) fn is_closed(self) -> bool {
        matches!(self, Self::LessOrEqual | Self::GreaterOrEqual)
    }
}

/// A number as it was printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Decimal {
    /// Digits behind the decimal point; negative for `1.5e7`.
    pub(crate) places: i32,
    /// Digits that were printed, without zeros in front.
    pub(crate) digits: u32,
}

impl Decimal {
    /// What one step of the last printed digit is worth.
    pub(crate) fn unit(&self) -> f64 {
        10f64.powi(-self.places)
    }
}

/// A time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Seconds since the hour that was written as 0.
    pub(crate) seconds: u32,
    /// Whether it is after noon, if that was said.
    pub(crate) afternoon: Option<bool>,
}

impl Clock {
    /// Seconds of half a day.
    pub(crate) const NOON: u32 = 12 * 3600;
}

/// A tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A number; `decimal` if it was printed with a decimal point or an exponent.
    Number {
        value: Fraction,
        decimal: Option<Decimal>,
    },
    /// A numeral in another base.
    Based {
        digits: String,
        base: u32,
    },
    /// A variable, with its index if it has one.
    Symbol(String),
    /// Words.
    Word(String),
    Pi,
    E,
    I,
    Infinity,
    Sum(Vec<Node>),
    Product(Vec<Node>),
    Quotient(Box<Node>, Box<Node>),
    Negative(Box<Node>),
    /// Both signs.
    PlusMinus(Box<Node>),
    Power(Box<Node>, Box<Node>),
    Root {
        index: u32,
        of: Box<Node>,
    },
    Absolute(Box<Node>),
    Factorial(Box<Node>),
    Function(&'static str, Vec<Node>),
    Percent(Box<Node>),
    /// A value with a unit or words behind it.
    Quantity {
        value: Box<Node>,
        unit: Unit,
    },
    /// A time of day, and what it is when read as a ratio.
    Time {
        clock: Clock,
        ratio: Vec<Node>,
    },
    /// `a : b : c`
    Ratio(Vec<Node>),
    /// A tuple or an interval.
    Bracket {
        open: char,
        close: char,
        items: Vec<Node>,
    },
    /// `\{...\}`
    Set(Vec<Node>),
    /// Items with commas or "and" between them.
    List(Vec<Node>),
    /// With "or" between them.
    Alternatives(Vec<Node>),
    /// With a union sign between them.
    Union(Vec<Node>),
    Intersection(Vec<Node>),
    /// `A \setminus B`
    Difference(Box<Node>, Box<Node>),
    Matrix(Vec<Vec<Node>>),
    Chain {
        members: Vec<Node>,
        relations: Box<[Relation]>,
    },
    Member(Box<Node>, Box<Node>),
}

impl Node {
    /// A whole number.
    pub(crate) fn whole(value: i64) -> Self {
        Self::Number { value: value.into(), decimal: None }
    }

    /// The negative of a value; a quantity keeps its unit outside.
    pub(crate) fn negative(self) -> Self {
        match self {
            Self::Quantity { value, unit } => {
                Self::Quantity { value: Box::new(value.negative()), unit }
            }
            value => Self::Negative(Box::new(value)),
        }
    }

    /// How many nodes it has.
    pub(crate) fn size(&self) -> usize {
        let count = Cell::new(0);
        self.any(&|_| {
            count.set(count.get() + 1);
            false
        });
        count.get()
    }

    /// Whether it holds an absolute value, so that variables must be taken for negative, too.
    pub(crate) fn holds_absolute(&self) -> bool {
        self.any(&|node| matches!(node, Self::Absolute(_)))
    }

    /// `name = value`.
    pub(crate) fn equation(name: Self, value: Self) -> Self {
        Self::Chain { members: vec![name, value], relations: [Relation::Equal].into() }
    }

    /// Whether `test` holds here or anywhere below.
    pub(crate) fn any(&self, test: &dyn Fn(&Node) -> bool) -> bool {
        test(self) || self.any_part(&|part| part.any(test))
    }

    /// Whether no more than so many nodes stand above each other.
    pub(crate) fn is_at_most(&self, height: usize) -> bool {
        height > 0 && !self.any_part(&|part| !part.is_at_most(height - 1))
    }

    /// Whether `test` holds for one of the nodes directly below.
    fn any_part(&self, test: &dyn Fn(&Node) -> bool) -> bool {
        match self {
            Self::Sum(parts)
            | Self::Product(parts)
            | Self::Function(_, parts)
            | Self::Ratio(parts)
            | Self::Set(parts)
            | Self::List(parts)
            | Self::Alternatives(parts)
            | Self::Union(parts)
            | Self::Intersection(parts)
            | Self::Bracket { items: parts, .. }
            | Self::Chain { members: parts, .. } => parts.iter().any(test),
            Self::Quotient(a, b)
            | Self::Power(a, b)
            | Self::Member(a, b)
            | Self::Difference(a, b) => test(a) || test(b),
            Self::Negative(a)
            | Self::PlusMinus(a)
            | Self::Absolute(a)
            | Self::Factorial(a)
            | Self::Percent(a)
            | Self::Root { of: a, .. }
            | Self::Quantity { value: a, .. } => test(a),
            Self::Matrix(rows) => rows.iter().flatten().any(test),
            Self::Number { .. }
            | Self::Based { .. }
            | Self::Symbol(_)
            | Self::Word(_)
            | Self::Time { .. }
            | Self::Pi
            | Self::E
            | Self::I
            | Self::Infinity => false,
        }
    }

    /// The same node with `change` made to each of those directly below.
    pub(crate) fn map_parts(&self, change: &dyn Fn(&Node) -> Node) -> Self {
        let all = |parts: &[Node]| parts.iter().map(change).collect::<Vec<_>>();
        let boxed = |part: &Node| Box::new(change(part));
        match self {
            Self::Sum(parts) => Self::Sum(all(parts)),
            Self::Product(parts) => Self::Product(all(parts)),
            Self::Function(name, parts) => Self::Function(name, all(parts)),
            Self::Ratio(parts) => Self::Ratio(all(parts)),
            Self::Set(parts) => Self::Set(all(parts)),
            Self::List(parts) => Self::List(all(parts)),
            Self::Alternatives(parts) => Self::Alternatives(all(parts)),
            Self::Union(parts) => Self::Union(all(parts)),
            Self::Intersection(parts) => Self::Intersection(all(parts)),
            Self::Bracket { open, close, items } => {
                Self::Bracket { open: *open, close: *close, items: all(items) }
            }
            Self::Chain { members, relations } => {
                Self::Chain { members: all(members), relations: relations.clone() }
            }
            Self::Quotient(a, b) => Self::Quotient(boxed(a), boxed(b)),
            Self::Power(a, b) => Self::Power(boxed(a), boxed(b)),
            Self::Member(a, b) => Self::Member(boxed(a), boxed(b)),
            Self::Difference(a, b) => Self::Difference(boxed(a), boxed(b)),
            Self::Negative(of) => Self::Negative(boxed(of)),
            Self::PlusMinus(of) => Self::PlusMinus(boxed(of)),
            Self::Absolute(of) => Self::Absolute(boxed(of)),
            Self::Factorial(of) => Self::Factorial(boxed(of)),
            Self::Percent(of) => Self::Percent(boxed(of)),
            Self::Root { index, of } => Self::Root { index: *index, of: boxed(of) },
            Self::Quantity { value, unit } => {
                Self::Quantity { value: boxed(value), unit: unit.clone() }
            }
            Self::Matrix(rows) => Self::Matrix(rows.iter().map(|row| all(row)).collect()),
            Self::Number { .. }
            | Self::Based { .. }
            | Self::Symbol(_)
            | Self::Word(_)
            | Self::Time { .. }
            | Self::Pi
            | Self::E
            | Self::I
            | Self::Infinity => self.clone(),
        }
    }

    /// Whether it is a value of arithmetic: no list, relation, or the like.
    pub(crate) fn is_scalar(&self) -> bool {
        !self.any(&|node| {
            matches!(
                node,
                Self::Bracket { .. }
                    | Self::Set(_)
                    | Self::List(_)
                    | Self::Alternatives(_)
                    | Self::Union(_)
                    | Self::Intersection(_)
                    | Self::Difference(..)
                    | Self::Matrix(_)
                    | Self::Chain { .. }
                    | Self::Member(..)
                    | Self::Ratio(_)
                    | Self::Time { .. }
                    | Self::Word(_)
                    | Self::Based { .. }
                    | Self::PlusMinus(_)
            )
        })
    }

    /// The names of the variables, sorted.
    pub(crate) fn variables(&self) -> Vec<String> {
        let found = RefCell::new(Vec::new());
        self.any(&|node| {
            if let Self::Symbol(name) = node {
                found.borrow_mut().push(name.clone());
            }
            false
        });
        let mut found = found.into_inner();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether it is a value without variables.
    pub(crate) fn is_constant(&self) -> bool {
        self.is_scalar() && !self.any(&|node| matches!(node, Self::Symbol(_)))
    }

    /// Whether it may be the name of a quantity: a variable, `AB`, `f(x)`, `|AB|`,
    /// `\frac{NO}{BO}`, `(p, q)`.
    pub(crate) fn is_name(&self) -> bool {
        match self {
            Self::Symbol(_) | Self::Word(_) => true,
            Self::Product(parts) => match &parts[0] {
                Self::Symbol(_) | Self::Word(_) => true,
                // f^{-1}(x)
                Self::Power(of, exponent) => {
                    of.is_name() && matches!(**exponent, Self::Negative(_))
                }
                _ => false,
            },
            Self::Quotient(a, b) => a.is_name() && b.is_name(),
            Self::Absolute(of) => of.is_name(),
            Self::Function(_, parts) | Self::Ratio(parts) | Self::Bracket { items: parts, .. } => {
                parts.iter().all(Self::is_name)
            }
            _ => false,
        }
    }
}
