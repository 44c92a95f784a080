//! One call of a function: its arguments, and what it may cost.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, sync::Arc};

use gotmpl::Value;

use super::binary;
use crate::render::{
    template::Seed,
    work::{Ended, Resource, Work},
};

/// Members of a map of the engine.
pub type Map = BTreeMap<Arc<str>, Value>;

/// The text that one function may return, in bytes.
pub const MAX_RESULT: usize = 1024 * 1024;
/// The list or dict that one function may return, in bytes of memory.
pub const MAX_STRUCTURE: usize = 2 * 1024 * 1024;
/// More items than this no list or dict can have.
const MAX_ITEMS: usize = MAX_STRUCTURE / VALUE;
/// What an item takes in memory beside its content.
pub const VALUE: usize = 24;
/// What a text, a list or a dict takes beside its content.
const CONTENT: usize = 16;
/// Lists and maps may stand inside each other this deep.
const MAX_DEPTH: usize = 64;
/// What a call costs beside its arguments.
const CALL: usize = 64;
/// Functions that pass on what they are given and do not look inside. Lists cost what their items do, also if they are
/// lists themselves; members of dicts are found without looking at the others.
const SHALLOW: [&str; 30] = [
    "all", "any", "append", "coalesce", "compact", "concat", "default", "dict", "dig", "empty", "first", "get",
    "hasKey", "initial", "last", "list", "pluck", "prepend", "push", "required", "rest", "reverse", "set", "slice",
    "ternary", "tuple", "unset", "until", "fail", "values",
];

/// Why a function failed, in our words: never with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

/// What a function gives.
pub type Outcome = Result<Value, Failure>;

/// A failure with this text.
pub fn fail<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(text.into()))
}

impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        Self(ended.text().to_owned())
    }
}

/// What all calls of one execution share.
#[derive(Debug)]
pub struct Run {
    /// Where salts come from.
    pub seed: Seed,
    /// What it takes from: all templates of a policy have the same.
    pub work: Arc<Work>,
}

/// A call of a function.
pub struct Call<'a> {
    /// The execution it is part of.
    pub run: &'a Run,
    /// The name it is called by.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: &'a [Value],
}

impl<'a> Call<'a> {
    /// Runs `function` within the bounds.
    pub fn run(self, function: fn(&Call<'_>) -> Outcome) -> Outcome {
        let looks = if SHALLOW.contains(&self.name) { width } else { whole };
        self.spend(self.arguments.iter().map(looks).fold(CALL, usize::saturating_add))?;
        let result = function(&self)?;
        let limit = match result {
            Value::List(_) | Value::Map(_) => MAX_STRUCTURE,
            _ => MAX_RESULT + CONTENT,
        };
        let mut left = limit;
        if !measure(&result, &mut left, MAX_DEPTH) {
            return self.fail(
                "its result is larger than 1 MiB (2 MiB for a list or dict), or nested more than 64 levels deep",
            );
        }
        self.spend(limit - left)?;
        self.run.work.spend(Resource::Made, limit - left)?;
        Ok(result)
    }

    /// Counts bytes that are looked at.
    pub fn spend(&self, bytes: usize) -> Result<(), Failure> {
        Ok(self.run.work.spend(Resource::Bytes, bytes)?)
    }

    /// Asked between the parts of what may take long.
    pub fn go_on(&self) -> Result<(), Failure> {
        Ok(self.run.work.go_on()?)
    }

    /// A list of what `items` gives. It ends before it takes more memory than a result may.
    pub fn collected(&self, items: impl Iterator<Item = Value>) -> Outcome {
        let mut room = MAX_ITEMS;
        let mut collected = Vec::new();
        for item in items {
            room = self.one_less(room)?;
            collected.push(item);
        }
        Ok(list(collected))
    }

    /// A dict of what `members` gives, as bounded as [`Call::collected`].
    pub fn members(&self, members: impl Iterator<Item = (Arc<str>, Value)>) -> Outcome {
        let mut room = MAX_ITEMS / 4;
        let mut collected = Map::new();
        for (name, member) in members {
            room = self.one_less(room)?;
            collected.insert(name, member);
        }
        Ok(map(collected))
    }

    fn one_less(&self, room: usize) -> Result<usize, Failure> {
        room.checked_sub(1).map_or_else(|| self.fail("its result is larger than 2 MiB"), Ok)
    }

    /// A failure of this function.
    pub fn fail<T>(&self, why: impl Display) -> Result<T, Failure> {
        fail(format!("{}: {why}", self.name))
    }

    /// Exactly `count` arguments; `usage` says which.
    pub fn takes(&self, count: usize, usage: &str) -> Result<(), Failure> {
        if self.arguments.len() == count { Ok(()) } else { self.fail(format!("it takes {usage}")) }
    }

    /// At least `count` arguments.
    pub fn takes_at_least(&self, count: usize, usage: &str) -> Result<(), Failure> {
        if self.arguments.len() >= count { Ok(()) } else { self.fail(format!("it takes {usage}")) }
    }

    /// An argument.
    pub fn value(&self, position: usize) -> Result<&'a Value, Failure> {
        self.arguments.get(position).map_or_else(|| self.fail("an argument is missing"), Ok)
    }

    /// An argument as text of the engine.
    pub fn text(&self, position: usize) -> Result<Cow<'a, str>, Failure> {
        let value = self.value(position)?;
        match value {
            Value::String(text) => Ok(Cow::Borrowed(text.as_ref())),
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) => Ok(Cow::Owned(value.to_string())),
            Value::Nil => self.fail(format!("argument {} is not there", position + 1)),
            Value::List(_) | Value::Map(_) | Value::Function(_) => {
                self.fail(format!("argument {} must be text, not {}", position + 1, kind(value)))
            }
        }
    }

    /// An argument as the bytes it stands for.
    pub fn bytes(&self, position: usize) -> Result<Vec<u8>, Failure> {
        Ok(binary::lower(&self.text(position)?))
    }

    /// An argument as a number.
    pub fn int(&self, position: usize) -> Result<i64, Failure> {
        let value = self.value(position)?;
        int(value).map_or_else(|| self.fail(format!("argument {} must be a whole number", position + 1)), Ok)
    }

    /// An argument as a size.
    pub fn size(&self, position: usize) -> Result<usize, Failure> {
        let number = self.int(position)?;
        let wrong = || self.fail(format!("argument {} must be between 0 and {MAX_RESULT}", position + 1));
        usize::try_from(number).ok().filter(|size| *size <= MAX_RESULT).map_or_else(wrong, Ok)
    }

    /// An argument as a list.
    pub fn list(&self, position: usize) -> Result<&'a [Value], Failure> {
        match self.value(position)? {
            Value::List(items) => Ok(items),
            other => self.fail(format!("argument {} must be a list, not {}", position + 1, kind(other))),
        }
    }

    /// An argument as a map.
    pub fn map(&self, position: usize) -> Result<&'a Map, Failure> {
        match self.value(position)? {
            Value::Map(members) => Ok(members),
            other => self.fail(format!("argument {} must be a dict, not {}", position + 1, kind(other))),
        }
    }

    /// Counts what is slow on purpose, in units of about a microsecond.
    pub fn slow(&self, units: usize) -> Result<(), Failure> {
        Ok(self.run.work.spend(Resource::Slow, units)?)
    }

    /// Accounts for compiling an expression, which takes longer than its length tells.
    pub fn compile(&self) -> Result<(), Failure> {
        self.spend(64 * 1024)
    }

    /// Bytes that are always the same for the same arguments of this function here, and cannot be guessed.
    pub fn salt<const LENGTH: usize>(&self, purpose: &str) -> [u8; LENGTH] {
        let mut input = Vec::new();
        for argument in self.arguments {
            let bytes = binary::lower(&argument.to_string());
            input.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            input.extend_from_slice(&bytes);
        }
        self.run.seed.bytes(&[self.name, purpose], input)
    }
}

/// A text as a value of the engine.
pub fn string(text: impl Into<String>) -> Value {
    Value::String(Arc::from(text.into()))
}

/// A list as a value of the engine.
pub fn list(items: Vec<Value>) -> Value {
    Value::List(Arc::from(items))
}

/// A map as a value of the engine.
pub fn map(members: Map) -> Value {
    Value::Map(Arc::new(members))
}

/// What a kind of value is called by those who write templates.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Bool(_) => "a bool",
        Value::Int(_) | Value::Uint(_) => "a whole number",
        Value::Float(_) => "a float",
        Value::String(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a dict",
        Value::Function(_) => "a function",
    }
}

/// A value as a whole number, if it is one or is written like one.
pub fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        // Cut off like Go does; what no i64 can hold is no whole number.
        Value::Float(number) => format!("{:.0}", number.trunc()).parse().ok(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Nil | Value::List(_) | Value::Map(_) | Value::Function(_) => None,
    }
}

/// What passing on an argument may cost.
fn width(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len() * VALUE,
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::Map(_)
        | Value::Function(_) => 8,
    }
}

/// What looking at all of an argument may cost. The values of the policy may be larger than a result.
fn whole(value: &Value) -> usize {
    let limit = 16 * MAX_RESULT;
    let mut left = limit;
    measure(value, &mut left, MAX_DEPTH + 1);
    limit - left
}

/// Takes the size of a value from `left`, and gives up when nothing is left or it is too deep: lists share their
/// items, so the whole may be far larger than what is in memory.
fn measure(value: &Value, left: &mut usize, depth: usize) -> bool {
    match value {
        Value::String(text) => take(left, CONTENT + text.len()),
        Value::List(items) => {
            depth > 0
                && take(left, CONTENT)
                && items.iter().all(|item| take(left, VALUE) && measure(item, left, depth - 1))
        }
        Value::Map(members) => {
            let mut all = members.iter();
            let name = |name: &Arc<str>| name.len() + CONTENT + 2 * VALUE;
            depth > 0
                && take(left, CONTENT)
                && all.all(|(of, member)| take(left, name(of)) && measure(member, left, depth - 1))
        }
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Function(_) => true,
    }
}

fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    rest.is_some()
}
