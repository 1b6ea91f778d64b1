//! Whether two trees mean the same.

use crate::node::{Node, Relation};
use crate::value::{Complex, Field, SIGNED, numeric, rational};
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

/// Points at which functions are compared.
const POINTS: u64 = 5;
/// Relative difference of values that count as equal.
const CLOSE: f64 = 1e-9;
/// Significant digits from which on a decimal number may stand for what it is the rounding of.
const ROUNDED_FROM: usize = 4;
/// Items of lists that are matched with each other in any order.
const MOST_ITEMS: usize = 64;

/// Whether a prediction means the same as the gold answer.
pub(crate) fn equal(gold: &Node, prediction: &Node) -> bool {
    let (gold, prediction) = (settle(gold), settle(prediction));
    same(&gold, &prediction)
}

/// The answer that a tree gives: both signs written out, the last member of a chain of equations,
/// lists of lists flattened.
fn settle(node: &Node) -> Node {
    let node = expand(node);
    match node {
        Node::List(items) => {
            // `a = 4, -8, -10` names the whole list
            let named_first = items.len() > 1
                && is_named(&items[0])
                && !items[1..].iter().any(is_named)
                && items[1..].iter().all(Node::is_scalar);
            if named_first { Node::Set(without_first_name(items)) } else { Node::List(items) }
        }
        // alternatives of scalars or tuples are a set; of intervals and sets a union
        Node::Union(items)
            if !items.iter().any(|item| matches!(item, Node::Set(_)) || is_interval(item)) =>
        {
            let named_first = is_named(&items[0]) && !items[1..].iter().any(is_named);
            Node::Set(if named_first { without_first_name(items) } else { items })
        }
        node => node,
    }
}

/// The items, the first one's name left out.
fn without_first_name(mut items: Vec<Node>) -> Vec<Node> {
    items[0] = value_of(&items[0]);
    items
}

fn is_interval(node: &Node) -> bool {
    matches!(node, Node::Bracket { items, .. } if items.len() == 2 && items.iter().any(|item| matches!(item, Node::Infinity) || matches!(item, Node::Negative(of) if **of == Node::Infinity)))
        || matches!(node, Node::Bracket { open: '[', .. } | Node::Bracket { close: ']', .. })
}

fn is_named(node: &Node) -> bool {
    matches!(node, Node::Chain { members, relations } if members[0].is_name() && relations.iter().all(|relation| *relation == Relation::Equal))
}

/// Trees with `\pm` become sets of two.
fn expand(node: &Node) -> Node {
    let has = |node: &Node| node.any(&|part| matches!(part, Node::PlusMinus(_)));
    if !has(node) {
        return node.clone();
    }
    let both = |item: &Node| {
        if has(item) {
            vec![with_sign(item, true), with_sign(item, false)]
        } else {
            vec![item.clone()]
        }
    };
    match node {
        Node::Set(items) | Node::List(items) | Node::Union(items) => {
            Node::Set(items.iter().flat_map(both).collect())
        }
        Node::Member(name, of) => Node::Member(name.clone(), Box::new(expand(of))),
        single => Node::Set(both(&value_of(single))),
    }
}

fn with_sign(node: &Node, plus: bool) -> Node {
    let map = |items: &[Node]| items.iter().map(|item| with_sign(item, plus)).collect::<Vec<_>>();
    let boxed = |item: &Node| Box::new(with_sign(item, plus));
    match node {
        Node::PlusMinus(of) if plus => with_sign(of, plus),
        Node::PlusMinus(of) => Node::Negative(boxed(of)),
        Node::Sum(items) => Node::Sum(map(items)),
        Node::Product(items) => Node::Product(map(items)),
        Node::Function(name, items) => Node::Function(name, map(items)),
        Node::Bracket { open, close, items } => {
            Node::Bracket { open: *open, close: *close, items: map(items) }
        }
        Node::List(items) => Node::List(map(items)),
        Node::Quotient(a, b) => Node::Quotient(boxed(a), boxed(b)),
        Node::Power(a, b) => Node::Power(boxed(a), boxed(b)),
        Node::Negative(of) => Node::Negative(boxed(of)),
        Node::Root { index, of } => Node::Root { index: *index, of: boxed(of) },
        Node::Chain { members, relations } => {
            Node::Chain { members: map(members), relations: relations.clone() }
        }
        other => other.clone(),
    }
}

/// What a named value is: `x = 5` says 5, `x = 5 + 6 = 11` says 11, `5 = x` says 5,
/// `x = 1/3 \approx 0.33` says 1/3, `x \in S` says S.
fn value_of(node: &Node) -> Node {
    match node {
        Node::Chain { members, relations } => {
            if relations
                .iter()
                .any(|relation| relation.is_order() || *relation == Relation::NotEqual)
            {
                return node.clone();
            }
            // what is only about equal counts if there is nothing better
            let exact = relations
                .iter()
                .position(|relation| *relation == Relation::Approximate)
                .unwrap_or(relations.len());
            let members = if exact == 0 { &members[..] } else { &members[..=exact] };
            let last = &members[members.len() - 1];
            if members.len() > 2 {
                return last.clone();
            }
            match (members[0].is_name(), last.is_name()) {
                (true, _) => last.clone(),
                (false, true) => members[0].clone(),
                (false, false) => node.clone(),
            }
        }
        Node::Member(_, of) => (**of).clone(),
        other => other.clone(),
    }
}

fn same(gold: &Node, prediction: &Node) -> bool {
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
        // names that differ name different things
        if p.len() == 1 && q.len() == 1 && p[0] == Relation::Equal && q[0] == Relation::Equal {
            if let (Node::Symbol(x), Node::Symbol(y)) = (&a[0], &b[0])
                && x != y
            {
                return false;
            }
            if a[0].is_name() != b[0].is_name() {
                return false;
            }
        }
    }
    // `x \in [a, b]` and `a \le x \le b`; a bare interval is not told by a relation
    match (gold, prediction) {
        (Node::Member(_, of), Node::Chain { members, relations }) => {
            return solution(members, relations).is_some_and(|set| same(of, &set));
        }
        (
            Node::Chain { members, relations },
            Node::Member(..) | Node::Bracket { .. } | Node::Union(_),
        ) => {
            if let Some(set) = solution(members, relations) {
                return same(&set, &value_of(prediction));
            }
        }
        _ => {}
    }
    let (a, b) = (value_of(gold), value_of(prediction));
    match (&a, &b) {
        (Node::Chain { .. }, _) | (_, Node::Chain { .. }) => false,
        _ if has_matrix(&a) || has_matrix(&b) => match (matrix(&a), matrix(&b)) {
            (Some(a), Some(b)) => {
                a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| in_order(a, b))
            }
            // a vector as a tuple
            (Some(rows), None) => is_tuple_of(&b, &rows),
            (None, Some(rows)) => is_tuple_of(&a, &rows),
            (None, None) => false,
        },
        (Node::Set(a), Node::Set(b) | Node::List(b)) | (Node::List(a), Node::Set(b)) => {
            match_any_order(a, b)
        }
        (Node::List(a), Node::List(b)) => in_order(a, b) || match_any_order(a, b),
        (Node::Union(a), Node::Union(b)) => match_any_order(a, b),
        (
            Node::Bracket { open, close, items: a },
            Node::Bracket { open: other_open, close: other_close, items: b },
        ) => {
            // brackets of two mean an interval, of more a tuple or vector
            (a.len() != 2 || (open == other_open && close == other_close)) && in_order(a, b)
        }
        (Node::Bracket { open: '(', close: ')', items: a }, Node::List(b))
        | (Node::List(a), Node::Bracket { open: '(', close: ')', items: b }) => in_order(a, b),
        // {5} and 5
        (Node::Set(items), single) | (single, Node::Set(items)) => {
            items.len() == 1 && same(&items[0], single)
        }
        (Node::Ratio(a), Node::Ratio(b)) => {
            a.len() == b.len() && (in_order(a, b) || proportional(a, b))
        }
        (Node::Word(a), Node::Word(b)) => a == b,
        (Node::Word(word), Node::Symbol(name)) | (Node::Symbol(name), Node::Word(word)) => {
            word.eq_ignore_ascii_case(name)
        }
        (Node::Infinity, Node::Infinity) => true,
        (Node::Negative(a), Node::Negative(b))
            if **a == Node::Infinity || **b == Node::Infinity =>
        {
            a == b
        }
        _ => same_scalar(&a, &b),
    }
}

fn in_order(a: &[Node], b: &[Node]) -> bool {
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

fn proportional(a: &[Node], b: &[Node]) -> bool {
    let product = |x: &Node, y: &Node| Node::Product(vec![x.clone(), y.clone()]);
    (1..a.len()).all(|index| same_scalar(&product(&a[0], &b[index]), &product(&a[index], &b[0])))
}

/// The solutions of `a < x \le b` and the like as an interval.
fn solution(members: &[Node], relations: &[Relation]) -> Option<Node> {
    if !relations.iter().all(|relation| relation.is_order()) {
        return None;
    }
    let infinity = || Node::Infinity;
    let closed =
        |relation: Relation| matches!(relation, Relation::LessOrEqual | Relation::GreaterOrEqual);
    let interval = |low: Node, low_closed: bool, high: Node, high_closed: bool| Node::Bracket {
        open: if low_closed { '[' } else { '(' },
        close: if high_closed { ']' } else { ')' },
        items: vec![low, high],
    };
    let up = |relation: Relation| matches!(relation, Relation::Less | Relation::LessOrEqual);
    match (members, relations) {
        ([x, bound], [relation]) | ([bound, x], [relation]) if x.is_name() && bound.is_scalar() => {
            let relation = if members[0] == *x { *relation } else { relation.flipped() };
            Some(if up(relation) {
                interval(
                    Node::Negative(Box::new(infinity())),
                    false,
                    bound.clone(),
                    closed(relation),
                )
            } else {
                interval(bound.clone(), closed(relation), infinity(), false)
            })
        }
        ([low, x, high], [first, second]) if x.is_name() && up(*first) == up(*second) => {
            Some(if up(*first) {
                interval(low.clone(), closed(*first), high.clone(), closed(*second))
            } else {
                interval(high.clone(), closed(*second), low.clone(), closed(*first))
            })
        }
        _ => None,
    }
}

fn same_chain(a: &[Node], p: &[Relation], b: &[Node], q: &[Relation]) -> bool {
    if p.len() != q.len() {
        return false;
    }
    if p.len() > 1 {
        let reversed = |members: &[Node], relations: &[Relation]| -> (Vec<Node>, Vec<Relation>) {
            (
                members.iter().rev().cloned().collect(),
                relations.iter().rev().map(|relation| relation.flipped()).collect(),
            )
        };
        let (other, relations) = reversed(b, q);
        return (p == q && in_order(a, b)) || (p == relations && in_order(a, &other));
    }
    if p[0] == Relation::Approximate || q[0] == Relation::Approximate {
        return false;
    }
    if !a.iter().chain(b).all(Node::is_scalar) {
        return p == q && in_order(a, b);
    }
    // L - R of one must be a constant multiple of that of the other
    let difference = |members: &[Node]| {
        Node::Sum(vec![members[0].clone(), Node::Negative(Box::new(members[1].clone()))])
    };
    let (left, right) = (difference(a), difference(b));
    let mut factor: Option<Complex> = None;
    for seed in 0..POINTS {
        let (Some(x), Some(y)) = (numeric(&left, seed), numeric(&right, seed)) else {
            return false;
        };
        if x.abs() < 1e-12 || y.abs() < 1e-12 {
            // both vanish identically, or neither does
            if (x.abs() < 1e-12) != (y.abs() < 1e-12) {
                return false;
            }
            continue;
        }
        let ratio = x / y;
        if factor.is_some_and(|factor| (factor - ratio).abs() > CLOSE * factor.abs()) {
            return false;
        }
        factor = Some(ratio);
    }
    let Some(factor) = factor else { return p == q };
    if p[0].is_order() {
        let expected = if factor.re > 0.0 { p[0] } else { p[0].flipped() };
        return q[0] == expected;
    }
    p == q
}

fn has_matrix(node: &Node) -> bool {
    match node {
        Node::Matrix(_) => true,
        Node::Sum(_) | Node::Product(_) | Node::Negative(_) => {
            node.any(&|part| matches!(part, Node::Matrix(_)))
        }
        _ => false,
    }
}

/// Whether a tuple holds the entries of a single row or column.
fn is_tuple_of(node: &Node, rows: &[Vec<Node>]) -> bool {
    let Node::Bracket { open: '(', close: ')', items } = node else { return false };
    let entries: Vec<Node> = rows.iter().flatten().cloned().collect();
    (rows.len() == 1 || rows[0].len() == 1) && in_order(items, &entries)
}

/// The entries of a matrix, or of a sum, difference or multiple of matrices.
fn matrix(node: &Node) -> Option<Vec<Vec<Node>>> {
    match node {
        Node::Matrix(rows) => Some(rows.clone()),
        Node::Negative(of) => Some(scaled(&matrix(of)?, &|entry| Node::Negative(Box::new(entry)))),
        Node::Sum(parts) => {
            let mut parts = parts.iter().map(matrix);
            let mut sum = parts.next()??;
            for part in parts {
                let part = part?;
                if part.len() != sum.len() || part[0].len() != sum[0].len() {
                    return None;
                }
                for (row, other) in sum.iter_mut().zip(part) {
                    for (entry, other) in row.iter_mut().zip(other) {
                        *entry = Node::Sum(vec![entry.clone(), other]);
                    }
                }
            }
            Some(sum)
        }
        Node::Product(parts) => {
            let (last, factors) = parts.split_last()?;
            let rows = matrix(last)?;
            if !factors.iter().all(Node::is_scalar) {
                return None;
            }
            Some(scaled(&rows, &|entry| {
                Node::Product(factors.iter().cloned().chain([entry]).collect())
            }))
        }
        _ => None,
    }
}

fn scaled(rows: &[Vec<Node>], change: &dyn Fn(Node) -> Node) -> Vec<Vec<Node>> {
    rows.iter().map(|row| row.iter().cloned().map(change).collect()).collect()
}

fn same_scalar(gold: &Node, prediction: &Node) -> bool {
    if !gold.is_scalar() || !prediction.is_scalar() {
        return false;
    }
    let percent = |node: &Node| matches!(node, Node::Percent(_));
    if let (Some(a), Some(b)) = (rational(gold), rational(prediction)) {
        let hundred = BigRational::from(num_bigint::BigInt::from(100));
        return a == b
            || rounds_to(prediction, &b, &a)
            || rounds_to(gold, &a, &b)
            // 28% is 0.28
            || (percent(gold) && !percent(prediction) && &a / &hundred == b)
            || (percent(prediction) && !percent(gold) && a == b / hundred);
    }
    if variables(gold) != variables(prediction) && !cancels(gold, prediction) {
        return false;
    }
    if let Some(verdict) = in_field(gold, prediction) {
        return verdict || rounded(gold, prediction);
    }
    // answers take their variables for positive, unless an absolute value says that they need not
    // be
    let signed = holds_absolute(gold) || holds_absolute(prediction);
    let mut compared = 0;
    for seed in 0..2 * POINTS {
        let seed = if signed { seed | SIGNED } else { seed };
        match (numeric(gold, seed), numeric(prediction, seed)) {
            (Some(a), Some(b)) => {
                if (a - b).abs() > CLOSE * a.abs().max(b.abs()).max(1e-3) {
                    return rounded(gold, prediction);
                }
                compared += 1;
            }
            (None, None) => {}
            _ => return false,
        }
        // with signs, one of all points must show each variable below zero
        if compared >= POINTS && !signed {
            break;
        }
    }
    compared >= 3
}

/// Whether expressions agree in prime fields, if they are of that kind.
fn in_field(a: &Node, b: &Node) -> Option<bool> {
    for seed in [1, 2] {
        let field = Field::for_both(a, b, seed)?;
        match (field.value(a), field.value(b)) {
            (Some(x), Some(y)) if x == y => {}
            (None, None) => return None,
            _ => return Some(false),
        }
    }
    Some(true)
}

fn holds_absolute(node: &Node) -> bool {
    matches!(node, Node::Absolute(_)) || node.parts().into_iter().any(holds_absolute)
}

/// The names of the variables, sorted.
fn variables(node: &Node) -> Vec<String> {
    fn collect(node: &Node, found: &mut Vec<String>) {
        if let Node::Symbol(name) = node {
            found.push(name.clone());
        }
        node.parts().into_iter().for_each(|part| collect(part, found));
    }
    let mut found = Vec::new();
    collect(node, &mut found);
    found.sort();
    found.dedup();
    found
}

/// Variables may cancel, as in `x - x + 1`; worth a look only where there is arithmetic on them.
fn cancels(a: &Node, b: &Node) -> bool {
    let arithmetic = |node: &Node| {
        matches!(
            node,
            Node::Sum(_)
                | Node::Product(_)
                | Node::Quotient(..)
                | Node::Power(..)
                | Node::Negative(_)
        )
    };
    arithmetic(a) || arithmetic(b)
}

/// Whether one side is a decimal number and the other's value rounds to it.
fn rounded(a: &Node, b: &Node) -> bool {
    let one = |decimal: &Node, other: &Node| -> bool {
        let (Some(value), true) = (rational(decimal), variables(other).is_empty()) else {
            return false;
        };
        let Some((places, digits)) = precision(decimal) else { return false };
        let (Some(value), Some(other)) = (value.to_f64(), numeric(other, 0)) else { return false };
        digits >= ROUNDED_FROM
            && other.im.abs() < 1e-12
            && (value - other.re).abs() <= 0.5001 * 10f64.powi(-(places as i32))
    };
    one(a, b) || one(b, a)
}

/// Whether `decimal`, whose value is `value`, is the rounding of a fraction that has no such
/// decimal itself.
fn rounds_to(decimal: &Node, value: &BigRational, exact: &BigRational) -> bool {
    let Some((places, digits)) = precision(decimal) else { return false };
    if digits < ROUNDED_FROM || is_terminating(exact) {
        return false;
    }
    let half = BigRational::new(
        1.into(),
        num_bigint::BigInt::from(2) * num_bigint::BigInt::from(10).pow(places as u32),
    );
    (value - exact).abs() <= half
}

/// Places behind the point and significant digits of a decimal number.
fn precision(node: &Node) -> Option<(usize, usize)> {
    match node {
        Node::Negative(of) | Node::Percent(of) => precision(of),
        Node::Number { value, places: Some(places) } if !value.is_zero() => {
            let scaled =
                value * BigRational::from(num_bigint::BigInt::from(10).pow(*places as u32));
            Some((*places, scaled.to_integer().to_string().len()))
        }
        _ => None,
    }
}

/// Whether a fraction has a finite decimal expansion.
fn is_terminating(value: &BigRational) -> bool {
    let mut below = value.denom().clone();
    for prime in [2u32, 5] {
        while (&below % prime).is_zero() {
            below /= prime;
        }
    }
    below == 1.into()
}
