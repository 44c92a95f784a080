//! What earlier values of policies were last seen to say of themselves. The records are those of the rows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rekey_core::policy::Kept;

use crate::cluster::ObjectName;

/// By Secret, of one policy.
pub type Values = BTreeMap<String, Kept>;

/// See the [module documentation](self).
#[derive(Debug, Default)]
pub struct KeptValues(Mutex<HashMap<ObjectName, Values>>);

impl KeptValues {
    /// Those of a policy.
    #[must_use]
    pub fn of(&self, policy: &ObjectName) -> Values {
        self.state().get(policy).cloned().unwrap_or_default()
    }

    /// Remembers those of a policy.
    pub fn set(&self, policy: &ObjectName, values: Values) {
        if values.is_empty() {
            self.state().remove(policy);
        } else {
            self.state().insert(policy.clone(), values);
        }
    }

    /// What is said of one changes, or it goes, by our own hand.
    pub fn let_go(&self, policy: &ObjectName, secret: &str) {
        if let Some(values) = self.state().get_mut(policy) {
            values.remove(secret);
        }
    }

    /// Forgets a policy.
    pub fn forget(&self, policy: &ObjectName) {
        self.state().remove(policy);
    }

    fn state(&self) -> MutexGuard<'_, HashMap<ObjectName, Values>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
