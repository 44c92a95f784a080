//! From a spec to a store: one arm a provider. What the API has and this crate has not yet is refused by field name.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use rekey_api::{
    provider::{AwsProvider, AwsService, Provider},
    reference::{CaBundleKind, CaBundleRef, SecretKeyRef},
    store::RemoteStoreSpec,
};
use rekey_core::store::{Connect, Credentials, Network, Store, StoreError, StoreErrorKind};
use tokio::sync::OnceCell;

use crate::{
    address,
    aws::{Keys, Place, Places, SecretsManager},
    http,
    rights::Rights,
};

/// Opens the stores of this crate, within what the operator's settings allow.
pub struct Stores {
    pub(crate) network: Network,
    /// For stores whose certificates the system's CAs sign: they share connections, never credentials.
    shared: OnceCell<reqwest::Client>,
}

impl Stores {
    /// With these settings.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, shared: OnceCell::new() }
    }

    pub(crate) async fn client(&self, roots: Option<String>) -> Result<reqwest::Client, StoreError> {
        match roots {
            Some(pem) => http::client(&self.network, Some(&pem)),
            None => self.shared.get_or_try_init(|| async { http::client(&self.network, None) }).await.cloned(),
        }
    }

    async fn aws(
        &self,
        spec: &AwsProvider,
        rights: Rights,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        match spec.service {
            AwsService::ParameterStore => {
                return Err(later("spec.provider.aws.service: ParameterStore", "use SecretsManager"));
            }
            AwsService::SecretsManager => {}
        }
        if spec.role.is_some() {
            return Err(later("spec.provider.aws.role", "name a credential that needs no role in auth.secretRef"));
        }
        let places = aws_places(spec)?;
        let region = spec.region.clone();
        if region.is_empty() || !region.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') {
            return Err(invalid("spec.provider.aws.region is not the name of a region, like eu-west-1"));
        }
        let endpoint = match &spec.endpoint {
            Some(text) => Some(address::check("spec.provider.aws.endpoint", text, &self.network)?),
            None => None,
        };
        let place = match &endpoint {
            Some(address) => format!("Secrets Manager ({})", address.place),
            None => format!("Secrets Manager ({region})"),
        };
        let endpoint = endpoint.map(|address| address.url.as_str().trim_end_matches('/').to_owned());
        let client = self.client(None).await?;
        let keys = Keys { places, credentials, client, region, endpoint };
        Ok(Arc::new(SecretsManager::new(place, rights, keys)))
    }
}

#[async_trait]
impl Connect for Stores {
    async fn connect(
        &self,
        spec: &RemoteStoreSpec,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let rights = Rights(spec.access);
        let open = async {
            match &spec.provider {
                Provider { vault: Some(vault), aws: None } => self.vault(vault, rights, credentials).await,
                Provider { vault: None, aws: Some(aws) } => self.aws(aws, rights, credentials).await,
                Provider { vault: None, aws: None } | Provider { vault: Some(_), aws: Some(_) } => {
                    Err(invalid("spec.provider must have exactly one of vault, aws"))
                }
            }
        };
        http::within("opening the store", open).await
    }
}

fn aws_places(spec: &AwsProvider) -> Result<Places, StoreError> {
    let auth = spec.auth.as_ref().ok_or_else(|| {
        later("spec.provider.aws without auth (the operator's own credentials)", "use auth.secretRef")
    })?;
    match (&auth.secret_ref, &auth.service_account_ref) {
        (Some(keys), None) => Ok(Places {
            access_key_id: place(&keys.access_key_id),
            secret_access_key: place(&keys.secret_access_key),
            session_token: keys.session_token.as_ref().map(place),
        }),
        (None, Some(_)) => Err(later("spec.provider.aws.auth.serviceAccountRef", "use auth.secretRef")),
        (None, None) | (Some(_), Some(_)) => {
            Err(invalid("spec.provider.aws.auth must have exactly one of secretRef, serviceAccountRef"))
        }
    }
}

fn place(reference: &SecretKeyRef) -> Place {
    Place { name: reference.name.clone(), key: reference.key.clone() }
}

/// The certificates to trust, if not the system's.
pub(crate) async fn roots(
    inline: Option<&ByteString>,
    reference: Option<&CaBundleRef>,
    credentials: &dyn Credentials,
) -> Result<Option<String>, StoreError> {
    let bytes = match (inline, reference) {
        (None, None) => return Ok(None),
        (Some(bundle), None) => bundle.0.clone(),
        (None, Some(CaBundleRef { kind: CaBundleKind::ConfigMap, name, key })) => {
            return credentials.config(name, key).await.map(Some);
        }
        (None, Some(CaBundleRef { kind: CaBundleKind::Secret, name, key })) => {
            credentials.secret(name, key).await?.expose().to_vec()
        }
        (Some(_), Some(_)) => return Err(invalid("caBundle and caBundleRef exclude each other")),
    };
    String::from_utf8(bytes).map(Some).map_err(|_| invalid("the CA bundle is not PEM"))
}

pub(crate) fn invalid(text: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text)
}

pub(crate) fn later(field: &str, instead: &str) -> StoreError {
    invalid(&format!("{field} is not supported yet; {instead}"))
}

#[cfg(test)]
pub(crate) mod tests {
    use rekey_core::{SecretBytes, store::AccountToken};
    use serde_json::{Value, json};

    use super::*;

    /// Has nothing.
    struct Nothing;

    #[async_trait]
    impl Credentials for Nothing {
        async fn secret(&self, name: &str, key: &str) -> Result<SecretBytes, StoreError> {
            Err(invalid(&format!("no {name}/{key}")))
        }

        async fn config(&self, name: &str, key: &str) -> Result<String, StoreError> {
            Err(invalid(&format!("no {name}/{key}")))
        }

        async fn account_token(&self, name: &str, _: &[String]) -> Result<AccountToken, StoreError> {
            Err(invalid(&format!("no {name}")))
        }

        async fn account_annotation(&self, _: &str, _: &str) -> Result<Option<String>, StoreError> {
            Ok(None)
        }

        fn is_ambient_allowed(&self) -> bool {
            false
        }
    }

    /// Why a provider is refused, if it is.
    pub(crate) async fn refusal(provider: Value) -> Option<String> {
        let spec: RemoteStoreSpec = serde_json::from_value(json!({ "provider": provider })).unwrap();
        let opened = Stores::new(Network::default()).connect(&spec, Arc::new(Nothing)).await;
        let error = opened.err()?;
        assert_eq!(error.kind, StoreErrorKind::Invalid, "{error}");
        Some(error.text)
    }

    fn aws(changes: &Value) -> Value {
        let key = json!({ "name": "aws", "key": "id" });
        let auth = json!({ "secretRef": { "accessKeyId": key, "secretAccessKey": key } });
        changed(json!({ "service": "SecretsManager", "region": "eu-west-1", "auth": auth }), changes, "aws")
    }

    /// A provider with some fields changed.
    pub(crate) fn changed(mut spec: Value, changes: &Value, provider: &str) -> Value {
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({ provider: spec })
    }

    #[tokio::test]
    async fn what_is_built_opens_without_a_login() {
        let table = [aws(&json!({})), aws(&json!({ "endpoint": "https://vpce.example" }))];
        for provider in table {
            assert_eq!(refusal(provider.clone()).await, None, "{provider}");
        }
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_by_field() {
        let account = json!({ "name": "reader", "audiences": ["vault"] });
        let table = [
            (json!({}), "exactly one of vault, aws"),
            (aws(&json!({ "service": "ParameterStore" })), "aws.service: ParameterStore is not supported yet"),
            (aws(&json!({ "role": { "arn": "arn:aws:iam::123456789012:role/r" } })), "aws.role is not supported yet"),
            (aws(&json!({ "auth": { "serviceAccountRef": account } })), "aws.auth.serviceAccountRef is not supported"),
            (aws(&json!({ "auth": null })), "aws without auth"),
            (aws(&json!({ "auth": {} })), "aws.auth must have exactly one"),
            (aws(&json!({ "region": "evil.example/" })), "aws.region"),
            (aws(&json!({ "endpoint": "https://[::1]:4566" })), "aws.endpoint is the address"),
        ];
        for (provider, expected) in table {
            let text = refusal(provider.clone()).await.unwrap_or_default();
            assert!(text.contains(expected), "{provider}: {text:?}");
        }
    }
}
