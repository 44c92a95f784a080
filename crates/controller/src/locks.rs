//! One at a time, for each of many objects.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::table::ObjectName;

/// See the [module documentation](self). A lock that nobody holds or waits for is forgotten with the next one that is
/// taken.
#[derive(Default)]
pub struct Locks(Mutex<HashMap<ObjectName, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Waits until nobody else holds any of these.
    pub async fn hold(&self, names: &BTreeSet<ObjectName>) -> Vec<OwnedMutexGuard<()>> {
        let mut held = Vec::with_capacity(names.len());
        // In the order of the set, which is the same for everybody: nobody waits for who waits for them.
        for name in names {
            let lock = {
                let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
                Arc::clone(locks.entry(name.clone()).or_default())
            };
            held.push(lock.lock_owned().await);
        }
        held
    }

    /// How many there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
