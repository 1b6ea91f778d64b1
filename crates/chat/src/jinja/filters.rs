//! Jinja2's filters, where minijinja's of the same name answer otherwise: texts as Python prints
//! them, generators, keyword arguments.

use super::generators::{Generator, Tuple};
use super::methods::{capitalize, lines, pairs, strip};
use super::printing::python_str;
use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};

/// Adds the filters that minijinja answers differently.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", super::json_text::to_json);
    environment.add_filter("string", python_str);
    environment.add_filter("safe", python_str);
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
    environment.add_filter("map", |state: &State<'_, '_>, value: &Value, args: Rest<Value>| {
        // minijinja's own takes what is left of the arguments
        Generator::over(&Value::from(filters::map(state, value.clone(), args)?))
    });
    environment.add_filter(
        "select",
        |state: &State<'_, '_>,
         value: &Value,
         test: Option<std::borrow::Cow<'_, str>>,
         args: Rest<Value>| {
            Generator::over(&Value::from(filters::select(state, value.clone(), test, args)?))
        },
    );
    environment.add_filter(
        "reject",
        |state: &State<'_, '_>,
         value: &Value,
         test: Option<std::borrow::Cow<'_, str>>,
         args: Rest<Value>| {
            Generator::over(&Value::from(filters::reject(state, value.clone(), test, args)?))
        },
    );
    environment.add_filter(
        "selectattr",
        |state: &State<'_, '_>,
         value: &Value,
         attribute: std::borrow::Cow<'_, str>,
         test: Option<std::borrow::Cow<'_, str>>,
         args: Rest<Value>| {
            Generator::over(&Value::from(filters::selectattr(
                state,
                value.clone(),
                attribute,
                test,
                args,
            )?))
        },
    );
    environment.add_filter(
        "rejectattr",
        |state: &State<'_, '_>,
         value: &Value,
         attribute: std::borrow::Cow<'_, str>,
         test: Option<std::borrow::Cow<'_, str>>,
         args: Rest<Value>| {
            Generator::over(&Value::from(filters::rejectattr(
                state,
                value.clone(),
                attribute,
                test,
                args,
            )?))
        },
    );
    environment.add_filter("unique", |state: &State<'_, '_>, value: Value, options: Kwargs| {
        Generator::over(&filters::unique(state, value, options)?)
    });
}

fn refused(reason: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason.to_owned())
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
    for (index, item) in value.try_iter()?.enumerate() {
        let item = match &attribute {
            Some(attribute) => item.get_item(attribute)?,
            None => item,
        };
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
            Ok(value.try_iter()?.count())
        }
        None => Err(refused("a value of this type has no length")),
    }
}

fn first(value: &Value) -> Result<Value, Error> {
    Ok(value.try_iter()?.next().unwrap_or(Value::UNDEFINED))
}

fn last(value: &Value) -> Result<Value, Error> {
    if is_generator(value) {
        return Err(refused("a generator cannot be reversed"));
    }
    Ok(value.try_iter()?.last().unwrap_or(Value::UNDEFINED))
}

fn list(value: &Value) -> Result<Vec<Value>, Error> {
    Ok(value.try_iter()?.collect())
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
    for key in value.try_iter()? {
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
    let mut values: Vec<Value> = value.try_iter()?.collect();
    values.reverse();
    if is_generator(value) {
        return Ok(Value::from(values));
    }
    Generator::over(&Value::from(values))
}
