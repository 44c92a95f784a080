//! Sources of a policy's value.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{data_from::DataFrom, staleness::MaxStaleness};
use crate::duration::GoDuration;
use crate::field;
use crate::reference::StoreRef;
use crate::rotator::PasswordSpec;

/// Where a value comes from. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.remote), has(self.existing), has(self.generated), has(self.vaultEngine)].exists_one(set, set)"
)
.message("source: set exactly one of remote, existing, generated, vaultEngine"))]
pub struct Source {
    /// Keys of a store, which Rekey reads again at an interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteSource>,
    /// Another tool makes the Secret named in `target` (cert-manager, kubectl, sealed-secrets). Rekey never writes its data; it watches the
    /// Secret and restarts its consumers. With `immutability: Versioned` each value of it becomes an immutable Secret `<name>-<revision>` of the
    /// same type, and Rekey writes nothing on the Secret itself. `target.type`, `target.template` and, without `Versioned`,
    /// `target.onPolicyDelete` are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<Existing>,
    /// Random values that Rekey makes once in the cluster; needs no store. A `RotationSchedule` with `generate: {}` rotates them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<Generated>,
    /// An answer of a Vault engine: static and dynamic credentials, PKI, any engine. Rekey renews leases, and replaces them before they end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_engine: Option<VaultEngineSource>,
}

/// A Secret that another tool makes. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Existing {}

/// Keys of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.data) && self.data.size() > 0) || (has(self.dataFrom) && self.dataFrom.size() > 0)"
)
.message("source.remote: add an entry to data or dataFrom; otherwise nothing is read"))]
pub struct RemoteSource {
    /// The store to read from.
    pub store_ref: StoreRef,
    /// When Rekey reads the source. `Periodic` (default): every `refreshInterval`. `OnChange`: when the spec changes or
    /// `rekey.dev/sync-requested` asks. `CreatedOnce`: until the Secret exists, then never again.
    #[serde(default)]
    pub refresh_policy: RefreshPolicy,
    /// How often Rekey reads the source with `Periodic`. At least 10s, default 1h. The actual times are spread; Rekey reads equal keys
    /// together.
    #[serde(default = "hourly")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s')")
        .message("source.remote.refreshInterval: write at least 10s"))]
    pub refresh_interval: GoDuration,
    /// How long Rekey may serve the last known value, from the moment when `Fresh` turned False, before `Ready` turns False as well.
    /// Default 24h; `Unlimited` means forever. If you write `onMissing: Keep`, a missing key does not count.
    #[serde(default)]
    pub max_staleness: MaxStaleness,
    /// What to do when the remote value is gone: `Keep` (default) the Secret, or `Delete` it. If you write `Keep`, Rekey does not report
    /// the value as too old because of a missing key. Not supported yet with `immutability: Versioned`, if you write `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OnMissing")] // keeps the description of the field
    pub on_missing: Option<OnMissing>,
    /// Single values: one key of the Secret each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::FIELDS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["secretKey".to_owned()]))]
    pub data: Vec<RemoteData>,
    /// Whole objects and searches: each makes as many keys of the Secret as it has. A later entry overwrites an earlier one, and `data`
    /// overwrites all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub data_from: Vec<DataFrom>,
}

/// The refresh interval if the policy sets none.
fn hourly() -> GoDuration {
    GoDuration::hours(1)
}

/// When Rekey reads the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RefreshPolicy {
    /// At an interval.
    #[default]
    Periodic,
    /// When the spec changes, or on request.
    OnChange,
    /// Until the Secret exists.
    CreatedOnce,
}

/// What to do when a remote value is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnMissing {
    /// Keep the Secret.
    #[default]
    Keep,
    /// Delete the Secret.
    Delete,
}

/// One value of the store for one key of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteData {
    /// Key of the Secret: letters, digits, `-`, `_` and `.`, at most 253.
    #[schemars(schema_with = "field::data_key")]
    pub secret_key: String,
    /// Another store for this value. Default `source.remote.storeRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<StoreRef>,
    /// What to read.
    pub remote_ref: RemoteRef,
}

/// One value in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.version) && has(self.stage))")
        .message("remoteRef: set at most one of version, stage"),
    validation = Rule::new(
        "!(has(self.metadataPolicy) && self.metadataPolicy == 'Fetch' && (has(self.version) || has(self.stage)))"
    )
    .message("remoteRef: metadata has no versions; remove version and stage, or write metadataPolicy: None"),
    validation = Rule::new("!(has(self.property) && has(self.jmesPath))")
        .message("remoteRef: set at most one of property, jmesPath")
)]
pub struct RemoteRef {
    /// Key in the store: the path below the mount, the secret's name or ARN, the parameter's name. For example `shop/orders-db`.
    #[schemars(schema_with = "field::remote_key")]
    pub key: String,
    /// Property of the stored object: the literal key if there is one, else a dotted path. Default the whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::property")]
    pub property: Option<String>,
    /// `JMESPath` expression on the stored object, instead of `property`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::expression")]
    pub jmes_path: Option<String>,
    /// Version to stay on, for example `"3"`. Default the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
    /// AWS: staging label or parameter label to follow, instead of `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub stage: Option<String>,
    /// Decoding of the value: `None` (default), `Base64`, `Base64URL`, or `Auto`: base64 or base64url, whichever fits, else the value as it is.
    #[serde(default)]
    pub decoding: Decoding,
    /// `None` (default): the value itself. `Fetch`: the metadata that the store keeps with it (custom metadata of KV version 2, tags of
    /// AWS), as an object of texts.
    #[serde(default)]
    pub metadata_policy: MetadataPolicy,
}

/// How Rekey decodes a stored value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Decoding {
    /// Not at all.
    #[default]
    None,
    /// From base64.
    Base64,
    /// From base64 with the alphabet for URLs.
    #[serde(rename = "Base64URL")]
    Base64Url,
    /// From base64 or base64url, whichever fits, else not at all.
    Auto,
}

/// What Rekey reads of a stored value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MetadataPolicy {
    /// The value.
    #[default]
    None,
    /// Its metadata.
    Fetch,
}

/// Values made in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generated {
    /// One generated value per key of the Secret.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".to_owned()]))]
    pub fields: Vec<GeneratedField>,
}

/// One generated value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GeneratedField {
    /// Key of the Secret: letters, digits, `-`, `_` and `.`, at most 253.
    #[schemars(schema_with = "field::data_key")]
    pub key: String,
    /// A random password; `{}` for the defaults.
    pub password: PasswordSpec,
}

/// A request to a Vault engine whose answer is the value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultEngineSource {
    /// A store with provider `vault`: the server and how to log in.
    pub store_ref: StoreRef,
    /// Path of the request, with the mount of the engine: `database/static-creds/app`, `pki/issue/web`. Not supported yet: answers
    /// with a lease (`database/creds/app`).
    #[schemars(schema_with = "field::vault_path")]
    pub path: String,
    /// `Get` (default) or `Post`.
    #[serde(default)]
    pub method: EngineMethod,
    /// Parameters of the request, for example `common_name` and `ttl`. Not for secret values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::parameters")]
    pub parameters: BTreeMap<String, String>,
    /// When Rekey renews a lease or replaces the value, in percent of its lifetime. Default 67.
    #[serde(default = "two_thirds")]
    #[schemars(range(min = 10, max = 95))]
    pub renew_at_percent: u32,
    /// What to do with the old lease when no consumer needs it any more: `Revoke` (default) it, or `Keep` it until it ends.
    #[serde(default)]
    pub on_replace: OnReplace,
}

fn two_thirds() -> u32 {
    67
}

/// What to do with a lease that was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnReplace {
    /// Revoke it when no consumer needs it.
    #[default]
    Revoke,
    /// Let it end by itself.
    Keep,
}

/// Method of a request to an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EngineMethod {
    /// Read.
    #[default]
    Get,
    /// Write, with parameters in the body.
    Post,
}
