//! TLS certificates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Endpoint;
use crate::duration::GoDuration;
use crate::field;
use crate::reference::{SecretSource, StoreRef};

/// Makes TLS certificates. The stored value has the properties `tls.crt`, `tls.key` and `ca.crt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.commonName) || (has(self.dnsNames) && self.dnsNames.size() > 0)")
    .message("certificate: set dnsNames or commonName; a certificate needs a subject"))]
pub struct CertificateRotator {
    /// Who signs. Exactly one of `ca`, `vaultPki`.
    pub issuer: CertificateIssuer,
    /// Common name of the subject. Clients check a server by `dnsNames`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub common_name: Option<String>,
    /// DNS names that the certificate is for; a name may start with `*.`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 100),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub dns_names: Vec<String>,
    /// How long the certificate is valid. At least 1h, default 2160h (90 days).
    #[serde(default = "ninety_days")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1h')").message("certificate.duration: write at least 1h"))]
    pub duration: GoDuration,
    /// Algorithm of the key: `EcdsaP256` (default), `EcdsaP384`, `Ed25519`, `Rsa2048` or `Rsa4096`.
    #[serde(default)]
    pub key_algorithm: KeyAlgorithm,
    /// Servers that must present the new certificate before the old one counts as retired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ENDPOINTS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["host".to_owned(), "port".to_owned()]))]
    pub endpoints: Vec<Endpoint>,
}

fn ninety_days() -> GoDuration {
    GoDuration::hours(90 * 24)
}

/// Who signs a certificate. Exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.ca), has(self.vaultPki)].exists_one(set, set)")
    .message("certificate.issuer: set exactly one of ca, vaultPki"))]
pub struct CertificateIssuer {
    /// A CA whose certificate and key are in a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaIssuer>,
    /// A PKI engine of Vault or `OpenBao`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_pki: Option<VaultPkiIssuer>,
}

/// A CA in a Secret of type `kubernetes.io/tls`: keys `tls.crt` and `tls.key`.
pub type CaIssuer = SecretSource;

/// A role of a PKI engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VaultPkiIssuer {
    /// A store with provider `vault`: the server and how to log in.
    pub store_ref: StoreRef,
    /// Path where the engine is mounted. Default `pki`.
    #[serde(default = "pki")]
    #[schemars(schema_with = "field::vault_path")]
    pub mount: String,
    /// Role that signs.
    #[schemars(schema_with = "field::property")]
    pub role: String,
}

fn pki() -> String {
    "pki".to_owned()
}

/// Algorithm of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 4096 bits.
    Rsa4096,
}
