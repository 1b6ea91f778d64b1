//! Operators that Python gives another meaning than minijinja: `~`, and `+` where texts are
//! escaped; what a loop goes through and what an assignment assigns.

use super::generators::Generator;
use super::printing::python_str;
use super::refused;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Error, Value};

/// `markupsafe.escape`: a safe text is left as it is.
pub(super) fn escaped(value: &Value) -> Result<String, Error> {
    let text = python_str(value)?;
    if value.is_safe() {
        return Ok(text);
    }
    let mut result = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => result.push_str("&amp;"),
            '<' => result.push_str("&lt;"),
            '>' => result.push_str("&gt;"),
            '"' => result.push_str("&#34;"),
            '\'' => result.push_str("&#39;"),
            c => result.push(c),
        }
    }
    Ok(result)
}

/// `a ~ b`: the texts of both, as Python prints them. Nothing is escaped, unlike by [`add`].
pub(super) fn concatenate(parts: Rest<Value>) -> Result<String, Error> {
    parts.iter().map(python_str).collect()
}

/// `a + b + ..`: texts, lists or numbers, never of two kinds.
pub(super) fn add(parts: Rest<Value>) -> Result<Value, Error> {
    let mut parts = parts.iter();
    let mut sum = parts.next().cloned().unwrap_or_default();
    for part in parts {
        sum = add_two(&sum, part)?;
    }
    Ok(sum)
}

/// `a + b`.
pub(super) fn add_two(left: &Value, right: &Value) -> Result<Value, Error> {
    let is_list = |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
            && value.downcast_object_ref::<Generator>().is_none()
    };
    let is_number = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    match (left.as_str(), right.as_str()) {
        (Some(_), Some(_)) if left.is_safe() || right.is_safe() => {
            return Ok(Value::from_safe_string(escaped(left)? + &escaped(right)?));
        }
        (Some(left), Some(right)) => return Ok(Value::from([left, right].concat())),
        _ => {}
    }
    if is_list(left) && is_list(right) {
        return Ok(left.try_iter()?.chain(right.try_iter()?).collect());
    }
    if is_number(left) && is_number(right) {
        if let (Ok(left), Ok(right)) = (i128::try_from(left.clone()), i128::try_from(right.clone()))
            && let Some(sum) = left.checked_add(right)
            && let Ok(sum) = i64::try_from(sum)
        {
            return Ok(Value::from(sum));
        }
        return Ok(Value::from(f64::try_from(left.clone())? + f64::try_from(right.clone())?));
    }
    Err(refused(format!("{} and {} cannot be added", left.kind(), right.kind())))
}

/// What a loop goes through: an undefined value has no items, `None` is refused. A generator is
/// read to its end, as Jinja2 does to tell the last item.
pub(super) fn iterable(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::None => Err(refused("`None` is not iterable")),
        ValueKind::Iterable if value.downcast_object_ref::<Generator>().is_some() => {
            Ok(value.try_iter()?.collect())
        }
        _ => Ok(value.clone()),
    }
}

/// What is assigned to an attribute of a namespace.
pub(super) fn assigned(_: &Value, attribute: &str, value: &Value) -> Result<Value, Error> {
    if attribute.starts_with('_') {
        return Err(refused(format!("no namespace stores `{attribute}`")));
    }
    Ok(value.clone())
}
