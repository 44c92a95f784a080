//! Lists, and choices between values.

use std::collections::BTreeSet;

use gotmpl::{Value, is_true};

use super::{
    Entry,
    call::{Call, Outcome, list, string},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("default", |call| {
        call.takes_at_least(1, "a fallback and a value")?;
        let value = call.arguments.get(1).filter(|value| is_true(value));
        Ok(value.or(call.arguments.first()).cloned().unwrap_or(Value::Nil))
    }),
    ("empty", |call| {
        call.takes(1, "one value")?;
        Ok(Value::Bool(!is_true(call.value(0)?)))
    }),
    ("coalesce", |call| Ok(call.arguments.iter().find(|value| is_true(value)).cloned().unwrap_or(Value::Nil))),
    ("all", |call| Ok(Value::Bool(call.arguments.iter().all(is_true)))),
    ("any", |call| Ok(Value::Bool(call.arguments.iter().any(is_true)))),
    ("ternary", ternary),
    ("required", |call| {
        call.takes(2, "a message and a value")?;
        let value = call.value(1)?;
        if is_true(value) { Ok(value.clone()) } else { call.fail("a value that the template requires is empty") }
    }),
    ("list", |call| Ok(list(call.arguments.to_vec()))),
    ("tuple", |call| Ok(list(call.arguments.to_vec()))),
    ("first", |call| Ok(items(call)?.first().cloned().unwrap_or(Value::Nil))),
    ("last", |call| Ok(items(call)?.last().cloned().unwrap_or(Value::Nil))),
    ("rest", |call| Ok(list(items(call)?.get(1..).unwrap_or_default().to_vec()))),
    ("initial", |call| Ok(list(items(call)?.split_last().map(|(_, initial)| initial.to_vec()).unwrap_or_default()))),
    ("reverse", |call| Ok(list(items(call)?.iter().rev().cloned().collect()))),
    ("compact", |call| Ok(list(items(call)?.iter().filter(|item| is_true(item)).cloned().collect()))),
    ("uniq", |call| {
        let mut seen = BTreeSet::new();
        Ok(list(items(call)?.iter().filter(|item| seen.insert(identity(item))).cloned().collect()))
    }),
    ("sortAlpha", |call| {
        call.takes(1, "one list")?;
        let mut texts: Vec<String> = call.list(0)?.iter().map(Value::to_string).collect();
        texts.sort();
        call.collected(texts.into_iter().map(string))
    }),
    ("has", |call| {
        call.takes(2, "a value and a list")?;
        let wanted = identity(call.value(0)?);
        Ok(Value::Bool(call.list(1)?.iter().any(|item| identity(item) == wanted)))
    }),
    ("without", |call| {
        let without: BTreeSet<String> = call.arguments.get(1..).unwrap_or_default().iter().map(identity).collect();
        Ok(list(call.list(0)?.iter().filter(|item| !without.contains(&identity(item))).cloned().collect()))
    }),
    ("append", |call| added(call, false)),
    ("push", |call| added(call, false)),
    ("prepend", |call| added(call, true)),
    ("concat", |call| {
        let lists: Vec<&[Value]> =
            (0..call.arguments.len()).map(|position| call.list(position)).collect::<Result<_, _>>()?;
        call.collected(lists.into_iter().flatten().cloned())
    }),
    ("until", |call| {
        call.takes(1, "a count")?;
        let count = i64::try_from(call.size(0)?).unwrap_or(0);
        call.collected((0..count).map(Value::Int))
    }),
];

fn items<'a>(call: &Call<'a>) -> Result<&'a [Value], super::call::Failure> {
    call.takes(1, "one list")?;
    call.list(0)
}

/// Equal values have equal texts, and a text differs from the number it reads like.
fn identity(value: &Value) -> String {
    format!("{}:{value}", value.type_name())
}

fn ternary(call: &Call<'_>) -> Outcome {
    call.takes(3, "what is for true, what is for false, and a bool")?;
    Ok(if is_true(call.value(2)?) { call.value(0)? } else { call.value(1)? }.clone())
}

fn added(call: &Call<'_>, before: bool) -> Outcome {
    call.takes(2, "a list and a value")?;
    let mut items = call.list(0)?.to_vec();
    items.insert(if before { 0 } else { items.len() }, call.value(1)?.clone());
    Ok(list(items))
}
