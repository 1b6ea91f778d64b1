//! What an answer is made of.

use num_rational::BigRational;

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

    /// Whether it orders.
    pub(crate) fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::Approximate | Self::NotEqual)
    }
}

/// A tree.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A number; `places` are the digits behind its decimal point, if it has one.
    Number {
        value: BigRational,
        places: Option<usize>,
    },
    /// A numeral in another base.
    Based {
        digits: String,
        base: u32,
    },
    /// A variable, with its index if it has one; or a word.
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
    /// With "or" or a union sign between them.
    Union(Vec<Node>),
    Matrix(Vec<Vec<Node>>),
    Chain {
        members: Vec<Node>,
        relations: Vec<Relation>,
    },
    Member(Box<Node>, Box<Node>),
}

impl Node {
    /// The direct parts.
    pub(crate) fn parts(&self) -> Vec<&Node> {
        match self {
            Self::Sum(parts)
            | Self::Product(parts)
            | Self::Function(_, parts)
            | Self::Ratio(parts) => parts.iter().collect(),
            Self::Bracket { items, .. }
            | Self::Set(items)
            | Self::List(items)
            | Self::Union(items) => items.iter().collect(),
            Self::Quotient(a, b) | Self::Power(a, b) | Self::Member(a, b) => vec![a, b],
            Self::Negative(a)
            | Self::PlusMinus(a)
            | Self::Absolute(a)
            | Self::Factorial(a)
            | Self::Percent(a)
            | Self::Root { of: a, .. } => {
                vec![a]
            }
            Self::Matrix(rows) => rows.iter().flatten().collect(),
            Self::Chain { members, .. } => members.iter().collect(),
            Self::Number { .. }
            | Self::Based { .. }
            | Self::Symbol(_)
            | Self::Word(_)
            | Self::Pi
            | Self::E
            | Self::I
            | Self::Infinity => {
                vec![]
            }
        }
    }

    /// Whether `test` holds here or anywhere below.
    pub(crate) fn any(&self, test: &dyn Fn(&Node) -> bool) -> bool {
        test(self) || self.parts().into_iter().any(|part| part.any(test))
    }

    /// Whether it is a value of arithmetic: no list, relation, or the like.
    pub(crate) fn is_scalar(&self) -> bool {
        !self.any(&|node| {
            matches!(
                node,
                Self::Bracket { .. }
                    | Self::Set(_)
                    | Self::List(_)
                    | Self::Union(_)
                    | Self::Matrix(_)
                    | Self::Chain { .. }
                    | Self::Member(..)
                    | Self::Ratio(_)
                    | Self::Word(_)
                    | Self::Based { .. }
                    | Self::PlusMinus(_)
            )
        })
    }

    /// Whether it may be the name of a quantity: a variable, `AB`, `f(x)`, `|AB|`, `\frac{NO}{BO}`,
    /// `(p, q)`.
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
