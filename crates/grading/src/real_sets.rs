//! Sets of real numbers as intervals: what unions, relations and words describe is brought to one
//! form, so that `x < 0 or x > 1` is `(-\infty, 0) \cup (1, \infty)`.
//!
//! Ends are ordered by their numeric value and compared as answers are. Left out: ends with
//! variables, and relations other than between one variable (or its absolute value) and constants.

use crate::compare::names_differ;
use crate::complex::numeric;
use crate::normal::is_infinite;
use crate::scalars::same_scalar;
use crate::tree::{Node, Relation};

/// Intervals beyond which a set is not looked at.
const MOST_INTERVALS: usize = 64;

/// One end of an interval.
#[derive(Clone, Debug)]
struct End {
    value: f64,
    /// What was written; `None` at infinity.
    written: Option<Node>,
    /// Whether it belongs to the interval.
    closed: bool,
}

#[derive(Clone, Debug)]
struct Interval {
    low: End,
    high: End,
}

/// A set of reals, and the variable that it is the range of, if it was named.
struct Described {
    intervals: Vec<Interval>,
    name: Option<Node>,
}

/// Whether two nodes describe the same set of reals; `None` where one of them is not understood as
/// such a set.
pub(crate) fn same_set(gold: &Node, prediction: &Node) -> Option<bool> {
    let gold = describe(gold)?;
    let prediction = describe(prediction)?;
    if let (Some(a), Some(b)) = (&gold.name, &prediction.name)
        && names_differ(a, b)
    {
        return Some(false);
    }
    let (a, b) = (merged(gold.intervals), merged(prediction.intervals));
    let same_end = |a: &End, b: &End| {
        a.closed == b.closed
            && match (&a.written, &b.written) {
                (Some(x), Some(y)) => same_scalar(x, y),
                (None, None) => a.value == b.value,
                _ => false,
            }
    };
    let same =
        |(a, b): (&Interval, &Interval)| same_end(&a.low, &b.low) && same_end(&a.high, &b.high);
    Some(a.len() == b.len() && a.iter().zip(&b).all(same))
}

fn describe(node: &Node) -> Option<Described> {
    let unnamed = |intervals| Some(Described { intervals, name: None });
    match node {
        Node::Bracket { open, close, items } => {
            let [low, high] = items.as_slice() else { return None };
            let low = end(low, *open == '[')?;
            let high = end(high, *close == ']')?;
            unnamed(interval(low, high))
        }
        Node::Set(items) => {
            let mut points = Vec::new();
            for item in items {
                match item {
                    // alternatives that were joined by "or"
                    Node::Bracket { .. } | Node::Chain { .. } | Node::Set(_) => return None,
                    _ => points.extend(point(item)?),
                }
            }
            unnamed(points)
        }
        Node::Union(parts) => joined(parts, |sets| sets.into_iter().flatten().collect()),
        Node::Intersection(parts) => joined(parts, |sets| {
            sets.into_iter().reduce(|a, b| intersection(&a, &b)).unwrap_or_default()
        }),
        Node::List(parts) => {
            let are_relations = parts.iter().all(|part| matches!(part, Node::Chain { .. }));
            if !are_relations {
                return None;
            }
            // "x > 1 and x < 3" is both, "x < -1, x > 1" is either
            joined(parts, |sets| {
                let both = sets.iter().cloned().reduce(|a, b| intersection(&a, &b));
                match both {
                    Some(both) if !both.is_empty() => both,
                    _ => sets.into_iter().flatten().collect(),
                }
            })
        }
        Node::Difference(from, what) => {
            let from = describe(from)?;
            let what = match &**what {
                // "all real numbers except 0"
                single if single.is_constant() => point(single)?,
                Node::List(items) => {
                    let points = items.iter().map(point).collect::<Option<Vec<_>>>()?;
                    points.into_iter().flatten().collect()
                }
                set => describe(set)?.intervals,
            };
            let intervals = intersection(&from.intervals, &complement(what));
            Some(Described { intervals, name: from.name })
        }
        Node::Chain { members, relations } => relation(members, relations),
        Node::Member(name, of) => {
            let of = describe(of)?;
            Some(Described { intervals: of.intervals, name: Some((**name).clone()) })
        }
        Node::Symbol(name) if name == "mathbb R" => {
            unnamed(interval(infinite(false), infinite(true)))
        }
        _ => None,
    }
}

/// The set of one constant.
fn point(node: &Node) -> Option<Vec<Interval>> {
    let at = end(node, true)?;
    Some(vec![Interval { low: at.clone(), high: at }])
}

/// Several sets made one; their names must agree.
fn joined(
    parts: &[Node],
    join: impl FnOnce(Vec<Vec<Interval>>) -> Vec<Interval>,
) -> Option<Described> {
    let mut sets = Vec::new();
    let mut name: Option<Node> = None;
    for part in parts {
        let part = describe(part)?;
        match (&name, part.name) {
            (Some(a), Some(b)) if names_differ(a, &b) => return None,
            (None, Some(b)) => name = Some(b),
            _ => {}
        }
        sets.push(part.intervals);
    }
    let intervals = join(sets);
    (intervals.len() <= MOST_INTERVALS).then_some(Described { intervals, name })
}

/// `x < 1`, `-1 \le x < 3`, `x \ne 0`, `x = 2`, `|x| < 2`.
fn relation(members: &[Node], relations: &[Relation]) -> Option<Described> {
    let named = |intervals, name: &Node| Some(Described { intervals, name: Some(name.clone()) });
    match (members, relations) {
        ([left, right], [relation]) => {
            let (name, bound, relation) = if right.is_constant() {
                (left, right, *relation)
            } else {
                (right, left, relation.flipped())
            };
            if let Node::Absolute(of) = name
                && of.is_name()
            {
                return named(by_absolute_value(bound, relation)?, of);
            }
            if !name.is_name() {
                return None;
            }
            named(by_bound(bound, relation)?, name)
        }
        ([low, name, high], [first, second]) if name.is_name() => {
            if first.is_below() != second.is_below() || !first.is_order() || !second.is_order() {
                return None;
            }
            let (low, high, first, second) = if first.is_below() {
                (low, high, first, second)
            } else {
                (high, low, second, first)
            };
            let intervals = interval(end(low, first.is_closed())?, end(high, second.is_closed())?);
            named(intervals, name)
        }
        _ => None,
    }
}

fn by_bound(bound: &Node, relation: Relation) -> Option<Vec<Interval>> {
    let at = end(bound, relation.is_closed() || relation == Relation::Equal)?;
    Some(match relation {
        Relation::Equal => vec![Interval { low: at.clone(), high: at }],
        Relation::NotEqual => {
            vec![
                Interval { low: infinite(false), high: at.clone() },
                Interval { low: at, high: infinite(true) },
            ]
        }
        Relation::Approximate => return None,
        below if below.is_below() => vec![Interval { low: infinite(false), high: at }],
        _ => vec![Interval { low: at, high: infinite(true) }],
    })
}

/// `|x| < a` is `-a < x < a`, `|x| > a` is `x < -a` or `x > a`.
fn by_absolute_value(bound: &Node, relation: Relation) -> Option<Vec<Interval>> {
    if !relation.is_order() {
        return None;
    }
    let high = end(bound, relation.is_closed())?;
    let low = end(&bound.clone().negative(), relation.is_closed())?;
    if high.value < 0.0 {
        return None;
    }
    Some(if relation.is_below() {
        interval(low, high)
    } else {
        vec![
            Interval { low: infinite(false), high: low },
            Interval { low: high, high: infinite(true) },
        ]
    })
}

fn infinite(above: bool) -> End {
    let value = if above { f64::INFINITY } else { f64::NEG_INFINITY };
    End { value, written: None, closed: false }
}

/// A bound as an end; `None` unless it is a real constant or infinite.
fn end(node: &Node, closed: bool) -> Option<End> {
    if is_infinite(node) {
        return Some(infinite(*node == Node::Infinity));
    }
    if !node.is_constant() {
        return None;
    }
    let value = numeric(node, 0).filter(|value| value.im.abs() < 1e-12)?;
    Some(End { value: value.re, written: Some(node.clone()), closed })
}

/// The interval between two ends; none if it is empty.
fn interval(low: End, high: End) -> Vec<Interval> {
    let is_point = low.value == high.value && low.closed && high.closed;
    if low.value < high.value || is_point { vec![Interval { low, high }] } else { Vec::new() }
}

/// The same set with its intervals in order, none of which touch.
fn merged(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals
        .sort_by(|a, b| a.low.value.total_cmp(&b.low.value).then(b.low.closed.cmp(&a.low.closed)));
    let mut merged: Vec<Interval> = Vec::new();
    for next in intervals {
        match merged.last_mut() {
            Some(last)
                if next.low.value < last.high.value
                    || (next.low.value == last.high.value
                        && (next.low.closed || last.high.closed)) =>
            {
                let is_further = next.high.value > last.high.value;
                let is_closed = next.high.value == last.high.value && next.high.closed;
                if is_further || is_closed {
                    last.high = next.high;
                }
            }
            _ => merged.push(next),
        }
    }
    merged
}

fn intersection(a: &[Interval], b: &[Interval]) -> Vec<Interval> {
    let inner = |x: &End, y: &End, low: bool| {
        let x_is_inner = if x.value == y.value { !x.closed } else { (x.value > y.value) == low };
        if x_is_inner { x.clone() } else { y.clone() }
    };
    let mut both = Vec::new();
    for a in a.iter().take(MOST_INTERVALS) {
        for b in b.iter().take(MOST_INTERVALS) {
            both.extend(interval(inner(&a.low, &b.low, true), inner(&a.high, &b.high, false)));
        }
    }
    both
}

/// All reals that are not in a set.
fn complement(intervals: Vec<Interval>) -> Vec<Interval> {
    let mut gaps = Vec::new();
    let mut low = infinite(false);
    for next in merged(intervals) {
        let high = End { closed: !next.low.closed, ..next.low };
        if high.value > f64::NEG_INFINITY {
            gaps.extend(interval(low, high));
        }
        low = End { closed: !next.high.closed, ..next.high };
    }
    if low.value < f64::INFINITY {
        gaps.extend(interval(low, infinite(true)));
    }
    gaps
}
