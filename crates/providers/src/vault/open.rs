//! From a spec to a store of this server.

use std::sync::Arc;

use rekey_api::{
    provider::{VaultAuth, VaultLogin, VaultProvider},
    reference::{SecretKeyRef, ServiceAccountRef},
};
use rekey_core::store::{Credentials, Store, StoreError};

use super::{
    Mount, Vault,
    login::{Account, Login, Method, Place},
    paths::mount,
    server::Server,
};
use crate::{
    address,
    connect::{Stores, invalid},
    rights::Rights,
    roots::roots,
};

impl Stores {
    /// Opens a store of Vault or `OpenBao`.
    ///
    /// # Errors
    /// `Invalid` when the spec cannot work.
    pub(crate) async fn vault(
        &self,
        spec: &VaultProvider,
        rights: Rights,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let mount = mount("spec.provider.vault.mount", &spec.mount)?;
        let method = method(&spec.auth)?;
        let address = address::check("spec.provider.vault.server", &spec.server, &self.network)?;
        let roots = roots(spec.ca_bundle.as_ref(), spec.ca_bundle_ref.as_ref(), &*credentials).await?;
        let server = Server::new(self.client(roots).await?, address, spec.namespace.as_deref())?;
        let login = Login { server: Arc::new(server), method, credentials };
        Ok(Arc::new(Vault::new(Mount { path: mount, version: spec.kv_version }, rights, login)))
    }
}

fn method(auth: &VaultAuth) -> Result<Method, StoreError> {
    match auth.chosen() {
        Some(VaultLogin::Kubernetes(kubernetes)) => Ok(Method::Kubernetes {
            mount: mount("spec.provider.vault.auth.kubernetes.mount", &kubernetes.mount)?,
            role: kubernetes.role.clone(),
            account: account("kubernetes", &kubernetes.service_account_ref)?,
        }),
        Some(VaultLogin::Token(token)) => Ok(Method::Token { place: place(&token.secret_ref) }),
        Some(VaultLogin::AppRole(app_role)) => Ok(Method::AppRole {
            mount: mount("spec.provider.vault.auth.appRole.mount", &app_role.mount)?,
            role_id: app_role.role_id.clone(),
            place: place(&app_role.secret_ref),
        }),
        Some(VaultLogin::Jwt(jwt)) => Ok(Method::Jwt {
            mount: mount("spec.provider.vault.auth.jwt.mount", &jwt.mount)?,
            role: jwt.role.clone(),
            account: account("jwt", &jwt.service_account_ref)?,
        }),
        None => Err(invalid("spec.provider.vault.auth must have exactly one of kubernetes, token, appRole, jwt")),
    }
}

fn place(reference: &SecretKeyRef) -> Place {
    Place { name: reference.name.clone(), key: reference.key.clone() }
}

fn account(method: &str, reference: &ServiceAccountRef) -> Result<Account, StoreError> {
    if reference.audiences.is_empty() {
        let field = format!("spec.provider.vault.auth.{method}.serviceAccountRef.audiences");
        return Err(invalid(&format!("{field} must not be empty")));
    }
    Ok(Account { name: reference.name.clone(), audiences: reference.audiences.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::connect::tests::{changed, refusal};

    fn vault(changes: &Value) -> Value {
        let token = json!({ "token": { "secretRef": { "name": "vault", "key": "token" } } });
        changed(json!({ "server": "https://bao.infra:8200", "mount": "secret", "auth": token }), changes, "vault")
    }

    #[tokio::test]
    async fn what_is_built_opens_without_a_login() {
        let account = json!({ "name": "reader", "audiences": ["vault"] });
        let kubernetes = json!({ "kubernetes": { "role": "shop", "serviceAccountRef": account } });
        let jwt = json!({ "jwt": { "role": "shop", "serviceAccountRef": account } });
        let app_role = json!({ "appRole": { "roleId": "x", "secretRef": { "name": "a", "key": "b" } } });
        let table = [
            vault(&json!({})),
            vault(&json!({ "auth": kubernetes, "namespace": "team-shop" })),
            vault(&json!({ "auth": jwt })),
            vault(&json!({ "auth": app_role, "kvVersion": "V1" })),
        ];
        for provider in table {
            assert_eq!(refusal(provider.clone()).await, None, "{provider}");
        }
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_by_field() {
        let key = json!({ "name": "a", "key": "b" });
        let app_role = |mount: &str| json!({ "appRole": { "roleId": "x", "mount": mount, "secretRef": key } });
        let two = json!({ "appRole": { "roleId": "x", "secretRef": key }, "token": { "secretRef": key } });
        let account = json!({ "name": "reader", "audiences": [] });
        let no_audience = |method: &str| json!({ method: { "role": "shop", "serviceAccountRef": account } });
        let reference = json!({ "kind": "ConfigMap", "name": "ca", "key": "ca.crt" });
        let table = [
            (
                vault(&json!({ "auth": no_audience("kubernetes") })),
                "auth.kubernetes.serviceAccountRef.audiences must not",
            ),
            (vault(&json!({ "auth": no_audience("jwt") })), "auth.jwt.serviceAccountRef.audiences must not be empty"),
            (vault(&json!({ "auth": two })), "vault.auth must have exactly one"),
            (vault(&json!({ "auth": app_role("../..") })), "vault.auth.appRole.mount"),
            (vault(&json!({ "auth": {} })), "vault.auth must have exactly one"),
            (vault(&json!({ "mount": "../sys" })), "vault.mount"),
            (vault(&json!({ "server": "http://bao" })), "vault.server must be https://"),
            (vault(&json!({ "server": "https://127.0.0.1" })), "vault.server is the address 127.0.0.1"),
            (vault(&json!({ "caBundle": "aGVsbG8=" })), "CA bundle"),
            (vault(&json!({ "caBundleRef": reference })), "no ca/ca.crt"),
        ];
        for (provider, expected) in table {
            let text = refusal(provider.clone()).await.unwrap_or_default();
            assert!(text.contains(expected), "{provider}: {text:?}");
        }
    }
}
