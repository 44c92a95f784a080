//! Choices between values.

use super::{
    Entry, Signature, Type,
    signature::{takes, variadic},
};
use crate::render::template::value::Value;

const ANY: Signature = variadic(&[], Type::Any);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("default", variadic(&[Type::Any], Type::Any), |call| {
        let given = call.arguments.get(1).filter(|value| value.is_true());
        Ok(given.unwrap_or(call.value(0)?).clone())
    }),
    ("empty", takes(&[Type::Any]), |call| Ok((!call.value(0)?.is_true()).into())),
    ("coalesce", ANY, |call| Ok(call.arguments.iter().find(|value| value.is_true()).cloned().unwrap_or_default())),
    ("all", ANY, |call| Ok(call.arguments.iter().all(Value::is_true).into())),
    ("any", ANY, |call| Ok(call.arguments.iter().any(Value::is_true).into())),
    ("ternary", takes(&[Type::Any, Type::Any, Type::Bool]), |call| {
        Ok(call.value(usize::from(!call.flag(2)?))?.clone())
    }),
    // Not of Sprig: Helm has it.
    ("required", takes(&[Type::Any, Type::Any]), |call| {
        let value = call.value(1)?;
        if value.is_true() { Ok(value.clone()) } else { call.fail("a value that the template requires is empty") }
    }),
];
