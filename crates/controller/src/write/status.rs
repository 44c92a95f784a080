//! Statuses: written once per reconcile and only when they differ.

use chrono::{DateTime, Utc};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
};
use rekey_api::names;
use rekey_core::{Parse, bounds::fit};
use serde_json::{Value, json};

use super::{Basis, Writer};
use crate::{
    cluster::{Change, Kind, Object, ObjectName},
    error::{Error, Operation},
};

/// What a status may be written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// The object, however it has changed.
    Object,
    /// The version that was looked at, for states that must follow one another.
    Version,
}

/// What has become of a status.
pub enum Written<K: Parse> {
    /// The object has it already.
    Same,
    /// It is written; the change, unless the watch has reported it before.
    New(Option<Change<Object<K>>>),
}

impl<K: Parse> Written<K> {
    /// Whether it was written; `notify` gets the change.
    pub fn tell(self, notify: impl FnOnce(&Change<Object<K>>)) -> bool {
        match self {
            Self::Same => false,
            Self::New(change) => {
                if let Some(change) = change {
                    notify(&change);
                }
                true
            }
        }
    }
}

impl Writer {
    /// Writes `status`, as far as its schema takes it, unless the object has it already. The change, if there is one
    /// that the watch has not reported before.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn status<K: Kind>(&self, object: &K, status: &K::Status, over: Over) -> Result<Written<K>, Error> {
        if object.status() == Some(status) {
            return Ok(Written::Same);
        }
        let fitting = fit::<K>(status);
        let status = fitting.as_ref().unwrap_or(status);
        if fitting.is_some() && object.status() == Some(status) {
            return Ok(Written::Same);
        }
        let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
        let table = K::table(&self.cluster);
        if let Some(row) = table.get(&name) {
            row.writes(status);
        }
        let whole = serde_json::to_value(status).map_err(kube::Error::SerdeError).map_err(failed::<K>(&name))?;
        let patch = whole_status(object.meta(), over, &whole).map_err(failed::<K>(&name))?;
        let (api, params) = (K::api(&self.client, &name.namespace), params());
        let written = async { api.patch_status(&name.name, &params, &patch).await.map_err(failed::<K>(&name)) };
        let version = object.meta().resource_version.as_deref().filter(|_| over == Over::Version);
        let basis = version.map(|version| Basis { object: format!("{} {name}", K::kind(&())), version });
        let written = self.over(basis, written).await?;
        let before = table.get(&name);
        Ok(Written::New(table.update(&name, Object::from_object(written, before.as_deref()))))
    }

    /// Reports an object that cannot be read as its kind: its status is written without reading it, if the API server
    /// lets us, and an Event is made.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn malformed<K: Kind>(
        &self,
        name: &ObjectName,
        metadata: &ObjectMeta,
        error: &Error,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let generation = metadata.generation.unwrap_or_default();
        let found = rekey_core::summary::conditions(&[], &error.situation(false), &[], generation, now);
        let told = self
            .tell_status::<K>(name, metadata, &json!({"observedGeneration": generation, "conditions": found}))
            .await;
        let reference = ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(K::kind(&()).into_owned()),
            namespace: metadata.namespace.clone(),
            name: Some(name.name.clone()),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        };
        self.event_about(&reference, &error.notice("Read")).await;
        match told {
            // The rules of today's schema can refuse any write of an old object; the Event has reported it.
            Err(Error::Api { source, .. }) if crate::error::status(&source) == Some(422) => Ok(()),
            told => told,
        }
    }

    /// Writes this into the status of an object that cannot be read as its kind. Where it is the status that cannot be
    /// read, this becomes all of it: only we have a use for the rest.
    async fn tell_status<K: Kind>(
        &self,
        name: &ObjectName,
        metadata: &ObjectMeta,
        status: &Value,
    ) -> Result<(), Error> {
        let resource = ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> = match name.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        // A right to `get` is not needed for anything else.
        let by_name = ListParams::default().fields(&format!("metadata.name={}", name.name)).limit(1);
        let found = api.list(&by_name).await.map_err(failed::<K>(name))?.items.pop();
        let status_now = found.and_then(|mut object| Some(object.data.get_mut("status")?.take())).unwrap_or_default();
        let is_readable = serde_json::from_value::<Option<K::Status>>(status_now).is_ok();
        let written = if is_readable {
            let body = json!({"metadata": {"uid": metadata.uid}, "status": status});
            api.patch_status(&name.name, &params(), &Patch::Merge(body)).await
        } else {
            let patch = whole_status(metadata, Over::Object, status).map_err(failed::<K>(name))?;
            api.patch_status(&name.name, &params(), &patch).await
        };
        written.map(drop).map_err(failed::<K>(name))
    }
}

/// Makes `status` the whole status: server-side apply would leave what another tool has written into it, and be refused
/// where that belongs to a part of ours. Refused when the object is another one by now; over a version, when it has
/// changed at all.
fn whole_status(metadata: &ObjectMeta, over: Over, status: &Value) -> Result<Patch<()>, kube::Error> {
    let precondition = match over {
        Over::Version => {
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": metadata.resource_version})
        }
        Over::Object => json!({"op": "test", "path": "/metadata/uid", "value": metadata.uid}),
    };
    let operations = json!([precondition, {"op": "add", "path": "/status", "value": status}]);
    serde_json::from_value(operations).map(Patch::Json).map_err(kube::Error::SerdeError)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(names::MANAGER_STATUS.to_owned()), ..PatchParams::default() }
}

fn failed<K: Kind>(name: &ObjectName) -> impl FnOnce(kube::Error) -> Error {
    Error::api(Operation::WriteStatus, format!("{} {name}", K::kind(&())))
}
