//! What a function takes. Go refuses an argument of another type, and so does the engine, before the function is called.

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `interface {}`, or `reflect.Value`: anything.
    Any,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `float64`
    Float,
    /// `string`
    Text,
    /// `map[string]interface {}`
    Map,
}

impl Type {
    /// What Go calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float64",
            Self::Text => "string",
            Self::Map => "map[string]interface {}",
        }
    }

    /// Whether `nil` is such a value.
    pub const fn can_be_nil(self) -> bool {
        matches!(self, Self::Any | Self::Map)
    }
}

/// The parameters of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Those that must be given.
    pub fixed: &'static [Type],
    /// The type of those that may follow.
    pub rest: Option<Type>,
}

impl Signature {
    /// The type of a parameter.
    pub fn parameter(&self, position: usize) -> Option<Type> {
        self.fixed.get(position).copied().or(self.rest)
    }
}

/// Exactly these.
pub const fn takes(fixed: &'static [Type]) -> Signature {
    Signature { fixed, rest: None }
}

/// These, and any number of `rest`: `func(a, b, rest ...)`.
pub const fn variadic(fixed: &'static [Type], rest: Type) -> Signature {
    Signature { fixed, rest: Some(rest) }
}
