//! From a spec to a store: one arm a provider. Refuses by field name what the API has and this crate does not support
//! yet.

use std::sync::Arc;

use async_trait::async_trait;
use rekey_api::{provider::Chosen, store::RemoteStoreSpec};
use rekey_core::store::{Connect, Credentials, Network, Store, StoreError, StoreErrorKind};
use tokio::sync::OnceCell;

use crate::{http, rights::Rights};

/// Opens the stores of this crate, within what the operator's settings allow.
pub struct Stores {
    pub(crate) network: Network,
    /// For stores whose certificates the system's CAs sign: they share connections, never credentials.
    shared: OnceCell<http::Client>,
}

impl Stores {
    /// With these settings.
    #[must_use]
    pub fn new(network: Network) -> Self {
        Self { network, shared: OnceCell::new() }
    }

    pub(crate) async fn client(&self, roots: Option<String>) -> Result<http::Client, StoreError> {
        match roots {
            Some(pem) => http::client(&self.network, Some(&pem)),
            None => self.shared.get_or_try_init(|| async { http::client(&self.network, None) }).await.cloned(),
        }
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
            match spec.provider.chosen() {
                Some(Chosen::Vault(vault)) => self.vault(vault, rights, credentials).await,
                Some(Chosen::Aws(aws)) => self.aws(aws, rights, credentials).await,
                None => Err(invalid("spec.provider must have exactly one of vault, aws")),
            }
        };
        http::within("opening the store", open).await
    }
}

pub(crate) fn invalid(text: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text)
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

    /// The spec of one provider with some of its fields changed.
    pub(crate) fn changed(mut spec: Value, changes: &Value, provider: &str) -> Value {
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({ provider: spec })
    }

    #[tokio::test]
    async fn a_spec_without_a_provider_is_refused() {
        let text = refusal(json!({})).await.unwrap_or_default();
        assert!(text.contains("exactly one of vault, aws"), "{text}");
    }
}
