//! `networking.k8s.io/v1` `Ingress`.

use k8s_openapi::api::networking::v1::Ingress;
use rekey_api::policy::ConsumeForm;

use super::{
    Keys, Kind, Project, Workload,
    place::{Place, index},
    references::References,
    without_pods,
};

impl Project for Ingress {
    fn project(&self) -> Workload {
        let mut found = References::default();
        let tls = self.spec.as_ref().and_then(|spec| spec.tls.as_deref()).unwrap_or_default();
        for (at, tls) in tls.iter().enumerate() {
            let name = tls.secret_name.as_deref().unwrap_or_default();
            found.add(name, ConsumeForm::Tls, Keys::All, index(at).map(Place::IngressTls));
        }
        without_pods(Kind::Ingress, &self.metadata, found)
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
