//! The Secret of a policy.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use rekey_api::names;
use rekey_core::{
    SpecError,
    policy::{Claims, Desired, Mark, ObjectVersion, Scope, Surplus, Tags},
    published::Published,
};
use serde_json::{Map, Value, json};

use super::{Basis, Writer, bytes};
use crate::{
    cluster::{Answer, Change, ObjectName, Owner, SecretRow, Version},
    error::{Error, Operation, status},
    memory::Verified,
};

impl Writer {
    /// Brings a Secret into the desired state. The change, unless the watch has reported it before.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn secret(&self, namespace: &str, desired: &Desired) -> Result<Option<Change<SecretRow>>, Error> {
        let name = ObjectName::new(namespace, desired.name.as_str());
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        // Two policies that make the same Secret are one field manager: the API server sees no conflict between them.
        let _made_by_one = self.making.hold(&[name.clone()].into()).await;
        let writing = self.cluster.secrets.writing(&name);
        if desired.over.is_none() && self.cluster.secrets.get(&name).is_some() {
            return Err(Error::Overtaken { secret: name.to_string() });
        }
        let basis = desired.over.as_ref().map(|over| basis(&name, over));
        let applied = match desired.scope {
            Scope::Whole | Scope::Keys => self.over(basis, data(&api, &name, desired)).await?,
            Scope::Record => self.over(basis, self.record(&api, &name, desired)).await?,
        };
        let verified = Verified {
            version: Version::new(applied.metadata.resource_version.as_deref().unwrap_or_default()),
            immutable: applied.immutable == Some(true),
            kind: applied.type_.as_deref().unwrap_or("Opaque").into(),
        };
        // Before the row is there: a decision that sees it need not read the Secret.
        self.memory.verify(&name, verified);
        // The watch will bring it too; until then decisions already see it.
        match self.cluster.secrets.answer(&writing, SecretRow::project(applied.metadata)) {
            Answer::News(change) => Ok(Some(change)),
            Answer::Known => Ok(None),
            Answer::Late => {
                self.memory.forget_verified(&name);
                Ok(None)
            }
        }
    }

    /// Writes the record of a Secret that another tool makes. No server-side apply: it would take away what an earlier
    /// one of ours has put into the data. What made the Secret ours as a whole, if it was that before, goes.
    async fn record(&self, api: &Api<Secret>, name: &ObjectName, desired: &Desired) -> Result<Secret, Error> {
        let mut metadata = json!({"annotations": desired.annotations});
        if let Some(over) = &desired.over {
            metadata["uid"] = json!(over.uid);
            metadata["resourceVersion"] = json!(over.resource_version);
        }
        let row = self.cluster.secrets.get(name);
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

    /// Says of a version, or of the copy of an earlier value, what became of it; `record`: since it was published again.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn mark(
        &self,
        name: &ObjectName,
        over: &ObjectVersion,
        mark: Option<Mark>,
        record: Option<&Published>,
    ) -> Result<(), Error> {
        let mut mark = json!({names::HELD: mark.map(Mark::text)});
        if let Some(record) = record {
            mark[names::CHANGES] = json!(record.changes.to_string());
        }
        self.tell(name, over, json!({ "annotations": mark })).await
    }

    /// Puts labels and annotations on a Secret that has not changed since it was looked at.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn tags(&self, name: &ObjectName, over: &ObjectVersion, tags: &Tags) -> Result<(), Error> {
        self.tell(name, over, json!({"labels": tags.labels, "annotations": tags.annotations})).await
    }

    async fn tell(&self, name: &ObjectName, over: &ObjectVersion, mut metadata: Value) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &name.namespace);
        let writing = self.cluster.secrets.writing(name);
        metadata["uid"] = json!(over.uid);
        metadata["resourceVersion"] = json!(over.resource_version);
        let params = PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() };
        let body = Patch::Merge(json!({ "metadata": metadata }));
        let told =
            async { api.patch(&name.name, &params, &body).await.map_err(Error::api(Operation::RecordSecret, name)) };
        let told = self.over(Some(basis(name, over)), told).await?;
        self.cluster.secrets.answer(&writing, SecretRow::project(told.metadata));
        Ok(())
    }

    /// Deletes a Secret that has not changed since it was looked at.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove(&self, name: &ObjectName, over: &ObjectVersion) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &name.namespace);
        let preconditions =
            Preconditions { uid: Some(over.uid.clone()), resource_version: Some(over.resource_version.clone()) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let gone = async {
            match api.delete(&name.name, &params).await {
                Ok(_) => Ok(()),
                Err(error) if status(&error) == Some(404) => Ok(()),
                Err(error) => Err(Error::api(Operation::DeleteSecret, name)(error)),
            }
        };
        self.over(Some(basis(name, over)), gone).await
    }
}

fn basis<'a>(name: &ObjectName, over: &'a ObjectVersion) -> Basis<'a> {
    Basis { object: format!("Secret {name}"), version: &over.resource_version }
}

/// Applies data and metadata.
async fn data(api: &Api<Secret>, name: &ObjectName, desired: &Desired) -> Result<Secret, Error> {
    let over = clear(api, name, desired).await?;
    // A Secret that is not there yet is not forced, and one that is must be the one that was looked at: a tool that has
    // just made or changed it keeps it.
    let mut params = PatchParams::apply(names::MANAGER);
    params.force = over.is_some();
    let body = Patch::Apply(manifest(desired, over.as_ref()));
    let applied = api.patch(&desired.name, &params, &body).await.map_err(Error::api(Operation::ApplySecret, name))?;
    if over.is_none() && is_shared(&applied) {
        return withdraw(api, name).await;
    }
    // Renamed keys come before the old ones go. Those that were ours in another tool's Secret have gone already.
    let surplus = match desired.scope {
        Scope::Whole => desired.surplus(applied.data.iter().flatten().map(|(key, _)| key)),
        Scope::Keys | Scope::Record => Vec::new(),
    };
    if surplus.is_empty() {
        return Ok(applied);
    }
    let over = ObjectVersion {
        uid: applied.uid().unwrap_or_default(),
        resource_version: applied.resource_version().unwrap_or_default(),
    };
    take_off(api, name, &over, Excess { keys: &surplus, claims: &Claims::default() }).await
}

/// Removes what has to go before the write: what others claim the Secret by, since there can be one controlling owner
/// only; keys of one that becomes immutable; and keys of ours in another tool's Secret, since nothing says afterwards
/// that they were ours. Returns what is there then.
async fn clear(api: &Api<Secret>, name: &ObjectName, desired: &Desired) -> Result<Option<ObjectVersion>, Error> {
    let Some(over) = &desired.over else { return Ok(None) };
    let is_first = match (&desired.surplus, desired.scope) {
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
    let cleared = take_off(api, name, over, Excess { keys: &surplus, claims: &desired.claims }).await?;
    Ok(Some(ObjectVersion { resource_version: cleared.resource_version().unwrap_or_default(), ..over.clone() }))
}

/// What has to go from a Secret.
#[derive(Clone, Copy)]
struct Excess<'a> {
    keys: &'a [String],
    claims: &'a Claims,
}

/// Removes keys and claims of a Secret that is still this one: server-side apply leaves what others hold.
async fn take_off(
    api: &Api<Secret>,
    name: &ObjectName,
    over: &ObjectVersion,
    Excess { keys, claims }: Excess<'_>,
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

/// Whether a Secret that we meant to create has parts of another tool: it was there already, unseen.
fn is_shared(applied: &Secret) -> bool {
    let others = applied.managed_fields().iter().filter(|entry| entry.manager.as_deref() != Some(names::MANAGER));
    others
        .filter_map(|entry| entry.fields_v1.as_ref())
        .any(|fields| fields.0.get("f:data").is_some() || fields.0.get("f:type").is_some())
}

/// Takes back what we have put on another tool's Secret: an apply without fields gives up all of ours.
async fn withdraw(api: &Api<Secret>, name: &ObjectName) -> Result<Secret, Error> {
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name.name}});
    api.patch(&name.name, &PatchParams::apply(names::MANAGER).force(), &Patch::Apply(&body))
        .await
        .map_err(Error::api(Operation::WithdrawFromSecret, name))?;
    Err(SpecError::field(
        "spec.target.name",
        format!("another tool created Secret {:?} just now; Rekey leaves it alone", name.name),
    )
    .into())
}
