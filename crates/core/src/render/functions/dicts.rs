//! Dicts. `set`, `unset` and `merge` change their argument.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Entry, Signature, Type,
    call::{Call, Failure, MAX_DEPTH, Outcome, VALUE},
    cast::written,
    signature::{takes, variadic},
};
use crate::render::template::value::{List, Map, Of, Text, Value};

const DICT_AND_NAME: Signature = takes(&[Type::Map, Type::Text]);
const DICT_AND_NAMES: Signature = variadic(&[Type::Map], Type::Text);
const DICTS: Signature = variadic(&[Type::Map], Type::Map);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("dict", variadic(&[], Type::Any), dict),
    ("get", DICT_AND_NAME, |call| Ok(call.map(0)?.get(call.bytes(1)?).unwrap_or_else(|| "".into()))),
    ("hasKey", DICT_AND_NAME, |call| Ok(call.map(0)?.has(call.bytes(1)?).into())),
    ("set", takes(&[Type::Map, Type::Text, Type::Any]), |call| {
        let map = call.map_to_change(0)?;
        call.insert(&map, call.bytes(1)?.clone(), call.value(2)?.clone())?;
        Ok(map.into())
    }),
    ("unset", DICT_AND_NAME, |call| {
        let map = call.map(0)?;
        map.remove(call.bytes(1)?);
        Ok(map.into())
    }),
    ("keys", variadic(&[], Type::Map), |call| {
        let mut names = Vec::new();
        for position in 0..call.arguments.len() {
            names.extend(call.map(position)?.borrow().keys().cloned());
        }
        call.collected_of(Of::Text, names.into_iter().map(Value::Text))
    }),
    ("values", takes(&[Type::Map]), |call| Ok(List::of_any(call.map(0)?.borrow().values().cloned().collect()).into())),
    ("pluck", variadic(&[Type::Text], Type::Map), |call| {
        let name = call.bytes(0)?;
        let mut found = Vec::new();
        for position in 1..call.arguments.len() {
            found.extend(call.map(position)?.get(name));
        }
        Ok(List::of_any(found).into())
    }),
    ("pick", DICT_AND_NAMES, |call| chosen(call, true)),
    ("omit", DICT_AND_NAMES, |call| chosen(call, false)),
    ("merge", DICTS, |call| merged(call, false)),
    ("mustMerge", DICTS, |call| merged(call, false)),
    ("mergeOverwrite", DICTS, |call| merged(call, true)),
    ("mustMergeOverwrite", DICTS, |call| merged(call, true)),
    ("dig", variadic(&[], Type::Any), dig),
];

fn dict(call: &Call<'_>) -> Outcome {
    let mut members = BTreeMap::new();
    for pair in call.arguments.chunks(2) {
        let value = pair.get(1).cloned().unwrap_or_else(|| "".into());
        members.insert(written(&pair[0])?, value);
    }
    Ok(Map::of_any(members).into())
}

fn chosen(call: &Call<'_>, keep: bool) -> Outcome {
    let mut names: BTreeSet<&[u8]> = BTreeSet::new();
    for position in 1..call.arguments.len() {
        names.insert(call.bytes(position)?);
    }
    let map = call.map(0)?;
    let members = map.borrow();
    let kept = members.iter().filter(|(name, _)| names.contains(&name[..]) == keep);
    Ok(Map::of_any(kept.map(|(name, value)| (name.clone(), value.clone())).collect()).into())
}

fn merged(call: &Call<'_>, overwrite: bool) -> Outcome {
    // A nil dict becomes a new one.
    let into = call.map(0)?;
    for position in 1..call.arguments.len() {
        merge(call, &into, &call.map(position)?, overwrite, MAX_DEPTH)?;
    }
    Ok(into.into())
}

/// Adds members that are missing or empty; with `overwrite` all but empty ones. Merges dicts inside dicts, too.
fn merge(call: &Call<'_>, into: &Map, from: &Map, overwrite: bool, depth: usize) -> Result<(), Failure> {
    if depth == 0 {
        return call.fail("an argument is nested more than 64 levels deep");
    }
    for (name, member) in from.snapshot() {
        call.spend(name.len() + 2 * VALUE)?;
        let there = into.get(&name);
        if let (Some(Value::Map(inner)), Value::Map(more)) = (&there, &member) {
            if inner.of() != more.of() && !more.is_empty() {
                return call.fail("one name has dicts of different types");
            }
            merge(call, inner, more, overwrite, depth - 1)?;
            if !inner.is_empty() {
                continue;
            }
        }
        let is_empty = there.as_ref().is_none_or(|there| !there.is_true());
        let fits = match &member {
            Value::Nil => overwrite,
            Value::List(items) if items.is_nil() => is_empty || overwrite,
            _ => is_empty || overwrite,
        };
        if fits {
            set(call, into, name, member)?;
        }
    }
    Ok(())
}

fn set(call: &Call<'_>, into: &Map, name: Text, member: Value) -> Result<(), Failure> {
    match (into.of(), &member) {
        (Of::Any, _) | (Of::Text, Value::Text(_)) => call.insert(into, name, member),
        _ => call.fail("a dict cannot hold a value of this type"),
    }
}

/// `dig "a" "b" fallback dict`.
fn dig(call: &Call<'_>) -> Outcome {
    let [names @ .., fallback, Value::Map(map)] = call.arguments else {
        return call.fail("it takes names, a fallback and a dict");
    };
    if names.is_empty() || map.of() != Of::Any {
        return call.fail("it takes names, a fallback and a dict");
    }
    let mut at = Value::Map(map.clone());
    for name in names {
        if !matches!(name, Value::Text(_)) {
            return call.fail("a name is not text");
        }
    }
    for name in names {
        let (Value::Map(members), Value::Text(name)) = (&at, name) else {
            return call.fail("one of the names leads to a value that is not a dict");
        };
        if members.of() != Of::Any {
            return call.fail("one of the names leads to a value that is not a dict");
        }
        match members.get(name) {
            Some(next) => at = next,
            None => return Ok(fallback.clone()),
        }
    }
    Ok(at)
}
