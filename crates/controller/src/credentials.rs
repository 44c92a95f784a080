//! Credentials of stores, read from the cluster at each need.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Secret, ServiceAccount},
};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use rekey_api::names;
use rekey_core::{
    SecretBytes,
    store::{AccountToken, Credentials, StoreError, StoreErrorKind},
    time,
};

use crate::error::status;

/// Lifetime asked for; the API server may grant another.
const TOKEN_SECONDS: i64 = 3600;

/// Credentials of one store: everything resolves in its namespace and nowhere else.
pub struct ClusterCredentials {
    client: Client,
    namespace: String,
    user: String,
    require_consent: bool,
}

impl ClusterCredentials {
    /// Credentials for `user`, for example `RemoteStore/vault`, in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, user: String, require_consent: bool) -> Arc<Self> {
        Arc::new(Self { client, namespace: namespace.to_owned(), user, require_consent })
    }

    fn consents(&self, secret: &Secret) -> Result<(), StoreError> {
        let name = secret.name_any();
        let text = match secret.annotations().get(names::USABLE_BY) {
            Some(users) if users.split(',').any(|user| user.trim() == self.user) => return Ok(()),
            None if !self.require_consent => return Ok(()),
            Some(_) => format!(
                "Secret {name:?} may be used by others only: add {:?} to its annotation {}",
                self.user,
                names::USABLE_BY
            ),
            None => format!("Secret {name:?} needs the annotation {}={:?}", names::USABLE_BY, self.user),
        };
        Err(StoreError::new(StoreErrorKind::Denied, text))
    }
}

#[async_trait]
impl Credentials for ClusterCredentials {
    async fn secret(&self, name: &str, key: &str) -> Result<SecretBytes, StoreError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = api.get(name).await.map_err(|error| refused(&error, "Secret", name))?;
        self.consents(&secret)?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        let missing = || StoreError::new(StoreErrorKind::Invalid, format!("Secret {name:?} has no key {key:?}"));
        value.map(|value| SecretBytes::new(value.0)).ok_or_else(missing)
    }

    async fn config(&self, name: &str, key: &str) -> Result<String, StoreError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let config = api.get(name).await.map_err(|error| refused(&error, "ConfigMap", name))?;
        let missing = || StoreError::new(StoreErrorKind::Invalid, format!("ConfigMap {name:?} has no key {key:?}"));
        config.data.and_then(|mut data| data.remove(key)).ok_or_else(missing)
    }

    async fn account_token(&self, name: &str, audiences: &[String]) -> Result<AccountToken, StoreError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.to_vec(),
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let made =
            api.create_token_request(name, &PostParams::default(), &request).await.map_err(|error| {
                match status(&error) {
                    Some(403) => StoreError::new(StoreErrorKind::Denied, denied_token(&self.namespace, name)),
                    _ => refused(&error, "ServiceAccount", name),
                }
            })?;
        let made =
            made.status.ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable, "the API server made no token"))?;
        Ok(AccountToken { token: SecretBytes::from(made.token), expires: time::chrono(&made.expiration_timestamp) })
    }

    async fn account_annotation(&self, name: &str, annotation: &str) -> Result<Option<String>, StoreError> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let account = api.get(name).await.map_err(|error| refused(&error, "ServiceAccount", name))?;
        Ok(account.annotations().get(annotation).cloned())
    }

    fn is_ambient_allowed(&self) -> bool {
        false
    }
}

fn denied_token(namespace: &str, name: &str) -> String {
    format!(
        "Rekey may not create tokens for ServiceAccount {name:?}; allow it with `kubectl create role rekey-token-{name} -n {namespace} \
         --verb=create --resource=serviceaccounts/token --resource-name={name}` and a RoleBinding of it to the operator"
    )
}

fn refused(error: &kube::Error, kind: &str, name: &str) -> StoreError {
    match status(error) {
        Some(404) => {
            StoreError::new(StoreErrorKind::Invalid, format!("{kind} {name:?} does not exist in the store's namespace"))
        }
        Some(401 | 403) => {
            StoreError::new(StoreErrorKind::Denied, format!("Rekey may not read {kind} {name:?} in this namespace"))
        }
        _ => StoreError::new(
            StoreErrorKind::Unavailable,
            format!("{kind} {name:?} could not be read from the API server"),
        ),
    }
}
