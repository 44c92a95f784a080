//! What can be told of a template before it runs: which functions it calls, and how much it does at most.

use std::collections::BTreeMap;

use gotmpl::{
    Template,
    parse::{CommandNode, Expr, ListNode, Node, PipeNode},
};

use crate::render::functions;

/// Steps of one execution without its loops.
const MAX_STEPS: u64 = 20_000;
/// Steps of one execution with its loops.
const MAX_WORK: u64 = 4_000_000;
/// Rounds of all loops of one execution.
const MAX_ROUNDS: u64 = 10_000;
/// Blocks, parentheses and templates that may stand inside each other.
const MAX_NESTING: usize = 100;

/// Refuses text that the parser, which calls itself for each level, should not see.
pub fn nesting(source: &str) -> Result<(), String> {
    let too_deep = || Err(format!("parentheses or blocks are nested more than {MAX_NESTING} levels deep"));
    let mut open_blocks: Vec<usize> = Vec::new();
    for action in source.split("{{").skip(1) {
        let action = action.split("}}").next().unwrap_or_default();
        let words = action.trim_start_matches(|character: char| character == '-' || character.is_whitespace());
        match words.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default() {
            "if" | "range" | "with" | "define" | "block" => open_blocks.push(1),
            // `else if` is a block inside, and ends with the outer one.
            "else" => open_blocks.last_mut().into_iter().for_each(|chain| *chain += 1),
            "end" => drop(open_blocks.pop()),
            _ => {}
        }
        if open_blocks.iter().sum::<usize>() > MAX_NESTING {
            return too_deep();
        }
        let mut parentheses = 0_usize;
        for character in action.chars() {
            match character {
                '(' => parentheses += 1,
                ')' => parentheses = parentheses.saturating_sub(1),
                _ => {}
            }
            if parentheses > MAX_NESTING {
                return too_deep();
            }
        }
    }
    Ok(())
}

/// How many rounds its loops may do in all.
///
/// # Errors
/// A function that there is not, a template that calls itself, or too many steps.
pub fn rounds(name: &str, template: &Template) -> Result<u64, String> {
    let mut shape = Shape { template, known: BTreeMap::new(), open: Vec::new(), wrong: None };
    let steps = shape.template_steps(name);
    // Templates that nobody calls are checked too.
    for other in template.templates() {
        shape.template_steps(other);
    }
    match shape.wrong {
        Some(wrong) => Err(wrong),
        None if steps > MAX_STEPS => Err(format!("it has more than {MAX_STEPS} steps; make it smaller")),
        None => Ok((MAX_WORK / steps.max(1)).clamp(1, MAX_ROUNDS)),
    }
}

struct Shape<'a> {
    template: &'a Template,
    known: BTreeMap<String, u64>,
    open: Vec<String>,
    wrong: Option<String>,
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
        if self.open.iter().any(|open| open == name) || self.open.len() > MAX_NESTING {
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

    fn list(&mut self, list: &ListNode) -> u64 {
        list.nodes.iter().fold(1, |steps, node| steps.saturating_add(self.node(node)))
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
