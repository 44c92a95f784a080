//! What a `SecretPolicy` asks for, parsed once at the door, and the decisions about it.

mod consumers;
mod fetch;
mod publish;
mod refuse;
mod secret;
mod status;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use rekey_api::{
    SecretPolicy, names,
    policy::{Decoding, Immutability, Include, OnPolicyDelete, RemoteData, RemoteRef, Restart},
    reference::StoreRef,
};

pub use consumers::{Consumer, Look, consumers};
pub use fetch::{Fetch, Request, Requests, fetch, next_round};
pub use secret::{
    Content, Desired, Fetched, Notice, ObjectVersion, OpenRotation, Plan, Seen, SeenSecret, Step, admit, secret,
};

pub use status::failed;

use crate::{
    SpecError,
    render::{kinds, template},
    store::{Locator, Pin},
};

/// A parsed policy: after this, only data can be refused.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its generation.
    pub generation: i64,
    /// Name of the Secret.
    pub secret: String,
    /// Type of the Secret.
    pub kind: String,
    /// What to read and where it goes.
    pub items: Vec<Item>,
    /// For the status: `RemoteStore/vault`.
    pub source: String,
    /// Time between two reads.
    pub interval: TimeDelta,
    /// Templates by key.
    pub templates: BTreeMap<String, String>,
    /// Whether only templated keys are published.
    pub replace: bool,
    /// Labels of the Secret.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
    /// Whether the Secret is immutable.
    pub locked: bool,
    /// `None`: the Secret stays when the policy goes.
    pub owner: Option<OwnerReference>,
    /// Uid of the policy.
    pub uid: String,
    /// When to restart consumers.
    pub restart: Restart,
    /// How many consumers may be on their way at the same time.
    pub concurrency: usize,
    /// Whether everything rests.
    pub suspended: bool,
    /// The token of `rekey.dev/sync-requested`.
    pub sync_requested: Option<String>,
}

/// One key of the Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub secret_key: String,
    /// Where its value is.
    pub store: StoreRef,
    /// What is read there.
    pub locator: Locator,
    /// Which part of it.
    pub property: Option<String>,
    /// How it is decoded.
    pub decoding: Decoding,
}

impl TryFrom<&SecretPolicy> for Policy {
    type Error = SpecError;

    fn try_from(object: &SecretPolicy) -> Result<Self, SpecError> {
        refuse::unsupported(object)?;
        let spec = &object.spec;
        let remote = spec.source.remote.as_ref().ok_or_else(|| {
            SpecError::field("spec.source", "set exactly one of remote, existing, generated, vaultEngine")
        })?;
        let items: Result<Vec<Item>, SpecError> =
            remote.data.iter().map(|data| item(data, &remote.store_ref)).collect();
        let interval = TimeDelta::from_std(remote.refresh_interval.get()).unwrap_or(TimeDelta::hours(1));
        if interval < TimeDelta::seconds(10) {
            return Err(SpecError::field("spec.source.remote.refreshInterval", "write at least 10s"));
        }
        let template = spec.target.template.clone().unwrap_or_default();
        for (name, source) in &template.data {
            template::check(name, source)?;
        }
        let metadata = template.metadata.clone().unwrap_or_default();
        let name = object.metadata.name.clone().unwrap_or_default();
        Ok(Self {
            secret: effective_secret(object),
            name,
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            kind: secret_type(spec.target.secret_type.as_deref())?,
            items: items?,
            source: source_text(&remote.store_ref),
            interval,
            templates: template.data.clone(),
            replace: template.include == Include::Replace,
            labels: refuse::labels("spec.target.template.metadata.labels", metadata.labels)?,
            annotations: refuse::annotations("spec.target.template.metadata.annotations", metadata.annotations)?,
            locked: spec.immutability == Immutability::Locked,
            owner: match spec.target.on_policy_delete.unwrap_or_default() {
                OnPolicyDelete::Delete => object.controller_owner_ref(&()),
                OnPolicyDelete::Retain => None,
            },
            uid: object.metadata.uid.clone().unwrap_or_default(),
            restart: spec.rollout.restart,
            concurrency: usize::try_from(spec.rollout.concurrency).unwrap_or(1).max(1),
            suspended: spec.suspend,
            sync_requested: annotation(object, names::SYNC_REQUESTED),
        })
    }
}

/// A store as the status shows it: `RemoteStore/vault`.
#[must_use]
pub fn source_text(store: &StoreRef) -> String {
    format!("{}/{}", store.kind.as_str(), store.name)
}

/// The name of the Secret a policy publishes: `spec.target.name`, else its own.
#[must_use]
pub fn effective_secret(object: &SecretPolicy) -> String {
    object.spec.target.name.clone().or_else(|| object.metadata.name.clone()).unwrap_or_default()
}

fn annotation(object: &SecretPolicy, name: &str) -> Option<String> {
    object.metadata.annotations.as_ref()?.get(name).cloned()
}

fn item(data: &RemoteData, default_store: &StoreRef) -> Result<Item, SpecError> {
    if !kinds::valid_key(&data.secret_key) {
        let fix = format!("{:?} cannot be a key of a Secret: use letters, digits, `-`, `_` and `.`", data.secret_key);
        return Err(SpecError::field("spec.source.remote.data.secretKey", fix));
    }
    let reference = &data.remote_ref;
    Ok(Item {
        secret_key: data.secret_key.clone(),
        store: data.store_ref.clone().unwrap_or_else(|| default_store.clone()),
        locator: Locator { key: reference.key.clone(), pin: pin(reference)? },
        property: reference.property.clone(),
        decoding: reference.decoding,
    })
}

fn pin(reference: &RemoteRef) -> Result<Pin, SpecError> {
    match (&reference.version, &reference.stage) {
        (None, None) => Ok(Pin::Current),
        (Some(version), None) => Ok(Pin::Version(version.clone())),
        (None, Some(stage)) => Ok(Pin::Stage(stage.clone())),
        (Some(_), Some(_)) => {
            Err(SpecError::field("spec.source.remote.data.remoteRef", "set at most one of version, stage"))
        }
    }
}

fn secret_type(named: Option<&str>) -> Result<String, SpecError> {
    const BUILT_IN: [&str; 6] = [
        "Opaque",
        "kubernetes.io/dockercfg",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/basic-auth",
        "kubernetes.io/ssh-auth",
        "kubernetes.io/tls",
    ];
    let kind = named.unwrap_or("Opaque");
    let reserved = kind.starts_with("kubernetes.io/") || kind.contains(".kubernetes.io/");
    if reserved && !BUILT_IN.contains(&kind) {
        let fix = format!("{kind:?} is refused; use one of {} or a type outside kubernetes.io", BUILT_IN.join(", "));
        return Err(SpecError::field("spec.target.type", fix));
    }
    Ok(kind.to_owned())
}
