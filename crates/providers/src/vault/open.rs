//! From a spec to a store of this server.

use std::sync::Arc;

use rekey_api::{
    provider::{KvVersion, VaultAuth, VaultProvider},
    reference::SecretKeyRef,
};
use rekey_core::store::{Credentials, Store, StoreError};

use super::{
    Vault,
    login::{Login, Method},
    paths::mount,
    server::Server,
};
use crate::{
    address,
    connect::{Stores, invalid, later, roots},
    rights::Rights,
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
        match spec.kv_version {
            KvVersion::V1 => return Err(later("spec.provider.vault.kvVersion: V1", "use V2")),
            KvVersion::V2 => {}
        }
        let mount = mount("spec.provider.vault.mount", &spec.mount)?;
        let method = method(&spec.auth)?;
        let address = address::check("spec.provider.vault.server", &spec.server, &self.network)?;
        let roots = roots(spec.ca_bundle.as_ref(), spec.ca_bundle_ref.as_ref(), &*credentials).await?;
        let server = Server::new(self.client(roots).await?, address, spec.namespace.as_deref())?;
        let login = Login { server: Arc::new(server), method, credentials };
        Ok(Arc::new(Vault::new(mount, rights, login)))
    }
}

fn method(auth: &VaultAuth) -> Result<Method, StoreError> {
    match auth {
        VaultAuth { kubernetes: Some(kubernetes), token: None, app_role: None, jwt: None } => {
            let account = &kubernetes.service_account_ref;
            if account.audiences.is_empty() {
                return Err(invalid(
                    "spec.provider.vault.auth.kubernetes.serviceAccountRef.audiences must not be empty",
                ));
            }
            Ok(Method::Kubernetes {
                mount: mount("spec.provider.vault.auth.kubernetes.mount", &kubernetes.mount)?,
                role: kubernetes.role.clone(),
                account: account.name.clone(),
                audiences: account.audiences.clone(),
            })
        }
        VaultAuth { kubernetes: None, token: Some(token), app_role: None, jwt: None } => {
            let SecretKeyRef { name, key } = token.secret_ref.clone();
            Ok(Method::Token { name, key })
        }
        VaultAuth { kubernetes: None, token: None, app_role: Some(_), jwt: None } => {
            Err(later("spec.provider.vault.auth.appRole", "use auth.kubernetes or auth.token"))
        }
        VaultAuth { kubernetes: None, token: None, app_role: None, jwt: Some(_) } => {
            Err(later("spec.provider.vault.auth.jwt", "use auth.kubernetes or auth.token"))
        }
        _ => Err(invalid("spec.provider.vault.auth must have exactly one of kubernetes, token, appRole, jwt")),
    }
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
        let table = [vault(&json!({})), vault(&json!({ "auth": kubernetes, "namespace": "team-shop" }))];
        for provider in table {
            assert_eq!(refusal(provider.clone()).await, None, "{provider}");
        }
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_by_field() {
        let account = json!({ "name": "reader", "audiences": ["vault"] });
        let key = json!({ "name": "a", "key": "b" });
        let app_role = json!({ "appRole": { "roleId": "x", "secretRef": key } });
        let no_audience =
            json!({ "kubernetes": { "role": "shop", "serviceAccountRef": { "name": "reader", "audiences": [] } } });
        let reference = json!({ "kind": "ConfigMap", "name": "ca", "key": "ca.crt" });
        let table = [
            (vault(&json!({ "kvVersion": "V1" })), "vault.kvVersion: V1 is not supported yet; use V2"),
            (vault(&json!({ "auth": app_role })), "vault.auth.appRole is not supported yet; use auth.kubernetes"),
            (
                vault(&json!({ "auth": { "jwt": { "role": "shop", "serviceAccountRef": account } } })),
                "vault.auth.jwt is not supported yet",
            ),
            (vault(&json!({ "auth": {} })), "vault.auth must have exactly one"),
            (vault(&json!({ "auth": no_audience })), "audiences must not be empty"),
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
