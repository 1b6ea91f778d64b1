//! The normal form of a tree: both signs written out, names left out where they name a whole list,
//! alternatives as sets.

use crate::scalars::same_scalar;
use crate::tree::{Node, Relation};
use std::borrow::Cow;

/// The answer that a tree gives.
pub(crate) fn settle(node: &Node) -> Cow<'_, Node> {
    let node = expand(node);
    match settled(&node) {
        Some(settled) => Cow::Owned(settled),
        None => node,
    }
}

/// The same where that is another tree.
fn settled(node: &Node) -> Option<Node> {
    match node {
        Node::List(items) => {
            // `x \ne 1, -1` is neither
            if let Some(neither) = unequal_to_all(items) {
                return Some(neither);
            }
            // `a = 4, -8, -10` names the whole list
            let named_first = items.len() > 1
                && is_named(&items[0])
                && !items[1..].iter().any(is_named)
                && items[1..].iter().all(Node::is_scalar);
            named_first.then(|| Node::Set(without_first_name(items.clone())))
        }
        // alternatives of scalars or tuples are a set; of intervals, sets and relations a union
        Node::Alternatives(items) => {
            if items.iter().any(is_set_of_reals) {
                return Some(Node::Union(items.clone()));
            }
            // `\frac12` or 0.5 is one answer
            if items[1..].iter().all(|item| same_scalar(&items[0], item)) {
                return items.first().cloned();
            }
            let items = items.clone();
            let named_first = is_named(&items[0]) && !items[1..].iter().any(is_named);
            Some(Node::Set(if named_first { without_first_name(items) } else { items }))
        }
        // `(x, y) = (1, 2)`
        Node::Chain { .. } => named_tuple(node),
        // `\mathbb{R} - \{3\}`
        Node::Sum(parts) => match parts.as_slice() {
            [from @ Node::Symbol(name), Node::Negative(what)]
                if matches!(**what, Node::Set(_)) || (name == "mathbb R" && what.is_constant()) =>
            {
                Some(Node::Difference(Box::new(from.clone()), what.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// `x \ne 1, -1` as `x \ne 1` and `x \ne -1`.
fn unequal_to_all(items: &[Node]) -> Option<Node> {
    let (Node::Chain { members, relations }, rest) = items.split_first()? else { return None };
    let [name, _] = members.as_slice() else { return None };
    if **relations != [Relation::NotEqual] {
        return None;
    }
    let unequal = |item: &Node| match item {
        Node::Chain { relations, .. } if **relations == [Relation::NotEqual] => Some(item.clone()),
        value if value.is_constant() => Some(Node::Chain {
            members: vec![name.clone(), value.clone()],
            relations: [Relation::NotEqual].into(),
        }),
        _ => None,
    };
    let rest = rest.iter().map(unequal).collect::<Option<Vec<_>>>()?;
    (!rest.is_empty())
        .then(|| Node::Intersection(std::iter::once(items[0].clone()).chain(rest).collect()))
}

/// A tuple that is named by a tuple, as equations.
fn named_tuple(node: &Node) -> Option<Node> {
    let Node::Chain { members, relations } = node else { return None };
    let [Node::Bracket { items: names, .. }, Node::Bracket { items: values, .. }] =
        members.as_slice()
    else {
        return None;
    };
    if relations[0] != Relation::Equal || names.len() != values.len() {
        return None;
    }
    let are_names = names.iter().all(|name| matches!(name, Node::Symbol(_)));
    are_names.then(|| {
        let pairs = names.iter().zip(values);
        Node::List(pairs.map(|(name, value)| Node::equation(name.clone(), value.clone())).collect())
    })
}

/// `x = y = 2`, and `(x, y) = z = 2`, as an equation for each name.
pub(crate) fn each_named(node: &Node) -> Option<Node> {
    let Node::Chain { members, relations } = node else { return None };
    let (value, names) = members.split_last()?;
    let mut all: Vec<&Node> = Vec::new();
    for name in names {
        match name {
            Node::Symbol(_) => all.push(name),
            Node::Bracket { items, .. } => all.extend(items),
            _ => return None,
        }
    }
    let are_equal = relations.iter().all(|of| *of == Relation::Equal);
    (are_equal && all.len() > 1 && value.is_constant()).then(|| {
        Node::List(
            all.into_iter().map(|name| Node::equation(name.clone(), value.clone())).collect(),
        )
    })
}

/// The items, the first one's name left out.
fn without_first_name(mut items: Vec<Node>) -> Vec<Node> {
    items[0] = value_of(&items[0]).clone();
    items
}

/// What is surely no point: an interval that is not open at both finite ends, a set, a relation
/// that orders.
fn is_set_of_reals(node: &Node) -> bool {
    match node {
        Node::Set(_)
        | Node::Alternatives(_)
        | Node::Union(_)
        | Node::Intersection(_)
        | Node::Difference(..) => true,
        Node::Chain { relations, .. } => relations.iter().any(|of| of.is_inequality()),
        Node::Bracket { open: '[', .. } | Node::Bracket { close: ']', .. } => true,
        Node::Bracket { items, .. } => items.len() == 2 && items.iter().any(is_infinite),
        Node::Symbol(name) => name.starts_with("mathbb "),
        _ => false,
    }
}

/// Whether it is plus or minus infinity.
pub(crate) fn is_infinite(node: &Node) -> bool {
    match node {
        Node::Infinity => true,
        Node::Negative(of) => **of == Node::Infinity,
        _ => false,
    }
}

/// Whether it is an equation with a name on the left.
pub(crate) fn is_named(node: &Node) -> bool {
    matches!(
        node,
        Node::Chain { members, relations }
            if members[0].is_name() && relations.iter().all(|of| *of == Relation::Equal)
    )
}

fn has_both_signs(node: &Node) -> bool {
    node.any(&|part| matches!(part, Node::PlusMinus(_)))
}

/// Trees with `\pm` become sets of two.
fn expand(node: &Node) -> Cow<'_, Node> {
    if !has_both_signs(node) {
        return Cow::Borrowed(node);
    }
    let both = |item: &Node| match has_both_signs(item) {
        true => vec![with_sign(item, true), with_sign(item, false)],
        false => vec![item.clone()],
    };
    Cow::Owned(match node {
        Node::Set(items) | Node::List(items) | Node::Alternatives(items) => {
            Node::Set(items.iter().flat_map(both).collect())
        }
        Node::Member(name, of) => Node::Member(name.clone(), Box::new(expand(of).into_owned())),
        // `x \ne \pm 1` is neither
        Node::Chain { relations, .. } if relations.contains(&Relation::NotEqual) => {
            Node::Intersection(both(node))
        }
        single => Node::Set(both(value_of(single))),
    })
}

/// The tree with one of both signs wherever it has both.
fn with_sign(node: &Node, plus: bool) -> Node {
    match node {
        Node::PlusMinus(of) if plus => with_sign(of, plus),
        Node::PlusMinus(of) | Node::Negative(of) => with_sign(of, plus).negative(),
        other => other.map_parts(&|part| with_sign(part, plus)),
    }
}

/// What a named value is: `x = 5` says 5, `x = 5 + 6 = 11` says 11, `5 = x` says 5,
/// `x = 1/3 \approx 0.33` says 1/3, `x \in S` says S.
pub(crate) fn value_of(node: &Node) -> &Node {
    match node {
        Node::Chain { members, relations } => {
            if relations.iter().any(|of| of.is_inequality()) {
                return node;
            }
            // what is only about equal counts if there is nothing better
            let exact = relations
                .iter()
                .position(|relation| *relation == Relation::Approximate)
                .unwrap_or(relations.len());
            // `x \approx 5` has a name only in front
            let is_named_only = exact == 0 && members[0].is_name();
            let members = if is_named_only { &members[..] } else { &members[..=exact] };
            let last = &members[members.len() - 1];
            if members.len() > 2 || members.len() == 1 {
                return last;
            }
            match (members[0].is_name(), last.is_name()) {
                (true, _) => last,
                (false, true) => &members[0],
                // `2 + 3 = 5`
                (false, false) if members.iter().all(Node::is_constant) => last,
                (false, false) => node,
            }
        }
        Node::Member(_, of) => of,
        other => other,
    }
}

/// The rounded value that a chain gives behind `\approx`, if it gives one.
pub(crate) fn approximation(node: &Node) -> Option<&Node> {
    let Node::Chain { members, relations } = node else { return None };
    (relations.last() == Some(&Relation::Approximate)).then(|| &members[members.len() - 1])
}
