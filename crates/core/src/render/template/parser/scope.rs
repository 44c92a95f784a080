//! The variables in scope. A lookup takes the same time, however many there are.

use std::{collections::BTreeMap, mem};

use crate::render::template::tree::Variable;

/// The variables of a template.
pub struct Scope<'a> {
    /// Those that were ever named.
    known: BTreeMap<&'a str, Variable>,
    visible: Visible,
}

/// Those in scope.
#[derive(Default)]
pub struct Visible {
    declared: Vec<Variable>,
    /// How often each is declared.
    counts: BTreeMap<Variable, usize>,
}

impl<'a> Scope<'a> {
    /// Only `$` is in scope.
    pub fn new() -> Self {
        let mut scope = Self { known: BTreeMap::new(), visible: Visible::default() };
        scope.declare("$");
        scope
    }

    /// Adds a variable, or one more of the same name.
    pub fn declare(&mut self, name: &'a str) -> Variable {
        // There are fewer than tokens.
        let next = Variable(u32::try_from(self.known.len()).unwrap_or(u32::MAX));
        let variable = *self.known.entry(name).or_insert(next);
        self.visible.declared.push(variable);
        *self.visible.counts.entry(variable).or_default() += 1;
        variable
    }

    /// The variable of this name, if it is in scope.
    pub fn find(&self, name: &str) -> Option<Variable> {
        let variable = self.known.get(name)?;
        self.visible.counts.get(variable).is_some_and(|count| *count > 0).then_some(*variable)
    }

    /// Where a block starts, for [`Scope::leave`].
    pub fn mark(&self) -> usize {
        self.visible.declared.len()
    }

    /// Removes variables that were declared since.
    pub fn leave(&mut self, mark: usize) {
        for variable in self.visible.declared.drain(mark..) {
            self.visible.counts.entry(variable).and_modify(|count| *count -= 1);
        }
    }

    /// Only `$` is in scope, until [`Scope::end_apart`].
    pub fn start_apart(&mut self) -> Visible {
        let visible = mem::take(&mut self.visible);
        self.declare("$");
        visible
    }

    /// Restores the variables from before.
    pub fn end_apart(&mut self, visible: Visible) {
        self.visible = visible;
    }
}
