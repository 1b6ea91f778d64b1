//! Whether two trees mean the same, part by part.

use crate::matrices::same_matrix;
use crate::normal::{approximation, each_named, is_infinite, is_named, settle, value_of};
use crate::real_sets::same_set;
use crate::relations::{same_chain, same_residue, solution};
use crate::scalars::same_scalar;
use crate::tree::{Clock, Node, Relation};
use crate::units::{Measure, Unit, same_words};

/// Items of lists that are matched with each other in any order.
const MOST_ITEMS: usize = 64;

/// Whether a prediction means the same as the gold answer.
pub(crate) fn equal(gold: &Node, prediction: &Node) -> bool {
    let (gold, prediction) = (settle(gold), settle(prediction));
    same(&gold, &prediction) || same_approximation(&gold, &prediction)
}

/// Gold is the rounded value that a prediction gives behind its exact one: `7/12 \approx 0.58`.
/// The rounding must be right to its last digit.
fn same_approximation(gold: &Node, prediction: &Node) -> bool {
    let Some(rounded) = approximation(prediction) else { return false };
    let exact = value_of(prediction);
    let (Some(x), Some(y)) =
        (crate::complex::numeric(exact, 0), crate::complex::numeric(rounded, 0))
    else {
        return false;
    };
    let Node::Number { decimal: Some(decimal), .. } = rounded else { return false };
    exact.is_constant() && (x - y).abs() < decimal.unit() && same(gold, rounded)
}

pub(crate) fn same(gold: &Node, prediction: &Node) -> bool {
    if gold == prediction {
        return true;
    }
    // equations as a whole first: `2x + 4y = 3`, `x < 1`
    if let (Node::Chain { members: a, relations: p }, Node::Chain { members: b, relations: q }) =
        (gold, prediction)
    {
        if same_chain(a, p, b, q) {
            return true;
        }
        if p.len() == 1 && q.len() == 1 && p[0] == Relation::Equal && q[0] == Relation::Equal {
            // names that differ name different things
            if names_differ(&a[0], &b[0]) || a[0].is_name() != b[0].is_name() {
                return false;
            }
        }
    }
    if let (Node::Member(x, _), Node::Member(y, _)) = (gold, prediction)
        && names_differ(x, y)
    {
        return false;
    }
    // a bare interval is not told by a relation
    let bare_interval = matches!(gold, Node::Bracket { .. }) && is_relation(prediction);
    if !bare_interval
        && (is_described(gold) || is_described(prediction))
        && let Some(verdict) = same_set(gold, prediction)
    {
        return verdict;
    }
    // `x \in [a, b]` and `a \le x \le b`
    match (gold, prediction) {
        (Node::Member(_, of), Node::Chain { members, relations }) => {
            return solution(members, relations).is_some_and(|set| same(of, &set));
        }
        (
            Node::Chain { members, relations },
            Node::Member(..) | Node::Bracket { .. } | Node::Union(_),
        ) => {
            if let Some(set) = solution(members, relations) {
                return same(&set, value_of(prediction));
            }
        }
        _ => {}
    }
    // `m + n = 17` tells 17
    if gold.is_constant()
        && let Node::Chain { members, relations } = prediction
        && relations.iter().all(|of| *of == Relation::Equal)
        && let Some(last) = members.last().filter(|last| last.is_constant())
    {
        return same_value(gold, last);
    }
    // `x = y = 2` and `x = 2, y = 2`
    match (gold, prediction) {
        (Node::List(_), Node::Chain { .. }) => {
            if let Some(each) = each_named(prediction) {
                return same(gold, &each);
            }
        }
        (Node::Chain { .. }, Node::List(_)) => {
            if let Some(each) = each_named(gold) {
                return same(&each, prediction);
            }
        }
        _ => {}
    }
    same_value(value_of(gold), value_of(prediction))
}

fn is_relation(node: &Node) -> bool {
    match node {
        Node::Chain { .. } => true,
        Node::List(items) => items.iter().all(is_relation),
        _ => false,
    }
}

/// Whether it may describe a set of reals otherwise than by one bracket.
fn is_described(node: &Node) -> bool {
    match node {
        Node::Union(_) | Node::Intersection(_) | Node::Difference(..) | Node::Member(..) => true,
        Node::Symbol(name) => name == "mathbb R",
        Node::Chain { relations, .. } => relations.iter().any(|of| of.is_inequality()),
        Node::List(items) => !items.is_empty() && items.iter().all(is_described),
        _ => false,
    }
}

/// Whether two names are of different things. Names of different kinds (`y` and `f(x)`) and the
/// argument that a function is named with (`W(n)`, `W(x)`) tell nothing.
pub(crate) fn names_differ(a: &Node, b: &Node) -> bool {
    let bare = |name: &str| name.strip_prefix("angle ").unwrap_or(name).to_owned();
    match (a, b) {
        (Node::Symbol(x), Node::Symbol(y)) => bare(x) != bare(y),
        (Node::Word(x), Node::Word(y)) => x != y,
        (Node::Product(x), Node::Product(y)) => {
            let is_dummy = |part: &Node| match part {
                Node::Symbol(name) => name.starts_with(char::is_lowercase),
                _ => false,
            };
            match (x.as_slice(), y.as_slice()) {
                ([f, x], [g, y]) if is_dummy(x) && is_dummy(y) => f != g,
                _ => x != y,
            }
        }
        (Node::Quotient(..), Node::Quotient(..))
        | (Node::Absolute(_), Node::Absolute(_))
        | (Node::Bracket { .. }, Node::Bracket { .. })
        | (Node::Ratio(_), Node::Ratio(_)) => a != b,
        _ => false,
    }
}

fn same_value(a: &Node, b: &Node) -> bool {
    if a == b {
        return true;
    }
    if let Some(verdict) = same_matrix(a, b) {
        return verdict;
    }
    if let Some(verdict) = same_residue(a, b) {
        return verdict;
    }
    match (a, b) {
        (Node::Chain { .. }, _) | (_, Node::Chain { .. }) => false,
        (Node::Quantity { value: x, unit: u }, Node::Quantity { value: y, unit: w }) => {
            same_quantity((x, u), (y, w))
        }
        (Node::Time { .. }, Node::Quantity { .. }) | (Node::Quantity { .. }, Node::Time { .. }) => {
            false
        }
        // 5% is no 5 cm
        (Node::Quantity { unit: Unit::Known(_), .. }, Node::Percent(_))
        | (Node::Percent(_), Node::Quantity { unit: Unit::Known(_), .. }) => false,
        (Node::Quantity { value, .. }, other) => {
            same(value, other) || in_larger_unit(value).is_some_and(|larger| same(&larger, other))
        }
        (other, Node::Quantity { value, .. }) => {
            same(other, value) || in_larger_unit(value).is_some_and(|larger| same(other, &larger))
        }
        (Node::Time { clock: x, .. }, Node::Time { clock: y, .. }) => same_clock(*x, *y),
        (Node::Time { ratio, .. }, other) => same(&ratio_of(ratio), other),
        (other, Node::Time { ratio, .. }) => same(other, &ratio_of(ratio)),
        // what a residue is called when nothing is asked about its class
        (value, Node::Function("pmod", parts)) | (Node::Function("pmod", parts), value) => {
            same(value, &parts[0])
        }
        _ => same_collection(a, b).unwrap_or_else(|| same_single(a, b)),
    }
}

/// Lists, sets, tuples, intervals; `None` if neither is one.
fn same_collection(a: &Node, b: &Node) -> Option<bool> {
    Some(match (a, b) {
        (Node::Set(a), Node::Set(b)) => match_any_order(a, b),
        (Node::List(named), Node::Set(items)) => in_any_order(named, items),
        (Node::Set(items), Node::List(named)) => {
            !names_several(named) && match_any_order(items, named)
        }
        (Node::List(a), Node::List(b)) => same_lists(a, b),
        (Node::Union(a), Node::Union(b)) | (Node::Intersection(a), Node::Intersection(b)) => {
            match_any_order(a, b)
        }
        (
            Node::Bracket { open, close, items: a },
            Node::Bracket { open: other_open, close: other_close, items: b },
        ) => {
            // brackets of two mean an interval, of more a tuple or vector
            (a.len() != 2 || (open == other_open && close == other_close)) && in_order(a, b)
        }
        (Node::Bracket { open: '(', close: ')', items: a }, Node::List(b))
        | (Node::List(a), Node::Bracket { open: '(', close: ')', items: b }) => in_order(a, b),
        // a list as programs print it
        (Node::List(a), Node::Bracket { open: '[', close: ']', items: b }) => same_lists(a, b),
        (Node::Set(a), Node::Bracket { open: '[', close: ']', items: b }) => match_any_order(a, b),
        // {5} and 5
        (Node::Set(items), single) | (single, Node::Set(items)) => {
            items.len() == 1 && same(&items[0], single)
        }
        (Node::Ratio(a), Node::Ratio(b)) => {
            a.len() == b.len() && (in_order(a, b) || proportional(a, b))
        }
        // 2:3 and 2/3
        (Node::Ratio(parts), other) | (other, Node::Ratio(parts))
            if parts.len() == 2 && other.is_scalar() =>
        {
            let [above, below] = parts.as_slice() else { return Some(false) };
            let quotient = Node::Quotient(Box::new(above.clone()), Box::new(below.clone()));
            matches!(other, Node::Quotient(..)) && same_scalar(&quotient, other)
        }
        _ => return None,
    })
}

fn same_single(a: &Node, b: &Node) -> bool {
    match (a, b) {
        // a point with its name: `P(2, 7)`, "vertex (2, 7)"
        (point @ Node::Bracket { .. }, Node::Product(named))
        | (Node::Product(named), point @ Node::Bracket { .. }) => match named.as_slice() {
            [Node::Symbol(_) | Node::Word(_), bracket @ Node::Bracket { .. }] => {
                same(point, bracket)
            }
            _ => false,
        },
        (Node::Word(a), Node::Word(b)) => a == b,
        (Node::Word(word), Node::Symbol(name)) | (Node::Symbol(name), Node::Word(word)) => {
            word.eq_ignore_ascii_case(name)
        }
        (a, b) if is_infinite(a) || is_infinite(b) => a == b,
        _ => same_scalar(a, b),
    }
}

/// Items in order, or in any order unless they name several things: `x = 1, y = 2` is not `2, 1`.
fn same_lists(a: &[Node], b: &[Node]) -> bool {
    let all_named = |items: &[Node]| items.iter().all(is_named);
    if all_named(a) && all_named(b) {
        return match_any_order(a, b);
    }
    in_any_order(a, b)
}

/// Items in order where they name several things, else in any order.
fn in_any_order(a: &[Node], b: &[Node]) -> bool {
    if names_several(a) || names_several(b) || a.len() > MOST_ITEMS {
        return in_order(a, b);
    }
    match_any_order(a, b)
}

/// Whether the items of a list are values of differently named things.
fn names_several(items: &[Node]) -> bool {
    let names: Vec<&Node> = items
        .iter()
        .filter(|item| is_named(item))
        .filter_map(|item| match item {
            Node::Chain { members, .. } => members.first(),
            _ => None,
        })
        .collect();
    names.windows(2).any(|pair| pair[0] != pair[1])
}

fn ratio_of(parts: &[Node]) -> Node {
    match parts {
        [single] => single.clone(),
        parts => Node::Ratio(parts.to_vec()),
    }
}

/// The same time of day: where only one side says which half of the day it is, the other is taken
/// as written or on the clock of 24 hours.
fn same_clock(a: Clock, b: Clock) -> bool {
    let of_day = |clock: Clock| match clock.afternoon {
        Some(true) if clock.seconds < Clock::NOON => clock.seconds + Clock::NOON,
        Some(false) if clock.seconds >= Clock::NOON && clock.seconds < Clock::NOON + 3600 => {
            clock.seconds - Clock::NOON
        }
        _ => clock.seconds,
    };
    let one_says = a.afternoon.is_some() != b.afternoon.is_some();
    of_day(a) == of_day(b) || (one_says && a.seconds == b.seconds)
}

/// `2 \cdot 100 + 50` cents, as "2 dollars and 50 cents" is read, in dollars.
fn in_larger_unit(value: &Node) -> Option<Node> {
    let Node::Sum(parts) = value else { return None };
    let [Node::Product(large), small] = parts.as_slice() else { return None };
    let [value, ratio @ Node::Number { .. }] = large.as_slice() else { return None };
    let small = Node::Quotient(Box::new(small.clone()), Box::new(ratio.clone()));
    Some(Node::Sum(vec![value.clone(), small]))
}

/// Values with units of one dimension are converted; those of two are different.
fn same_quantity(a: (&Node, &Unit), b: (&Node, &Unit)) -> bool {
    match (a.1, b.1) {
        (Unit::Known(u), Unit::Known(w)) => {
            if !u.is_convertible(w) {
                return false;
            }
            if u.is_generic() || w.is_generic() || u == w {
                return same(a.0, b.0);
            }
            let converted = Node::Product(vec![a.0.clone(), conversion(u, w)]);
            same_scalar(&converted, b.0)
        }
        (Unit::Words(u), Unit::Words(w)) => same_words(u, w) && same(a.0, b.0),
        (Unit::Known(unit), Unit::Words(_)) | (Unit::Words(_), Unit::Known(unit)) => {
            unit.is_generic() && same(a.0, b.0)
        }
    }
}

/// How many of `to` make one of `from`.
fn conversion(from: &Measure, to: &Measure) -> Node {
    let ratio = Node::Number { value: &from.factor / &to.factor, decimal: None };
    let half_turn = |above: Node, below: Node| Node::Quotient(Box::new(above), Box::new(below));
    match (from.in_radians, to.in_radians) {
        (true, false) => Node::Product(vec![ratio, half_turn(Node::whole(180), Node::Pi)]),
        (false, true) => Node::Product(vec![ratio, half_turn(Node::Pi, Node::whole(180))]),
        _ => ratio,
    }
}

pub(crate) fn in_order(a: &[Node], b: &[Node]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// Each item of one list has its own partner in the other. Equality is close to transitive, so
/// taking the first partner will do.
fn match_any_order(a: &[Node], b: &[Node]) -> bool {
    if a.len() != b.len() || a.len() > MOST_ITEMS {
        return false;
    }
    let mut free: Vec<&Node> = b.iter().collect();
    a.iter().all(|item| {
        let partner = free.iter().position(|other| same(item, other));
        partner.map(|place| free.swap_remove(place)).is_some()
    })
}

/// Whether `a1 : a2 : ...` are in the same proportion: `a1 b2 = a2 b1` and so on.
fn proportional(a: &[Node], b: &[Node]) -> bool {
    let product = |x: &Node, y: &Node| Node::Product(vec![x.clone(), y.clone()]);
    (1..a.len()).all(|index| same_scalar(&product(&a[0], &b[index]), &product(&a[index], &b[0])))
}
