//! Values of pipelines, commands and fields.

use super::{Outcome, State};
use crate::render::{
    functions::{Call, Function, Type},
    template::{
        tree::{Command, Number, Operand, Pipe, Term},
        value::{Text, Value},
    },
};

impl State<'_> {
    /// The value of a pipeline; its variables stay until their block ends.
    pub(super) fn pipe(&mut self, dot: &Value, pipe: &Pipe) -> Outcome<Value> {
        self.at = pipe.at;
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(dot, command, last)?);
        }
        let value = last.unwrap_or_default();
        for variable in &pipe.variables {
            if pipe.assigns {
                self.at = pipe.at;
                self.assign(*variable, value.clone())?;
            } else {
                self.variables.push((*variable, value.clone()));
            }
        }
        Ok(value)
    }

    /// `last` is the value of the command before: the last argument of this one.
    fn command(&mut self, dot: &Value, command: &Command, last: Option<Value>) -> Outcome<Value> {
        self.step(1)?;
        let Operand { at, term } = &command.first;
        self.at = *at;
        let arguments = &command.arguments[..];
        match term {
            Term::Field(names) => self.fields(dot, dot.clone(), names, arguments, last),
            Term::Chain(inner, names) => {
                let receiver = self.chained(dot, inner)?;
                self.at = *at;
                self.fields(dot, receiver, names, arguments, last)
            }
            Term::Function(function) => self.call(dot, function, *at, arguments, last),
            Term::Variable(variable, names) if !names.is_empty() => {
                let receiver = self.variable(*variable)?;
                self.fields(dot, receiver, names, arguments, last)
            }
            _ if !arguments.is_empty() || last.is_some() => {
                self.stop("an argument follows a value that is not a function")
            }
            Term::Pipe(pipe) => self.inner(dot, pipe),
            Term::Variable(variable, _) => self.variable(*variable),
            Term::Bool(flag) => Ok(Value::Bool(*flag)),
            Term::Dot => Ok(dot.clone()),
            Term::Nil => self.stop("nil is not a command"),
            Term::Number(number) => self.number(number),
            Term::Text(text) => Ok(Value::Text(text.clone())),
        }
    }

    /// A pipeline in parentheses.
    pub(super) fn inner(&mut self, dot: &Value, pipe: &Pipe) -> Outcome<Value> {
        self.down()?;
        let value = self.pipe(dot, pipe)?;
        self.levels -= 1;
        Ok(value)
    }

    /// The value from which a chain takes its fields.
    pub(super) fn chained(&mut self, dot: &Value, inner: &Operand) -> Outcome<Value> {
        self.at = inner.at;
        match &inner.term {
            Term::Pipe(pipe) => self.inner(dot, pipe),
            Term::Function(function) => self.call(dot, function, inner.at, &[], None),
            _ => self.stop("it has no fields"),
        }
    }

    /// A number literal without a wanted type.
    pub(super) fn number(&self, number: &Number) -> Outcome<Value> {
        match (number.is_float, number.float, number.int) {
            (true, Some(float), _) => Ok(Value::Float(float)),
            (_, _, Some(int)) => Ok(Value::int(int)),
            _ => self.stop("the number is too large for an int"),
        }
    }

    /// Follows `.a.b.c`; the last one gets the arguments.
    pub(super) fn fields(
        &mut self,
        dot: &Value,
        mut receiver: Value,
        names: &[Text],
        arguments: &[Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        self.step(names.len())?;
        let Some((end, way)) = names.split_last() else {
            return Ok(receiver);
        };
        for name in way {
            receiver = self.field(dot, &receiver, name, &[], None)?;
        }
        self.field(dot, &receiver, end, arguments, last)
    }

    fn field(
        &mut self,
        dot: &Value,
        receiver: &Value,
        name: &Text,
        arguments: &[Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        let shown = name.lossy();
        match receiver {
            Value::Nil => self.stop(format!("there is nothing to take {shown:?} of")),
            Value::Map(_) if !arguments.is_empty() || last.is_some() => {
                self.stop(format!("an argument follows {shown:?}, which is not a function"))
            }
            Value::Map(map) => match map.get(name) {
                Some(member) => Ok(member),
                None => self.stop(format!("map has no entry for key {shown:?}")),
            },
            Value::Object(object) => {
                let at = self.at;
                let mut given = Vec::new();
                for argument in arguments {
                    given.push(self.argument(dot, Type::Any, argument)?);
                }
                given.extend(last);
                self.at = at;
                match object.member(&shown, &given) {
                    Some(Ok(value)) => Ok(value),
                    Some(Err(failure)) => self.stop(failure.0),
                    None => self.stop(format!("a {} has no {shown:?}", object.type_name())),
                }
            }
            other => self.stop(format!("a {} has no field {shown:?}", other.type_name())),
        }
    }

    pub(super) fn call(
        &mut self,
        dot: &Value,
        function: &'static Function,
        at: usize,
        arguments: &[Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        self.at = at;
        self.count(function, arguments.len() + usize::from(last.is_some()))?;
        if matches!(function.name, "and" | "or") {
            return self.short_circuit(dot, function.name == "or", arguments, last);
        }
        let signature = function.signature;
        let mut given = Vec::with_capacity(arguments.len() + 1);
        for (position, argument) in arguments.iter().enumerate() {
            let wanted = signature.parameter(position).unwrap_or(Type::Any);
            given.push(self.argument(dot, wanted, argument)?);
        }
        if let Some(last) = last {
            self.at = at;
            let wanted = signature.parameter(given.len()).unwrap_or(Type::Any);
            given.push(self.fitting(last, wanted)?);
        }
        self.at = at;
        let call = Call { run: self.run, name: function.name, arguments: &given };
        call.run(function.body).or_else(|failure| self.stop(failure.0))
    }

    fn count(&self, function: &Function, given: usize) -> Outcome<()> {
        let least = function.signature.fixed.len();
        if given < least || (given > least && function.signature.rest.is_none()) {
            let at_least = if function.signature.rest.is_some() { "at least " } else { "" };
            return self.stop(format!(
                "wrong number of arguments for {}: it takes {at_least}{least}, not {given}",
                function.name
            ));
        }
        Ok(())
    }

    /// `and` and `or` evaluate no more arguments than they need.
    fn short_circuit(
        &mut self,
        dot: &Value,
        until: bool,
        arguments: &[Operand],
        last: Option<Value>,
    ) -> Outcome<Value> {
        let mut value = Value::Nil;
        for argument in arguments {
            value = self.argument(dot, Type::Any, argument)?;
            if value.is_true() == until {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}
