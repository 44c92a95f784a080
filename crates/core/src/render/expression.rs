//! `JMESPath` (<https://jmespath.org/specification.html>) on remote values.

mod cost;
mod evaluate;

use jmespath::{Runtime, ast::Ast};

use super::{RenderError, json};
use crate::SecretBytes;

/// The deepest nesting of brackets and operators, and their longest chain.
const MAX_NESTING: usize = 96;
/// How often we read a value, on average, until the interpreter has it.
const READ: usize = 16;
/// The most values inside the input: the interpreter takes about 80 bytes for each.
const MAX_ITEMS: usize = 128 * 1024;
/// Positions and steps in lists; no list has as many items.
const MAX_INDEX: u32 = 1 << 24;

/// An expression that parses, calls only functions that exist, and cannot make a value grow without bound. Two are
/// equal when their texts are.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    tree: Ast,
    growth: cost::Growth,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is not a usable JMESPath expression: {why}");
        bounded(text).map_err(wrong)?;
        let tree = jmespath::parse(text).map_err(|error| {
            let why = error.reason.to_string();
            let why = why.trim_start_matches("Parse error: ").to_owned();
            wrong(&format!("{why} (at character {})", error.offset + 1))
        })?;
        check(&tree, &evaluate::runtime(&evaluate::Numbers::default())).map_err(|why| wrong(&why))?;
        let growth = cost::growth(&tree);
        if !growth.is_bounded() {
            return Err(wrong("it can make a value grow too large; nest fewer copies of a value"));
        }
        Ok(Self { text: text.to_owned(), tree, growth })
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it costs to evaluate it on a value of this many bytes, in bytes that are read or made.
    #[must_use]
    pub fn cost(&self, input: usize) -> usize {
        self.growth.of(input).saturating_add(input.saturating_mul(READ))
    }

    /// What the expression gives on the JSON value at `key`: strings as their text, a `null` of the store as an empty value, a
    /// list or an object of the store as its text in the store, and what the expression itself makes as compact JSON.
    /// Numbers that it only passes on keep every digit; it compares and counts with 64-bit floats.
    ///
    /// # Errors
    /// `NotJson`, `PropertyNotFound` when it gives `null` because there is no such value, and `ExpressionFailed`. None
    /// quotes a value.
    pub fn evaluate(&self, value: &SecretBytes, key: &str) -> Result<SecretBytes, RenderError> {
        let document = json::document(value, key)?;
        let failed = |text: String| RenderError::ExpressionFailed { key: key.to_owned(), text };
        if !self.growth.fits(document.get().len()) || json::items(document) > MAX_ITEMS {
            return Err(failed("the value is too large for this expression; take a part of it".to_owned()));
        }
        evaluate::evaluate(document, &self.text, &self.tree)
            .map_err(failed)?
            .ok_or_else(|| RenderError::PropertyNotFound { key: key.to_owned(), property: self.text.clone() })
    }
}

/// The parser and the interpreter call themselves once for each bracket and each operator of a chain; too deep nesting
/// must not reach them.
fn bounded(text: &str) -> Result<(), &'static str> {
    let mut open_chains = vec![0_usize];
    let mut quote = None;
    let mut escaped = false;
    for character in text.chars() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (Some(open), _) => {
                escaped = character == '\\';
                quote = (character != open).then_some(open);
            }
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, ')' | ']' | '}') => drop(open_chains.pop()),
            (None, _) => {
                let symbol = !character.is_alphanumeric() && !character.is_whitespace() && character != '_';
                if let Some(chain) = open_chains.last_mut() {
                    *chain = if character == ',' { 0 } else { *chain + usize::from(symbol) };
                }
                if matches!(character, '(' | '[' | '{') {
                    open_chains.push(0);
                }
            }
        }
        if open_chains.iter().sum::<usize>() > MAX_NESTING {
            return Err("it is nested too deeply, or one chain of it is too long");
        }
    }
    Ok(())
}

/// Looks for parts that fail only when they are evaluated.
fn check(tree: &Ast, runtime: &Runtime) -> Result<(), String> {
    let far = |index: i32| index.unsigned_abs() > MAX_INDEX;
    let wrong = match tree {
        Ast::Function { name, .. } if runtime.get_function(name).is_none() => {
            Some(format!("there is no function {name:?}"))
        }
        Ast::Index { idx, .. } if far(*idx) => Some(format!("no list has an item {idx}")),
        Ast::Slice { start, stop, step, .. }
            if *step == 0 || far(*step) || start.is_some_and(far) || stop.is_some_and(far) =>
        {
            Some("a slice needs small numbers and a step other than 0".to_owned())
        }
        _ => None,
    };
    match wrong {
        Some(wrong) => Err(wrong),
        None => children(tree).into_iter().try_for_each(|child| check(child, runtime)),
    }
}

fn children(tree: &Ast) -> Vec<&Ast> {
    match tree {
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => {
            Vec::new()
        }
        Ast::Expref { ast, .. } => vec![ast],
        Ast::Flatten { node, .. } | Ast::Not { node, .. } | Ast::ObjectValues { node, .. } => vec![node],
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => vec![lhs, rhs],
        Ast::Condition { predicate, then, .. } => vec![predicate, then],
        Ast::Function { args, .. } => args.iter().collect(),
        Ast::MultiList { elements, .. } => elements.iter().collect(),
        Ast::MultiHash { elements, .. } => elements.iter().map(|pair| &pair.value).collect(),
    }
}

#[cfg(test)]
mod tests;
