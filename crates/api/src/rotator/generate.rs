//! Random values.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;

/// Random values for properties of the stored object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerateRotator {
    /// One generated value per property of the object at `writeTo`. Leave it out when the policy's source is `generated`: then the fields
    /// of the policy count. Not supported yet: leaving it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = crate::bounds::PROPERTIES))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["property".to_owned()]))]
    pub fields: Option<Vec<GenerateField>>,
}

/// One generated property.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerateField {
    /// Property of the stored object.
    #[schemars(schema_with = "field::property")]
    pub property: String,
    /// A random password; `{}` for the defaults.
    pub password: PasswordSpec,
}

/// How a random password looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PasswordSpec {
    /// Number of characters. Default 32.
    #[schemars(range(min = 8, max = 4096))]
    pub length: u32,
    /// Characters that the password must not have, for example `"@/\`.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 128))]
    pub exclude: String,
    /// Classes of characters to choose from; the password has at least one character of each. Default `Lowercase`, `Uppercase`, `Digits` and
    /// `Punctuation`.
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "set"))]
    pub classes: Vec<CharacterClass>,
}

impl Default for PasswordSpec {
    fn default() -> Self {
        Self {
            length: 32,
            exclude: String::new(),
            classes: vec![
                CharacterClass::Lowercase,
                CharacterClass::Uppercase,
                CharacterClass::Digits,
                CharacterClass::Punctuation,
            ],
        }
    }
}

/// A class of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CharacterClass {
    /// `a` to `z`.
    Lowercase,
    /// `A` to `Z`.
    Uppercase,
    /// `0` to `9`.
    Digits,
    /// ASCII punctuation.
    Punctuation,
}
