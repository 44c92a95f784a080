//! Our finalizer on a schedule.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use rekey_api::{RotationSchedule, names};
use serde_json::json;

use super::Writer;
use crate::{
    cluster::{Object, ObjectName},
    error::{Error, Operation, status},
};

/// Whether our finalizer should be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// A rotation is open.
    On,
    /// Nothing is left to be done.
    Off,
}

impl Writer {
    /// Adds our finalizer to a schedule, or removes it. Others' finalizers stay.
    ///
    /// # Errors
    /// `Conflict` when the schedule has changed meanwhile.
    pub async fn finalizer(&self, schedule: &RotationSchedule, finalizer: Finalizer) -> Result<(), Error> {
        let name = schedule.name_any();
        let namespace = schedule.namespace().unwrap_or_default();
        let api: Api<RotationSchedule> = Api::namespaced(self.client.clone(), &namespace);
        let (params, body) = finalizers(&schedule.metadata, finalizer);
        match api.patch(&name, &params, &body).await {
            // Gone with this write, unless others hold it too.
            Ok(changed) if changed.metadata.deletion_timestamp.is_some() && changed.finalizers().is_empty() => Ok(()),
            Ok(changed) => {
                let name = ObjectName::new(namespace, name);
                let before = self.cluster.schedules.get(&name);
                self.cluster.schedules.update(&name, Object::from_object(changed, before.as_deref()));
                Ok(())
            }
            Err(error) if status(&error) == Some(404) => Ok(()),
            Err(error) => Err(Error::api(Operation::ChangeFinalizer, format!("RotationSchedule {name}"))(error)),
        }
    }

    /// Removes our finalizer from a schedule that is being deleted, without reading the schedule.
    ///
    /// # Errors
    /// `Conflict` when the schedule has changed meanwhile.
    pub async fn release(&self, schedule: &ObjectMeta) -> Result<(), Error> {
        if !schedule.finalizers.iter().flatten().any(|name| name == names::FINALIZER) {
            return Ok(()); // or there are more than are kept, and the others would go with it
        }
        let name = schedule.name.clone().unwrap_or_default();
        let api: Api<RotationSchedule> =
            Api::namespaced(self.client.clone(), schedule.namespace.as_deref().unwrap_or_default());
        let (params, body) = finalizers(schedule, Finalizer::Off);
        match api.patch_metadata(&name, &params, &body).await {
            Ok(_) => Ok(()),
            Err(error) if status(&error) == Some(404) => Ok(()),
            Err(error) => Err(Error::api(Operation::ChangeFinalizer, format!("RotationSchedule {name}"))(error)),
        }
    }
}

/// The change that adds our finalizer to a schedule, or removes it.
fn finalizers(schedule: &ObjectMeta, finalizer: Finalizer) -> (PatchParams, Patch<serde_json::Value>) {
    let others = schedule.finalizers.iter().flatten().filter(|name| *name != names::FINALIZER);
    let finalizers: Vec<&str> =
        others.map(String::as_str).chain((finalizer == Finalizer::On).then_some(names::FINALIZER)).collect();
    let body = json!({"metadata": {"resourceVersion": schedule.resource_version, "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
    (params, Patch::Merge(body))
}
