//! The Secret that a policy publishes.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;
use crate::reference::{ConfigMapKeyRef, SecretKeyRef};

/// The Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Name of the Secret. Default `metadata.name`. The effective name cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::object_name")]
    pub name: Option<String>,
    /// Type of the Secret: `Opaque` (default), `kubernetes.io/dockercfg`, `kubernetes.io/dockerconfigjson`, `kubernetes.io/basic-auth`,
    /// `kubernetes.io/ssh-auth`, `kubernetes.io/tls`, or a type outside kubernetes.io. The data must fit the type, which cannot change.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$"))]
    #[x_kube(validation = Rule::new(
        "self in ['Opaque', 'kubernetes.io/dockercfg', 'kubernetes.io/dockerconfigjson', 'kubernetes.io/basic-auth', 'kubernetes.io/ssh-auth', 'kubernetes.io/tls'] || !(self.startsWith('kubernetes.io/') || self.contains('.kubernetes.io/'))"
    )
    .message("target.type: use Opaque, kubernetes.io/dockercfg, dockerconfigjson, basic-auth, ssh-auth or tls, or a type outside kubernetes.io; service account and bootstrap tokens are refused"))]
    pub secret_type: Option<String>,
    /// `Owner` (default): the whole Secret belongs to the policy. `Merge`: the policy writes its keys into a Secret of another tool, whose
    /// owner must consent by the annotation `rekey.dev/adopt-by`. No effect with `source.existing`.
    #[serde(default)]
    pub ownership: Ownership,
    /// Metadata and data that templates make from the values that Rekey read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// What happens to the Secret when you delete the policy: `Delete` (default, by ownerReference) or `Retain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OnPolicyDelete")] // keeps the description of the field
    pub on_policy_delete: Option<OnPolicyDelete>,
}

/// Whom the Secret belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Ownership {
    /// The policy.
    #[default]
    Owner,
    /// Another tool; the policy writes its own keys only.
    Merge,
}

/// What happens to the Secret when you delete the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnPolicyDelete {
    /// Kubernetes deletes it.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// Metadata and data of the Secret. Each entry is a Go template; the values that Rekey read are its fields, `{{ .username }}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.mergePolicy) && has(self.include) && self.mergePolicy == 'Merge' && self.include == 'Replace')")
    .message("template.include: remove it; it says Replace, and template.mergePolicy, its new name, says Merge"))]
pub struct Template {
    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
    /// One template per key of the Secret, for example `url: 'postgres://{{ .username }}:{{ .password | urlquery }}@db/orders'`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::template_data")]
    pub data: BTreeMap<String, String>,
    /// More templates, in this order: a later one overwrites an earlier one, and `data` and `metadata` overwrite both.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new(
            "self.all(one, !has(one.__as__) || self.exists_one(other, has(other.__as__) && other.__as__ == one.__as__ && (has(other.into) ? other.into : 'Data') == (has(one.into) ? one.into : 'Data')))"
        )
        .message("template.from: two entries become the same key; give each another `as`")
    )]
    pub from: Vec<TemplateFrom>,
    /// `Replace`: the Secret has the templated values only. `Merge`: it also has the values that Rekey read. Default `Replace` for the
    /// sources `remote` and `vaultEngine` when `data` is set or an entry of `from` makes data, else `Merge`. Rekey always keeps generated
    /// values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MergePolicy")] // keeps the description of the field
    pub merge_policy: Option<MergePolicy>,
    /// Deprecated: the earlier name of `mergePolicy`, with the same choices `Merge` and `Replace`. Rekey reads it where `mergePolicy` is
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Include")] // keeps the description of the field
    pub include: Option<Include>,
}

/// Which values the Secret has besides the templated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MergePolicy {
    /// None.
    Replace,
    /// Those that Rekey read.
    Merge,
}

/// The earlier form of [`MergePolicy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Include {
    /// Those that Rekey read.
    Merge,
    /// None.
    Replace,
}

/// Labels and annotations of the Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TemplateMetadata {
    /// Labels; their values may be templates. Rekey refuses those under `rekey.dev/` and `app.kubernetes.io/managed-by`. A label that a
    /// template makes of a secret value is visible: tools that hide the data of a Secret show it, and audit logs keep it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::secret_labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations; their values may be templates. Rekey refuses those under `kubernetes.io/` and `rekey.dev/`. An annotation that a
    /// template makes of a secret value is visible: tools that hide the data of a Secret show it, and audit logs keep it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "field::secret_annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// One more template. Exactly one of `configMapRef`, `secretRef`, `literal` is set. The list is atomic, so its schema has
/// no defaults: Rekey applies them when it reads an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.configMapRef), has(self.secretRef), has(self.literal)].exists_one(set, set)")
        .message("template.from: set exactly one of configMapRef, secretRef, literal in each entry"),
    validation = Rule::new("has(self.__as__) != (has(self.yields) && self.yields == 'KeysAndValues')")
        .message("template.from: set `as`, the key that the rendered text becomes; only with yields: KeysAndValues it is left out"),
    validation = Rule::new("!has(self.__as__) || (has(self.into) && self.into != 'Data') || (self.__as__.size() <= 253 && !self.__as__.contains('/'))")
        .message("template.from: `as` names a key of the Secret: at most 253 letters, digits, '-', '_' and '.'")
)]
pub struct TemplateFrom {
    /// A `ConfigMap` and its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKeyRef>,
    /// A Secret and its key. If the Secret has the annotation `rekey.dev/usable-by`, that must name this policy, as
    /// `SecretPolicy/orders-db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// The template itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub literal: Option<String>,
    /// Key of the Secret that gets the rendered text; with `into`, name of the label or annotation.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::templated_name")]
    pub name: Option<String>,
    /// `Value` (default): the rendered text is one value. `KeysAndValues`: it is a YAML mapping of keys and values; each value is the text
    /// as written, also where YAML reads a number or a boolean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TemplateYields")] // keeps the description of the field
    pub yields: Option<TemplateYields>,
    /// Where it goes: `Data` (default), `Labels` or `Annotations`. The rules of `metadata` apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TemplateInto")] // keeps the description of the field
    pub into: Option<TemplateInto>,
}

/// What a rendered text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TemplateYields {
    /// One value.
    #[default]
    Value,
    /// A YAML mapping.
    KeysAndValues,
}

/// Where a rendered text goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TemplateInto {
    /// The data of the Secret.
    #[default]
    Data,
    /// Its labels.
    Labels,
    /// Its annotations.
    Annotations,
}
