//! Rotation by code of the user: a Job or a webhook.

use k8s_openapi::ByteString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::field;
use crate::reference::{CaBundleRef, LocalRef, SecretKeySource, SecretSource};

/// Whether the old credential works beside the new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Overlap {
    /// It does not: the new one replaces it at once, and there is no way back.
    #[default]
    None,
    /// It does, until it is retired.
    Supported,
}

/// Runs a Job for each step, made from a suspended `CronJob`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRotator {
    /// The suspended `CronJob` that you made. The new value is mounted into its pods as files.
    pub cron_job_ref: LocalRef,
    /// How long one Job may take. Default 10m.
    #[serde(default = "ten_minutes")]
    pub deadline: GoDuration,
    /// `Supported`: the old credential works beside the new one until it is retired. `None` (default): the new one replaces it at once.
    #[serde(default)]
    pub overlap: Overlap,
}

fn ten_minutes() -> GoDuration {
    GoDuration::minutes(10)
}

/// Calls an https service for each step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caBundleRef))")
    .message("webhook: set at most one of caBundle, caBundleRef"))]
pub struct WebhookRotator {
    /// Address of the service, for example `https://rotate.infra/orders`. It has no user information and no query. Rekey refuses plain http
    /// unless the operator runs with `--allow-insecure-stores`.
    #[schemars(schema_with = "field::url")]
    pub url: String,
    /// Signs each request with a shared key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac: Option<Hmac>,
    /// Client certificate: a Secret of type `kubernetes.io/tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<SecretSource>,
    /// Certificates to trust, PEM in base64. Default the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::ca_bundle")]
    pub ca_bundle: Option<ByteString>,
    /// Key of a Secret or `ConfigMap` with the certificates to trust, instead of `caBundle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// How long one call may take. At most 15s, default 10s.
    #[serde(default = "ten_seconds")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('15s')").message("webhook.timeout: write at most 15s"))]
    pub timeout: GoDuration,
    /// `Supported`: the old credential works beside the new one until it is retired. `None` (default): the new one replaces it at once.
    #[serde(default)]
    pub overlap: Overlap,
}

fn ten_seconds() -> GoDuration {
    GoDuration::seconds(10)
}

/// The shared key of a signature (HMAC-SHA-256): a Secret and its key.
pub type Hmac = SecretKeySource;
