//! Writes statuses, once per reconcile and only when they differ.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use rekey_api::{condition::Reason, names};
use rekey_core::bounds::Bounded;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    index::Refers,
    rows::Object,
    table::{ObjectName, Table},
};

/// A kind whose status we write.
pub trait Kind:
    Bounded + HasStatus + Refers + Clone + Serialize + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static
{
    /// Its API, in the namespace for namespaced kinds.
    fn api(ctx: &Context, namespace: &str) -> Api<Self>;
    /// Its table.
    fn table(ctx: &Context) -> &Table<Object<Self>>;
}

/// Writes `status` unless the object has it already. `version`: the write is refused if the object is no longer in
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
    let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
    if let Some(row) = K::table(ctx).get(&name) {
        row.writes(status);
    }
    let mut base = ObjectMeta { name: object.meta().name.clone(), uid: object.uid(), ..ObjectMeta::default() };
    base.resource_version = object.resource_version().filter(|_| version);
    // What was written of a malformed object would stay with server-side apply, for a moment beside what is true now.
    if object.status().is_some_and(is_malformed) {
        return replace::<K>(ctx, &name, &base, status).await.map(Some);
    }
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": base,
        "status": status,
    });
    let params = PatchParams::apply(names::MANAGER_STATUS).force();
    let patch = Patch::Apply(&body);
    match K::api(ctx, &name.namespace).patch_status(&name.name, &params, &patch).await {
        Ok(written) if written.status() == Some(status) => Ok(Some(written)),
        // What others have written stays with server-side apply, in whole or in part.
        Ok(written) => replace::<K>(ctx, &name, written.meta(), status).await.map(Some),
        Err(error) if crate::error::status(&error) == Some(422) => {
            replace::<K>(ctx, &name, &base, status).await.map(Some)
        }
        Err(error) => Err(failed::<K>(&name)(error)),
    }
}

/// Makes `status` the whole status. Refused when the object is another one than `base`, or has changed since, if that says
/// in which version it was.
async fn replace<K>(ctx: &Context, name: &ObjectName, base: &ObjectMeta, status: &K::Status) -> Result<K, Error>
where
    K: Kind,
    K::Status: Serialize,
{
    let mut operations = vec![
        json!({"op": "test", "path": "/metadata/uid", "value": base.uid}),
        json!({"op": "add", "path": "/status", "value": status}),
    ];
    if let Some(version) = &base.resource_version {
        operations.push(json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    }
    let operations = serde_json::from_value(operations.into()).map_err(kube::Error::SerdeError);
    let patch = Patch::<()>::Json(operations.map_err(failed::<K>(name))?);
    let params = PatchParams { field_manager: Some(names::MANAGER_STATUS.to_owned()), ..PatchParams::default() };
    K::api(ctx, &name.namespace).patch_status(&name.name, &params, &patch).await.map_err(failed::<K>(name))
}

fn failed<K: Kind>(name: &ObjectName) -> impl FnOnce(kube::Error) -> Error {
    Error::api("write the status of", format!("{} {name}", K::kind(&())))
}

/// Whether this was written by [`malformed`].
fn is_malformed(status: &impl Serialize) -> bool {
    let reason = json!(Reason::MalformedObject.as_str());
    let status = serde_json::to_value(status).unwrap_or_default();
    let conditions = status.get("conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition.get("reason") == Some(&reason))
}

async fn merge<K: Kind>(ctx: &Context, name: &ObjectName, body: &serde_json::Value) -> Result<K, Error> {
    let params = PatchParams { field_manager: Some(names::MANAGER_STATUS.to_owned()), ..PatchParams::default() };
    K::api(ctx, &name.namespace).patch_status(&name.name, &params, &Patch::Merge(body)).await.map_err(failed::<K>(name))
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
    notify: fn(&Context, &crate::table::Change<Object<K>>),
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
    // Server-side apply has to understand the whole object, and this one cannot be understood.
    let body = json!({
        "metadata": {"uid": metadata.uid},
        "status": {"observedGeneration": generation, "conditions": found},
    });
    let told = merge::<K>(ctx, name, &body).await.map(drop);
    let reference = ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: metadata.namespace.clone(),
        name: Some(name.name.clone()),
        uid: metadata.uid.clone(),
        ..ObjectReference::default()
    };
    ctx.events.warning_about(&reference, error.reason(), "Read", &error.to_string()).await;
    match told {
        // The rules of today's schema can stand against any write of an old object; the Event has told of it.
        Err(Error::Api { source, .. }) if crate::error::status(&source) == Some(422) => Ok(()),
        told => told,
    }
}
