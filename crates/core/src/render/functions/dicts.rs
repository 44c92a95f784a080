//! Dicts. They never change: `set`, `unset` and `merge` give a new one.

use std::collections::BTreeSet;

use gotmpl::Value;

use super::{
    Entry,
    call::{Call, Map, Outcome, list, map, string},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("dict", dict),
    ("get", |call| {
        call.takes(2, "a dict and a name")?;
        Ok(call.map(0)?.get(call.text(1)?.as_ref()).cloned().unwrap_or_else(|| string("")))
    }),
    ("hasKey", |call| {
        call.takes(2, "a dict and a name")?;
        Ok(Value::Bool(call.map(0)?.contains_key(call.text(1)?.as_ref())))
    }),
    ("set", |call| {
        call.takes(3, "a dict, a name and a value")?;
        let mut members = call.map(0)?.clone();
        members.insert(call.text(1)?.into(), call.value(2)?.clone());
        Ok(map(members))
    }),
    ("unset", |call| {
        call.takes(2, "a dict and a name")?;
        let mut members = call.map(0)?.clone();
        members.remove(call.text(1)?.as_ref());
        Ok(map(members))
    }),
    ("keys", |call| {
        let mut names = Vec::new();
        for position in 0..call.arguments.len() {
            names.extend(call.map(position)?.keys().map(|name| Value::String(name.clone())));
        }
        call.collected(names.into_iter())
    }),
    ("values", |call| {
        call.takes(1, "a dict")?;
        Ok(list(call.map(0)?.values().cloned().collect()))
    }),
    ("pluck", |call| {
        let name = call.text(0)?;
        let mut found = Vec::new();
        for position in 1..call.arguments.len() {
            found.extend(call.map(position)?.get(name.as_ref()).cloned());
        }
        Ok(list(found))
    }),
    ("pick", |call| chosen(call, true)),
    ("omit", |call| chosen(call, false)),
    ("merge", |call| merged(call, false)),
    ("mergeOverwrite", |call| merged(call, true)),
    ("dig", dig),
];

fn dict(call: &Call<'_>) -> Outcome {
    let mut members = Map::new();
    for position in (0..call.arguments.len()).step_by(2) {
        let value = call.arguments.get(position + 1).cloned().unwrap_or_else(|| string(""));
        members.insert(call.text(position)?.into(), value);
    }
    Ok(map(members))
}

fn chosen(call: &Call<'_>, keep: bool) -> Outcome {
    let mut names = BTreeSet::new();
    for position in 1..call.arguments.len() {
        names.insert(call.text(position)?);
    }
    let kept = call.map(0)?.iter().filter(|(name, _)| names.contains(name.as_ref()) == keep);
    Ok(map(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
}

fn merged(call: &Call<'_>, overwrite: bool) -> Outcome {
    let mut all = Map::new();
    for position in 0..call.arguments.len() {
        merge(&mut all, call.map(position)?, overwrite);
    }
    Ok(map(all))
}

/// Dicts inside dicts are merged too. They are at most as deep as a value may be.
fn merge(into: &mut Map, from: &Map, overwrite: bool) {
    for (name, value) in from {
        match (into.get_mut(name), value) {
            (Some(Value::Map(inner)), Value::Map(other)) => merge(std::sync::Arc::make_mut(inner), other, overwrite),
            (Some(_), _) if !overwrite => {}
            (Some(_) | None, _) => {
                into.insert(name.clone(), value.clone());
            }
        }
    }
}

/// `dig "a" "b" fallback dict`.
fn dig(call: &Call<'_>) -> Outcome {
    call.takes_at_least(3, "names, a fallback and a dict")?;
    let (names, rest) = call.arguments.split_at(call.arguments.len() - 2);
    let mut at = &rest[1];
    for position in 0..names.len() {
        let next = match at {
            Value::Map(members) => members.get(call.text(position)?.as_ref()),
            _ => return call.fail("one of the names leads to something that is no dict"),
        };
        match next {
            Some(next) => at = next,
            None => return Ok(rest[0].clone()),
        }
    }
    Ok(at.clone())
}
