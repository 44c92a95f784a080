//! Items of several tenants, who take turns: one with a thousand delays only its own.

use std::collections::{HashMap, VecDeque};

/// See the [module documentation](self).
pub struct Fair<T> {
    /// Who has items, in the order of their turns.
    tenants: VecDeque<String>,
    items: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { tenants: VecDeque::new(), items: HashMap::new() }
    }
}

impl<T> Fair<T> {
    /// Adds an item behind the others of its tenant.
    pub fn push(&mut self, tenant: &str, item: T) {
        if let Some(items) = self.items.get_mut(tenant) {
            items.push_back(item);
        } else {
            self.tenants.push_back(tenant.to_owned());
            self.items.insert(tenant.to_owned(), VecDeque::from([item]));
        }
    }

    /// The item whose turn it is.
    pub fn first(&mut self) -> Option<&mut T> {
        self.items.get_mut(self.tenants.front()?)?.front_mut()
    }

    /// Leaves the item whose turn it is where it is; the next turn is another tenant's.
    pub fn pass(&mut self) {
        if !self.tenants.is_empty() {
            self.tenants.rotate_left(1);
        }
    }

    /// Each tenant's items.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &VecDeque<T>)> {
        self.items.iter().map(|(tenant, items)| (tenant.as_str(), items))
    }

    /// Takes the next item of whoever comes next among those who `may` have a turn. Who may not keeps its place.
    pub fn pop(&mut self, may: impl Fn(&str) -> bool) -> Option<T> {
        let index = self.tenants.iter().position(|tenant| may(tenant))?;
        let tenant = self.tenants.remove(index)?;
        let items = self.items.get_mut(&tenant)?;
        let item = items.pop_front();
        if items.is_empty() {
            self.items.remove(&tenant);
        } else {
            self.tenants.push_back(tenant);
        }
        item
    }

    /// Takes the first item that is meant out of a tenant's line.
    pub fn remove(&mut self, tenant: &str, is_meant: impl Fn(&T) -> bool) -> Option<T> {
        let items = self.items.get_mut(tenant)?;
        let item = items.iter().position(is_meant).and_then(|index| items.remove(index));
        if items.is_empty() {
            self.items.remove(tenant);
            self.tenants.retain(|other| other != tenant);
        }
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_take_turns_and_who_may_not_keeps_its_place() {
        let mut fair = Fair::default();
        for (tenant, item) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)] {
            fair.push(tenant, item);
        }
        assert_eq!(fair.pop(|_| true), Some(1));
        assert_eq!(fair.pop(|tenant| tenant != "b"), Some(5), "c comes before a, who has had a turn");
        assert_eq!(fair.pop(|_| false), None);
        assert_eq!(fair.remove("a", |item| *item == 2), Some(2));
        assert_eq!([fair.pop(|_| true), fair.pop(|_| true), fair.pop(|_| true)], [Some(3), Some(4), None]);
        assert!(fair.tenants.is_empty() && fair.items.is_empty(), "nothing is left of tenants without items");
    }

    #[test]
    fn who_passes_comes_again_after_the_others() {
        let mut fair = Fair::default();
        for (tenant, item) in [("a", 1), ("b", 2), ("a", 3)] {
            fair.push(tenant, item);
        }
        assert_eq!(fair.first(), Some(&mut 1));
        fair.pass();
        assert_eq!(fair.first(), Some(&mut 2));
        assert_eq!(fair.iter().map(|(_, items)| items.len()).sum::<usize>(), 3);
        assert_eq!([fair.pop(|_| true), fair.pop(|_| true), fair.pop(|_| true)], [Some(2), Some(1), Some(3)]);
        fair.pass();
        assert!(fair.first().is_none());
    }

    #[test]
    fn a_tenant_whose_last_item_is_removed_has_no_turn() {
        let mut fair = Fair::default();
        fair.push("a", 1);
        fair.push("b", 2);
        assert_eq!([fair.remove("a", |_| true), fair.remove("c", |_| true)], [Some(1), None]);
        assert_eq!([fair.pop(|_| true), fair.pop(|_| true)], [Some(2), None]);
        assert!(fair.tenants.is_empty() && fair.items.is_empty());
    }
}
