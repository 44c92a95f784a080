use std::{
    cell::{Cell, Ref, RefCell},
    collections::BTreeMap,
    fmt, mem,
    rc::Rc,
};

use super::{Of, Text, Value, drop_all};

/// A dict, sorted by its names. All clones see a change of it.
#[derive(Clone)]
pub struct Map(Rc<Shared>);

struct Shared {
    of: Of,
    members: RefCell<BTreeMap<Text, Value>>,
    is_kept: Cell<bool>,
}

impl Map {
    /// An empty one, whose members have the declared type `of`.
    pub fn new(of: Of) -> Self {
        Self::with(of, BTreeMap::new())
    }

    /// `map[string]interface {}`
    pub fn of_any(members: BTreeMap<Text, Value>) -> Self {
        Self::with(Of::Any, members)
    }

    /// One with these members, whose type must be `of`.
    pub fn with(of: Of, members: BTreeMap<Text, Value>) -> Self {
        Self(Rc::new(Shared { of, members: RefCell::new(members), is_kept: Cell::new(false) }))
    }

    /// The declared type of its members.
    pub fn of(&self) -> Of {
        self.0.of
    }

    /// A member.
    pub fn get(&self, name: &[u8]) -> Option<Value> {
        self.0.members.borrow().get(name).cloned()
    }

    /// Whether there is a member of this name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.0.members.borrow().contains_key(name)
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.0.members.borrow().len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members, to read: until this is dropped, no dict may change.
    pub fn borrow(&self) -> Ref<'_, BTreeMap<Text, Value>> {
        self.0.members.borrow()
    }

    /// The members as they are now.
    pub fn snapshot(&self) -> Vec<(Text, Value)> {
        self.borrow().iter().map(|(name, member)| (name.clone(), member.clone())).collect()
    }

    /// Sets a member. Functions use [`Call::insert`](super::super::super::functions::Call::insert), which accounts
    /// for it.
    pub(in crate::render) fn insert(&self, name: Text, member: Value) {
        // Drop the old value only when nothing is borrowed any more.
        let before = self.0.members.borrow_mut().insert(name, member);
        drop(before);
    }

    /// Removes a member.
    pub fn remove(&self, name: &[u8]) {
        let before = self.0.members.borrow_mut().remove(name);
        drop(before);
    }

    /// Whether both are one and the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// True at the first call only.
    pub(in crate::render) fn is_new_to_keep(&self) -> bool {
        !self.0.is_kept.replace(true)
    }

    /// Removes all members, so that nothing holds itself.
    pub(in crate::render) fn clear(&self) {
        let members = mem::take(&mut *self.0.members.borrow_mut());
        drop_all(members.into_values().collect());
    }

    /// Adds its members to `values` if no other dict shares them.
    pub(super) fn give(self, values: &mut Vec<Value>) {
        if let Ok(shared) = Rc::try_unwrap(self.0) {
            values.extend(shared.members.take().into_values());
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Map([hidden])")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop_all(mem::take(self.members.get_mut()).into_values().collect());
    }
}
