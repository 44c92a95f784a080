//! Schedules that would rotate the same thing twice.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};
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
                None => match self.rival_for_users(object, task) {
                    Some(found) => found,
                    None => return Ok(()),
                },
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
        let ours = age(&object.metadata, &own);
        let others = self.cluster.users(store.kind, Some(&store.name), namespace).schedules.into_iter();
        let is_rival = |name: &ObjectName| {
            let Some(row) = self.cluster.schedules.get(name) else { return false };
            let to = row.spec().ok().and_then(|spec| self.task(spec).ok()).map(|task| task.to);
            to.as_ref() == Some(&task.to)
                && age(row.metadata(), name) < ours
                // Anybody can name a key that is not granted to him.
                && self.stores.may_write(&name.namespace, store, &task.to.key).is_ok()
        };
        others.filter(|name| *name != own).find(is_rival)
    }

    /// An older schedule of the namespace that lets a user of the same database server take turns, and which user that is. Anybody can
    /// name a server and its users elsewhere; there the fence on the user decides.
    fn rival_for_users(&self, object: &RotationSchedule, task: &Task) -> Option<(String, ObjectName)> {
        let database = task.spec.rotator.database()?;
        let own = key_of(&task.spec);
        let ours = age(&object.metadata, &own);
        let others = self.cluster.schedules.in_namespace(&own.namespace).into_iter();
        let others = others.map(|(name, row)| (ObjectName::new(own.namespace.as_str(), name), row));
        others.filter(|(name, _)| *name != own).find_map(|(name, row)| {
            let theirs = row.spec().ok()?;
            let user = database.shares(theirs.rotator.database()?)?;
            (age(row.metadata(), &name) < ours).then(|| (format!("user {user} of {}", database.place), name))
        })
    }
}

/// The older of two comes first.
fn age(metadata: &ObjectMeta, name: &ObjectName) -> (Option<Timestamp>, ObjectName) {
    (metadata.creation_timestamp.as_ref().map(|time| time.0), name.clone())
}
