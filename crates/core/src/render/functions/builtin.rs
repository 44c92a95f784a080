//! The functions that Go's `text/template` has by itself.

mod compare;
mod escape;

use super::{
    Entry,
    call::{Call, Failure, Outcome},
    signature::{
        Type::{Any, Text},
        takes, variadic,
    },
};
use crate::render::template::{
    format,
    value::{Unsigned, Value},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    // The engine itself evaluates these, and no more arguments than it must.
    ("and", variadic(&[Any], Any), |call| call.fail("it is no function that can be called")),
    ("or", variadic(&[Any], Any), |call| call.fail("it is no function that can be called")),
    ("not", takes(&[Any]), |call| Ok(Value::Bool(!call.value(0)?.is_true()))),
    ("len", takes(&[Any]), length),
    ("index", variadic(&[Any], Any), index),
    ("print", variadic(&[], Any), |call| written(call, format::sprint(call.arguments))),
    ("println", variadic(&[], Any), |call| written(call, format::sprintln(call.arguments))),
    ("printf", variadic(&[Text], Any), |call| written(call, format::sprintf(call.bytes(0)?, &call.arguments[1..]))),
    ("html", variadic(&[], Any), |call| escaped(call, escape::html)),
    ("js", variadic(&[], Any), |call| escaped(call, escape::js)),
    ("urlquery", variadic(&[], Any), |call| escaped(call, escape::query)),
    ("eq", variadic(&[Any], Any), |call| compare::equal(call).map(Value::Bool)),
    ("ne", takes(&[Any, Any]), |call| compare::equal(call).map(|equal| Value::Bool(!equal))),
    ("lt", takes(&[Any, Any]), |call| compare::less(call).map(Value::Bool)),
    ("le", takes(&[Any, Any]), |call| compare::less_or_equal(call).map(Value::Bool)),
    ("gt", takes(&[Any, Any]), |call| compare::less_or_equal(call).map(|found| Value::Bool(!found))),
    ("ge", takes(&[Any, Any]), |call| compare::less(call).map(|found| Value::Bool(!found))),
    ("call", variadic(&[Any], Any), |call| call.fail("no value is a function")),
    // The argument may hold a value, so the message does not repeat it.
    ("fail", takes(&[Text]), |call| call.fail("the template calls it")),
];

fn written(call: &Call<'_>, text: Result<crate::render::template::value::Text, Failure>) -> Outcome {
    text.map_or_else(|failure| call.fail(failure.0), |text| Ok(Value::Text(text)))
}

/// Prints the arguments, then escapes the text.
fn escaped(call: &Call<'_>, escape: fn(&[u8]) -> Vec<u8>) -> Outcome {
    if call.arguments.iter().any(|argument| matches!(argument, Value::Nil)) {
        return call.fail("an argument does not exist; check the names in this action");
    }
    Ok(escape(&format::sprint(call.arguments)?).into())
}

fn length(call: &Call<'_>) -> Outcome {
    let length = match call.value(0)? {
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return call.fail(format!("a {} has no length", other.type_name())),
    };
    Ok(Value::int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// `index x 1 2` is `x[1][2]`.
fn index(call: &Call<'_>) -> Outcome {
    let mut item = call.value(0)?.clone();
    if matches!(item, Value::Nil) {
        return call.fail("there is no value to take an item of");
    }
    for at in &call.arguments[1..] {
        let next = match (&item, at) {
            (Value::Map(map), Value::Text(name)) => Some(map.get(name).unwrap_or_else(|| map.of().zero())),
            (Value::Map(_), other) => {
                return call.fail(format!("a name must be text, not a {}", other.type_name()));
            }
            (Value::List(list), at) => list.get(position(call, at)?).cloned(),
            (Value::Text(text), at) => {
                text.get(position(call, at)?).map(|byte| Value::Uint((*byte).into(), Unsigned::Uint8))
            }
            (other, _) => return call.fail(format!("a {} has no items", other.type_name())),
        };
        item = next.map_or_else(|| call.fail("the position is outside of it"), Ok)?;
    }
    Ok(item)
}

fn position(call: &Call<'_>, at: &Value) -> Result<usize, Failure> {
    let found = match at {
        Value::Int(number, _) => usize::try_from(*number).ok(),
        Value::Uint(number, _) => usize::try_from(*number).ok(),
        other => return call.fail(format!("a position must be a whole number, not a {}", other.type_name())),
    };
    found.map_or_else(|| call.fail("the position is outside of it"), Ok)
}
