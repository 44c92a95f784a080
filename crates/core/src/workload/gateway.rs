//! `gateway.networking.k8s.io/v1` `Gateway`: not every cluster has the kind, so it comes without a type.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::policy::ConsumeForm;
use serde_json::Value;

use super::{
    Keys, Kind, Workload,
    place::{Place, index},
    references::References,
    without_pods,
};

/// The projection of a Gateway: the certificates of its listeners that are Secrets of its own namespace
/// (<https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#secretobjectreference>).
#[must_use]
pub fn gateway(metadata: &ObjectMeta, spec: &Value) -> Workload {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let mut found = References::default();
    for (at, listener) in entries(&spec["listeners"]) {
        for (number, reference) in entries(&listener["tls"]["certificateRefs"]) {
            if is_secret(reference) && text(reference, "namespace", namespace) == namespace {
                let place = index(at).zip(index(number));
                let place = place.map(|(listener, reference)| Place::Certificate { listener, reference });
                found.add(text(reference, "name", ""), ConsumeForm::Tls, Keys::All, place);
            }
        }
    }
    without_pods(Kind::Gateway, metadata, found)
}

fn entries(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn is_secret(reference: &Value) -> bool {
    text(reference, "group", "").is_empty() && text(reference, "kind", "Secret") == "Secret"
}

fn text<'a>(reference: &'a Value, field: &str, standard: &'a str) -> &'a str {
    reference[field].as_str().unwrap_or(standard)
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
