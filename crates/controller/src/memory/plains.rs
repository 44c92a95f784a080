//! Plain Secrets beside versions, as they were last seen: one that was immutable may come back at once only with the same
//! bytes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rekey_core::{
    policy::{LastPlain, ObjectVersion},
    published::Published,
};

use crate::cluster::ObjectName;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Plains(Mutex<HashMap<ObjectName, (String, LastPlain)>>);

impl Plains {
    /// What is known of the last one.
    #[must_use]
    pub fn last(&self, secret: &ObjectName) -> LastPlain {
        self.state().get(secret).map(|(_, last)| last.clone()).unwrap_or_default()
    }

    /// It is there. One that this process has deleted is still seen for a moment.
    pub fn seen(&self, secret: &ObjectName, version: &ObjectVersion, published: &Arc<Published>) {
        let mut state = self.state();
        let is_gone = |(uid, last): &(String, LastPlain)| *last == LastPlain::Deleted && *uid == version.uid;
        if !state.get(secret).is_some_and(is_gone) {
            state.insert(secret.clone(), (version.uid.clone(), LastPlain::Was(Arc::clone(published))));
        }
    }

    /// This process deletes it.
    pub fn deleted(&self, secret: &ObjectName, version: &ObjectVersion) {
        self.state().insert(secret.clone(), (version.uid.clone(), LastPlain::Deleted));
    }

    /// Nobody asks any more.
    pub fn forget(&self, secret: &ObjectName) {
        self.state().remove(secret);
    }

    fn state(&self) -> MutexGuard<'_, HashMap<ObjectName, (String, LastPlain)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
