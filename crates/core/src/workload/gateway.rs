//! `gateway.networking.k8s.io/v1` `Gateway`: not every cluster has the kind, so it comes without a type.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::policy::ConsumeForm;
use serde_json::Value;

use super::{Kind, Workload, without_pods};

/// The projection of a Gateway: the certificates of its listeners that are Secrets of its own namespace
/// (<https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#secretobjectreference>).
#[must_use]
pub fn gateway(metadata: &ObjectMeta, spec: &Value) -> Workload {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let listeners = spec["listeners"].as_array().into_iter().flatten();
    let references = listeners.flat_map(|listener| listener["tls"]["certificateRefs"].as_array().into_iter().flatten());
    let text =
        |reference: &Value, field: &str, standard: &str| reference[field].as_str().unwrap_or(standard).to_owned();
    let secrets: Vec<String> = references
        .filter(|reference| text(reference, "group", "").is_empty() && text(reference, "kind", "Secret") == "Secret")
        .filter(|reference| text(reference, "namespace", namespace) == namespace)
        .map(|reference| text(reference, "name", ""))
        .collect();
    without_pods(Kind::Gateway, metadata, ConsumeForm::Tls, secrets.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_secrets_of_its_own_namespace_count() {
        let metadata = ObjectMeta { namespace: Some("shop".to_owned()), ..ObjectMeta::default() };
        let spec = json!({"listeners": [
            {"name": "http"},
            {"name": "a", "tls": {"certificateRefs": [{"name": "plain"}, {"name": "near", "namespace": "shop"}]}},
            {"name": "b", "tls": {"certificateRefs": [
                {"name": "far", "namespace": "infra"}, {"name": "x", "kind": "ConfigMap"},
                {"name": "y", "group": "example.com", "kind": "Secret"}, {"name": "full", "group": "", "kind": "Secret"}]}},
        ]});
        let found = gateway(&metadata, &spec);
        assert_eq!(found.uses.keys().collect::<Vec<_>>(), ["full", "near", "plain"]);
        assert_eq!(gateway(&metadata, &json!(null)).uses.len(), 0);
    }
}
