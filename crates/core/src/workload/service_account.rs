//! `v1` `ServiceAccount`: pods that run as it get its pull secrets.

use k8s_openapi::api::core::v1::ServiceAccount;
use rekey_api::policy::ConsumeForm;

use super::{Kind, Project, Workload, without_pods};

impl Project for ServiceAccount {
    fn project(&self) -> Workload {
        let secrets = self.image_pull_secrets.iter().flatten().map(|secret| secret.name.as_str());
        without_pods(Kind::ServiceAccount, &self.metadata, ConsumeForm::ImagePull, secrets)
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
