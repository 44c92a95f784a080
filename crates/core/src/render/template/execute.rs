//! Runs a template as Go's `text/template` does with `missingkey=error`.

mod arguments;
mod evaluate;

use std::ops::ControlFlow;

use super::{
    format,
    tree::{Branch, Definitions, List, Node, Pipe, Range, Template, Variable},
    value::{Map, Value},
};
use crate::render::{functions::Run, work::Resource};

/// The most output of one template, in bytes: a Secret cannot hold more than 1 MiB in all.
const MAX_OUTPUT: usize = 1024 * 1024;
/// The most blocks, templates and parentheses that are open at the same time. A level takes up to 5 KiB of the stack in
/// a debug build, and the threads of the operator have 2 MiB.
const MAX_LEVELS: usize = 250;

/// Why a template ended early, and where, in bytes. Never with a value.
#[derive(Debug)]
pub struct Stopped {
    pub at: usize,
    pub text: String,
}

/// The result of a part of a template.
type Outcome<T> = Result<T, Stopped>;

/// How a list of a loop ended.
type Flow = Outcome<ControlFlow<Leave>>;

/// The statement that leaves a list early.
enum Leave {
    Break,
    Continue,
}

/// Runs the definition of this name.
pub fn execute(definitions: &Definitions, name: &str, data: &Map, run: &Run) -> Outcome<Vec<u8>> {
    let data = Value::Map(data.clone());
    let mut state = State {
        definitions,
        run,
        output: Vec::new(),
        variables: vec![(Variable::ROOT, data.clone())],
        base: 0,
        levels: 0,
        at: 0,
    };
    let Some(body) = definitions.get(name.as_bytes()) else {
        return state.stop("there is no such template");
    };
    // Neither break nor continue is outside of a loop.
    state.list(&data, body).map(drop)?;
    Ok(state.output)
}

struct State<'a> {
    definitions: &'a Definitions,
    run: &'a Run,
    output: Vec<u8>,
    /// The variables of all open templates.
    variables: Vec<(Variable, Value)>,
    /// Where the variables of the current template start.
    base: usize,
    levels: usize,
    /// The position of the part that runs now.
    at: usize,
}

impl State<'_> {
    fn stop<T>(&self, text: impl Into<String>) -> Outcome<T> {
        Err(Stopped { at: self.at, text: text.into() })
    }

    fn step(&self, steps: usize) -> Outcome<()> {
        self.run.work.spend(Resource::Steps, steps).or_else(|ended| self.stop(ended.text()))
    }

    /// Goes one level down.
    fn down(&mut self) -> Outcome<()> {
        self.levels += 1;
        if self.levels > MAX_LEVELS {
            return self.stop(format!(
                "blocks and templates are nested more than {MAX_LEVELS} levels deep; a template that calls itself must \
                 end"
            ));
        }
        Ok(())
    }

    fn list(&mut self, dot: &Value, list: &List) -> Flow {
        self.down()?;
        for node in list {
            let flow = self.node(dot, node)?;
            if flow.is_break() {
                self.levels -= 1;
                return Ok(flow);
            }
        }
        self.levels -= 1;
        Ok(ControlFlow::Continue(()))
    }

    fn node(&mut self, dot: &Value, node: &Node) -> Flow {
        self.step(1)?;
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Action(pipe) => self.action(dot, pipe)?,
            Node::Branch(branch) => return self.branch(dot, branch),
            Node::Range(range) => return self.range(dot, range),
            Node::Template(template) => self.template(dot, template)?,
            Node::Break => return Ok(ControlFlow::Break(Leave::Break)),
            Node::Continue => return Ok(ControlFlow::Break(Leave::Continue)),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        if self.output.len() + bytes.len() > MAX_OUTPUT {
            return self.stop("its output is larger than 1 MiB");
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    fn action(&mut self, dot: &Value, pipe: &Pipe) -> Outcome<()> {
        let value = self.pipe(dot, pipe)?;
        if !pipe.variables.is_empty() {
            return Ok(());
        }
        self.at = pipe.at;
        match &value {
            // Go prints `<no value>`, which is worse than no credential.
            Value::Nil => self.stop("it prints a value that does not exist; check the names in this action"),
            Value::Text(text) => self.write(text),
            other => match format::text_of(other) {
                Ok(text) => self.write(&text),
                Err(failure) => self.stop(failure.0),
            },
        }
    }

    fn branch(&mut self, dot: &Value, branch: &Branch) -> Flow {
        let variables = self.variables.len();
        for (pipe, list) in &branch.arms {
            self.step(1)?;
            let value = self.pipe(dot, pipe)?;
            if value.is_true() {
                let flow = self.list(if branch.sets_dot { &value } else { dot }, list);
                self.variables.truncate(variables);
                return flow;
            }
        }
        let flow = self.list(dot, &branch.otherwise);
        self.variables.truncate(variables);
        flow
    }

    fn template(&mut self, dot: &Value, template: &Template) -> Outcome<()> {
        self.at = template.at;
        let Some(body) = self.definitions.get(&template.name) else {
            return self.stop(format!("there is no template {:?}", template.name.lossy()));
        };
        let dot = match &template.pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nil,
        };
        // It sees no variables of others.
        let (base, variables) = (self.base, self.variables.len());
        self.base = variables;
        self.variables.push((Variable::ROOT, dot.clone()));
        self.at = template.at;
        self.list(&dot, body).map(drop)?;
        self.variables.truncate(variables);
        self.base = base;
        Ok(())
    }

    fn range(&mut self, dot: &Value, range: &Range) -> Flow {
        let before = self.variables.len();
        let value = self.pipe(dot, &range.pipe)?;
        self.at = range.pipe.at;
        let done = match value {
            Value::Int(count, kind) => {
                self.only_one_variable(range)?;
                self.rounds(range, (0..count).map(|number| (Value::Nil, Value::Int(number, kind))))?
            }
            Value::Uint(count, kind) => {
                self.only_one_variable(range)?;
                self.rounds(range, (0..count).map(|number| (Value::Nil, Value::Uint(number, kind))))?
            }
            Value::List(list) => self.rounds(range, numbered(list.iter().cloned()))?,
            Value::Map(map) => {
                let members = map.snapshot();
                self.rounds(range, members.into_iter().map(|(name, member)| (Value::Text(name), member)))?
            }
            Value::Nil => false,
            other => return self.stop(format!("range cannot go through a {}", other.type_name())),
        };
        let mut flow = ControlFlow::Continue(());
        if !done {
            // In Go, a break here ends this loop, but a continue goes on with the loop around.
            match self.list(dot, &range.otherwise)? {
                ControlFlow::Break(Leave::Continue) => flow = ControlFlow::Break(Leave::Continue),
                ControlFlow::Break(Leave::Break) | ControlFlow::Continue(()) => {}
            }
        }
        self.variables.truncate(before);
        Ok(flow)
    }

    fn only_one_variable(&self, range: &Range) -> Outcome<()> {
        if range.pipe.variables.len() > 1 {
            return self.stop("range over a number has one variable only");
        }
        Ok(())
    }

    /// Whether there was any round.
    fn rounds(&mut self, range: &Range, items: impl Iterator<Item = (Value, Value)>) -> Outcome<bool> {
        let variables = self.variables.len();
        let mut any = false;
        for (index, item) in items {
            any = true;
            self.step(1)?;
            self.set_loop_variables(range, index, &item)?;
            let flow = self.list(&item, &range.body)?;
            self.variables.truncate(variables);
            if let ControlFlow::Break(Leave::Break) = flow {
                break;
            }
        }
        Ok(any)
    }

    /// With one variable it is the item, with two the first is the index. Declared ones come last.
    fn set_loop_variables(&mut self, range: &Range, index: Value, item: &Value) -> Outcome<()> {
        let (first, second) = match range.pipe.variables[..] {
            [] => return Ok(()),
            [only] => ((only, item.clone()), None),
            [first, second, ..] => ((first, index), Some((second, item.clone()))),
        };
        if range.pipe.assigns {
            self.assign(first.0, first.1)?;
            return second.map_or(Ok(()), |(variable, value)| self.assign(variable, value));
        }
        let declared = self.variables.len() - range.pipe.variables.len();
        self.variables[declared].1 = first.1;
        if let Some((_, value)) = second {
            self.variables[declared + 1].1 = value;
        }
        Ok(())
    }

    fn assign(&mut self, variable: Variable, value: Value) -> Outcome<()> {
        let position = self.position(variable)?;
        self.variables[position].1 = value;
        Ok(())
    }

    /// The position of the latest variable of this number.
    fn position(&self, variable: Variable) -> Outcome<usize> {
        let own = &self.variables[self.base..];
        let found = own.iter().rposition(|(number, _)| *number == variable);
        let position = found.map_or_else(|| self.stop("there is no such variable here"), Ok)?;
        // Going through many takes time.
        self.step((own.len() - position) / 32)?;
        Ok(self.base + position)
    }

    fn variable(&self, variable: Variable) -> Outcome<Value> {
        Ok(self.variables[self.position(variable)?].1.clone())
    }
}

fn numbered(items: impl Iterator<Item = Value>) -> impl Iterator<Item = (Value, Value)> {
    (0_i64..).map(Value::int).zip(items)
}
