//! Whether two values are equal in type and in all they hold, as `reflect.DeepEqual` of Go has it.

use super::call::{Call, Failure, MAX_DEPTH, MAX_RESULT};
use crate::render::template::value::Value;

/// Bytes that two values have in common exactly if they are equal. `None`: it is equal to nothing, not even to itself.
pub fn identity(call: &Call<'_>, value: &Value) -> Result<Option<Vec<u8>>, Failure> {
    let mut identity = Identity { bytes: Vec::new(), spent: 0, is_none: false };
    identity.add(call, value, MAX_DEPTH)?;
    Ok((!identity.is_none).then_some(identity.bytes))
}

/// Whether both are equal.
pub fn equal(call: &Call<'_>, one: &Value, other: &Value) -> Result<bool, Failure> {
    let (one, other) = (identity(call, one)?, identity(call, other)?);
    Ok(one.is_some() && one == other)
}

/// A dict can hold itself, and others share what they hold: the whole may be larger than its memory.
const MOST: usize = 8 * MAX_RESULT;

struct Identity {
    bytes: Vec<u8>,
    /// How many of them were counted: the count of an argument ends at 16 MiB, and dicts may share far more.
    spent: usize,
    is_none: bool,
}

impl Identity {
    fn add(&mut self, call: &Call<'_>, value: &Value, depth: usize) -> Result<(), Failure> {
        if depth == 0 {
            return call.fail("an argument is nested more than 64 levels deep");
        }
        self.part(value.type_name().as_bytes());
        match value {
            Value::Nil => {}
            Value::Bool(flag) => self.bytes.push(u8::from(*flag)),
            Value::Int(number, _) => self.part(&number.to_be_bytes()),
            Value::Uint(number, _) => self.part(&number.to_be_bytes()),
            Value::Float(number) => {
                self.is_none |= number.is_nan();
                // Zero has two forms.
                self.part(&(number + 0.0).to_be_bytes());
            }
            Value::Text(text) => self.part(text),
            Value::Object(object) => self.part(&object.text()),
            Value::List(items) => {
                self.bytes.push(u8::from(items.is_nil()));
                self.part(&items.len().to_be_bytes());
                for item in items.iter() {
                    self.add(call, item, depth - 1)?;
                }
            }
            Value::Map(map) => {
                let members = map.borrow();
                self.part(&members.len().to_be_bytes());
                for (name, member) in members.iter() {
                    self.part(name);
                    self.add(call, member, depth - 1)?;
                }
            }
        }
        match self.bytes.len() {
            length @ ..MOST => call.spend(length - std::mem::replace(&mut self.spent, length)),
            _ => call.fail("an argument is larger than 8 MiB"),
        }
    }

    /// With its length, so that no part runs into the next.
    fn part(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes.len().to_be_bytes());
        self.bytes.extend_from_slice(bytes);
    }
}
