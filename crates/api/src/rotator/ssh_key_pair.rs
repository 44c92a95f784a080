//! SSH key pairs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;

/// Makes SSH key pairs. Servers learn the public keys from the stored value, which holds the old and the new key while consumers move.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SshKeyPairRotator {
    /// `Ed25519` (default) or `Rsa4096`.
    #[serde(default)]
    pub algorithm: SshAlgorithm,
    /// Comment of the public key, for example `deploy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[-A-Za-z0-9_.@+]+$"))]
    pub comment: Option<String>,
    /// Properties of the stored value that hold the keys.
    #[serde(default)]
    pub properties: SshKeyPairProperties,
    /// Servers where a login with the new key must work before Rekey retires the old one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ENDPOINTS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".to_owned(), "port".to_owned(), "user".to_owned()]))]
    pub endpoints: Vec<SshEndpoint>,
}

/// Algorithm of an SSH key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SshAlgorithm {
    /// Ed25519.
    #[default]
    Ed25519,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// Names of the properties that hold the keys in the stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SshKeyPairProperties {
    /// Property with the private key, in `OpenSSH` format. Default `ssh-privatekey`.
    #[schemars(schema_with = "field::property")]
    pub private_key: String,
    /// Property with the public key. Default `ssh-publickey`.
    #[schemars(schema_with = "field::property")]
    pub public_key: String,
    /// Property with the public keys that servers should accept: the new one, and the old one until it is retired. Default
    /// `authorized_keys`.
    #[schemars(schema_with = "field::property")]
    pub authorized_keys: String,
}

impl Default for SshKeyPairProperties {
    fn default() -> Self {
        Self {
            private_key: "ssh-privatekey".to_owned(),
            public_key: "ssh-publickey".to_owned(),
            authorized_keys: "authorized_keys".to_owned(),
        }
    }
}

/// A server and the user to log in as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SshEndpoint {
    /// DNS name or IP address.
    #[schemars(schema_with = "field::host")]
    pub host: String,
    /// Port. Default 22.
    #[serde(default = "port")]
    #[schemars(schema_with = "field::port")]
    pub port: u16,
    /// User to log in as.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9_][-A-Za-z0-9_.]*$"))]
    pub user: String,
}

fn port() -> u16 {
    22
}
