//! Workloads that wait for other consumers of the same Secret. Whoever ends a rollout wakes those that wait: they need
//! not ask again and again.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rekey_core::workload::WorkloadId;

use crate::table::ObjectName;

/// See the [module documentation](self). Lost, everybody is looked at again.
#[derive(Default)]
pub struct Turns {
    waiting: Mutex<HashMap<ObjectName, BTreeSet<WorkloadId>>>,
}

impl Turns {
    /// `workload` waits for its turn with `secret`. Say so before asking whose turn it is: a rollout may end in between.
    pub fn wait(&self, secret: &ObjectName, workload: &WorkloadId) {
        self.state().entry(secret.clone()).or_default().insert(workload.clone());
    }

    /// It waits no longer.
    pub fn leave(&self, secret: &ObjectName, workload: &WorkloadId) {
        let mut waiting = self.state();
        if let Some(all) = waiting.get_mut(secret) {
            all.remove(workload);
            if all.is_empty() {
                waiting.remove(secret);
            }
        }
    }

    /// Those that wait, which do so no longer.
    pub fn take(&self, secret: &ObjectName) -> BTreeSet<WorkloadId> {
        self.state().remove(secret).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, HashMap<ObjectName, BTreeSet<WorkloadId>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::workload::Kind;

    use super::*;

    #[test]
    fn those_that_wait_are_woken_once() {
        let turns = Turns::default();
        let id =
            |name: &str| WorkloadId { kind: Kind::Deployment, namespace: "shop".to_owned(), name: name.to_owned() };
        let (db, cache) = (ObjectName::new("shop", "db"), ObjectName::new("shop", "cache"));
        for (secret, name) in [(&db, "a"), (&db, "b"), (&cache, "a")] {
            turns.wait(secret, &id(name));
        }
        turns.leave(&db, &id("b"));
        assert_eq!(turns.take(&db), [id("a")].into());
        assert!(turns.take(&db).is_empty());
        turns.leave(&cache, &id("a"));
        assert!(turns.state().is_empty());
    }
}
