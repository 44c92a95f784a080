//! `v1` `ServiceAccount`: pods that run as it get its pull secrets.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Kind, Project, Workload, references::References, without_pods};

impl Project for ServiceAccount {
    fn project(&self) -> Workload {
        let mut found = References::default();
        found.add_pull_secrets(self.image_pull_secrets.as_deref().unwrap_or_default());
        without_pods(Kind::ServiceAccount, &self.metadata, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_pull_secrets_are_found() {
        let account: ServiceAccount = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "default", "namespace": "shop"},
            "secrets": [{"name": "token"}],
            "imagePullSecrets": [{"name": "registry"}],
        }))
        .unwrap();
        let workload = account.project();
        assert_eq!(workload.uses.keys().collect::<Vec<_>>(), ["registry"], "its token is not pulled with");
        assert!(workload.uses["registry"].needs_no_restart());
    }
}
