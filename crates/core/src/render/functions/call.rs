//! One call of a function: its arguments and its bounds.

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, fmt::Display, sync::Arc};

use super::signature::{Signature, Type};
use crate::render::{
    template::{
        Seed, format,
        value::{List, Map, Of, Text, Value},
    },
    work::{Ended, Resource, Work},
};

/// The longest text that one function may return, in bytes.
pub const MAX_RESULT: usize = 1024 * 1024;
/// The largest list or dict that one function may return, in bytes of memory.
pub const MAX_STRUCTURE: usize = 2 * 1024 * 1024;
/// The most items that a list or dict can have.
pub const MAX_ITEMS: usize = MAX_STRUCTURE / VALUE;
/// What an item takes in memory beside its content.
pub const VALUE: usize = 24;
/// What a text, a list or a dict takes beside its content.
const CONTENT: usize = 16;
/// The deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 64;
/// What a call costs beside its arguments.
const CALL: usize = 64;
/// Functions that pass their arguments on and do not look inside. Lists cost what their items do, also if they are
/// lists themselves; finding a member of a dict costs nothing for the others.
const SHALLOW: [&str; 46] = [
    "all",
    "any",
    "append",
    "chunk",
    "coalesce",
    "compact",
    "concat",
    "default",
    "dict",
    "dig",
    "empty",
    "fail",
    "first",
    "get",
    "hasKey",
    "index",
    "initial",
    "kindIs",
    "kindOf",
    "last",
    "len",
    "list",
    "mustAppend",
    "mustChunk",
    "mustCompact",
    "mustFirst",
    "mustInitial",
    "mustLast",
    "mustPrepend",
    "mustPush",
    "mustRest",
    "mustReverse",
    "mustSlice",
    "pluck",
    "prepend",
    "push",
    "required",
    "rest",
    "reverse",
    "set",
    "slice",
    "ternary",
    "tuple",
    "unset",
    "until",
    "values",
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

/// A function of templates.
#[derive(Clone, Copy)]
pub struct Function {
    /// Its name in templates.
    pub name: &'static str,
    /// Its parameters.
    pub signature: Signature,
    /// What it does.
    pub body: fn(&Call<'_>) -> Outcome,
}

/// The state that all calls of one execution share.
#[derive(Debug)]
pub struct Run {
    /// Where salts come from.
    pub seed: Seed,
    /// The budget that it uses; all templates of a policy share one.
    pub work: Arc<Work>,
    /// Dicts that were changed after they were made: only through them a value can hold itself.
    changed: RefCell<Vec<Map>>,
}

impl Run {
    pub fn new(seed: Seed, work: &Arc<Work>) -> Self {
        Self { seed, work: Arc::clone(work), changed: RefCell::default() }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.changed.take().iter().for_each(Map::clear);
    }
}

/// A call of a function. Its arguments fit its [`Signature`], but `nil` may stand for a list or a dict.
pub struct Call<'a> {
    /// The execution that it is part of.
    pub run: &'a Run,
    /// The name in the template.
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
        if self.arguments.iter().any(|argument| is_same(argument, &result)) {
            return Ok(result);
        }
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

    /// Counts bytes that the function reads.
    pub fn spend(&self, bytes: usize) -> Result<(), Failure> {
        Ok(self.run.work.spend(Resource::Bytes, bytes)?)
    }

    /// Called between the parts of a function that may take long.
    pub fn go_on(&self) -> Result<(), Failure> {
        Ok(self.run.work.go_on()?)
    }

    /// A `[]interface {}` of the items of `items`. It stops before it takes more memory than a result may.
    pub fn collected(&self, items: impl Iterator<Item = Value>) -> Outcome {
        self.collected_of(Of::Any, items)
    }

    /// A list of items that are declared as `of`.
    pub fn collected_of(&self, of: Of, items: impl Iterator<Item = Value>) -> Outcome {
        let mut room = MAX_ITEMS;
        let mut collected = Vec::new();
        for item in items {
            self.take(&mut room, 1)?;
            collected.push(item);
        }
        Ok(List::new(of, collected).into())
    }

    /// A dict of the members of `members`, with the bounds of [`Call::collected`].
    pub fn members(&self, of: Of, members: impl Iterator<Item = (Text, Value)>) -> Outcome {
        let mut room = MAX_ITEMS / 4;
        let mut collected = BTreeMap::new();
        for (name, member) in members {
            self.take(&mut room, 1)?;
            collected.insert(name, member);
        }
        Ok(Map::with(of, collected).into())
    }

    /// Changes a dict that other values may share.
    pub fn insert(&self, map: &Map, name: Text, member: Value) -> Result<(), Failure> {
        let bytes = name.len() + CONTENT + 3 * VALUE + width(&member);
        self.spend(bytes)?;
        self.run.work.spend(Resource::Made, bytes)?;
        if map.len() >= MAX_ITEMS / 4 && !map.has(&name) {
            return self.fail("the dict becomes larger than 2 MiB");
        }
        if matches!(member, Value::List(_) | Value::Map(_)) && map.is_new_to_keep() {
            self.run.changed.borrow_mut().push(map.clone());
        }
        map.insert(name, member);
        Ok(())
    }

    /// Takes from the room that is left for a list or a dict.
    pub fn take(&self, left: &mut usize, amount: usize) -> Result<(), Failure> {
        if take(left, amount) { Ok(()) } else { self.fail("its result is larger than 2 MiB") }
    }

    /// A failure of this function.
    pub fn fail<T>(&self, why: impl Display) -> Result<T, Failure> {
        fail(format!("{}: {why}", self.name))
    }

    /// An argument.
    pub fn value(&self, position: usize) -> Result<&'a Value, Failure> {
        self.arguments.get(position).map_or_else(|| self.fail("an argument is missing"), Ok)
    }

    fn unfit<T>(&self, position: usize, wanted: Type) -> Result<T, Failure> {
        self.fail(format!("argument {} must be {}", position + 1, wanted.name()))
    }

    /// An argument that is declared as [`Type::Text`].
    pub fn bytes(&self, position: usize) -> Result<&'a Text, Failure> {
        match self.value(position)? {
            Value::Text(text) => Ok(text),
            _ => self.unfit(position, Type::Text),
        }
    }

    /// An argument that is declared as [`Type::Text`], as characters: bytes that are no UTF-8 become U+FFFD.
    pub fn text(&self, position: usize) -> Result<Cow<'a, str>, Failure> {
        Ok(self.bytes(position)?.lossy())
    }

    /// An argument that is declared as a whole number.
    pub fn int(&self, position: usize) -> Result<i64, Failure> {
        match self.value(position)? {
            Value::Int(number, _) => Ok(*number),
            Value::Uint(number, _) => i64::try_from(*number).or_else(|_| self.unfit(position, Type::Int)),
            _ => self.unfit(position, Type::Int),
        }
    }

    /// An argument that is declared as [`Type::Float`].
    pub fn float(&self, position: usize) -> Result<f64, Failure> {
        match self.value(position)? {
            Value::Float(number) => Ok(*number),
            _ => self.unfit(position, Type::Float),
        }
    }

    /// An argument that is declared as [`Type::Bool`].
    pub fn flag(&self, position: usize) -> Result<bool, Failure> {
        match self.value(position)? {
            Value::Bool(flag) => Ok(*flag),
            _ => self.unfit(position, Type::Bool),
        }
    }

    /// An argument that is a size: a whole number that is not below 0.
    pub fn size(&self, position: usize) -> Result<usize, Failure> {
        let number = self.int(position)?;
        usize::try_from(number).or_else(|_| self.fail(format!("argument {} must not be negative", position + 1)))
    }

    /// An argument that is a dict, to read; `nil` is an empty one.
    pub fn map(&self, position: usize) -> Result<Map, Failure> {
        match self.value(position)? {
            Value::Map(map) => Ok(map.clone()),
            Value::Nil => Ok(Map::new(Of::Any)),
            _ => self.unfit(position, Type::Map),
        }
    }

    /// An argument that is a dict, to change: `nil` cannot be.
    pub fn map_to_change(&self, position: usize) -> Result<Map, Failure> {
        match self.value(position)? {
            Value::Nil => self.fail("the dict is nil: it cannot be changed"),
            _ => self.map(position),
        }
    }

    /// Counts what is slow on purpose, in units of about a microsecond.
    pub fn slow(&self, units: usize) -> Result<(), Failure> {
        Ok(self.run.work.spend(Resource::Slow, units)?)
    }

    /// Accounts for compiling an expression, which takes longer than its length suggests.
    pub fn compile(&self) -> Result<(), Failure> {
        self.spend(64 * 1024)
    }

    /// Bytes that are always the same for the same arguments of this function here, and that nobody can guess.
    pub fn salt<const LENGTH: usize>(&self, purpose: &str) -> Result<[u8; LENGTH], Failure> {
        let mut input = Vec::new();
        for argument in self.arguments {
            let bytes = format::text_of(argument)?;
            input.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            input.extend_from_slice(&bytes);
        }
        Ok(self.run.seed.bytes(&[self.name, purpose], input))
    }
}

fn is_same(argument: &Value, result: &Value) -> bool {
    match (argument, result) {
        (Value::Map(argument), Value::Map(result)) => argument.is_same(result),
        (Value::List(argument), Value::List(result)) => argument.is_same(result),
        _ => false,
    }
}

/// The cost of passing on an argument.
fn width(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len() * VALUE,
        Value::Nil
        | Value::Bool(_)
        | Value::Int(..)
        | Value::Uint(..)
        | Value::Float(_)
        | Value::Map(_)
        | Value::Object(_) => 8,
    }
}

/// The cost of reading all of an argument. The values of the policy may be larger than a result.
fn whole(value: &Value) -> usize {
    let limit = 16 * MAX_RESULT;
    let mut left = limit;
    let is_known = measure(value, &mut left, MAX_DEPTH + 1);
    // Too deep a value was not counted to its end, for example a dict that holds itself.
    if is_known { limit - left } else { (limit - left).max(2 * MAX_STRUCTURE) }
}

/// Takes the size of a value from `left`, and gives up when nothing is left or it is too deep: lists share their
/// items, and a dict can hold itself, so the whole may be far larger than its memory.
pub fn measure(value: &Value, left: &mut usize, depth: usize) -> bool {
    match value {
        Value::Text(text) => take(left, CONTENT + text.len()),
        Value::List(items) => {
            depth > 0
                && take(left, CONTENT)
                && items.iter().all(|item| take(left, VALUE) && measure(item, left, depth - 1))
        }
        Value::Map(members) => {
            let members = members.borrow();
            let mut all = members.iter();
            let name = |name: &Text| name.len() + CONTENT + 2 * VALUE;
            depth > 0
                && take(left, CONTENT)
                && all.all(|(of, member)| take(left, name(of)) && measure(member, left, depth - 1))
        }
        Value::Object(_) => take(left, VALUE),
        Value::Nil | Value::Bool(_) | Value::Int(..) | Value::Uint(..) | Value::Float(_) => true,
    }
}

fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    rest.is_some()
}
