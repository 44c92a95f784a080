//! The Secret that a policy publishes.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;
use crate::reference::ConfigMapKeyRef;

/// The Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the Secret. Default `metadata.name`. The effective name cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::object_name")]
    pub name: Option<String>,
    /// Type of the Secret: `Opaque` (default), `kubernetes.io/dockercfg`, `kubernetes.io/dockerconfigjson`, `kubernetes.io/basic-auth`,
    /// `kubernetes.io/ssh-auth`, `kubernetes.io/tls`, or a type outside kubernetes.io. The data must fit the type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$"))]
    #[x_kube(validation = Rule::new(
        "self in ['Opaque', 'kubernetes.io/dockercfg', 'kubernetes.io/dockerconfigjson', 'kubernetes.io/basic-auth', 'kubernetes.io/ssh-auth', 'kubernetes.io/tls'] || !(self.startsWith('kubernetes.io/') || self.contains('.kubernetes.io/'))"
    )
    .message("target.type: use Opaque, kubernetes.io/dockercfg, dockerconfigjson, basic-auth, ssh-auth or tls, or a type outside kubernetes.io; service account and bootstrap tokens are refused"))]
    pub secret_type: Option<String>,
    /// `Owner` (default): the whole Secret is the policy's. `Merge`: the policy writes its keys into somebody else's Secret, which must
    /// consent by the annotation `rekey.dev/adopt-by`. Of no effect with `source.existing`.
    #[serde(default)]
    pub ownership: Ownership,
    /// Metadata and data made from the values that were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// What becomes of the Secret when the policy is deleted: `Delete` (default, by ownerReference) or `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OnPolicyDelete")] // keeps the description of the field
    pub on_policy_delete: Option<OnPolicyDelete>,
}

/// Whose Secret it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Ownership {
    /// The policy's.
    #[default]
    Owner,
    /// Somebody else's; the policy writes its own keys only.
    Merge,
}

/// What becomes of the Secret when the policy goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnPolicyDelete {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// Metadata and data of the Secret. Values are Go templates with the values that were read as fields, `{{ .username }}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// One template per key of the Secret, for example `url: 'postgres://{{ .username }}:{{ .password | urlquery }}@db/orders'`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::template_data")]
    pub data: BTreeMap<String, String>,
    /// Templates from `ConfigMap`s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["as".to_owned()]))]
    pub from: Vec<TemplateFrom>,
    /// `Merge` (default): the Secret has the values that were read and the templated ones. `Replace`: only the templated ones.
    #[serde(default)]
    pub include: Include,
}

/// Which values the Secret has beside the templated ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Include {
    /// Those that were read, too.
    #[default]
    Merge,
    /// None.
    Replace,
}

/// Labels and annotations of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels. Those under `rekey.dev/` and `app.kubernetes.io/managed-by` are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::secret_labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations. Those under `kubernetes.io/` and `rekey.dev/` are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::secret_annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// A template from a `ConfigMap`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateFrom {
    /// The `ConfigMap` and its key.
    pub config_map_ref: ConfigMapKeyRef,
    /// Key of the Secret that the rendered template becomes.
    #[serde(rename = "as")]
    #[schemars(schema_with = "field::data_key")]
    pub secret_key: String,
}
