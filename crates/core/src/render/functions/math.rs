//! Whole numbers. A result that 64 bits cannot hold is refused.

use gotmpl::Value;

use super::{
    Entry,
    call::{Call, Outcome, int},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("int", |call| Ok(Value::Int(int(call.value(0)?).unwrap_or(0)))),
    ("int64", |call| Ok(Value::Int(int(call.value(0)?).unwrap_or(0)))),
    ("atoi", |call| Ok(Value::Int(int(call.value(0)?).unwrap_or(0)))),
    ("add", |call| folded(call, i64::checked_add)),
    ("add1", |call| checked(call, call.int(0)?.checked_add(1))),
    ("sub", |call| two(call, i64::checked_sub)),
    ("mul", |call| folded(call, i64::checked_mul)),
    ("div", |call| two(call, i64::checked_div)),
    ("mod", |call| two(call, i64::checked_rem)),
    ("max", |call| folded(call, |first, second| Some(first.max(second)))),
    ("min", |call| folded(call, |first, second| Some(first.min(second)))),
];

fn two(call: &Call<'_>, compute: fn(i64, i64) -> Option<i64>) -> Outcome {
    call.takes(2, "two numbers")?;
    checked(call, compute(call.int(0)?, call.int(1)?))
}

fn folded(call: &Call<'_>, compute: fn(i64, i64) -> Option<i64>) -> Outcome {
    let mut result = Some(call.int(0)?);
    for position in 1..call.arguments.len() {
        let next = call.int(position)?;
        result = result.and_then(|so_far| compute(so_far, next));
    }
    checked(call, result)
}

fn checked(call: &Call<'_>, result: Option<i64>) -> Outcome {
    result.map_or_else(|| call.fail("the result is no whole number of 64 bits"), |number| Ok(Value::Int(number)))
}
