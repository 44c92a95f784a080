//! A parsed template.

use std::collections::BTreeMap;

use super::value::Text;
use crate::render::functions::Function;

/// A variable: its name as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable(pub u32);

impl Variable {
    /// `$`
    pub const ROOT: Self = Self(0);
}

/// The nodes, in order.
pub type List = Vec<Node>;

/// All definitions of a template, by their names.
pub type Definitions = BTreeMap<Text, List>;

/// A part of a template.
pub enum Node {
    /// Text as it is.
    Text(Text),
    /// `{{ … }}`
    Action(Pipe),
    /// `if` or `with`, with all links of its chain.
    Branch(Branch),
    /// `range`
    Range(Range),
    /// `template` and `block`.
    Template(Template),
    /// `break`
    Break,
    /// `continue`
    Continue,
}

/// Conditions in their order: the list of the first true one runs.
pub struct Branch {
    /// Whether the value becomes the dot.
    pub sets_dot: bool,
    pub arms: Vec<(Pipe, List)>,
    pub otherwise: List,
}

/// A loop.
pub struct Range {
    pub pipe: Pipe,
    pub body: List,
    pub otherwise: List,
}

/// A call of a definition.
pub struct Template {
    pub at: usize,
    pub name: Text,
    pub pipe: Option<Pipe>,
}

/// Commands, each with the value of the one before as its last argument.
pub struct Pipe {
    pub at: usize,
    /// Variables that take the value.
    pub variables: Vec<Variable>,
    /// They exist already.
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// The function or value, and its arguments.
pub struct Command {
    pub first: Operand,
    pub arguments: Vec<Operand>,
}

/// A part of a command and its position, in bytes.
pub struct Operand {
    pub at: usize,
    pub term: Term,
}

/// The kind of an operand.
pub enum Term {
    Nil,
    Bool(bool),
    Number(Number),
    Text(Text),
    Dot,
    /// `.a.b`
    Field(Vec<Text>),
    /// `$a.b`
    Variable(Variable, Vec<Text>),
    Function(&'static Function),
    Pipe(Box<Pipe>),
    /// Fields of the result of a term.
    Chain(Box<Operand>, Vec<Text>),
}

/// A number in each type that can hold it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    pub int: Option<i64>,
    pub uint: Option<u64>,
    pub float: Option<f64>,
    /// Whether it is a float without a wanted type.
    pub is_float: bool,
}
