//! `RemoteStore` and `ClusterRemoteStore`: where values live and who may use them.

pub mod grant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;
use crate::provider::Provider;
pub use grant::{Grant, GrantNamespaces, GrantOperation};

/// A store of secret values that policies and schedules of the same namespace may use.
#[expect(clippy::duplicated_attributes, reason = "printer columns have types in common")]
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rekey.dev",
    version = "v1alpha1",
    kind = "RemoteStore",
    plural = "remotestores",
    namespaced,
    shortname = "rstore",
    category = "rekey",
    doc = "RemoteStore is a store of secret values that policies and schedules of the same namespace may use.",
    status = "RemoteStoreStatus",
    derive = "PartialEq",
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity"),
    printcolumn(name = "Access", type_ = "string", json_path = ".spec.access"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RemoteStoreSpec {
    /// `ReadOnly` (default) or `ReadWrite`. A rotation that writes a new value needs `ReadWrite`.
    #[serde(default)]
    pub access: Access,
    /// How fast Rekey may ask the store. All policies and schedules that share the store's identity share these limits.
    #[serde(default)]
    pub limits: Limits,
    /// What kind of store it is, where it is and how to log in. Exactly one of `vault`, `aws`.
    pub provider: Provider,
}

/// A store of secret values for the whole cluster; each grant says who may use it.
#[expect(clippy::duplicated_attributes, reason = "printer columns have types in common")]
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rekey.dev",
    version = "v1alpha1",
    kind = "ClusterRemoteStore",
    plural = "clusterremotestores",
    shortname = "crstore",
    category = "rekey",
    doc = "ClusterRemoteStore is a store of secret values for the whole cluster; its grants say which namespaces may use which keys, and how.",
    status = "RemoteStoreStatus",
    derive = "PartialEq",
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity"),
    printcolumn(name = "Access", type_ = "string", json_path = ".spec.access"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRemoteStoreSpec {
    /// `ReadOnly` (default) or `ReadWrite`. A rotation that writes a new value needs `ReadWrite` and a grant with `Write`.
    #[serde(default)]
    pub access: Access,
    /// How fast Rekey may ask the store. All policies and schedules that share the store's identity share these limits.
    #[serde(default)]
    pub limits: Limits,
    /// What kind of store it is, where it is and how to log in. Exactly one of `vault`, `aws`. Rekey looks up Secrets
    /// and `ConfigMap`s named here in the operator's namespace only.
    pub provider: Provider,
    /// Which namespaces may use the store, for which keys and how. Default none. One matching grant is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub grants: Vec<Grant>,
}

/// What Rekey may do with a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Access {
    /// Read values, never write them.
    #[default]
    ReadOnly,
    /// Read values; rotations may write new ones.
    ReadWrite,
}

/// How fast Rekey may ask a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Requests per second on average. Default 200.
    #[schemars(range(min = 1, max = 10_000))]
    pub requests_per_second: u32,
    /// Requests that Rekey may send at once after a pause. Default 400.
    #[schemars(range(min = 1, max = 20_000))]
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_per_second: 200, burst: 400 }
    }
}

/// What Rekey knows about a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemoteStoreStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::generation")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling` and `Stalled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "field::conditions")]
    pub conditions: Vec<Condition>,
    /// The identity with which Rekey is logged in, for example `role shop at bao.infra`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::message")]
    pub identity: Option<String>,
    /// What Rekey saw that this identity can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub capabilities: Vec<Capability>,
}

/// Something a store's identity can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Capability {
    /// Read values.
    Read,
    /// Write values.
    Write,
    /// List keys by name or tag.
    Find,
}
