//! Jinja2's filters, where minijinja's of the same name answer otherwise: texts as Python prints
//! them, generators, keyword arguments.

use super::generators::{Generator, Tuple};
use super::methods::{capitalize, lines, pairs, strip};
use super::operators::{self, escaped, iterable};
use super::printing::python_str;
use super::refused;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, State, Value, filters};
use std::borrow::Cow;

/// Adds the filters that minijinja answers differently.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", super::json_text::to_json);
    environment.add_filter("string", python_str);
    environment.add_filter("safe", |value: &Value| {
        Ok::<_, Error>(Value::from_safe_string(python_str(value)?))
    });
    for name in ["e", "escape"] {
        environment.add_filter(name, |value: &Value| {
            Ok::<_, Error>(Value::from_safe_string(escaped(value)?))
        });
    }
    environment.add_filter("trim", trim);
    environment
        .add_filter("upper", |value: &Value| Ok::<_, Error>(python_str(value)?.to_uppercase()));
    environment
        .add_filter("lower", |value: &Value| Ok::<_, Error>(python_str(value)?.to_lowercase()));
    environment
        .add_filter("capitalize", |value: &Value| Ok::<_, Error>(capitalize(&python_str(value)?)));
    environment.add_filter("title", title);
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("indent", indent);
    environment.add_filter("default", default);
    environment.add_filter("d", default);
    environment.add_filter("length", length);
    environment.add_filter("count", length);
    environment.add_filter("first", first);
    environment.add_filter("last", last);
    environment.add_filter("list", list);
    environment.add_filter("items", items);
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("reverse", reverse);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("round", round);
    environment.add_filter("sum", sum);
    environment.add_filter("wordcount", |value: &Value| {
        Ok::<_, Error>(
            python_str(value)?
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty())
                .count(),
        )
    });
    environment.add_filter("map", |state: &State<'_, '_>, value: &Value, rest: Rest<Value>| {
        Generator::over(&Value::from(filters::map(state, or_empty(value), rest)?))
    });
    environment.add_filter(
        "select",
        |state: &State<'_, '_>, value: &Value, test: Name<'_>, rest: Rest<Value>| {
            Generator::over(&Value::from(filters::select(state, or_empty(value), test, rest)?))
        },
    );
    environment.add_filter(
        "reject",
        |state: &State<'_, '_>, value: &Value, test: Name<'_>, rest: Rest<Value>| {
            Generator::over(&Value::from(filters::reject(state, or_empty(value), test, rest)?))
        },
    );
    environment.add_filter("selectattr", selectattr);
    environment.add_filter("rejectattr", rejectattr);
    environment.add_filter("unique", |state: &State<'_, '_>, value: Value, options: Kwargs| {
        Generator::over(&filters::unique(state, iterable(&value)?, options)?)
    });
}

/// The name of a test, if one is named.
type Name<'n> = Option<Cow<'n, str>>;

fn selectattr(
    state: &State<'_, '_>,
    value: &Value,
    attribute: Cow<'_, str>,
    test: Name<'_>,
    rest: Rest<Value>,
) -> Result<Value, Error> {
    let values = filters::selectattr(state, or_empty(value), attribute, test, rest)?;
    Generator::over(&Value::from(values))
}

fn rejectattr(
    state: &State<'_, '_>,
    value: &Value,
    attribute: Cow<'_, str>,
    test: Name<'_>,
    rest: Rest<Value>,
) -> Result<Value, Error> {
    let values = filters::rejectattr(state, or_empty(value), attribute, test, rest)?;
    Generator::over(&Value::from(values))
}

/// What is false, `None` too, has nothing to select from.
fn or_empty(value: &Value) -> Value {
    if value.is_true() { value.clone() } else { Value::from(Vec::<Value>::new()) }
}

/// What a filter was told to take of an item; without that the item.
fn attribute_of(item: Value, attribute: Option<&Value>) -> Result<Value, Error> {
    attribute.map_or(Ok(item.clone()), |attribute| item.get_item(attribute))
}

fn is_generator(value: &Value) -> bool {
    value.downcast_object_ref::<Generator>().is_some()
}

fn trim(value: &Value, which: Option<&str>, named: Kwargs) -> Result<String, Error> {
    let which = which.or(named.get::<Option<&str>>("chars")?);
    named.assert_all_used()?;
    Ok(strip(&python_str(value)?, which, true, true).to_owned())
}

/// A letter is a capital one at the start and behind `-`, white space and opening brackets.
fn title(value: &Value) -> Result<String, Error> {
    let mut begins = true;
    let mut result = String::new();
    for c in python_str(value)?.chars() {
        if begins {
            result.extend(c.to_uppercase());
        } else {
            result.extend(c.to_lowercase());
        }
        begins = c.is_whitespace() || "-({[<".contains(c);
    }
    Ok(result)
}

fn replace(value: &Value, old: &Value, new: &Value, count: Option<i64>) -> Result<String, Error> {
    let (text, old, new) = (python_str(value)?, python_str(old)?, python_str(new)?);
    Ok(match count.and_then(|count| usize::try_from(count).ok()) {
        Some(count) => text.replacen(&old, &new, count),
        None => text.replace(&old, &new),
    })
}

fn join(value: &Value, between: Option<Value>, named: Kwargs) -> Result<String, Error> {
    let between = between.or(named.get::<Option<Value>>("d")?);
    let attribute: Option<Value> = named.get("attribute")?;
    named.assert_all_used()?;
    let between = between.map(|between| python_str(&between)).transpose()?.unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in iterable(value)?.try_iter()?.enumerate() {
        let item = attribute_of(item, attribute.as_ref())?;
        joined.push_str(if index > 0 { &between } else { "" });
        joined.push_str(&python_str(&item)?);
    }
    Ok(joined)
}

/// All lines but the first, or with `first` it too, behind `width` spaces; empty ones only with
/// `blank`.
fn indent(
    value: &str,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<String, Error> {
    let width = width.or(named.get::<Option<Value>>("width")?);
    let first = first.or(named.get::<Option<bool>>("first")?).unwrap_or(false);
    let blank = blank.or(named.get::<Option<bool>>("blank")?).unwrap_or(false);
    named.assert_all_used()?;
    let indention = match width {
        None => " ".repeat(4),
        Some(width) => match width.as_str() {
            Some(text) => text.to_owned(),
            None => {
                " ".repeat(usize::try_from(i64::try_from(width)?.clamp(0, 1 << 20)).unwrap_or(0))
            }
        },
    };
    // a line break at the end leaves an empty line behind it
    let text = format!("{value}\n");
    let mut result = if first { indention.clone() } else { String::new() };
    for (index, line) in lines(&text, false).into_iter().enumerate() {
        if index > 0 {
            result.push('\n');
            if blank || !line.is_empty() {
                result.push_str(&indention);
            }
        }
        result.push_str(line);
    }
    Ok(result)
}

fn default(
    value: &Value,
    other: Option<Value>,
    boolean: Option<bool>,
    named: Kwargs,
) -> Result<Value, Error> {
    let other = other.or(named.get::<Option<Value>>("default_value")?);
    let boolean = boolean.or(named.get::<Option<bool>>("boolean")?).unwrap_or(false);
    named.assert_all_used()?;
    let missing = value.is_undefined() || (boolean && !value.is_true());
    Ok(if missing { other.unwrap_or_else(|| Value::from("")) } else { value.clone() })
}

/// An undefined value has no items.
fn length(value: &Value) -> Result<usize, Error> {
    match value.len() {
        _ if value.is_undefined() => Ok(0),
        Some(length) => Ok(length),
        None if value.kind() == ValueKind::Iterable && !is_generator(value) => {
            Ok(iterable(value)?.try_iter()?.count())
        }
        None => Err(refused("a value of this type has no length")),
    }
}

fn first(value: &Value) -> Result<Value, Error> {
    Ok(iterable(value)?.try_iter()?.next().unwrap_or(Value::UNDEFINED))
}

fn last(value: &Value) -> Result<Value, Error> {
    if is_generator(value) {
        return Err(refused("a generator cannot be reversed"));
    }
    Ok(iterable(value)?.try_iter()?.last().unwrap_or(Value::UNDEFINED))
}

fn list(value: &Value) -> Result<Vec<Value>, Error> {
    Ok(iterable(value)?.try_iter()?.collect())
}

fn items(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Undefined => Generator::over(&Value::from(Vec::<Value>::new())),
        ValueKind::Map => Generator::over(&Value::from(pairs(value)?)),
        _ => Err(refused("can only get item pairs from a mapping")),
    }
}

fn dictsort(
    value: &Value,
    case_sensitive: Option<bool>,
    by: Option<&str>,
    reverse: Option<bool>,
    named: Kwargs,
) -> Result<Vec<Value>, Error> {
    let case_sensitive =
        case_sensitive.or(named.get::<Option<bool>>("case_sensitive")?).unwrap_or(false);
    let by = by.or(named.get::<Option<&str>>("by")?).unwrap_or("key");
    let reverse = reverse.or(named.get::<Option<bool>>("reverse")?).unwrap_or(false);
    named.assert_all_used()?;
    if value.kind() != ValueKind::Map {
        return Err(refused("only a mapping is sorted by dictsort"));
    }
    let mut sorted = Vec::new();
    for key in iterable(value)?.try_iter()? {
        let item = value.get_item(&key)?;
        let sort_by = if by == "value" { item.clone() } else { key.clone() };
        let folded = sort_by.as_str().filter(|_| !case_sensitive).map(str::to_lowercase);
        sorted.push((folded.map_or(sort_by, Value::from), key, item));
    }
    // like Python's, the sort keeps the order of what is equal, in reverse too
    if reverse {
        sorted.sort_by(|left, right| right.0.cmp(&left.0));
    } else {
        sorted.sort_by(|left, right| left.0.cmp(&right.0));
    }
    Ok(sorted.into_iter().map(|(_, key, item)| Tuple::pair(key, item)).collect())
}

fn reverse(value: &Value) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    let mut values: Vec<Value> = iterable(value)?.try_iter()?.collect();
    values.reverse();
    if is_generator(value) {
        return Ok(Value::from(values));
    }
    Generator::over(&Value::from(values))
}

/// A number without what stands behind its point, or the number that a text tells.
fn int(
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    named: Kwargs,
) -> Result<Value, Error> {
    let default = default.or(named.get::<Option<Value>>("default")?);
    let base = base.or(named.get::<Option<u32>>("base")?).unwrap_or(10);
    named.assert_all_used()?;
    let whole = match value.as_str() {
        Some(text) => {
            let text = text.trim().replace('_', "");
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, text.strip_prefix('+').unwrap_or(&text)),
            };
            let lower = digits.to_lowercase();
            let prefix = match base {
                16 => "0x",
                8 => "0o",
                2 => "0b",
                _ => "",
            };
            let digits = lower.strip_prefix(prefix).unwrap_or(&lower);
            let whole = (2..=36).contains(&base).then(|| i64::from_str_radix(digits, base).ok());
            whole.flatten().map(|whole| sign * whole).or_else(|| truncated(text.parse().ok()?))
        }
        None if value.kind() == ValueKind::Bool => Some(i64::from(value.is_true())),
        None if value.is_integer() => return Ok(value.clone()),
        None => f64::try_from(value.clone()).ok().and_then(truncated),
    };
    Ok(whole.map_or_else(|| default.unwrap_or_else(|| Value::from(0)), Value::from))
}

#[expect(clippy::cast_possible_truncation, reason = "that is what the filter is for")]
fn truncated(number: f64) -> Option<i64> {
    (number.abs() < 9e18).then_some(number.trunc() as i64)
}

fn float(value: &Value, default: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let default = default.or(named.get::<Option<Value>>("default")?);
    named.assert_all_used()?;
    let number = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None => f64::try_from(value.clone()).ok(),
    };
    Ok(number.map_or_else(|| default.unwrap_or_else(|| Value::from(0.0)), Value::from))
}

/// A float, also where nothing stands behind its point.
fn round(
    value: &Value,
    precision: Option<i32>,
    method: Option<&str>,
    named: Kwargs,
) -> Result<Value, Error> {
    let precision = precision.or(named.get::<Option<i32>>("precision")?).unwrap_or(0);
    let method = method.or(named.get::<Option<&str>>("method")?).unwrap_or("common");
    named.assert_all_used()?;
    let number = f64::try_from(value.clone())?;
    let scale = 10_f64.powi(precision);
    Ok(match method {
        // Python rounds the exact value of the float, a half to the even neighbour
        "common" if value.is_integer() && precision >= 0 => value.clone(),
        "common" if precision >= 0 => {
            let digits = usize::try_from(precision).unwrap_or(0);
            Value::from(format!("{number:.digits$}").parse::<f64>().unwrap_or(number))
        }
        "common" if value.is_integer() => {
            truncated((number * scale).round_ties_even() / scale).map_or(value.clone(), Value::from)
        }
        "common" => Value::from((number * scale).round_ties_even() / scale),
        "ceil" => Value::from((number * scale).ceil() / scale),
        "floor" => Value::from((number * scale).floor() / scale),
        _ => return Err(refused("method must be common, ceil or floor")),
    })
}

fn sum(
    value: &Value,
    attribute: Option<Value>,
    start: Option<Value>,
    named: Kwargs,
) -> Result<Value, Error> {
    let attribute = attribute.or(named.get::<Option<Value>>("attribute")?);
    let start = start.or(named.get::<Option<Value>>("start")?);
    named.assert_all_used()?;
    let mut sum = start.unwrap_or_else(|| Value::from(0));
    for item in iterable(value)?.try_iter()? {
        let item = attribute_of(item, attribute.as_ref())?;
        sum = operators::add_two(&sum, &item)?;
    }
    Ok(sum)
}
