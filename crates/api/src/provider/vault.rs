//! `HashiCorp` Vault and `OpenBao`.

use k8s_openapi::ByteString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::only;
use crate::field;
use crate::reference::{CaBundleRef, SecretKeyRef, SecretKeySource, ServiceAccountRef};

/// Address of a Vault or `OpenBao` server and how to log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caBundleRef))")
    .message("vault: set at most one of caBundle, caBundleRef"))]
pub struct VaultProvider {
    /// Address of the server, for example `https://vault.infra:8200`. It has no user information and no query. Rekey refuses plain http
    /// unless the operator runs with `--allow-insecure-stores`.
    #[schemars(schema_with = "field::url")]
    pub server: String,
    /// Vault or `OpenBao` namespace to work in, for example `team-shop`. Default the root namespace. (Not a Kubernetes namespace.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::vault_path")]
    pub namespace: Option<String>,
    /// Path where the key-value engine is mounted. Default `secret`.
    #[serde(default = "secret")]
    #[schemars(schema_with = "field::vault_path")]
    pub mount: String,
    /// Version of the key-value engine: `V1` or `V2` (default). With `V1`, a rotation cannot see what another client writes at the same
    /// moment.
    #[serde(default)]
    pub kv_version: KvVersion,
    /// Certificates to trust, PEM in base64. Default the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::ca_bundle")]
    pub ca_bundle: Option<ByteString>,
    /// Key of a Secret or `ConfigMap` with the certificates to trust, instead of `caBundle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// How to log in. Exactly one of `kubernetes`, `token`, `appRole`, `jwt`.
    pub auth: VaultAuth,
}

fn secret() -> String {
    "secret".to_owned()
}

/// Version of the key-value engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KvVersion {
    /// Values without versions.
    V1,
    /// Values with versions and check-and-set.
    #[default]
    V2,
}

/// How to log in to Vault. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.kubernetes), has(self.token), has(self.appRole), has(self.jwt)].exists_one(set, set)"
)
.message("vault.auth: set exactly one of kubernetes, token, appRole, jwt"))]
pub struct VaultAuth {
    /// Kubernetes auth method: Vault asks the API server whether the `ServiceAccount`'s token is genuine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesAuth>,
    /// A token from a Secret. Rekey renews it at two thirds of its ttl, if the server allows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretKeySource>,
    /// `AppRole` auth method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRoleAuth>,
    /// JWT auth method: Vault checks the signature of the `ServiceAccount`'s token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuth>,
}

/// The member of a [`VaultAuth`] that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultLogin<'a> {
    /// Kubernetes auth method.
    Kubernetes(&'a KubernetesAuth),
    /// A token from a Secret.
    Token(&'a SecretKeySource),
    /// `AppRole` auth method.
    AppRole(&'a AppRoleAuth),
    /// JWT auth method.
    Jwt(&'a JwtAuth),
}

impl VaultAuth {
    /// The one member that is set; `None` when there are none or several.
    #[must_use]
    pub fn chosen(&self) -> Option<VaultLogin<'_>> {
        only([
            self.kubernetes.as_ref().map(VaultLogin::Kubernetes),
            self.token.as_ref().map(VaultLogin::Token),
            self.app_role.as_ref().map(VaultLogin::AppRole),
            self.jwt.as_ref().map(VaultLogin::Jwt),
        ])
    }
}

/// Login with a `ServiceAccount` by the Kubernetes auth method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesAuth {
    /// Path where the auth method is mounted. Default `kubernetes`.
    #[serde(default = "kubernetes")]
    #[schemars(schema_with = "field::vault_path")]
    pub mount: String,
    /// Role to log in to.
    #[schemars(schema_with = "field::property")]
    pub role: String,
    /// The `ServiceAccount` whose token Rekey shows to Vault.
    pub service_account_ref: ServiceAccountRef,
}

fn kubernetes() -> String {
    "kubernetes".to_owned()
}

/// Login by `AppRole`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppRoleAuth {
    /// Path where the auth method is mounted. Default `approle`.
    #[serde(default = "approle")]
    #[schemars(schema_with = "field::vault_path")]
    pub mount: String,
    /// Id of the role.
    #[schemars(schema_with = "field::property")]
    pub role_id: String,
    /// Key of a Secret with the secret id.
    pub secret_ref: SecretKeyRef,
}

fn approle() -> String {
    "approle".to_owned()
}

/// Login with a `ServiceAccount` by the JWT auth method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuth {
    /// Path where the auth method is mounted. Default `jwt`.
    #[serde(default = "jwt")]
    #[schemars(schema_with = "field::vault_path")]
    pub mount: String,
    /// Role to log in to.
    #[schemars(schema_with = "field::property")]
    pub role: String,
    /// The `ServiceAccount` whose token Rekey shows to Vault.
    pub service_account_ref: ServiceAccountRef,
}

fn jwt() -> String {
    "jwt".to_owned()
}
