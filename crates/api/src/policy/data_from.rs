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
    /// Every stored value that fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
    /// Changes of the names, one after the other, before they become keys of the Secret.
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
    /// Property whose members are taken: the literal key if there is one, else a dotted path. Default the members of the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::property")]
    pub property: Option<String>,
    /// Version to stay on, for example `"3"`. Default the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub version: Option<String>,
    /// AWS: staging label or parameter label to follow, instead of `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub stage: Option<String>,
    /// Decoding of every property, after `rewrite`: `None` (default), `Base64`, `Base64URL`, or `Auto`: whichever of the two fits, else the value as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Decoding")] // keeps the description of the field
    pub decoding: Option<Decoding>,
    /// `None` (default): the value itself. `Fetch`: the metadata that the store keeps of it (custom metadata of KV version 2, tags of AWS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MetadataPolicy")] // keeps the description of the field
    pub metadata_policy: Option<MetadataPolicy>,
    /// What becomes of a character that a key of a Secret cannot have, after `rewrite`. `None` (default): the name is refused.
    /// `Underscore`: it becomes `_`. `Unicode`: it becomes its number, `/` for example `_U002f_`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeyConversion")] // keeps the description of the field
    pub key_conversion: Option<KeyConversion>,
}

/// A search in the store. What is set must all fit.
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
    /// Tags the value must carry, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::tags")]
    pub tags: Option<BTreeMap<String, String>>,
    /// Decoding of every value, after `rewrite`: `None` (default), `Base64`, `Base64URL`, or `Auto`: whichever of the two fits, else the value as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Decoding")] // keeps the description of the field
    pub decoding: Option<Decoding>,
    /// What becomes of a character that a key of a Secret cannot have, after `rewrite`. `Underscore` (default): it becomes `_`.
    /// `Unicode`: it becomes its number, `/` for example `_U002f_`. `None`: the name is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "KeyConversion")] // keeps the description of the field
    pub key_conversion: Option<KeyConversion>,
}

/// What becomes of characters that a key of a Secret cannot have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyConversion {
    /// The name is refused.
    #[default]
    None,
    /// Each becomes `_`.
    Underscore,
    /// Each becomes its number between `_U` and `_`, in at least four hexadecimal digits.
    Unicode,
}

/// A change of names. Exactly one of `regexp`, `transform`, `merge` is set.
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
    /// Makes one object of the values, each of which is a JSON object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeRewrite>,
}

/// A change of names by regular expression.
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

/// A change of names by template.
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
    /// `Extract` (default): the members of the merged object are what there is from here on. `JSON`: the object becomes the value of the
    /// key `into`, beside those that it is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MergeStrategy")] // keeps the description of the field
    pub strategy: Option<MergeStrategy>,
    /// Key that gets the merged object with strategy `JSON`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::property")]
    pub into: Option<String>,
    /// Several values have the same member: `Error` (default) refuses that, `Ignore` takes the one that comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "MergeConflictPolicy")] // keeps the description of the field
    pub conflict_policy: Option<MergeConflictPolicy>,
    /// Names whose values come after all others, in this order. The others come in the order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub priority: Vec<String>,
    /// A name of `priority` is not there: `Strict` (default) refuses that, `IgnoreNotFound` goes on without it.
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

/// What two equal members mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MergeConflictPolicy {
    /// They are refused.
    #[default]
    Error,
    /// The last one counts.
    Ignore,
}

/// What a name of `priority` means that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MergePriorityPolicy {
    /// It is refused.
    #[default]
    Strict,
    /// Nothing.
    IgnoreNotFound,
}
