//! Lists. None of them changes: each function gives a new one.

use std::collections::BTreeSet;

use super::{
    Entry, Signature, Type,
    call::{Call, Failure, Outcome},
    cast::{items, whole},
    equality::identity,
    signature::{takes, variadic},
};
use crate::render::template::value::{List, Of, Value};

const ANY: Signature = variadic(&[], Type::Any);
const ONE: Signature = takes(&[Type::Any]);
const TWO: Signature = takes(&[Type::Any, Type::Any]);
const SLICE: Signature = variadic(&[Type::Any], Type::Any);
const CHUNK: Signature = takes(&[Type::Int, Type::Any]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("list", ANY, |call| Ok(List::of_any(call.arguments.to_vec()).into())),
    ("tuple", ANY, |call| Ok(List::of_any(call.arguments.to_vec()).into())),
    ("first", ONE, |call| Ok(one(call)?.first().cloned().unwrap_or_default())),
    ("mustFirst", ONE, |call| Ok(one(call)?.first().cloned().unwrap_or_default())),
    ("last", ONE, |call| Ok(one(call)?.last().cloned().unwrap_or_default())),
    ("mustLast", ONE, |call| Ok(one(call)?.last().cloned().unwrap_or_default())),
    ("rest", ONE, rest),
    ("mustRest", ONE, rest),
    ("initial", ONE, initial),
    ("mustInitial", ONE, initial),
    ("reverse", ONE, |call| Ok(List::of_any(one(call)?.iter().rev().cloned().collect()).into())),
    ("mustReverse", ONE, |call| Ok(List::of_any(one(call)?.iter().rev().cloned().collect()).into())),
    ("compact", ONE, compact),
    ("mustCompact", ONE, compact),
    ("uniq", ONE, uniq),
    ("mustUniq", ONE, uniq),
    ("has", TWO, has),
    ("mustHas", TWO, has),
    ("without", SLICE, without),
    ("mustWithout", SLICE, without),
    ("append", TWO, |call| added(call, false)),
    ("mustAppend", TWO, |call| added(call, false)),
    ("push", TWO, |call| added(call, false)),
    ("mustPush", TWO, |call| added(call, false)),
    ("prepend", TWO, |call| added(call, true)),
    ("mustPrepend", TWO, |call| added(call, true)),
    ("concat", ANY, concat),
    ("slice", SLICE, slice),
    ("mustSlice", SLICE, slice),
    ("chunk", CHUNK, chunk),
    ("mustChunk", CHUNK, chunk),
];

/// The items of an argument that must be a list.
fn list(call: &Call<'_>, position: usize) -> Result<List, Failure> {
    items(call.value(position)?).map_or_else(|| call.fail(format!("argument {} must be a list", position + 1)), Ok)
}

fn one(call: &Call<'_>) -> Result<List, Failure> {
    list(call, 0)
}

fn rest(call: &Call<'_>) -> Outcome {
    let items = one(call)?;
    Ok(items.get(1..).map_or_else(|| List::nil(Of::Any), |rest| List::of_any(rest.to_vec())).into())
}

fn initial(call: &Call<'_>) -> Outcome {
    let items = one(call)?;
    Ok(items.split_last().map_or_else(|| List::nil(Of::Any), |(_, initial)| List::of_any(initial.to_vec())).into())
}

fn compact(call: &Call<'_>) -> Outcome {
    Ok(List::of_any(one(call)?.iter().filter(|item| item.is_true()).cloned().collect()).into())
}

fn uniq(call: &Call<'_>) -> Outcome {
    let (mut seen, mut kept) = (BTreeSet::new(), Vec::new());
    for item in one(call)?.iter() {
        if identity(call, item)?.is_none_or(|identity| seen.insert(identity)) {
            kept.push(item.clone());
        }
    }
    Ok(List::of_any(kept).into())
}

fn has(call: &Call<'_>) -> Outcome {
    if matches!(call.value(1)?, Value::Nil) {
        return Ok(false.into());
    }
    let Some(wanted) = identity(call, call.value(0)?)? else {
        return list(call, 1).map(|_| false.into());
    };
    for item in list(call, 1)?.iter() {
        if identity(call, item)?.as_ref() == Some(&wanted) {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn without(call: &Call<'_>) -> Outcome {
    let items = one(call)?;
    let mut out = BTreeSet::new();
    for value in &call.arguments[1..] {
        out.extend(identity(call, value)?);
    }
    let mut kept = Vec::new();
    for item in items.iter() {
        if identity(call, item)?.is_none_or(|identity| !out.contains(&identity)) {
            kept.push(item.clone());
        }
    }
    Ok(List::of_any(kept).into())
}

fn added(call: &Call<'_>, before: bool) -> Outcome {
    let mut items = one(call)?.to_vec();
    items.insert(if before { 0 } else { items.len() }, call.value(1)?.clone());
    Ok(List::of_any(items).into())
}

fn concat(call: &Call<'_>) -> Outcome {
    let lists: Vec<List> = (0..call.arguments.len()).map(|position| list(call, position)).collect::<Result<_, _>>()?;
    if lists.iter().all(|list| list.is_empty()) {
        return Ok(List::nil(Of::Any).into());
    }
    call.collected(lists.iter().flat_map(|list| list.iter()).cloned())
}

fn slice(call: &Call<'_>) -> Outcome {
    let items = one(call)?;
    if items.is_empty() {
        return Ok(Value::Nil);
    }
    let index = |position: usize| call.arguments.get(position).map(whole);
    let end = index(2).unwrap_or_else(|| i64::try_from(items.len()).unwrap_or(i64::MAX));
    let bounds = usize::try_from(index(1).unwrap_or(0)).ok().zip(usize::try_from(end).ok());
    match bounds.and_then(|(start, end)| items.get(start..end)) {
        Some(part) => Ok(List::new(items.of(), part.to_vec()).into()),
        None => call.fail("the list is shorter than the positions say"),
    }
}

fn chunk(call: &Call<'_>) -> Outcome {
    let (size, items) = (call.int(0)?, list(call, 1)?);
    let chunks = |size: usize| items.chunks(size).map(|chunk| List::of_any(chunk.to_vec()).into());
    match usize::try_from(size) {
        Ok(size) if size > 0 => call.collected_of(Of::Lists, chunks(size)),
        // What the arithmetic of Sprig makes of a size below 0.
        Err(_) if items.len() == 1 && size < -1 => call.collected_of(Of::Lists, chunks(1)),
        Err(_) if items.len() > 1 && u64::try_from(items.len()).is_ok_and(|count| count - 1 <= size.unsigned_abs()) => {
            call.collected_of(Of::Lists, std::iter::empty())
        }
        _ => call.fail("a chunk has at least one item"),
    }
}
