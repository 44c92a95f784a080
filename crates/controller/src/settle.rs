//! Writes statuses, once per reconcile and only when they differ.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::object::HasStatus,
};
use rekey_api::names;
use rekey_core::bounds::{Bounded, fit};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    cluster::{Object, ObjectName, Refers, Table},
    context::Context,
    error::{Error, Operation},
};

/// A kind whose status we write.
pub trait Kind:
    Bounded
    + HasStatus<Status: DeserializeOwned>
    + Refers
    + Clone
    + Serialize
    + DeserializeOwned
    + std::fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Its API, in the namespace for namespaced kinds.
    fn api(ctx: &Context, namespace: &str) -> Api<Self>;
    /// Its table.
    fn table(ctx: &Context) -> &Table<Object<Self>>;
}

/// Writes `status`, as far as its schema takes it, unless the object has it already. `version`: the write is refused if the object is no longer in
/// this version, for states that must follow one another.
///
/// # Errors
/// When the API server refuses.
pub async fn status<K>(ctx: &Context, object: &K, status: &K::Status, version: bool) -> Result<Option<K>, Error>
where
    K: Kind,
    K::Status: Serialize + PartialEq,
{
    if object.status() == Some(status) {
        return Ok(None);
    }
    let fitting = fit::<K>(status);
    let status = fitting.as_ref().unwrap_or(status);
    if fitting.is_some() && object.status() == Some(status) {
        return Ok(None);
    }
    let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
    if let Some(row) = K::table(ctx).get(&name) {
        row.writes(status);
    }
    let whole = serde_json::to_value(status).map_err(kube::Error::SerdeError).map_err(failed::<K>(&name))?;
    let patch = whole_status(object.meta(), version, &whole).map_err(failed::<K>(&name))?;
    let written = K::api(ctx, &name.namespace).patch_status(&name.name, &params(), &patch).await;
    written.map(Some).map_err(failed::<K>(&name))
}

/// Makes `status` the whole status: server-side apply would leave what another tool has written into it, and be refused where
/// that belongs to a part of ours. Refused when the object is another one by now; with `version`, when it has changed at all.
fn whole_status(metadata: &ObjectMeta, version: bool, status: &Value) -> Result<Patch<()>, kube::Error> {
    let precondition = if version {
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": metadata.resource_version})
    } else {
        json!({"op": "test", "path": "/metadata/uid", "value": metadata.uid})
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

/// As [`status`], and makes the tables and everybody who watches the object know.
///
/// # Errors
/// As [`status`].
pub async fn settle<K>(
    ctx: &Context,
    object: &K,
    wanted: &K::Status,
    version: bool,
    notify: fn(&Context, &crate::cluster::Change<Object<K>>),
) -> Result<bool, Error>
where
    K: Kind,
    K::Status: Serialize + PartialEq,
{
    let Some(written) = status(ctx, object, wanted, version).await? else {
        return Ok(false);
    };
    let name = ObjectName::new(written.namespace().unwrap_or_default(), written.name_any());
    let before = K::table(ctx).get(&name);
    if let Some(change) = K::table(ctx).update(&name, Object::from_object(written, before.as_deref())) {
        notify(ctx, &change);
    }
    Ok(true)
}

/// Tells the user of an object that cannot be read as its kind: its status is written without reading it, if the API
/// server lets us, and an Event is made.
///
/// # Errors
/// As [`status`].
pub async fn malformed<K>(ctx: &Context, name: &ObjectName, metadata: &ObjectMeta, error: &Error) -> Result<(), Error>
where
    K: Kind,
{
    let generation = metadata.generation.unwrap_or_default();
    let found = rekey_core::summary::conditions(&[], &error.situation(false), &[], generation, ctx.now());
    let told = tell::<K>(ctx, name, metadata, &json!({"observedGeneration": generation, "conditions": found})).await;
    let reference = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: metadata.namespace.clone(),
        name: Some(name.name.clone()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    ctx.events.tell_about(&reference, &error.notice("Read")).await;
    match told {
        // The rules of today's schema can stand against any write of an old object; the Event has told of it.
        Err(Error::Api { source, .. }) if crate::error::status(&source) == Some(422) => Ok(()),
        told => told,
    }
}

/// Writes this into the status of an object that cannot be read as its kind. Where it is the status that cannot be read, this
/// becomes all of it: nobody but us has a use for the rest.
async fn tell<K: Kind>(ctx: &Context, name: &ObjectName, metadata: &ObjectMeta, status: &Value) -> Result<(), Error> {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match name.namespace.as_str() {
        "" => Api::all_with(ctx.client.clone(), &resource),
        namespace => Api::namespaced_with(ctx.client.clone(), namespace, &resource),
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
        let patch = whole_status(metadata, false, status).map_err(failed::<K>(name))?;
        api.patch_status(&name.name, &params(), &patch).await
    };
    written.map(drop).map_err(failed::<K>(name))
}
