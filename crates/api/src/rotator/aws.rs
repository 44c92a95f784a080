//! Access keys of IAM users, and rotation by AWS Secrets Manager itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FollowMode;
use crate::field;
use crate::reference::StoreRef;

/// Replaces the access key of an IAM user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsAccessKeyRotator {
    /// A store with provider `aws`: the account and how to log in. Its identity may create and delete the user's keys.
    pub store_ref: StoreRef,
    /// Name of the IAM user.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[\w+=,.@-]+$"))]
    pub user_name: String,
    /// Properties of the stored value that hold the key pair. Default `id` and `secret`.
    #[serde(default)]
    pub properties: AwsAccessKeyProperties,
}

/// Names of the properties that hold a key pair in the stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AwsAccessKeyProperties {
    /// Property with the access key id. Default `id`.
    #[schemars(schema_with = "field::property")]
    pub access_key_id: String,
    /// Property with the secret access key. Default `secret`.
    #[schemars(schema_with = "field::property")]
    pub secret_access_key: String,
}

impl Default for AwsAccessKeyProperties {
    fn default() -> Self {
        Self { access_key_id: "id".to_owned(), secret_access_key: "secret".to_owned() }
    }
}

/// AWS Secrets Manager rotates the secret that the policy reads, by the function configured there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsRotationRotator {
    /// `Request`: the schedule asks Secrets Manager to rotate. `Follow`: Secrets Manager decides when; set no schedule.
    pub mode: FollowMode,
}
