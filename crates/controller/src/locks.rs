//! One at a time, for each of many objects.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::cluster::ObjectName;

/// See the [module documentation](self). A lock that is neither held nor waited for is forgotten with the next one that
/// is taken.
#[derive(Default)]
pub struct Locks(Mutex<HashMap<ObjectName, Arc<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Waits until no other holds any of these.
    pub async fn hold(&self, names: &BTreeSet<ObjectName>) -> Vec<OwnedMutexGuard<()>> {
        let mut held = Vec::with_capacity(names.len());
        // In the order of the set, which is the same for all: no two wait for each other.
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
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_shares_an_object_comes_after_one_another_and_nobody_else_waits() {
        let locks = Locks::default();
        let secrets = |names: &[&str]| names.iter().map(|name| ObjectName::new("shop", *name)).collect::<BTreeSet<_>>();
        let (db, cache, both) = (secrets(&["db"]), secrets(&["cache"]), secrets(&["cache", "db"]));
        let held = locks.hold(&db).await;
        assert!(locks.hold(&cache).now_or_never().is_some());
        assert!(locks.hold(&db).now_or_never().is_none());
        assert!(locks.hold(&both).now_or_never().is_none());
        assert!(locks.hold(&cache).now_or_never().is_some(), "who was dropped while it waited holds nothing");
        drop(held);
        let held = locks.hold(&both).await;
        assert!(locks.hold(&db).now_or_never().is_none());
        assert!(locks.hold(&cache).now_or_never().is_none());
        drop(held);
        drop(locks.hold(&db).await);
        assert_eq!(locks.0.lock().unwrap().len(), 1, "what nobody holds goes with the next lock");
    }
}
