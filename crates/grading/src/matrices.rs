//! Matrices, their sums and multiples, and vectors as tuples.

use crate::compare::in_order;
use crate::scalars::same_scalar;
use crate::tree::Node;

/// Whether two nodes are the same matrix or vector; `None` if neither holds a matrix.
pub(crate) fn same_matrix(a: &Node, b: &Node) -> Option<bool> {
    if let Some(verdict) = same_combination(a, b).or_else(|| same_combination(b, a)) {
        return Some(verdict);
    }
    if !holds_matrix(a) && !holds_matrix(b) {
        return None;
    }
    Some(match (matrix(a), matrix(b)) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| in_order(a, b)),
        // a vector as a tuple
        (Some(rows), None) => is_tuple_of(b, &rows),
        (None, Some(rows)) => is_tuple_of(a, &rows),
        (None, None) => false,
    })
}

/// A vector against a combination of the unit vectors: `5\mathbf{i} + \mathbf{j}`; `None` if that
/// is not what they are.
fn same_combination(vector: &Node, combination: &Node) -> Option<bool> {
    let entries: Vec<Node> = match vector {
        Node::Matrix(rows) if rows.len() == 1 || rows[0].len() == 1 => {
            rows.iter().flatten().cloned().collect()
        }
        Node::Bracket { open: '(', close: ')', items } => items.clone(),
        _ => return None,
    };
    let is_combination = combination.is_scalar()
        && combination.any(&|part| (0..3).any(|axis| is_unit_vector(part, axis)));
    if !is_combination || !(2..=3).contains(&entries.len()) {
        return None;
    }
    // the part along an axis: its unit vector is 1, the others are 0
    let along = |axis: usize| with_unit_vectors(combination, axis);
    let is_zero = |node: Node| same_scalar(&node, &Node::whole(0));
    let has_no_rest = (entries.len()..=3).all(|axis| is_zero(along(axis)));
    let same = entries.iter().enumerate().all(|(axis, entry)| same_scalar(entry, &along(axis)));
    Some(has_no_rest && same)
}

/// Whether a node is the unit vector of an axis: `\mathbf{i}`, which is read as the imaginary unit,
/// `\hat{i}`, `\vec{i}`.
fn is_unit_vector(node: &Node, axis: usize) -> bool {
    let letter = ["i", "j", "k"][axis];
    match node {
        Node::I => axis == 0,
        Node::Symbol(name) => {
            [letter.to_owned(), format!("hat {letter}"), format!("vec {letter}")].contains(name)
        }
        _ => false,
    }
}

/// A combination of unit vectors where that of an axis is 1 and the others are 0.
fn with_unit_vectors(node: &Node, axis: usize) -> Node {
    if let Some(of) = (0..3).find(|of| is_unit_vector(node, *of)) {
        return Node::whole(i64::from(of == axis));
    }
    match node {
        Node::Sum(_) | Node::Product(_) | Node::Quotient(..) | Node::Negative(_) => {
            node.map_parts(&|part| with_unit_vectors(part, axis))
        }
        other => other.clone(),
    }
}

fn holds_matrix(node: &Node) -> bool {
    match node {
        Node::Matrix(_) => true,
        Node::Power(of, _) => holds_matrix(of),
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

/// The entries of a matrix, of a list of lists as programs print it, or of a sum, difference or
/// multiple of matrices.
fn matrix(node: &Node) -> Option<Vec<Vec<Node>>> {
    match node {
        Node::Matrix(rows) => Some(rows.clone()),
        Node::Bracket { open: '[', close: ']', items } => {
            let row = |item: &Node| match item {
                Node::Bracket { open: '[', close: ']', items } => Some(items.clone()),
                Node::Bracket { .. } => None,
                single => Some(vec![single.clone()]),
            };
            let rows: Vec<Vec<Node>> = items.iter().map(row).collect::<Option<_>>()?;
            rows.iter().all(|row| row.len() == rows[0].len()).then_some(rows)
        }
        // the transposed one
        Node::Power(of, exponent) if is_transposition(exponent) => {
            let rows = matrix(of)?;
            let column = |index: usize| rows.iter().map(|row| row[index].clone()).collect();
            Some((0..rows[0].len()).map(column).collect())
        }
        // a column that was written as a binomial
        Node::Function("binom", parts) => {
            Some(parts.iter().map(|part| vec![part.clone()]).collect())
        }
        Node::Negative(of) => Some(scaled(&matrix(of)?, &Node::negative)),
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
            let times = |entry| Node::Product(factors.iter().cloned().chain([entry]).collect());
            Some(scaled(&rows, &times))
        }
        _ => None,
    }
}

fn is_transposition(exponent: &Node) -> bool {
    matches!(exponent, Node::Symbol(name) if ["T", "\\top", "\\intercal"].contains(&name.as_str()))
}

fn scaled(rows: &[Vec<Node>], change: &dyn Fn(Node) -> Node) -> Vec<Vec<Node>> {
    rows.iter().map(|row| row.iter().cloned().map(change).collect()).collect()
}
