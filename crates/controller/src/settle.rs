//! Writes statuses, once per reconcile and only when they differ.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
    core::object::HasStatus,
};
use rekey_api::{condition::Reason, names};
use rekey_core::bounds::Bounded;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

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
    let mut metadata = json!({"name": name.name, "uid": object.uid()});
    if version {
        metadata["resourceVersion"] = json!(object.resource_version());
    }
    let conditions = |status: &K::Status| {
        serde_json::to_value(status).ok().and_then(|status| status.get("conditions").cloned()).unwrap_or_default()
    };
    let wanted = conditions(status);
    let set_conditions = json!({"metadata": {"uid": object.uid()}, "status": {"conditions": wanted}});
    // What was written of a malformed object would stay with server-side apply, for a moment beside what is true now.
    if object.status().map(conditions).is_some_and(|before| is_malformed(&before)) {
        merge::<K>(ctx, &name, &set_conditions).await?;
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.remove("resourceVersion"); // it has just changed
        }
    }
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": metadata,
        "status": status,
    });
    let params = PatchParams::apply(names::MANAGER_STATUS).force();
    let written = K::api(ctx, &name.namespace)
        .patch_status(&name.name, &params, &Patch::Apply(&body))
        .await
        .map_err(Error::api("write the status of", format!("{} {name}", K::kind(&()))))?;
    if written.status() == Some(status) {
        return Ok(Some(written));
    }
    // What others have written stays with server-side apply.
    replace(ctx, &name, &written, status).await.map(Some)
}

/// Makes `status` the whole status. Refused when the object has changed since `written`.
async fn replace<K>(ctx: &Context, name: &ObjectName, written: &K, status: &K::Status) -> Result<K, Error>
where
    K: Kind,
    K::Status: Serialize,
{
    let failed = || Error::api("write the status of", format!("{} {name}", K::kind(&())));
    let operations = json!([
        {"op": "test", "path": "/metadata/uid", "value": written.uid()},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": written.resource_version()},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let operations = serde_json::from_value(operations).map_err(kube::Error::SerdeError).map_err(failed())?;
    let params = PatchParams { field_manager: Some(names::MANAGER_STATUS.to_owned()), ..PatchParams::default() };
    let api = K::api(ctx, &name.namespace);
    api.patch_status(&name.name, &params, &Patch::<()>::Json(operations)).await.map_err(failed())
}

/// Whether these conditions were written by [`malformed`].
fn is_malformed(conditions: &serde_json::Value) -> bool {
    let reason = json!(Reason::MalformedObject.as_str());
    conditions.as_array().into_iter().flatten().any(|condition| condition.get("reason") == Some(&reason))
}

async fn merge<K: Kind>(ctx: &Context, name: &ObjectName, body: &serde_json::Value) -> Result<K, Error> {
    let params = PatchParams { field_manager: Some(names::MANAGER_STATUS.to_owned()), ..PatchParams::default() };
    K::api(ctx, &name.namespace)
        .patch_status(&name.name, &params, &Patch::Merge(body))
        .await
        .map_err(Error::api("write the status of", format!("{} {name}", K::kind(&()))))
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
pub async fn malformed<K>(
    ctx: &Context,
    name: &ObjectName,
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    error: &Error,
) -> Result<(), Error>
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
