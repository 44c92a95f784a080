//! One call of a function: its arguments, and what it may cost.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use gotmpl::Value;

use super::binary;
use crate::render::template::Seed;

/// Members of a map of the engine.
pub type Map = BTreeMap<Arc<str>, Value>;

/// What one function may return, in bytes.
pub const MAX_RESULT: usize = 1024 * 1024;
/// What all functions of one execution may take and return, in bytes.
const MAX_TOTAL: usize = 32 * 1024 * 1024;
/// Functions that are slow on purpose may be called this often in one execution.
const MAX_SLOW: usize = 8;
/// Lists and maps may stand inside each other this deep.
const MAX_DEPTH: usize = 64;
/// What a call costs beside its arguments.
const CALL: usize = 64;

/// Why a function failed, in our words: never with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

/// What a function gives.
pub type Outcome = Result<Value, Failure>;

/// A failure with this text.
pub fn fail<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(text.into()))
}

/// What all calls of one execution share.
#[derive(Debug)]
pub struct Run {
    /// Where salts come from.
    pub seed: Seed,
    spent: AtomicUsize,
    slow: AtomicUsize,
}

impl Run {
    /// A run that has spent nothing.
    pub fn new(seed: Seed) -> Self {
        Self { seed, spent: AtomicUsize::new(0), slow: AtomicUsize::new(0) }
    }

    fn spend(&self, bytes: usize) -> Result<(), Failure> {
        let before = self.spent.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_TOTAL {
            return fail("the template works on too much data: its functions take and return more than 32 MiB in all");
        }
        Ok(())
    }
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
        self.run.spend(self.arguments.iter().map(width).fold(CALL, usize::saturating_add))?;
        let result = function(&self)?;
        let mut left = MAX_RESULT;
        if !measure(&result, &mut left, MAX_DEPTH) {
            return self.fail("its result is larger than 1 MiB, or nested more than 64 levels deep");
        }
        self.run.spend(MAX_RESULT - left)?;
        Ok(result)
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

    /// Counts a call that is slow on purpose.
    pub fn slow(&self) -> Result<(), Failure> {
        if self.run.slow.fetch_add(1, Ordering::Relaxed) >= MAX_SLOW {
            return self.fail(format!(
                "one template may call bcrypt, htpasswd and the functions of PKCS#12 {MAX_SLOW} times in all"
            ));
        }
        Ok(())
    }

    /// Accounts for compiling an expression, which takes longer than its length tells.
    pub fn compile(&self) -> Result<(), Failure> {
        self.run.spend(64 * 1024)
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

/// What looking at an argument may cost. Members of maps are found without looking at the others.
fn width(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len() * 8,
        Value::Nil
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Float(_)
        | Value::Map(_)
        | Value::Function(_) => 8,
    }
}

/// Takes the size of a value from `left`, and gives up when nothing is left or it is too deep: lists share their
/// items, so the whole may be far larger than what is in memory.
fn measure(value: &Value, left: &mut usize, depth: usize) -> bool {
    match value {
        Value::String(text) => take(left, text.len()),
        Value::List(items) => {
            depth > 0 && take(left, 8) && items.iter().all(|item| take(left, 8) && measure(item, left, depth - 1))
        }
        Value::Map(members) => {
            let mut all = members.iter();
            depth > 0
                && take(left, 8)
                && all.all(|(name, member)| take(left, name.len() + 8) && measure(member, left, depth - 1))
        }
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Function(_) => {
            take(left, 8)
        }
    }
}

fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    rest.is_some()
}
