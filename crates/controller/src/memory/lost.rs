//! Secrets of which a write has no answer, or has met a conflict: they may hold something else than what is known of them,
//! and nobody is restarted for what is known.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rekey_core::policy::ObjectVersion;

use crate::cluster::ObjectName;

/// By name: the version that was known before the write.
#[derive(Debug, Default)]
pub struct LostWrites(Mutex<HashMap<ObjectName, ObjectVersion>>);

impl LostWrites {
    /// Remembers a write over this version.
    pub fn set(&self, secret: ObjectName, known: ObjectVersion) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(secret, known);
    }

    /// Whether nothing newer is known of the Secret than before such a write.
    #[must_use]
    pub fn is_open(&self, secret: &ObjectName, known: &ObjectVersion) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(secret) == Some(known)
    }

    /// What is known of the Secret holds.
    pub fn forget(&self, secret: &ObjectName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(secret);
    }
}
