//! The ways to make a new credential, prove it and retire the old one.

pub mod aws;
pub mod certificate;
pub mod custom;
pub mod generate;
pub mod mysql;
pub mod postgres;
pub mod redis;
pub mod ssh_key_pair;
pub mod vault;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field;
pub use aws::{AwsAccessKeyProperties, AwsAccessKeyRotator, AwsRotationRotator};
pub use certificate::{CaIssuer, CertificateIssuer, CertificateRotator, KeyAlgorithm, VaultPkiIssuer};
pub use custom::{Hmac, JobRotator, Overlap, WebhookRotator};
pub use generate::{CharacterClass, GenerateField, GenerateRotator, PasswordSpec};
pub use mysql::{MysqlAlternatingUsers, MysqlRotator, MysqlSingleUser, MysqlUsers};
pub use postgres::{PostgresAlternatingUsers, PostgresRotator, PostgresSingleUser, PostgresUsers};
pub use redis::{PasswordProperties, RedisRotator};
pub use ssh_key_pair::{SshAlgorithm, SshEndpoint, SshKeyPairProperties, SshKeyPairRotator};
pub use vault::VaultStaticRoleRotator;

/// How Rekey makes a new value. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.generate), has(self.postgres), has(self.mysql), has(self.redis), has(self.sshKeyPair), has(self.certificate), has(self.awsAccessKey), has(self.awsRotation), has(self.vaultStaticRole), has(self.job), has(self.webhook)].exists_one(set, set)"
)
.message("rotator: set exactly one of generate, postgres, mysql, redis, sshKeyPair, certificate, awsAccessKey, awsRotation, vaultStaticRole, job, webhook"))]
pub struct Rotator {
    /// Random values; nothing but the store or the Secret learns them. `{}` when the policy's source is `generated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<GenerateRotator>,
    /// Users of a `PostgreSQL` server; two take turns. Not supported yet, unless the operator runs with `--allow-alpha`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresRotator>,
    /// Users of a `MySQL` or `MariaDB` server. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mysql: Option<MysqlRotator>,
    /// The password of a user of a Redis or Valkey server; the user has two passwords while consumers move. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisRotator>,
    /// An SSH key pair; servers accept two while consumers move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_pair: Option<SshKeyPairRotator>,
    /// A TLS certificate, from a CA in a Secret or from Vault PKI. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateRotator>,
    /// An access key of an IAM user; the user has two keys while consumers move. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_access_key: Option<AwsAccessKeyRotator>,
    /// AWS Secrets Manager rotates by its own function. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws_rotation: Option<AwsRotationRotator>,
    /// Vault rotates a static role. The policy's source is `vaultEngine`. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_static_role: Option<VaultStaticRoleRotator>,
    /// A Job made from a suspended `CronJob` of the same namespace. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRotator>,
    /// An https service of yours. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookRotator>,
}

/// Who decides when a store rotates a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FollowMode {
    /// The schedule: Rekey asks the store to rotate.
    #[default]
    Request,
    /// The store: Rekey notices a change, verifies and publishes it, and rolls it out.
    Follow,
}

/// Another address where a new credential must work: a replica, a pooler, a server with the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// DNS name or IP address.
    #[schemars(schema_with = "field::host")]
    pub host: String,
    /// Port.
    #[schemars(schema_with = "field::port")]
    pub port: u16,
}

/// Names of the properties that hold user name and password in the stored value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoginProperties {
    /// Property with the user name. Default `username`.
    #[schemars(schema_with = "field::property")]
    pub username: String,
    /// Property with the password. Default `password`.
    #[schemars(schema_with = "field::property")]
    pub password: String,
}

impl Default for LoginProperties {
    fn default() -> Self {
        Self { username: "username".to_owned(), password: "password".to_owned() }
    }
}
