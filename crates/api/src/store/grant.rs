//! Grants of a `ClusterRemoteStore`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;

/// Lets some namespaces use some keys of the store, and some other Vault engines.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.keys) && self.keys.size() > 0) || (has(self.enginePaths) && self.enginePaths.size() > 0)"
)
.message("grants: set keys or enginePaths; a grant of nothing is a mistake"))]
pub struct Grant {
    /// Which namespaces: those named, and those the selector selects.
    pub namespaces: GrantNamespaces,
    /// Which keys of the store's own mount, as globs, for example `shop/*`: `*` stands for any characters, also `/`, and every other
    /// character for itself. A glob must match the whole key. A key never opens an engine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keys: Vec<String>,
    /// Which paths of other Vault engines, with their mounts, as globs like those of `keys`, for example `pki/issue/shop-*`. Default
    /// none. Whatever the glob, paths under `sys/` and `auth/` stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub engine_paths: Vec<String>,
    /// What these namespaces may do: `Read`, `Write`. A rotation needs both. A request to an engine needs `Read`; with `method: Post` it
    /// needs `Write` and a store whose `access` is `ReadWrite`.
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub operations: Vec<GrantOperation>,
}

/// Namespaces of a grant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.names) && self.names.size() > 0) || has(self.selector)")
        .message("grants.namespaces: set names or selector; a grant to nobody is a mistake"),
    validation = Rule::new(
        "!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)"
    )
    .message("grants.namespaces.selector: add matchLabels or matchExpressions; an empty selector would select every namespace")
)]
pub struct GrantNamespaces {
    /// Names of namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63), regex(pattern = field::NAMESPACE_NAME)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Vec<String>,
    /// Selects namespaces by their labels. An empty selector is refused. Whoever may label a namespace can give it this grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::label_selector")]
    pub selector: Option<LabelSelector>,
}

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GrantOperation {
    /// Read values.
    Read,
    /// Write values.
    Write,
}
