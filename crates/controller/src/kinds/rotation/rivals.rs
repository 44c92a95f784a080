//! Schedules that would rotate the same thing twice.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rekey_api::{RotationSchedule, reference::StoreKind};
use rekey_core::{
    SpecError,
    rotation::{self, State, Task},
};

use super::{Schedules, key_of};
use crate::{cluster::ObjectName, error::Error};

impl Schedules {
    /// The second schedule of a policy, or of a key, does nothing; what it has open it may finish.
    pub(super) fn duplicate(&self, object: &RotationSchedule, task: &Task) -> Result<(), Error> {
        let open = object.status.as_ref().is_some_and(|status| !matches!(rotation::state(status), State::Idle));
        if open || task.spec.deleted {
            return Ok(());
        }
        let first = self.cluster.schedules_of(&task.spec.namespace, &task.spec.policy).into_iter().next();
        let (what, other) = match first.and_then(|first| first.metadata().name.clone()) {
            Some(other) if other != task.spec.name => {
                (format!("SecretPolicy {:?}", task.spec.policy), ObjectName::new(task.spec.namespace.as_str(), other))
            }
            Some(_) | None => match self.rival(object, task) {
                Some(other) => (task.to.to_string(), other),
                None => return Ok(()),
            },
        };
        let other = if other.namespace == task.spec.namespace {
            format!("RotationSchedule {:?}", other.name)
        } else {
            "a RotationSchedule of another namespace".to_owned()
        };
        Err(SpecError::DuplicateSchedule { what, other }.into())
    }

    /// An older schedule that writes the same key of the same store.
    fn rival(&self, object: &RotationSchedule, task: &Task) -> Option<ObjectName> {
        let store = &task.to.store;
        let namespace = (store.kind == StoreKind::RemoteStore).then_some(task.spec.namespace.as_str());
        let own = key_of(&task.spec);
        let age = |created: Option<&Time>, name: &ObjectName| (created.map(|time| time.0), name.clone());
        let ours = age(object.metadata.creation_timestamp.as_ref(), &own);
        let others = self.cluster.users(store.kind, Some(&store.name), namespace).schedules.into_iter();
        let is_rival = |name: &ObjectName| {
            let Some(row) = self.cluster.schedules.get(name) else { return false };
            let to = row.spec().ok().and_then(|spec| self.task(spec).ok()).map(|task| task.to);
            to.as_ref() == Some(&task.to) && age(row.metadata().creation_timestamp.as_ref(), name) < ours
        };
        others.filter(|name| *name != own).find(is_rival)
    }
}
