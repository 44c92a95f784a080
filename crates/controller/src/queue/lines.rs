//! Lines in which tenants take turns: one line a tenant, and the tenants one after the other, however long their lines are.

use std::collections::{HashMap, VecDeque};

/// See the [module documentation](self).
pub struct Lines<T> {
    /// Those who have a line, in the order of their turns.
    turns: VecDeque<String>,
    lines: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { turns: VecDeque::new(), lines: HashMap::new() }
    }
}

impl<T> Lines<T> {
    /// Puts an item at the end of the tenant's line.
    pub fn push(&mut self, tenant: &str, item: T) {
        if let Some(line) = self.lines.get_mut(tenant) {
            line.push_back(item);
            return;
        }
        self.turns.push_back(tenant.to_owned());
        self.lines.insert(tenant.to_owned(), VecDeque::from([item]));
    }

    /// The item whose turn it is.
    pub fn first(&mut self) -> Option<&mut T> {
        self.lines.get_mut(self.turns.front()?)?.front_mut()
    }

    /// Takes the item whose turn it is; the next turn is another tenant's.
    pub fn pop(&mut self) -> Option<T> {
        let tenant = self.turns.pop_front()?;
        let line = self.lines.get_mut(&tenant)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        item
    }

    /// Leaves the item whose turn it is where it is; the next turn is another tenant's.
    pub fn pass(&mut self) {
        if !self.turns.is_empty() {
            self.turns.rotate_left(1);
        }
    }

    /// Removes what is not to be kept of a tenant's line.
    pub fn retain(&mut self, tenant: &str, keep: impl FnMut(&T) -> bool) {
        let Some(line) = self.lines.get_mut(tenant) else {
            return;
        };
        line.retain(keep);
        if line.is_empty() {
            self.lines.remove(tenant);
            self.turns.retain(|other| other != tenant);
        }
    }

    /// Each tenant's line.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &VecDeque<T>)> {
        self.lines.iter().map(|(tenant, line)| (tenant.as_str(), line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns() {
        let mut lines = Lines::default();
        for (tenant, item) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            lines.push(tenant, item);
        }
        lines.retain("a", |item| *item != 2);
        lines.retain("c", |_| false);
        lines.retain("d", |_| false);
        assert_eq!(lines.iter().map(|(_, line)| line.len()).sum::<usize>(), 4);
        assert_eq!(lines.first(), Some(&mut 1));
        lines.pass();
        assert_eq!(lines.first(), Some(&mut 4));
        let taken: Vec<i32> = std::iter::from_fn(|| lines.pop()).collect();
        assert_eq!(taken, [4, 1, 6, 3]);
        assert!(lines.first().is_none() && lines.iter().next().is_none());
    }
}
