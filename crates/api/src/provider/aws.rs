//! AWS Secrets Manager and Systems Manager Parameter Store.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::only;
use crate::field;
use crate::reference::{SecretKeyRef, ServiceAccountRef};

/// A service of AWS, its region and how to sign requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsProvider {
    /// `SecretsManager` or `ParameterStore`.
    pub service: AwsService,
    /// Region, for example `eu-west-1`.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z]{2,6}(-[a-z0-9]+)+$"))]
    pub region: String,
    /// Address to use instead of the service's own, for example a VPC endpoint. It has no user information and no query. Rekey refuses
    /// plain http unless the operator runs with `--allow-insecure-stores`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::url")]
    pub endpoint: Option<String>,
    /// Role to assume after the login. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<AwsRole>,
    /// How to log in: exactly one of `secretRef`, `serviceAccountRef`. Absent: the operator's own credentials, which only a
    /// `ClusterRemoteStore` may use unless the operator runs with `--allow-ambient-credentials`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AwsAuth>,
}

/// Which service of AWS holds the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AwsService {
    /// Secrets Manager.
    #[default]
    SecretsManager,
    /// Systems Manager Parameter Store.
    ParameterStore,
}

/// A role to assume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsRole {
    /// ARN of the role, for example `arn:aws:iam::123456789012:role/reader`.
    #[schemars(length(min = 20, max = 2048), regex(pattern = r"^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[\w+=,.@/-]+$"))]
    pub arn: String,
    /// External id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1224), regex(pattern = r"^[\w+=,.@:/-]+$"))]
    pub external_id: Option<String>,
    /// Name of the session, as AWS logs it. Default `rekey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64), regex(pattern = r"^[\w+=,.@-]+$"))]
    pub session_name: Option<String>,
}

/// How to log in to AWS. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.secretRef), has(self.serviceAccountRef)].exists_one(set, set)")
    .message("aws.auth: set exactly one of secretRef, serviceAccountRef"))]
pub struct AwsAuth {
    /// A key pair from Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<AwsSecretRef>,
    /// Web identity (IRSA): the token of a `ServiceAccount`. The role is `role.arn`, else the `ServiceAccount`'s annotation
    /// `eks.amazonaws.com/role-arn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// The member of an [`AwsAuth`] that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsLogin<'a> {
    /// A key pair from Secrets.
    KeyPair(&'a AwsSecretRef),
    /// Web identity.
    Account(&'a ServiceAccountRef),
}

impl AwsAuth {
    /// The one member that is set; `None` when there are none or both.
    #[must_use]
    pub fn chosen(&self) -> Option<AwsLogin<'_>> {
        only([
            self.secret_ref.as_ref().map(AwsLogin::KeyPair),
            self.service_account_ref.as_ref().map(AwsLogin::Account),
        ])
    }
}

/// Where the parts of a key pair are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSecretRef {
    /// Key of a Secret with the access key id.
    pub access_key_id: SecretKeyRef,
    /// Key of a Secret with the secret access key.
    pub secret_access_key: SecretKeyRef,
    /// Key of a Secret with the session token, for temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretKeyRef>,
}
