//! The values of a template: the types of Go that it can see. Texts are bytes; dicts are shared and change in place.
//!
//! Nothing here recurses without a bound: a dict can hold itself.

mod list;
mod map;

use std::{cmp::Ordering, fmt, ops::Deref, rc::Rc};

pub use list::List;
pub use map::Map;

use super::super::functions::Failure;
use crate::SecretBytes;

/// A text of Go: bytes, UTF-8 or not. It is zeroed when the last clone is dropped, and has no text form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(SecretBytes);

impl Text {
    /// As text; bytes that are no UTF-8 become what Go gives when it ranges over the characters.
    pub fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self)
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Text([hidden])")
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl std::borrow::Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl From<SecretBytes> for Text {
    fn from(bytes: SecretBytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(SecretBytes::new(bytes))
    }
}

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

/// Types of numbers with a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// `int`
    Int,
    /// `int64`
    Int64,
}

/// Types of numbers without a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// `uint8`, which `byte` is.
    Uint8,
    /// `uint64`
    Uint64,
}

/// The declared type of the items of a list or the members of a dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// `interface {}`
    Any,
    /// `string`
    Text,
    /// `int`
    Int,
    /// `[]interface {}`
    Lists,
}

impl Of {
    /// What Go calls it.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Text => "string",
            Self::Int => "int",
            Self::Lists => "[]interface {}",
        }
    }

    /// The value of a name that does not exist.
    pub fn zero(self) -> Value {
        match self {
            Self::Any => Value::Nil,
            Self::Text => Value::from(""),
            Self::Int => Value::int(0),
            Self::Lists => Value::List(List::default()),
        }
    }
}

/// A value with fields or methods of its own.
pub trait Object {
    /// What Go calls its type, such as `*semver.Version`.
    fn type_name(&self) -> &'static str;

    /// What `String()` gives.
    fn text(&self) -> Text;

    /// The method or field of this name, called with these arguments; `None`: there is none.
    fn member(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Failure>>;
}

/// A value.
#[derive(Clone, Default)]
pub enum Value {
    /// `nil`, and a value that does not exist.
    #[default]
    Nil,
    /// `bool`
    Bool(bool),
    /// A whole number.
    Int(i64, Signed),
    /// A whole number without a sign.
    Uint(u64, Unsigned),
    /// `float64`
    Float(f64),
    /// `string`
    Text(Text),
    /// A list.
    List(List),
    /// A dict.
    Map(Map),
    /// Something with methods.
    Object(Rc<dyn Object>),
}

impl Value {
    /// An `int`.
    pub const fn int(number: i64) -> Self {
        Self::Int(number, Signed::Int)
    }

    /// The type, as `printf "%T"` writes it.
    pub fn type_name(&self) -> String {
        match self {
            Self::Nil => "<nil>".to_owned(),
            Self::Bool(_) | Self::Int(..) | Self::Uint(..) | Self::Float(_) | Self::Text(_) => {
                self.kind_name().to_owned()
            }
            Self::List(list) => format!("[]{}", list.of().type_name()),
            Self::Map(map) => format!("map[string]{}", map.of().type_name()),
            Self::Object(object) => object.type_name().to_owned(),
        }
    }

    /// The kind, as `kindOf` of Sprig gives it.
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::Nil => "invalid",
            Self::Bool(_) => "bool",
            Self::Int(_, Signed::Int) => "int",
            Self::Int(_, Signed::Int64) => "int64",
            Self::Uint(_, Unsigned::Uint8) => "uint8",
            Self::Uint(_, Unsigned::Uint64) => "uint64",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "slice",
            Self::Map(_) => "map",
            Self::Object(_) => "ptr",
        }
    }

    /// Whether it is true for `if`.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(flag) => *flag,
            Self::Int(number, _) => *number != 0,
            Self::Uint(number, _) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Object(_) => true,
        }
    }
}

impl fmt::Debug for Value {
    /// Only the type: a number can be a secret, too.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.type_name())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Text(bytes.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Text(bytes.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

/// Drops values one by one, so that the depth of the stack does not grow with theirs.
fn drop_all(mut values: Vec<Value>) {
    while let Some(value) = values.pop() {
        match value {
            Value::List(list) => list.give(&mut values),
            Value::Map(map) => map.give(&mut values),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
