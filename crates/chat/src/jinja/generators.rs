//! Two Python types that minijinja does not have: generators, which filters such as `map` and
//! `selectattr` answer with, and tuples, which a dictionary's items are.
//!
//! A generator is true even if nothing is left in it, has no length, no item and no JSON, and is
//! read once.

use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, Value};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What is left of a generator.
#[derive(Debug)]
pub(super) struct Generator(Mutex<VecDeque<Value>>);

impl Generator {
    /// A generator over the values of what is iterable.
    pub(super) fn over(values: &Value) -> Result<Value, Error> {
        let values = values.try_iter()?.collect();
        Ok(Value::from_object(Self(Mutex::new(values))))
    }
}

impl Object for Generator {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let generator = self.clone();
        Enumerator::Iter(Box::new(std::iter::from_fn(move || {
            generator.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
        })))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<generator object>")
    }
}

/// A tuple; but for how it is printed, a list.
#[derive(Debug)]
pub(super) struct Tuple(Vec<Value>);

impl Tuple {
    /// The pair of a key and its value.
    pub(super) fn pair(key: Value, value: Value) -> Value {
        Self::of(vec![key, value])
    }

    /// The tuple of some values.
    pub(super) fn of(values: Vec<Value>) -> Value {
        Value::from_object(Self(values))
    }
}

impl Object for Tuple {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}
