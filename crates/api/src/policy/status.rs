//! What is known about a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{field, is_unseen};

/// What Rekey saw of a policy, its Secret and its consumers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretPolicyStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::generation")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled`, `ConsumersCurrent` and `Fresh`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "field::conditions")]
    pub conditions: Vec<Condition>,
    /// The source in a word, for example `RemoteStore/vault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::message")]
    pub source: Option<String>,
    /// Name of the Secret that consumers should mount now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::NAME))]
    pub secret_name: Option<String>,
    /// Id of the published content. It stays while the bytes stay equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub revision: Option<String>,
    /// Versions of the remote keys that the published content was made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::FIELDS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub source_versions: Vec<SourceVersion>,
    /// When the published content changed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change_time: Option<Time>,
    /// When the policy's `RotationSchedule`, or its source, rotates the value next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::future_time")]
    pub next_rotation_time: Option<String>,
    /// When the published value expires: certificates and leases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::future_time")]
    pub expiration_time: Option<String>,
    /// The rotation whose value is published, as its schedule named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<PublishedRotation>,
    /// Workloads that consume the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<ConsumersStatus>,
    /// Published revisions, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::STATUS_HISTORY))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub history: Vec<PolicyHistory>,
    /// Revisions whose credential is retired: Rekey does not publish them again, even on request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::DEAD_REVISIONS), inner(length(max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dead_revisions: Vec<String>,
    /// The revision on which Rekey or you deliberately hold consumers; absent when nothing is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// The requests by annotation that Rekey handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled: Option<LastHandled>,
    /// Deprecated: the earlier place of `lastHandled.sync`. Rekey reads it where that is absent, and no longer writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub last_handled_sync: Option<String>,
}

impl SecretPolicyStatus {
    /// Whether the operator has not looked at the object yet: a request on it may come from an earlier object of this name.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        is_unseen(self.observed_generation)
    }

    /// The value of `rekey.dev/sync-requested` that was handled last, also by an earlier version of the operator.
    #[must_use]
    pub fn handled_sync(&self) -> Option<&str> {
        let handled = self.last_handled.as_ref().and_then(|handled| handled.sync.as_deref());
        handled.or(self.last_handled_sync.as_deref())
    }

    /// Records the value of `rekey.dev/sync-requested` that was handled.
    pub fn set_handled_sync(&mut self, token: Option<&str>) {
        if self.handled_sync() == token {
            return; // an object that rests is not written only to move what it says
        }
        self.last_handled_sync = None;
        let handled = LastHandled { sync: token.map(str::to_owned), ..self.last_handled.take().unwrap_or_default() };
        self.last_handled = Some(handled).filter(|handled| *handled != LastHandled::default());
    }

    /// The value of `rekey.dev/unlock` that was handled last.
    #[must_use]
    pub fn handled_unlock(&self) -> Option<&str> {
        self.last_handled.as_ref().and_then(|handled| handled.unlock.as_deref())
    }

    /// Records the value of `rekey.dev/unlock` that was handled. It stays when the annotation goes: one that comes back with the same
    /// value allows nothing.
    pub fn set_handled_unlock(&mut self, token: Option<&str>) {
        if let Some(token) = token.filter(|token| self.handled_unlock() != Some(*token)) {
            self.last_handled.get_or_insert_default().unlock = Some(token.to_owned());
        }
    }
}

/// The revision on which consumers are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The revision.
    #[schemars(schema_with = "field::token")]
    pub revision: String,
    /// `RolledBack`: a later one did not become healthy. `RollbackTo`: the annotation `rekey.dev/rollback-to` asks for it.
    pub reason: HeldReason,
}

/// Why consumers are held on a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum HeldReason {
    /// A later one did not become healthy.
    RolledBack,
    /// `rekey.dev/rollback-to` asks for it.
    RollbackTo,
}

/// The requests by annotation that Rekey handled last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastHandled {
    /// Value of `rekey.dev/sync-requested`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub sync: Option<String>,
    /// Value of `rekey.dev/unlock`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub unlock: Option<String>,
    /// Value of `rekey.dev/rollback-to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub rollback_to: Option<String>,
}

/// A remote key and its version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceVersion {
    /// Key in the store.
    #[schemars(length(max = crate::bounds::REMOTE_KEY))]
    pub key: String,
    /// Version that was read, as the store names it.
    #[schemars(schema_with = "field::token")]
    pub version: String,
}

/// The rotation whose value is published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublishedRotation {
    /// Id of the rotation.
    #[schemars(schema_with = "field::token")]
    pub id: String,
    /// Key in the store that the rotation wrote; absent for a generated value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::REMOTE_KEY))]
    pub key: Option<String>,
    /// Version of the key that is published; absent for a generated value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub version: Option<String>,
}

/// Workloads that consume the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumersStatus {
    /// How many consumers are current, of how many, for example `3/3`.
    #[schemars(length(max = 32))]
    pub summary: String,
    /// How many there are.
    #[schemars(schema_with = "field::count")]
    pub total: u32,
    /// How many run on the published revision.
    #[schemars(schema_with = "field::count")]
    pub current: u32,
    /// How many do not run on it yet.
    #[schemars(schema_with = "field::count")]
    pub outdated: u32,
    /// How many did not become healthy on it.
    #[schemars(schema_with = "field::count")]
    pub failed: u32,
    /// How many Rekey saw for the first time, so that nobody knows which revision they run on.
    #[serde(default)]
    #[schemars(schema_with = "field::count")]
    pub assumed: u32,
    /// The first 100 of them, those that are not current first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::STATUS_CONSUMERS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["apiVersion".to_owned(), "kind".to_owned(), "name".to_owned()]))]
    pub items: Vec<ConsumerStatus>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerStatus {
    /// API version of the workload.
    #[schemars(length(max = crate::bounds::NAME))]
    pub api_version: String,
    /// Kind of the workload.
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Name of the workload.
    #[schemars(length(max = crate::bounds::NAME))]
    pub name: String,
    /// How far it is on the way to the published revision.
    pub state: ConsumerState,
    /// In which forms it consumes the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub how: Vec<ConsumeForm>,
    /// How many of its pods hold which revision, as far as Rekey looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodCounts>,
    /// Why it is held, where that lasts. `MarkerReverted`: another tool puts its references to the Secret back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConsumerReason")] // keeps the description of the field
    pub reason: Option<ConsumerReason>,
    /// Why it is not current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::message")]
    pub message: Option<String>,
}

/// Why a consumer is held for longer than one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConsumerReason {
    /// Another tool puts its references back.
    MarkerReverted,
}

/// Pods of a workload by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodCounts {
    /// Those that hold the published revision.
    #[schemars(schema_with = "field::count")]
    pub current: u32,
    /// Those that hold an earlier one.
    #[schemars(schema_with = "field::count")]
    pub old: u32,
    /// Those that may hold either.
    #[schemars(schema_with = "field::count")]
    pub unknown: u32,
}

/// How far a workload is with the published revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConsumerState {
    /// Its pods hold the published revision and are healthy.
    Current,
    /// Its pods hold an earlier revision; it waits for its turn, or because another consumer has failed.
    Outdated,
    /// Rekey restarted it, and it is not healthy yet.
    Progressing,
    /// It did not become healthy before the deadline.
    Failed,
    /// Rekey saw it for the first time: it did not restart it, and cannot prove that it is current.
    Assumed,
    /// Rekey does not restart it, on purpose: paused, `restart: Never`, a bare pod.
    Held,
    /// Rekey cannot tell what its pods hold.
    Unknown,
}

/// A form in which a workload consumes a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConsumeForm {
    /// A variable from one key.
    Env,
    /// Variables from all keys.
    EnvFrom,
    /// A mounted volume.
    Volume,
    /// A mounted volume with `subPath`: never updated in a running pod.
    SubPath,
    /// A source of a projected volume.
    Projected,
    /// The credential of a volume's driver, `csi.nodePublishSecretRef` for example: read when the volume is mounted.
    MountCredential,
    /// A pull secret, of the pod or of its `ServiceAccount`.
    ImagePull,
    /// The certificate of an Ingress or Gateway.
    Tls,
    /// None that can be seen: the policy names the workload.
    Named,
}

/// One published revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyHistory {
    /// Id of the published content.
    #[schemars(schema_with = "field::token")]
    pub revision: String,
    /// When it was published.
    pub time: Time,
    /// Why it was published.
    pub reason: ChangeReason,
}

/// Why content was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ChangeReason {
    /// The Secret did not exist.
    Created,
    /// Rekey took over a Secret of another tool, with consent.
    Adopted,
    /// The source has another value.
    SourceChanged,
    /// The spec now makes other content of the same value.
    SpecChanged,
    /// A rotation made a new value.
    Rotated,
    /// Rekey replaced a lease or certificate before its end.
    Renewed,
    /// Rekey published the previous value again.
    RolledBack,
}
