//! Entries of `dataFrom`: many keys of the Secret at once.
//!
//! The list is atomic, so its schema has no defaults: with them, two who apply the same list server-side would conflict over what
//! the API server has added to it. What is left out has its default where it is read.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{Decoding, MetadataPolicy};
use crate::field;
use crate::reference::ListedStoreRef;

/// Many values at once. Exactly one of `extract`, `find` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.extract), has(self.find)].exists_one(set, set)")
    .message("dataFrom: set exactly one of extract, find in each entry"))]
pub struct DataFrom {
    /// Another store for this entry. Default `source.remote.storeRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_ref: Option<ListedStoreRef>,
    /// Every property of one stored object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<Extract>,
    /// Every stored value that matches a search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
    /// Changes to the names, one after the other, before they become keys of the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rewrite: Vec<Rewrite>,
}

/// One stored object with properties.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.version) && has(self.stage))")
        .message("extract: set at most one of version, stage"),
    validation = Rule::new(
        "!(has(self.metadataPolicy) && self.metadataPolicy == 'Fetch' && (has(self.version) || has(self.stage)))"
    )
    .message("extract: metadata has no versions; remove version and stage, or write metadataPolicy: None")
)]
pub struct Extract {
    /// Key in the store, for example `shop/orders-db`.
    #[schemars(schema_with = "field::remote_key")]
    pub key: String,
    /// Property whose members become keys: the literal key if there is one, else a dotted path. Default the members of the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::property")]
    pub property: Option<String>,
    /// Version to stay on, for example `"3"`. Default the current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
    /// AWS: staging label or parameter label to follow, instead of `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub stage: Option<String>,
    /// Decoding of every property, after `rewrite`: `None` (default), `Base64`, `Base64URL`, or `Auto`: base64 or base64url, whichever fits, else the value as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Decoding")] // keeps the description of the field
    pub decoding: Option<Decoding>,
    /// `None` (default): the value itself. `Fetch`: the metadata that the store keeps with it (custom metadata of KV version 2, tags of AWS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MetadataPolicy")] // keeps the description of the field
    pub metadata_policy: Option<MetadataPolicy>,
    /// What happens to a character that a key of a Secret cannot have, after `rewrite`. `None` (default): Rekey refuses the name.
    /// `Underscore`: the character becomes `_`. `Unicode`: it becomes its number, `/` for example `_U002f_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeyConversion")] // keeps the description of the field
    pub key_conversion: Option<KeyConversion>,
}

/// A search in the store. A value must match everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.path) || has(self.nameRegexp) || has(self.tags)")
    .message("find: set path, nameRegexp or tags; an empty search would read the whole store"))]
pub struct Find {
    /// Path to search below, for example `shop/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::remote_key")]
    pub path: Option<String>,
    /// Regular expression on the name in the syntax of Go, for example `^api-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::expression")]
    pub name_regexp: Option<String>,
    /// Tags that the value must have, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::tags")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Decoding of every value, after `rewrite`: `None` (default), `Base64`, `Base64URL`, or `Auto`: base64 or base64url, whichever fits, else the value as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Decoding")] // keeps the description of the field
    pub decoding: Option<Decoding>,
    /// What happens to a character that a key of a Secret cannot have, after `rewrite`. `Underscore` (default): it becomes `_`.
    /// `Unicode`: it becomes its number, `/` for example `_U002f_`. `None`: Rekey refuses the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeyConversion")] // keeps the description of the field
    pub key_conversion: Option<KeyConversion>,
}

/// What happens to characters that a key of a Secret cannot have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyConversion {
    /// Rekey refuses the name.
    #[default]
    None,
    /// Each becomes `_`.
    Underscore,
    /// Each becomes its number between `_U` and `_`, in at least four hexadecimal digits.
    Unicode,
}

/// A change to names. Exactly one of `regexp`, `transform`, `merge` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.regexp), has(self.transform), has(self.merge)].exists_one(set, set)")
    .message("rewrite: set exactly one of regexp, transform, merge in each entry"))]
pub struct Rewrite {
    /// By regular expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RegexpRewrite>,
    /// By template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformRewrite>,
    /// Makes one object of all values, each of which must be a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeRewrite>,
}

/// A change to names by regular expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegexpRewrite {
    /// Regular expression on the name in the syntax of Go, for example `^shop/(.*)$`. A name it does not match stays.
    #[schemars(schema_with = "field::expression")]
    pub source: String,
    /// What replaces each match; `$1` is the first group, `${name}` a named one, `$$` a dollar sign.
    #[schemars(length(max = 1024))]
    pub target: String,
}

/// A change to names by template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransformRewrite {
    /// Go template that makes the new name, with the name as `.value`, for example `{{ .value | upper | replace "-" "_" }}`.
    #[schemars(length(min = 1, max = 16384))]
    pub template: String,
}

/// One object made of several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.strategy) && self.strategy == 'JSON') || has(self.into)")
    .message("merge.into: name the key that gets the merged object; strategy JSON needs it"))]
pub struct MergeRewrite {
    /// `Extract` (default): the members of the merged object replace the values that it is made of. `JSON`: the merged object becomes the
    /// value of the key `into`, and the values that it is made of stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MergeStrategy")] // keeps the description of the field
    pub strategy: Option<MergeStrategy>,
    /// Key that gets the merged object with strategy `JSON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::property")]
    pub into: Option<String>,
    /// What to do when several values have the same member: `Error` (default) refuses that, `Ignore` takes the one that comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MergeConflictPolicy")] // keeps the description of the field
    pub conflict_policy: Option<MergeConflictPolicy>,
    /// Names whose values come after all others, in this order. The others come in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub priority: Vec<String>,
    /// What to do when a name of `priority` does not exist: `Strict` (default) refuses that, `IgnoreNotFound` goes on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MergePriorityPolicy")] // keeps the description of the field
    pub priority_policy: Option<MergePriorityPolicy>,
}

/// What becomes of a merged object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MergeStrategy {
    /// Its members become keys.
    #[default]
    Extract,
    /// It becomes one value.
    #[serde(rename = "JSON")]
    Json,
}

/// What to do when two values have the same member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MergeConflictPolicy {
    /// Refuse it.
    #[default]
    Error,
    /// Take the last one.
    Ignore,
}

/// What to do when a name of `priority` does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MergePriorityPolicy {
    /// Refuse it.
    #[default]
    Strict,
    /// Go on without it.
    IgnoreNotFound,
}
