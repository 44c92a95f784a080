use std::{mem, ops::Deref, rc::Rc};

use super::{Of, Value, drop_all};

/// A list. It never changes.
#[derive(Clone)]
pub struct List(Rc<Items>);

struct Items {
    of: Of,
    values: Vec<Value>,
    is_nil: bool,
}

impl List {
    /// A list of `items`, whose type must be `of`.
    pub fn new(of: Of, items: Vec<Value>) -> Self {
        Self(Rc::new(Items { of, values: items, is_nil: false }))
    }

    /// A list that is `nil`: empty, and `null` in JSON.
    pub fn nil(of: Of) -> Self {
        Self(Rc::new(Items { of, values: Vec::new(), is_nil: true }))
    }

    /// Whether it is `nil`.
    pub fn is_nil(&self) -> bool {
        self.0.is_nil
    }

    /// `[]interface {}`
    pub fn of_any(items: Vec<Value>) -> Self {
        Self::new(Of::Any, items)
    }

    /// `[]string`
    pub fn of_texts(texts: impl IntoIterator<Item = impl Into<super::Text>>) -> Self {
        Self::new(Of::Text, texts.into_iter().map(|text| Value::Text(text.into())).collect())
    }

    /// The declared type of its items.
    pub fn of(&self) -> Of {
        self.0.of
    }

    /// Whether both are one and the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Adds its items to `values` if no other list shares them.
    pub(super) fn give(self, values: &mut Vec<Value>) {
        if let Ok(mut items) = Rc::try_unwrap(self.0) {
            values.append(&mut items.values);
        }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::of_any(Vec::new())
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.0.values
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        drop_all(mem::take(&mut self.values));
    }
}
