//! Policies that are gone, and whose versions have still to be looked at.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::ObjectName;

/// See the [module documentation](self). Their namespaces are followed for so long, though they may hold nothing of ours.
#[derive(Debug, Default)]
pub struct Leaving(Mutex<BTreeSet<ObjectName>>);

impl Leaving {
    /// A policy is gone.
    pub fn add(&self, policy: ObjectName) {
        self.names().insert(policy);
    }

    /// Its versions have been looked at, or it is there again.
    pub fn done(&self, policy: &ObjectName) {
        self.names().remove(policy);
    }

    /// Their namespaces.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.names().iter().map(|policy| policy.namespace.clone()).collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<ObjectName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
