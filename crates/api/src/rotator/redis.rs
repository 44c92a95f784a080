//! The password of a Redis or Valkey user.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;
use crate::reference::{LocalRef, Tls};

/// Rotates the password of one user: Rekey adds the new password, moves the consumers, and removes the old password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisRotator {
    /// DNS name or IP address.
    #[schemars(schema_with = "field::host")]
    pub host: String,
    /// Port. Default 6379.
    #[serde(default = "port")]
    #[schemars(schema_with = "field::port")]
    pub port: u16,
    /// Secret with the keys `username` and `password` of a user who may run `ACL SETUSER`.
    pub admin_secret_ref: LocalRef,
    /// How the connection is protected. Default `VerifyFull` with the system's certificates.
    #[serde(default)]
    pub tls: Tls,
    /// The user whose password Rekey rotates.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$"))]
    pub user: String,
    /// Property of the stored value that holds the password. Default `password`.
    #[serde(default)]
    pub properties: PasswordProperties,
}

fn port() -> u16 {
    6379
}

/// Name of the property that holds the password in the stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PasswordProperties {
    /// Property with the password. Default `password`.
    #[schemars(schema_with = "field::property")]
    pub password: String,
}

impl Default for PasswordProperties {
    fn default() -> Self {
        Self { password: "password".to_owned() }
    }
}
