//! Who may do what in the store.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use super::OpenBao;

impl OpenBao {
    /// Writes a policy in its own language.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn policy(&self, name: &str, hcl: &str) -> Result<()> {
        let path = format!("sys/policies/acl/{name}");
        self.request(Method::POST, &path, Some(&json!({ "policy": hcl }))).await.map(drop)
    }

    /// A token that may do what the policy allows and nothing else.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn token_for(&self, policy: &str) -> Result<String> {
        let asked = json!({ "policies": [policy], "display_name": policy, "no_default_policy": true, "ttl": "1h" });
        let answer = self.request(Method::POST, "auth/token/create", Some(&asked)).await?;
        Ok(answer["auth"]["client_token"].as_str().context("no token in the answer")?.to_owned())
    }

    /// Ends the life of a token.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn revoke(&self, token: &str) -> Result<()> {
        self.request(Method::POST, "auth/token/revoke", Some(&json!({ "token": token }))).await.map(drop)
    }

    /// Lets `ServiceAccounts` of a control plane log in at `auth/kubernetes`. The reviewer's token must be allowed to
    /// create `TokenReviews`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_kubernetes_auth(&self, plane_url: &str, ca_pem: &str, reviewer_jwt: &str) -> Result<()> {
        self.request(Method::POST, "sys/auth/kubernetes", Some(&json!({ "type": "kubernetes" }))).await?;
        let config = json!({
            "kubernetes_host": plane_url,
            "kubernetes_ca_cert": ca_pem,
            "token_reviewer_jwt": reviewer_jwt,
            "disable_local_ca_jwt": true,
        });
        self.request(Method::POST, "auth/kubernetes/config", Some(&config)).await.map(drop)
    }

    /// Allows one `ServiceAccount` to log in, with the rights of one policy.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn kubernetes_role(
        &self,
        name: &str,
        namespace: &str,
        service_account: &str,
        policy: &str,
        audience: &str,
    ) -> Result<()> {
        let role = json!({
            "bound_service_account_names": [service_account],
            "bound_service_account_namespaces": [namespace],
            "token_policies": [policy],
            "audience": audience,
            "token_ttl": "1h",
        });
        self.request(Method::POST, &format!("auth/kubernetes/role/{name}"), Some(&role)).await.map(drop)
    }

    /// Enables `AppRole` at `auth/approle` with one role, whose tokens are good for `ttl` and live `longest` at most.
    /// Returns the role's id and a secret id.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_app_role(
        &self,
        name: &str,
        policy: &str,
        ttl: &str,
        longest: &str,
    ) -> Result<(String, String)> {
        self.request(Method::POST, "sys/auth/approle", Some(&json!({ "type": "approle" }))).await?;
        let role = json!({ "token_policies": [policy], "token_ttl": ttl, "token_max_ttl": longest });
        let path = format!("auth/approle/role/{name}");
        self.request(Method::POST, &path, Some(&role)).await?;
        let id = self.request(Method::GET, &format!("{path}/role-id"), None).await?;
        let secret = self.request(Method::POST, &format!("{path}/secret-id"), None).await?;
        let text = |answer: &serde_json::Value, field: &str| answer["data"][field].as_str().map(str::to_owned);
        Ok((text(&id, "role_id").context("no role id")?, text(&secret, "secret_id").context("no secret id")?))
    }

    /// Lets tokens that are signed with the key log in at `auth/jwt`, as the role `role` when they are for `audience`
    /// and about `subject`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_jwt_auth(
        &self,
        public_key_pem: &str,
        role: &str,
        policy: &str,
        audience: &str,
        subject: &str,
    ) -> Result<()> {
        self.request(Method::POST, "sys/auth/jwt", Some(&json!({ "type": "jwt" }))).await?;
        let config = json!({ "jwt_validation_pubkeys": [public_key_pem], "jwt_supported_algs": ["ES256", "EdDSA"] });
        self.request(Method::POST, "auth/jwt/config", Some(&config)).await?;
        let bound = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [audience], "bound_subject": subject,
            "token_policies": [policy], "token_ttl": "1h",
        });
        self.request(Method::POST, &format!("auth/jwt/role/{role}"), Some(&bound)).await.map(drop)
    }
}
