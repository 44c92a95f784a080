//! What a value is.

use std::collections::BTreeMap;

use super::{
    Entry, Signature, Type,
    call::{Call, MAX_DEPTH, MAX_STRUCTURE, Outcome, VALUE},
    equality::equal,
    semver,
    signature::takes,
};
use crate::render::template::value::{List, Map, Text, Value};

const ONE: Signature = takes(&[Type::Any]);
const NAME_AND_VALUE: Signature = takes(&[Type::Text, Type::Any]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("typeOf", ONE, |call| Ok(call.value(0)?.type_name().into())),
    ("typeIs", NAME_AND_VALUE, |call| Ok((call.bytes(0)?[..] == *call.value(1)?.type_name().as_bytes()).into())),
    ("typeIsLike", NAME_AND_VALUE, |call| {
        let (name, of) = (call.bytes(0)?, call.value(1)?.type_name());
        Ok((name[..] == *of.as_bytes() || of.strip_prefix('*').is_some_and(|of| name[..] == *of.as_bytes())).into())
    }),
    ("kindOf", ONE, |call| Ok(call.value(0)?.kind_name().into())),
    ("kindIs", NAME_AND_VALUE, |call| Ok((call.bytes(0)?[..] == *call.value(1)?.kind_name().as_bytes()).into())),
    ("deepEqual", takes(&[Type::Any, Type::Any]), |call| Ok(equal(call, call.value(0)?, call.value(1)?)?.into())),
    ("deepCopy", ONE, copy),
    ("mustDeepCopy", ONE, copy),
];

fn copy(call: &Call<'_>) -> Outcome {
    match call.value(0)? {
        Value::Nil => call.fail("its argument does not exist"),
        // Sprig copies nothing of a version.
        Value::Object(object) if object.type_name() == semver::TYPE => Ok(semver::blank()),
        value => copied(call, value, &mut { MAX_STRUCTURE }, MAX_DEPTH),
    }
}

/// The same with dicts of its own. `room` is how much more of it there may be, in bytes.
fn copied(call: &Call<'_>, value: &Value, room: &mut usize, depth: usize) -> Outcome {
    let taken = match value {
        Value::List(list) => list.len() * VALUE,
        Value::Map(map) => map.len() * 4 * VALUE,
        _ => 0,
    };
    let left = room.checked_sub(taken).filter(|_| depth > 0);
    let Some(left) = left else {
        return call.fail("its argument is larger than 2 MiB, or nested more than 64 levels deep");
    };
    *room = left;
    Ok(match value {
        Value::List(list) => {
            let items = list.iter().map(|item| copied(call, item, room, depth - 1)).collect::<Result<Vec<_>, _>>()?;
            List::new(list.of(), items).into()
        }
        Value::Map(map) => {
            let members = map.snapshot().into_iter();
            let copies = members.map(|(name, member)| copied(call, &member, room, depth - 1).map(|copy| (name, copy)));
            Map::with(map.of(), copies.collect::<Result<BTreeMap<Text, Value>, _>>()?).into()
        }
        other => other.clone(),
    })
}
