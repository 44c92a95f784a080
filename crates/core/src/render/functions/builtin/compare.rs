//! Comparisons: of values of one kind only.

use std::{cmp::Ordering, rc::Rc};

use crate::render::{
    functions::call::{Call, Failure},
    template::value::Value,
};

type Outcome = Result<bool, Failure>;

/// Whether the first argument equals one of the others.
pub fn equal(call: &Call<'_>) -> Outcome {
    let Some((first, others)) = call.arguments.split_first().filter(|(_, others)| !others.is_empty()) else {
        return call.fail("there is nothing to compare with");
    };
    for other in others {
        if same(call, first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn same(call: &Call<'_>, first: &Value, second: &Value) -> Outcome {
    match (first, second) {
        (Value::Bool(first), Value::Bool(second)) => Ok(first == second),
        #[expect(clippy::float_cmp, reason = "a template asks for exactly this")]
        (Value::Float(first), Value::Float(second)) => Ok(first == second),
        (Value::Text(first), Value::Text(second)) => Ok(first == second),
        (Value::Int(..) | Value::Uint(..), Value::Int(..) | Value::Uint(..)) => Ok(whole(first) == whole(second)),
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, Value::List(list)) | (Value::List(list), Value::Nil) => Ok(list.is_nil()),
        (Value::List(first), Value::List(second)) if first.is_nil() || second.is_nil() => {
            Ok(first.is_nil() && second.is_nil())
        }
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Object(first), Value::Object(second)) => Ok(Rc::ptr_eq(first, second)),
        _ => incompatible(call, first, second),
    }
}

fn incompatible<T>(call: &Call<'_>, first: &Value, second: &Value) -> Result<T, Failure> {
    call.fail(format!("a {} and a {} cannot be compared", first.type_name(), second.type_name()))
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(number, _) => Some((*number).into()),
        Value::Uint(number, _) => Some((*number).into()),
        _ => None,
    }
}

/// Whether the first argument is less than the second; `None`: neither less, equal nor greater.
fn order(call: &Call<'_>) -> Result<Option<Ordering>, Failure> {
    let (first, second) = (call.value(0)?, call.value(1)?);
    match (first, second) {
        (Value::Float(first), Value::Float(second)) => Ok(first.partial_cmp(second)),
        (Value::Text(first), Value::Text(second)) => Ok(Some(first.cmp(second))),
        (Value::Int(..) | Value::Uint(..), Value::Int(..) | Value::Uint(..)) => {
            Ok(Some(whole(first).cmp(&whole(second))))
        }
        _ => incompatible(call, first, second),
    }
}

pub fn less(call: &Call<'_>) -> Outcome {
    Ok(order(call)? == Some(Ordering::Less))
}

pub fn less_or_equal(call: &Call<'_>) -> Outcome {
    Ok(matches!(order(call)?, Some(Ordering::Less | Ordering::Equal)))
}
