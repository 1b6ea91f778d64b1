//! Chains of equations and inequalities.

use crate::compare::in_order;
use crate::complex::{Complex, SIGNED, numeric};
use crate::scalars::{CLOSE, POINTS};
use crate::tree::{Node, Relation};

/// Whether two chains say the same: `2x + 4y = 3` and `y = 3/4 - x/2`, `x < 1` and `-x > -1`.
pub(crate) fn same_chain(a: &[Node], p: &[Relation], b: &[Node], q: &[Relation]) -> bool {
    if p.len() != q.len() {
        return false;
    }
    if p.len() > 1 {
        let other: Vec<Node> = b.iter().rev().cloned().collect();
        let flipped: Vec<Relation> = q.iter().rev().map(|relation| relation.flipped()).collect();
        return (p == q && in_order(a, b)) || (p == flipped && in_order(a, &other));
    }
    if p[0] == Relation::Approximate || q[0] == Relation::Approximate {
        return false;
    }
    if !a.iter().chain(b).all(Node::is_scalar) {
        return p == q && in_order(a, b);
    }
    // L - R of one must be a constant multiple of that of the other
    let difference =
        |members: &[Node]| Node::Sum(vec![members[0].clone(), members[1].clone().negative()]);
    let (left, right) = (difference(a), difference(b));
    let mut factor: Option<Complex> = None;
    // an absolute value is not its argument, so variables must be negative, too
    let signed = left.holds_absolute() || right.holds_absolute();
    let points = if signed { 2 * POINTS } else { POINTS };
    for seed in 0..points {
        let seed = if signed { seed | SIGNED } else { seed };
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

/// `x \equiv 3 \pmod{7}` and `x \equiv 10 \pmod{7}`: values that differ by a multiple of the
/// modulus. `None` if that is not what both are.
pub(crate) fn same_residue(a: &Node, b: &Node) -> Option<bool> {
    let (Node::Function("pmod", a), Node::Function("pmod", b)) = (a, b) else { return None };
    let wholes = |parts: &[Node]| {
        Some((crate::exact::whole(parts.first()?)?, crate::exact::whole(parts.get(1)?)?))
    };
    let ((x, m), (y, n)) = (wholes(a)?, wholes(b)?);
    let zero = num_bigint::BigInt::from(0);
    Some(m == n && m != zero && (x - y) % m == zero)
}

/// The solutions of `a < x \le b` and the like as an interval, with whatever ends.
pub(crate) fn solution(members: &[Node], relations: &[Relation]) -> Option<Node> {
    if !relations.iter().all(|relation| relation.is_order()) {
        return None;
    }
    let interval = |low: Node, low_closed: bool, high: Node, high_closed: bool| Node::Bracket {
        open: if low_closed { '[' } else { '(' },
        close: if high_closed { ']' } else { ')' },
        items: vec![low, high],
    };
    match (members, relations) {
        ([x, bound], [relation]) | ([bound, x], [relation]) if x.is_name() && bound.is_scalar() => {
            let relation = if members[0] == *x { *relation } else { relation.flipped() };
            let closed = relation.is_closed();
            Some(if relation.is_below() {
                interval(Node::Infinity.negative(), false, bound.clone(), closed)
            } else {
                interval(bound.clone(), closed, Node::Infinity, false)
            })
        }
        ([low, x, high], [first, second])
            if x.is_name() && first.is_below() == second.is_below() =>
        {
            let (below, above) = (first.is_closed(), second.is_closed());
            Some(if first.is_below() {
                interval(low.clone(), below, high.clone(), above)
            } else {
                interval(high.clone(), above, low.clone(), below)
            })
        }
        _ => None,
    }
}
