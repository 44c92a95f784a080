//! Credentials of stores, read from the cluster at each need.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{ConfigMap, Secret, ServiceAccount},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{ListParams, PostParams},
};
use rekey_api::{condition::Reason, names};
use rekey_core::{
    SecretBytes,
    consent::{Consent, Credential, User},
    store::{AccountToken, Credentials, StoreError, StoreErrorKind},
    time,
};

use super::Parts;
use crate::{cluster::owns_annotation, error::status};

/// Lifetime asked for; the API server may grant another.
const TOKEN_SECONDS: i64 = 3600;

/// Where the credentials of a store are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace of Secrets and `ConfigMap`s.
    pub secrets: String,
    /// The namespace of `ServiceAccount`s.
    pub accounts: String,
}

/// Credentials of one store: everything resolves in the namespaces that it was made for and nowhere else.
pub struct ClusterCredentials {
    client: Client,
    place: Place,
    user: User,
    require_consent: bool,
    is_ambient_allowed: bool,
    /// The flag of `kubectl create rolebinding` that names the operator.
    account: String,
}

impl ClusterCredentials {
    /// Credentials for `user`.
    #[must_use]
    pub fn new(parts: &Parts, place: Place, user: User, is_ambient_allowed: bool) -> Arc<Self> {
        Arc::new(Self {
            client: parts.client.clone(),
            place,
            user,
            require_consent: parts.settings.require_consent,
            is_ambient_allowed,
            account: parts.settings.account.clone(),
        })
    }

    fn secrets<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.place.secrets)
    }

    fn accounts(&self) -> Api<ServiceAccount> {
        Api::namespaced(self.client.clone(), &self.place.accounts)
    }

    fn account<'n>(&'n self, name: &'n str) -> Named<'n> {
        Named { kind: "ServiceAccount", resource: "serviceaccounts", name, namespace: &self.place.accounts }
    }

    fn denied_token(&self, name: &str) -> String {
        let namespace = &self.place.accounts;
        format!(
            "Rekey may not create tokens for ServiceAccount {name:?}; allow it with `kubectl create role \
             rekey-token-{name} -n {namespace} --verb=create --resource=serviceaccounts/token --resource-name={name}` \
             and `kubectl create rolebinding rekey-token-{name} -n {namespace} --role=rekey-token-{name} {}`",
            self.account
        )
    }

    fn refused(&self, error: &kube::Error, object: &Named<'_>) -> StoreError {
        let Named { kind, resource, name, namespace } = object;
        let (kind, text) = match status(error) {
            Some(404) => {
                (StoreErrorKind::Invalid, format!("{kind} {name:?} does not exist in namespace {namespace:?}"))
            }
            Some(401 | 403) => (
                StoreErrorKind::Denied,
                format!(
                    "Rekey may not read {kind} {name:?} in namespace {namespace:?}; allow it with `kubectl create role \
                     rekey-read-{name} -n {namespace} --verb={} --resource={resource} --resource-name={name}` and \
                     `kubectl create rolebinding rekey-read-{name} -n {namespace} --role=rekey-read-{name} {}`",
                    if *resource == "serviceaccounts" { "list" } else { "get" },
                    self.account
                ),
            ),
            _ => (StoreErrorKind::Unavailable, format!("{kind} {name:?} could not be read from the API server")),
        };
        let error = StoreError::new(kind, text);
        if kind == StoreErrorKind::Invalid { error.because(Reason::CredentialsNotFound) } else { error }
    }

    /// Asked each time that a credential is read, before anything of it is sent.
    fn consents(&self, secret: &Secret) -> Result<(), StoreError> {
        let consent = consent(secret, self.require_consent);
        self.user.check(Credential { namespace: &self.place.secrets, name: &secret.name_any() }, consent)
    }
}

/// What a credential is made of is not there.
fn missing(text: String) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text).because(Reason::CredentialsNotFound)
}

/// What a Secret says about its use.
pub fn consent(secret: &Secret, is_required: bool) -> Consent<'_> {
    match secret.annotations().get(names::USABLE_BY) {
        None if is_required => Consent::Missing,
        None => Consent::Optional,
        Some(_) if owns_annotation(secret.managed_fields(), names::USABLE_BY) => Consent::Own,
        Some(text) => Consent::Given(text),
    }
}

/// An object that a credential is made of.
struct Named<'n> {
    kind: &'static str,
    resource: &'static str,
    name: &'n str,
    namespace: &'n str,
}

#[async_trait]
impl Credentials for ClusterCredentials {
    async fn secret(&self, name: &str, key: &str) -> Result<SecretBytes, StoreError> {
        let object = Named { kind: "Secret", resource: "secrets", name, namespace: &self.place.secrets };
        let secret = self.secrets::<Secret>().get(name).await.map_err(|error| self.refused(&error, &object))?;
        self.consents(&secret)?;
        let value = secret.data.and_then(|mut data| data.remove(key));
        let missing = || missing(format!("Secret {name:?} has no key {key:?}"));
        value.map(|value| SecretBytes::new(value.0)).ok_or_else(missing)
    }

    async fn config(&self, name: &str, key: &str) -> Result<String, StoreError> {
        let object = Named { kind: "ConfigMap", resource: "configmaps", name, namespace: &self.place.secrets };
        let config = self.secrets::<ConfigMap>().get(name).await.map_err(|error| self.refused(&error, &object))?;
        let missing = || missing(format!("ConfigMap {name:?} has no key {key:?}"));
        config.data.and_then(|mut data| data.remove(key)).ok_or_else(missing)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place for tokens")]
    async fn account_token(&self, name: &str, audiences: &[String]) -> Result<AccountToken, StoreError> {
        let object = self.account(name);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.to_vec(),
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let made = self.accounts().create_token_request(name, &PostParams::default(), &request).await;
        let made = made.map_err(|error| match status(&error) {
            Some(403) => StoreError::new(StoreErrorKind::Denied, self.denied_token(name)),
            _ => self.refused(&error, &object),
        })?;
        let made =
            made.status.ok_or_else(|| StoreError::new(StoreErrorKind::Unavailable, "the API server made no token"))?;
        Ok(AccountToken { token: SecretBytes::from(made.token), expires: time::chrono(&made.expiration_timestamp) })
    }

    async fn account_annotation(&self, name: &str, annotation: &str) -> Result<Option<String>, StoreError> {
        let object = self.account(name);
        // A list of one: an opened namespace gives the right to list, which the pull secrets need anyway.
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.accounts().list(&params).await.map_err(|error| self.refused(&error, &object))?;
        let missing = || missing(format!("ServiceAccount {name:?} does not exist in namespace {:?}", object.namespace));
        let account = found.items.into_iter().next().ok_or_else(missing)?;
        Ok(account.annotations().get(annotation).cloned())
    }

    fn is_ambient_allowed(&self) -> bool {
        self.is_ambient_allowed
    }
}
