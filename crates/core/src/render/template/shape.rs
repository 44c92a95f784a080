//! What can be told of a template before it runs: which functions it calls, and how much it does at most.

use std::collections::BTreeMap;

use gotmpl::{
    Template,
    parse::{CommandNode, Expr, ListNode, Node, PipeNode},
};

use crate::render::{functions, work::Resource};

/// Steps of one execution without its loops.
const MAX_STEPS: u64 = 20_000;
/// Steps of one execution with its loops.
const MAX_WORK: u64 = Resource::Steps.limit();
/// Rounds of all loops of one execution.
const MAX_ROUNDS: u64 = 10_000;
/// Blocks and templates that may be open at the same time.
const MAX_LEVELS: usize = 120;

/// How much a template does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Steps without what loops repeat.
    pub steps: u64,
    /// Rounds that its loops may do in all.
    pub rounds: u64,
}

/// What is known of the definitions of a template.
pub struct Shape<'a> {
    template: &'a Template,
    known: BTreeMap<String, u64>,
    open: Vec<String>,
    depth: usize,
    wrong: Option<String>,
}

impl<'a> Shape<'a> {
    pub fn new(template: &'a Template) -> Self {
        Self { template, known: BTreeMap::new(), open: Vec::new(), depth: 0, wrong: None }
    }

    /// Looks at all definitions, those that nobody calls too.
    ///
    /// # Errors
    /// A function that there is not, a template that calls itself, too many steps, or too many levels.
    pub fn extent(&mut self, name: &str) -> Result<Extent, String> {
        let steps = self.template_steps(name);
        for other in self.template.templates() {
            self.template_steps(other);
        }
        match self.wrong.take() {
            Some(wrong) => Err(wrong),
            None if steps > MAX_STEPS => Err(format!("it has more than {MAX_STEPS} steps; make it smaller")),
            None => Ok(Extent { steps, rounds: (MAX_WORK / steps.max(1)).clamp(1, MAX_ROUNDS) }),
        }
    }
}

impl Shape<'_> {
    fn refuse(&mut self, why: impl Into<String>) -> u64 {
        self.wrong.get_or_insert_with(|| why.into());
        0
    }

    fn template_steps(&mut self, name: &str) -> u64 {
        if let Some(steps) = self.known.get(name) {
            return *steps;
        }
        if self.open.iter().any(|open| open == name) || self.open.len() > MAX_LEVELS {
            return self.refuse(format!("the template {name:?} calls itself"));
        }
        let Some(body) = self.template.lookup(name) else {
            return 1; // it is named when it is missed
        };
        self.open.push(name.to_owned());
        let steps = self.list(body);
        self.open.pop();
        self.known.insert(name.to_owned(), steps);
        steps
    }

    /// The steps of a list, and of all templates that it calls. A template inside a block stands as deep as both of
    /// them together, and the engine calls itself as often.
    pub fn list(&mut self, list: &ListNode) -> u64 {
        if self.depth > MAX_LEVELS {
            return self.refuse(format!("its blocks and templates are nested more than {MAX_LEVELS} levels deep"));
        }
        self.depth += 1;
        let steps = list.nodes.iter().fold(1_u64, |steps, node| steps.saturating_add(self.node(node)));
        self.depth -= 1;
        steps
    }

    fn node(&mut self, node: &Node) -> u64 {
        match node {
            Node::List(list) => self.list(list),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => 1,
            Node::Action(action) => self.pipe(&action.pipe),
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
                let own = self.pipe(&branch.pipe).saturating_add(self.list(&branch.body));
                let other = branch.else_body.as_ref().map_or(0, |body| self.list(body));
                own.saturating_add(other)
            }
            Node::Template(call) => {
                let argument = call.pipe.as_ref().map_or(1, |pipe| self.pipe(pipe));
                argument.saturating_add(self.template_steps(&call.name))
            }
            Node::Define(define) => self.list(&define.body),
        }
    }

    fn pipe(&mut self, pipe: &PipeNode) -> u64 {
        pipe.commands.iter().fold(1, |steps, command| steps.saturating_add(self.command(command)))
    }

    fn command(&mut self, command: &CommandNode) -> u64 {
        command.args.iter().fold(1, |steps, argument| steps.saturating_add(self.expression(argument)))
    }

    fn expression(&mut self, expression: &Expr) -> u64 {
        match expression {
            Expr::Identifier(_, name) => functions::refusal(name).map_or(1, |wrong| self.refuse(wrong)),
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner),
            Expr::Dot(_)
            | Expr::Field(..)
            | Expr::Variable(..)
            | Expr::String(..)
            | Expr::Number(..)
            | Expr::Bool(..)
            | Expr::Nil(_) => 1,
        }
    }
}
