//! Login of `ServiceAccount`s at a store.

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::api::PostParams;
use serde_json::json;

use super::Scene;

impl Scene {
    /// Lets `OpenBao` ask the control plane about tokens.
    ///
    /// # Errors
    /// When an object is refused, or `OpenBao` refuses.
    pub async fn kubernetes_login(&self) -> Result<()> {
        self.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reviewer"}})).await?;
        let group = "rbac.authorization.k8s.io";
        let binding = json!({
            "apiVersion": format!("{group}/v1"),
            "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("reviewer-{}", self.namespace)},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [{"kind": "ServiceAccount", "name": "reviewer", "namespace": self.namespace}],
        });
        self.world.apply(binding).await?;
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let api = self.api::<ServiceAccount>();
        let made = api.create_token_request("reviewer", &PostParams::default(), &request).await?;
        let reviewer = made.status.context("no token")?.token;
        let plane = &self.world.plane;
        self.world.bao.enable_kubernetes_auth(plane.url(), &plane.ca_pem(), &reviewer).await
    }
}
