//! From a spec to a store. What the API has and this crate has not yet is refused by field name.

use std::sync::Arc;

use rekey_api::{
    provider::{AwsProvider, AwsService},
    reference::SecretKeyRef,
};
use rekey_core::store::{Credentials, Network, Store, StoreError, StoreErrorKind};

use super::{Keys, Place, Places, SecretsManager};
use crate::{address, rights::Rights};

/// The store that `spec` describes; its calls go over `client`.
///
/// # Errors
/// `Invalid`, naming the field that cannot work.
pub(crate) fn open(
    spec: &AwsProvider,
    rights: Rights,
    credentials: Arc<dyn Credentials>,
    network: &Network,
    client: reqwest::Client,
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
    let places = places(spec)?;
    let region = spec.region.clone();
    if region.is_empty() || !region.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-') {
        return Err(invalid("spec.provider.aws.region is not the name of a region, like eu-west-1"));
    }
    let endpoint = match &spec.endpoint {
        Some(text) => Some(address::check("spec.provider.aws.endpoint", text, network)?),
        None => None,
    };
    let place = match &endpoint {
        Some(address) => format!("Secrets Manager ({})", address.place),
        None => format!("Secrets Manager ({region})"),
    };
    let endpoint = endpoint.map(|address| address.url.as_str().trim_end_matches('/').to_owned());
    let keys = Keys { places, credentials, client, region, endpoint };
    Ok(Arc::new(SecretsManager::new(place, rights, keys)))
}

fn places(spec: &AwsProvider) -> Result<Places, StoreError> {
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

fn invalid(text: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text)
}

fn later(field: &str, instead: &str) -> StoreError {
    invalid(&format!("{field} is not supported yet; {instead}"))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use rekey_api::store::Access;
    use rekey_core::{SecretBytes, store::AccountToken};
    use serde_json::{Value, json};

    use super::*;

    /// Has nothing, and must not be asked while a store is opened.
    struct Nothing;

    #[async_trait]
    impl Credentials for Nothing {
        async fn secret(&self, _: &str, _: &str) -> Result<SecretBytes, StoreError> {
            Err(invalid("asked"))
        }

        async fn config(&self, _: &str, _: &str) -> Result<String, StoreError> {
            Err(invalid("asked"))
        }

        async fn account_token(&self, _: &str, _: &[String]) -> Result<AccountToken, StoreError> {
            Err(invalid("asked"))
        }

        async fn account_annotation(&self, _: &str, _: &str) -> Result<Option<String>, StoreError> {
            Err(invalid("asked"))
        }

        fn is_ambient_allowed(&self) -> bool {
            false
        }
    }

    fn refusal(changes: &Value) -> Option<String> {
        let key = json!({ "name": "aws", "key": "id" });
        let auth = json!({ "secretRef": { "accessKeyId": key, "secretAccessKey": key } });
        let mut spec = json!({ "service": "SecretsManager", "region": "eu-west-1", "auth": auth });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let spec: AwsProvider = serde_json::from_value(spec).unwrap();
        let rights = Rights(Access::ReadOnly);
        let opened = open(&spec, rights, Arc::new(Nothing), &Network::default(), reqwest::Client::new());
        let error = opened.err()?;
        assert_eq!(error.kind, StoreErrorKind::Invalid, "{error}");
        Some(error.text)
    }

    #[test]
    fn what_is_built_opens_without_a_login() {
        for changes in [json!({}), json!({ "endpoint": "https://vpce.example" })] {
            assert_eq!(refusal(&changes), None, "{changes}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_by_field() {
        let account = json!({ "name": "reader", "audiences": ["sts.amazonaws.com"] });
        let table = [
            (json!({ "service": "ParameterStore" }), "aws.service: ParameterStore is not supported yet"),
            (json!({ "role": { "arn": "arn:aws:iam::123456789012:role/r" } }), "aws.role is not supported yet"),
            (json!({ "auth": { "serviceAccountRef": account } }), "aws.auth.serviceAccountRef is not supported"),
            (json!({ "auth": null }), "aws without auth"),
            (json!({ "auth": {} }), "aws.auth must have exactly one"),
            (json!({ "region": "evil.example/" }), "aws.region"),
            (json!({ "endpoint": "https://[::1]:4566" }), "aws.endpoint is the address"),
        ];
        for (changes, expected) in table {
            let text = refusal(&changes).unwrap_or_default();
            assert!(text.contains(expected), "{changes}: {text:?}");
        }
    }
}
