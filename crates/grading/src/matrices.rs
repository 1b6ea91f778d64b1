//! Matrices, their sums and multiples, and vectors as tuples.

use crate::compare::in_order;
use crate::tree::Node;

/// Whether two nodes are the same matrix or vector; `None` if neither holds a matrix.
pub(crate) fn same_matrix(a: &Node, b: &Node) -> Option<bool> {
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

fn holds_matrix(node: &Node) -> bool {
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

fn scaled(rows: &[Vec<Node>], change: &dyn Fn(Node) -> Node) -> Vec<Vec<Node>> {
    rows.iter().map(|row| row.iter().cloned().map(change).collect()).collect()
}
