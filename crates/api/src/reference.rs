//! References to other objects. None has a namespace: a namespaced object refers to its own namespace only.

use k8s_openapi::ByteString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;

/// Kind of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StoreKind {
    /// A store of the same namespace.
    #[default]
    RemoteStore,
    /// A store of the cluster, for the namespaces that its grants name.
    ClusterRemoteStore,
}

impl StoreKind {
    /// The name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RemoteStore => "RemoteStore",
            Self::ClusterRemoteStore => "ClusterRemoteStore",
        }
    }
}

/// Names a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreRef {
    /// `RemoteStore` (default) in the same namespace, or `ClusterRemoteStore`.
    #[serde(default)]
    pub kind: StoreKind,
    /// Name of the store.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
}

/// Names a store in a list that is merged as a whole. The schema of such a list has no defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedStoreRef {
    /// `RemoteStore` (default) in the same namespace, or `ClusterRemoteStore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "StoreKind")] // keeps the description of the field
    pub kind: Option<StoreKind>,
    /// Name of the store.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
}

impl From<&ListedStoreRef> for StoreRef {
    fn from(listed: &ListedStoreRef) -> Self {
        Self { kind: listed.kind.unwrap_or_default(), name: listed.name.clone() }
    }
}

/// Names an object in the same namespace; the field says of which kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
}

/// Names one key of a Secret, in the same namespace (for a `ClusterRemoteStore`: in the operator's).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
    /// Key in the Secret's data.
    #[schemars(schema_with = "field::data_key")]
    pub key: String,
}

/// Names one key of a `ConfigMap` in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the `ConfigMap`.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
    /// Key in the data of the `ConfigMap`.
    #[schemars(schema_with = "field::data_key")]
    pub key: String,
}

/// A Secret that holds a credential under the key named here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySource {
    /// The Secret and its key. If the Secret has the annotation `rekey.dev/usable-by`, that must name this object,
    /// with every address that Rekey sends the credential to.
    pub secret_ref: SecretKeyRef,
}

/// A Secret that holds a credential under well-known keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretSource {
    /// The Secret. If it has the annotation `rekey.dev/usable-by`, that must name this object, with every
    /// address that Rekey sends the credential to.
    pub secret_ref: LocalRef,
}

/// Where Rekey looks up a `ServiceAccount` that a `ClusterRemoteStore` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum NamespaceFrom {
    /// In the operator's namespace.
    #[default]
    Operator,
    /// In the namespace of the policy or schedule that uses the store.
    Consumer,
}

/// Names a `ServiceAccount`. Rekey logs in with a short-lived token of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccountRef {
    /// Name of the `ServiceAccount`.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
    /// Audiences of the token: what the store expects, for example `vault` or `sts.amazonaws.com`. At least one, and never an audience
    /// of the API server.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 512)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("!self.exists(audience, audience.startsWith('https://kubernetes.default'))")
            .message("serviceAccountRef.audiences: name the store's audience, never the API server's")
    )]
    pub audiences: Vec<String>,
    /// Only for a `ClusterRemoteStore`: look the `ServiceAccount` up in the namespace of the `Operator` (default) or of the `Consumer`,
    /// the policy or schedule that uses the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "NamespaceFrom")] // keeps the description of the field
    pub namespace_from: Option<NamespaceFrom>,
}

/// Kind of object that holds a certificate bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CaBundleKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

/// Names a key with a certificate bundle (PEM).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundleRef {
    /// `Secret` or `ConfigMap`.
    pub kind: CaBundleKind,
    /// Name of the object.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
    /// Key in its data, for example `ca.crt`.
    #[schemars(schema_with = "field::data_key")]
    pub key: String,
}

/// What Rekey checks of the server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TlsMode {
    /// Certificate chain and host name.
    #[default]
    VerifyFull,
    /// Certificate chain only.
    VerifyCa,
    /// No TLS; Rekey refuses it unless the operator runs with `--allow-insecure-stores`.
    Disable,
}

/// How a connection is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caBundleRef))")
    .message("tls: set at most one of caBundle, caBundleRef"))]
pub struct Tls {
    /// `VerifyFull` (default) checks the certificate chain and the host name, `VerifyCa` the chain only. `Disable` uses no TLS; Rekey
    /// refuses it unless the operator runs with `--allow-insecure-stores`. There is no silent fallback.
    #[serde(default)]
    pub mode: TlsMode,
    /// Certificates to trust, PEM in base64. Default the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::ca_bundle")]
    pub ca_bundle: Option<ByteString>,
    /// Key of a Secret or `ConfigMap` with the certificates to trust, instead of `caBundle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
}

/// Names a workload in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// API version of the workload, for example `apps/v1`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9]+((alpha|beta)[0-9]+)?$")
    )]
    pub api_version: String,
    /// Kind of the workload: `Deployment`, `StatefulSet`, `DaemonSet`, `CronJob` or `Rollout`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// Name of the workload.
    #[schemars(schema_with = "field::object_name")]
    pub name: String,
}
