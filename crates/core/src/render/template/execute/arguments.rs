//! Arguments of functions: each must have the type of its parameter, or Go refuses it.

use super::{Outcome, State};
use crate::render::{
    functions::Type,
    template::{
        tree::{Number, Operand, Term},
        value::{Of, Signed, Value},
    },
};

impl State<'_> {
    /// An operand as an argument of this type. A number literal gets this type.
    pub(super) fn argument(&mut self, dot: &Value, wanted: Type, operand: &Operand) -> Outcome<Value> {
        self.at = operand.at;
        let value = match &operand.term {
            Term::Nil if wanted.can_be_nil() => return Ok(Value::Nil),
            Term::Nil => return self.stop(format!("nil cannot be a {}", wanted.name())),
            Term::Dot => dot.clone(),
            Term::Field(names) => {
                let value = self.fields(dot, dot.clone(), names, &[], None)?;
                self.not_nil(value, wanted)?
            }
            Term::Variable(variable, names) => {
                let value = self.variable(*variable)?;
                self.fields(dot, value, names, &[], None)?
            }
            Term::Pipe(pipe) => self.inner(dot, pipe)?,
            Term::Function(function) => self.call(dot, function, operand.at, &[], None)?,
            Term::Chain(inner, names) => {
                let receiver = self.chained(dot, inner)?;
                self.at = operand.at;
                let value = self.fields(dot, receiver, names, &[], None)?;
                self.not_nil(value, wanted)?
            }
            Term::Bool(_) | Term::Number(_) | Term::Text(_) => return self.constant(wanted, &operand.term),
        };
        self.at = operand.at;
        self.fitting(value, wanted)
    }

    /// A member that is nil is no dict; the value of a pipeline may be.
    fn not_nil(&self, value: Value, wanted: Type) -> Outcome<Value> {
        match value {
            Value::Nil if wanted != Type::Any => self.unfit(&value, wanted),
            _ => Ok(value),
        }
    }

    fn constant(&self, wanted: Type, term: &Term) -> Outcome<Value> {
        match (wanted, term) {
            (Type::Any | Type::Bool, Term::Bool(flag)) => Ok(Value::Bool(*flag)),
            (Type::Any | Type::Text, Term::Text(text)) => Ok(Value::Text(text.clone())),
            (Type::Any, Term::Number(number)) => self.number(number),
            (Type::Int, Term::Number(Number { int: Some(int), .. })) => Ok(Value::int(*int)),
            (Type::Float, Term::Number(Number { float: Some(float), .. })) => Ok(Value::Float(*float)),
            _ => self.stop(format!("this constant is no {}", wanted.name())),
        }
    }

    /// The value, if it is of the type.
    pub(super) fn fitting(&self, value: Value, wanted: Type) -> Outcome<Value> {
        let fits = match (&value, wanted) {
            (_, Type::Any)
            | (Value::Bool(_), Type::Bool)
            | (Value::Int(_, Signed::Int), Type::Int)
            | (Value::Float(_), Type::Float)
            | (Value::Text(_), Type::Text) => true,
            (Value::Nil, _) => wanted.can_be_nil(),
            (Value::Map(map), Type::Map) => map.of() == Of::Any,
            _ => false,
        };
        if fits { Ok(value) } else { self.unfit(&value, wanted) }
    }

    fn unfit<T>(&self, value: &Value, wanted: Type) -> Outcome<T> {
        self.stop(format!("wrong type for value; expected {}; got {}", wanted.name(), value.type_name()))
    }
}
