//! The only module that writes (beside [`settle`](crate::settle), which writes statuses). Every write can be done
//! twice, and is refused by the API server when what it was decided on has changed meanwhile.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::{
    ByteString, NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::Secret,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use rekey_api::{RotationSchedule, names};
use rekey_core::{
    SecretBytes, SpecError,
    policy::{Claims, Desired, Hold, ObjectVersion, Step, Surplus},
    rotation::{Pending, Plan, Prepared},
    workload::{Kind, Marker, Project, Workload, argo_rollout},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::{
    cluster::{Answer, ObjectName, Owner, SecretRow, Version, WorkloadRow, workload_name},
    context::Context,
    error::{Error, Operation, status},
    memory::Verified,
    notify,
};

/// Does one step of a policy's plan.
///
/// # Errors
/// When the API server refuses.
pub async fn step(ctx: &Context, namespace: &str, step: &Step) -> Result<(), Error> {
    match step {
        Step::Apply(desired) => secret(ctx, namespace, desired).await,
        Step::Delete(name, over) => remove(ctx, &ObjectName::new(namespace, name.as_str()), over).await,
        Step::Verified => Ok(()),
    }
}

async fn secret(ctx: &Context, namespace: &str, desired: &Desired) -> Result<(), Error> {
    let name = ObjectName::new(namespace, desired.name.as_str());
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    // Two policies that make the same Secret are one field manager: the API server sees no conflict between them.
    let _made_by_one = ctx.making.hold(&[name.clone()].into()).await;
    let writing = ctx.known.secrets.writing(&name);
    if desired.over.is_none() && ctx.known.secrets.get(&name).is_some() {
        return Err(Error::Overtaken { secret: name.to_string() });
    }
    let applied = match desired.hold {
        Hold::Whole | Hold::Keys => data(&api, &name, desired).await?,
        Hold::Record => record(ctx, &api, &name, desired).await?,
    };
    let verified = Verified {
        version: Version::new(applied.metadata.resource_version.as_deref().unwrap_or_default()),
        immutable: applied.immutable == Some(true),
        kind: applied.type_.as_deref().unwrap_or("Opaque").into(),
    };
    // Before the row is there: who sees it need not read the Secret.
    ctx.memory.verify(&name, verified);
    // The watch will bring it too; until then decisions already see it.
    match ctx.known.secrets.answer(&writing, SecretRow::project(applied.metadata)) {
        Answer::News(change) if notify::has_new_values(&change) => {
            notify::workloads_of(ctx, namespace, &desired.name);
        }
        Answer::News(_) | Answer::Known => {}
        Answer::Late => ctx.memory.forget_verified(&name),
    }
    Ok(())
}

/// Applies data and metadata.
async fn data(api: &Api<Secret>, name: &ObjectName, desired: &Desired) -> Result<Secret, Error> {
    let over = clear(api, name, desired).await?;
    // A Secret that is not there yet is not forced, and one that is must be the one that was looked at: whoever made or
    // changed it in this moment keeps it.
    let mut params = PatchParams::apply(names::MANAGER);
    params.force = over.is_some();
    let body = Patch::Apply(manifest(desired, over.as_ref()));
    let applied = api.patch(&desired.name, &params, &body).await.map_err(Error::api(Operation::ApplySecret, name))?;
    if over.is_none() && is_shared(&applied) {
        return withdraw(api, name).await;
    }
    // Renamed keys come before the old ones go. Those that were ours in somebody else's Secret have gone already.
    let surplus = match desired.hold {
        Hold::Whole => desired.surplus(applied.data.iter().flatten().map(|(key, _)| key)),
        Hold::Keys | Hold::Record => Vec::new(),
    };
    if surplus.is_empty() {
        return Ok(applied);
    }
    let over = ObjectVersion {
        uid: applied.uid().unwrap_or_default(),
        resource_version: applied.resource_version().unwrap_or_default(),
    };
    take_off(api, name, &over, (&surplus, &Claims::default())).await
}

/// Takes off what has to go before the write: what others claim the Secret by, since there can be one controlling owner only;
/// keys of one that becomes immutable; and keys of ours in somebody else's Secret, since nothing says afterwards that they
/// were ours. Returns what is there then.
async fn clear(api: &Api<Secret>, name: &ObjectName, desired: &Desired) -> Result<Option<ObjectVersion>, Error> {
    let Some(over) = &desired.over else { return Ok(None) };
    let is_first = match (&desired.surplus, desired.hold) {
        (Surplus::Dropped(_), _) => true,
        (Surplus::Others, _) => desired.immutable,
        (Surplus::Nothing, _) => false,
    };
    let surplus = if is_first {
        let secret = api.get(&desired.name).await.map_err(Error::api(Operation::ReadSecret, name))?;
        let keys = secret.data.iter().flatten().map(|(key, _)| key);
        if secret.immutable == Some(true) { Vec::new() } else { desired.surplus(keys) }
    } else {
        Vec::new()
    };
    if surplus.is_empty() && desired.claims.is_empty() {
        return Ok(Some(over.clone()));
    }
    let cleared = take_off(api, name, over, (&surplus, &desired.claims)).await?;
    Ok(Some(ObjectVersion { resource_version: cleared.resource_version().unwrap_or_default(), ..over.clone() }))
}

/// Removes keys and claims of a Secret that is still this one: server-side apply leaves what others hold.
async fn take_off(
    api: &Api<Secret>,
    name: &ObjectName,
    over: &ObjectVersion,
    (keys, claims): (&[String], &Claims),
) -> Result<Secret, Error> {
    let gone = |names: &[String]| names.iter().map(|name| (name.clone(), Value::Null)).collect::<Map<_, _>>();
    let mut metadata = json!({"uid": over.uid, "resourceVersion": over.resource_version});
    // Of a list of owners only those that are named are changed.
    let owners: Vec<Value> = claims.owners.iter().map(|owner| json!({"$patch": "delete", "uid": owner.uid})).collect();
    for (field, value) in [
        ("labels", Value::from(gone(&claims.labels))),
        ("annotations", gone(&claims.annotations).into()),
        ("ownerReferences", owners.into()),
    ] {
        if value != json!({}) && value != json!([]) {
            metadata[field] = value;
        }
    }
    let body = Patch::Strategic(json!({"metadata": metadata, "data": gone(keys)}));
    let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
    api.patch(&name.name, &params, &body).await.map_err(Error::api(Operation::TrimSecret, name))
}

/// Writes the record of a Secret that somebody else makes. No server-side apply: it would take away what an earlier one
/// of ours has put into the data. What made the Secret ours as a whole, if it was that before, goes.
async fn record(ctx: &Context, api: &Api<Secret>, name: &ObjectName, desired: &Desired) -> Result<Secret, Error> {
    let mut metadata = json!({"annotations": desired.annotations});
    if let Some(over) = &desired.over {
        metadata["uid"] = json!(over.uid);
        metadata["resourceVersion"] = json!(over.resource_version);
    }
    let row = ctx.known.secrets.get(name);
    if let Some(managed) = row.as_deref().and_then(SecretRow::managed) {
        if managed.is_labelled {
            metadata["labels"] = json!({names::MANAGED_BY: null});
        }
        // Of a list of owners only those that are named are changed.
        let gone = |owner: &Owner| json!({"$patch": "delete", "uid": owner.uid.to_string()});
        if !managed.owners.is_empty() {
            metadata["ownerReferences"] = managed.owners.iter().map(gone).collect();
        }
    }
    let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
    let body = Patch::Strategic(json!({ "metadata": metadata }));
    api.patch(&desired.name, &params, &body).await.map_err(Error::api(Operation::RecordSecret, name))
}

/// Deletes a Secret that has not changed since it was looked at.
async fn remove(ctx: &Context, name: &ObjectName, over: &ObjectVersion) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &name.namespace);
    let preconditions =
        Preconditions { uid: Some(over.uid.clone()), resource_version: Some(over.resource_version.clone()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&name.name, &params).await {
        Ok(_) => Ok(()),
        Err(error) if status(&error) == Some(404) => Ok(()),
        Err(error) => Err(Error::api(Operation::DeleteSecret, name)(error)),
    }
}

fn manifest(desired: &Desired, over: Option<&ObjectVersion>) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(desired.name.clone()),
            uid: over.map(|over| over.uid.clone()),
            resource_version: over.map(|over| over.resource_version.clone()),
            labels: Some(desired.labels.clone()),
            annotations: Some(desired.annotations.clone()),
            owner_references: desired.owner.clone().map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: desired.kind.clone(),
        data: (!desired.data.is_empty()).then(|| bytes(&desired.data)),
        immutable: desired.immutable.then_some(true),
        string_data: None,
    }
}

/// Whether a Secret that we meant to create has parts of somebody else: it was there already, unseen.
fn is_shared(applied: &Secret) -> bool {
    let others = applied.managed_fields().iter().filter(|entry| entry.manager.as_deref() != Some(names::MANAGER));
    others
        .filter_map(|entry| entry.fields_v1.as_ref())
        .any(|fields| fields.0.get("f:data").is_some() || fields.0.get("f:type").is_some())
}

/// Takes back what we have put on somebody else's Secret: an apply without fields gives up all of ours.
async fn withdraw(api: &Api<Secret>, name: &ObjectName) -> Result<Secret, Error> {
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name.name}});
    api.patch(&name.name, &PatchParams::apply(names::MANAGER).force(), &Patch::Apply(&body))
        .await
        .map_err(Error::api(Operation::WithdrawFromSecret, name))?;
    Err(SpecError::field(
        "spec.target.name",
        format!("Secret {:?} was made by somebody else in this moment", name.name),
    )
    .into())
}

fn bytes(data: &BTreeMap<String, SecretBytes>) -> BTreeMap<String, ByteString> {
    data.iter().map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect()
}

/// Writes the restart marker on a workload's pod template, if the workload is still the one that was decided on.
///
/// # Errors
/// `Conflict` when it has changed meanwhile.
pub async fn marker(ctx: &Context, workload: &Workload, marker: &Marker) -> Result<(), Error> {
    let written = match workload.id.kind {
        Kind::Deployment => mark::<Deployment>(ctx, workload, marker).await,
        Kind::StatefulSet => mark::<StatefulSet>(ctx, workload, marker).await,
        Kind::DaemonSet => mark::<DaemonSet>(ctx, workload, marker).await,
        Kind::Rollout => mark_argo(ctx, workload, marker).await,
        // A marker would replace no pod of theirs, and no decision asks for one.
        Kind::CronJob | Kind::Ingress | Kind::Gateway | Kind::ServiceAccount => return Ok(()),
    };
    let written = written.map_err(Error::api(Operation::WriteMarker, &workload.id))?;
    // The watch will bring it too; until then other consumers already see that this one is on its way.
    if let Some(change) = ctx.known.workloads.update(&workload_name(&workload.id), WorkloadRow(written)) {
        notify::workload(ctx, &change);
    }
    ctx.metrics.restarted();
    Ok(())
}

async fn mark<K>(ctx: &Context, workload: &Workload, marker: &Marker) -> Result<Workload, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Project + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &workload.id.namespace);
    Ok(write(&api, workload, marker).await?.project())
}

/// The kind has no type here, since not every cluster has it.
async fn mark_argo(ctx: &Context, workload: &Workload, marker: &Marker) -> Result<Workload, kube::Error> {
    let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
    let resource = ApiResource::from_gvk_with_plural(&kind, "rollouts");
    let api: Api<DynamicObject> = Api::namespaced_with(ctx.client.clone(), &workload.id.namespace, &resource);
    let written = write(&api, workload, marker).await?;
    Ok(argo_rollout(&written.metadata, &written.data))
}

async fn write<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    workload: &Workload,
    marker: &Marker,
) -> Result<K, kube::Error> {
    let body = json!({
        "apiVersion": workload.id.kind.api_version(),
        "kind": workload.id.kind.as_str(),
        "metadata": {"name": workload.id.name, "uid": workload.uid, "resourceVersion": workload.resource_version},
        "spec": {"template": {"metadata": {"annotations": {names::CONSUMED: marker.to_string()}}}},
    });
    let params = PatchParams::apply(names::MANAGER_RESTART).force();
    api.patch(&workload.id.name, &params, &Patch::Apply(&body)).await
}

/// Makes the pending Secret of a rotation. If one is there already it stays: the next look shows whose it is.
///
/// # Errors
/// When the API server refuses.
pub async fn pending(ctx: &Context, plan: &Plan, prepared: &Prepared) -> Result<(), Error> {
    let name = Pending::name(&prepared.id);
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &plan.namespace);
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>()
    };
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(pairs(&[(names::MANAGED_BY, names::MANAGED_BY_VALUE), (names::SCHEDULE_UID, &plan.uid)])),
            annotations: Some(prepared.annotations(plan, &ctx.digest_key)),
            ..ObjectMeta::default()
        },
        data: Some(bytes(&prepared.values)),
        immutable: Some(true),
        ..Secret::default()
    };
    let params = PostParams { field_manager: Some(names::MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, &secret).await {
        Ok(_) => Ok(()),
        Err(error) if status(&error) == Some(409) => Ok(()),
        Err(error) => Err(Error::api(Operation::CreatePending, name)(error)),
    }
}

/// Deletes a pending Secret.
///
/// # Errors
/// When the API server refuses.
pub async fn drop_pending(ctx: &Context, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
        Err(error) => Err(Error::api(Operation::DeletePending, name)(error)),
    }
}

/// Puts our finalizer on a schedule, or takes it off. Others' finalizers stay.
///
/// # Errors
/// `Conflict` when the schedule has changed meanwhile.
pub async fn finalizer(ctx: &Context, schedule: &RotationSchedule, hold: bool) -> Result<(), Error> {
    let name = schedule.name_any();
    let namespace = schedule.namespace().unwrap_or_default();
    let api: Api<RotationSchedule> = Api::namespaced(ctx.client.clone(), &namespace);
    let (params, body) = finalizers(&schedule.metadata, hold);
    match api.patch(&name, &params, &body).await {
        // Gone with this write, unless others hold it too.
        Ok(changed) if changed.metadata.deletion_timestamp.is_some() && changed.finalizers().is_empty() => Ok(()),
        Ok(changed) => {
            let name = ObjectName::new(namespace, name);
            let before = ctx.known.schedules.get(&name);
            ctx.known.schedules.update(&name, crate::cluster::Object::from_object(changed, before.as_deref()));
            Ok(())
        }
        Err(error) if status(&error) == Some(404) => Ok(()),
        Err(error) => Err(Error::api(Operation::ChangeFinalizer, format!("RotationSchedule {name}"))(error)),
    }
}

/// Takes our finalizer off a schedule that is being deleted, without reading the schedule.
///
/// # Errors
/// `Conflict` when the schedule has changed meanwhile.
pub async fn release(ctx: &Context, schedule: &ObjectMeta) -> Result<(), Error> {
    if !schedule.finalizers.iter().flatten().any(|name| name == names::FINALIZER) {
        return Ok(()); // or there are more than are kept, and the others would go with it
    }
    let name = schedule.name.clone().unwrap_or_default();
    let api: Api<RotationSchedule> =
        Api::namespaced(ctx.client.clone(), schedule.namespace.as_deref().unwrap_or_default());
    let (params, body) = finalizers(schedule, false);
    match api.patch_metadata(&name, &params, &body).await {
        Ok(_) => Ok(()),
        Err(error) if status(&error) == Some(404) => Ok(()),
        Err(error) => Err(Error::api(Operation::ChangeFinalizer, format!("RotationSchedule {name}"))(error)),
    }
}

/// The change that puts our finalizer on a schedule, or takes it off.
fn finalizers(schedule: &ObjectMeta, hold: bool) -> (PatchParams, Patch<serde_json::Value>) {
    let others = schedule.finalizers.iter().flatten().filter(|name| *name != names::FINALIZER);
    let finalizers: Vec<&str> = others.map(String::as_str).chain(hold.then_some(names::FINALIZER)).collect();
    let body = json!({"metadata": {"resourceVersion": schedule.resource_version, "finalizers": finalizers}});
    let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
    (params, Patch::Merge(body))
}
