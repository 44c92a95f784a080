//! Writes whose answers have not come yet, and which of their objects have gone meanwhile: the watch may report the end
//! of an object before the answer reports its last change.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::cluster::{ObjectName, Version};

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Writes(Mutex<HashMap<ObjectName, Write>>);

#[derive(Debug, Default)]
struct Write {
    /// How many there are of the same object.
    open: usize,
    gone: Option<Gone>,
}

/// When an object has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// In this version: what is later is of another object with the same name.
    At(Version),
    /// A new list lacks it.
    Unlisted,
}

/// A write on its way. It ends with its answer, or when that is not waited for any more.
#[derive(Debug)]
#[must_use]
pub struct Writing<'a> {
    writes: &'a Writes,
    pub(super) name: ObjectName,
}

impl Writes {
    pub fn start(&self, name: &ObjectName) -> Writing<'_> {
        self.open().entry(name.clone()).or_default().open += 1;
        Writing { writes: self, name: name.clone() }
    }

    /// An object has gone.
    pub fn mark(&self, name: &ObjectName, gone: Gone) {
        if let Some(write) = self.open().get_mut(name) {
            write.gone = Some(gone);
        }
    }

    /// All objects have gone that are not wanted.
    pub fn mark_all(&self, wanted: impl Fn(&ObjectName) -> bool) {
        for (_, write) in self.open().iter_mut().filter(|(name, _)| !wanted(name)) {
            write.gone = Some(Gone::Unlisted);
        }
    }

    /// Whether no write is on its way.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.open().is_empty()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<ObjectName, Write>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing<'_> {
    /// Whether an answer with this version is about an object that has gone since. Where that is not known, it is: the
    /// watch brings what is there.
    #[must_use]
    pub fn is_late(&self, version: &Version) -> bool {
        let open = self.writes.open();
        match open.get(&self.name).and_then(|write| write.gone.as_ref()) {
            None => false,
            Some(Gone::Unlisted) => true,
            Some(Gone::At(gone)) => !gone.is_before(version),
        }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let mut open = self.writes.open();
        if let Some(write) = open.get_mut(&self.name) {
            write.open -= 1;
            if write.open == 0 {
                open.remove(&self.name);
            }
        }
    }
}
