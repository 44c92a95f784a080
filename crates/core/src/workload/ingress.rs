//! `networking.k8s.io/v1` `Ingress`.

use k8s_openapi::api::networking::v1::Ingress;
use rekey_api::policy::ConsumeForm;

use super::{Kind, Project, Workload, without_pods};

impl Project for Ingress {
    fn project(&self) -> Workload {
        let tls = self.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        let secrets = tls.filter_map(|tls| tls.secret_name.as_deref());
        without_pods(Kind::Ingress, &self.metadata, ConsumeForm::Tls, secrets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_certificates_are_found() {
        let ingress: Ingress = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"tls": [{"hosts": ["a"], "secretName": "web-tls"}, {"hosts": ["default certificate"]}]},
        }))
        .unwrap();
        let workload = ingress.project();
        assert_eq!(workload.uses.keys().collect::<Vec<_>>(), ["web-tls"]);
        assert!(workload.uses["web-tls"].needs_no_restart());
    }
}
