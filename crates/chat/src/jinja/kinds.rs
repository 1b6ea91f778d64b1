//! `is ...` as Jinja2 decides it: a text is a sequence and iterable, a dictionary is a sequence, a
//! truth value is a number.

use super::generators::Generator;
use minijinja::value::ValueKind;
use minijinja::{Environment, Value};

/// Adds the tests that minijinja answers differently.
pub(super) fn add(environment: &mut Environment<'static>) {
    environment.add_test("sequence", is_sequence);
    environment.add_test("iterable", is_iterable);
    environment.add_test("number", |value: &Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    environment.add_test("true", |value: &Value| is_bool(value) && value.is_true());
    environment.add_test("false", |value: &Value| is_bool(value) && !value.is_true());
}

fn is_bool(value: &Value) -> bool {
    value.kind() == ValueKind::Bool
}

/// Whether `len()` and `[]` work: on an undefined value both do.
fn is_sequence(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Iterable => value.downcast_object_ref::<Generator>().is_none(),
        kind => matches!(
            kind,
            ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map
        ),
    }
}

/// Whether `iter()` works.
fn is_iterable(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Undefined
            | ValueKind::String
            | ValueKind::Seq
            | ValueKind::Map
            | ValueKind::Iterable
    )
}
