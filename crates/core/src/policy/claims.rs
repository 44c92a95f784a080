//! The marks on a Secret by which another operator writes it, or deletes it together with an object of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use rekey_api::names;

/// See the [module documentation](self).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    /// Owners: the controlling one, and objects of operators that publish Secrets.
    pub owners: Vec<OwnerReference>,
    /// Names of labels.
    pub labels: Vec<String>,
    /// Names of annotations.
    pub annotations: Vec<String>,
}

/// API groups of operators that publish Secrets: External Secrets, Vault Secrets Operator, Sealed Secrets.
const OPERATORS: [&str; 3] = ["external-secrets.io", "secrets.hashicorp.com", "bitnami.com"];

/// The prefixes of the labels and annotations by which they know their Secrets. External Secrets deletes what carries
/// its `created-by` and has another name than its target; Vault Secrets Operator deletes likewise what carries its
/// `vso-ownerRefUID`; Sealed Secrets overwrites what is annotated as `managed` or `patch`.
const MARKS: [&str; 3] = ["reconcile.external-secrets.io/", "secrets.hashicorp.com/", "sealedsecrets.bitnami.com/"];

/// The further labels of Vault Secrets Operator, which count together with [`names::MANAGED_BY`].
const VAULT_OPERATOR: [(&str, &str); 2] =
    [("app.kubernetes.io/name", "vault-secrets-operator"), ("app.kubernetes.io/component", "secret-sync")];

impl Claims {
    /// The claims on an object, without those of the policy with this uid.
    #[must_use]
    pub fn of(metadata: &ObjectMeta, policy: &str) -> Self {
        let is_claim = |owner: &&OwnerReference| {
            let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
            owner.uid != policy && (owner.controller == Some(true) || OPERATORS.contains(&group))
        };
        let is_mark = |name: &&String| MARKS.iter().any(|mark| name.starts_with(mark));
        let labels = metadata.labels.iter().flatten();
        let of_vault = |(name, value): &(&String, &String)| VAULT_OPERATOR.contains(&(name.as_str(), value.as_str()));
        let is_vault = metadata.labels.as_ref().and_then(|labels| labels.get(names::MANAGED_BY)).map(String::as_str)
            == Some("hashicorp-vso");
        Self {
            owners: metadata.owner_references.iter().flatten().filter(is_claim).cloned().collect(),
            labels: labels
                .filter(|label| is_mark(&label.0) || is_vault && of_vault(label))
                .map(|(name, _)| name.clone())
                .collect(),
            annotations: metadata.annotations.iter().flatten().map(|(name, _)| name).filter(is_mark).cloned().collect(),
        }
    }

    /// Whether no other tool claims it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.labels.is_empty() && self.annotations.is_empty()
    }

    /// What is removed, in words; `None`: no other tool claims it.
    pub(super) fn text(&self) -> Option<String> {
        let owners = self.owners.iter().map(|owner| format!("the owner {} {}", owner.kind, owner.name));
        let labels = self.labels.iter().map(|name| format!("the label {name}"));
        let annotations = self.annotations.iter().map(|name| format!("the annotation {name}"));
        let all: Vec<String> = owners.chain(labels).chain(annotations).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(metadata: Value) -> Claims {
        Claims::of(&serde_json::from_value(metadata).unwrap(), "ours")
    }

    fn owner(group: &str, kind: &str, uid: &str, controller: Option<bool>) -> Value {
        json!({"apiVersion": format!("{group}/v1"), "kind": kind, "name": "db", "uid": uid, "controller": controller})
    }

    #[test]
    fn the_marks_of_other_operators_are_claims_and_everything_else_stays() {
        let external = of(json!({
            "labels": {"reconcile.external-secrets.io/managed": "true", "reconcile.external-secrets.io/created-by": "x",
                "team": "shop", "app.kubernetes.io/name": "shop"},
            "annotations": {"reconcile.external-secrets.io/data-hash": "x", "rekey.dev/adopt-by": "db", "note": "x"},
            "ownerReferences": [owner("external-secrets.io", "ExternalSecret", "e", Some(true)),
                owner("apps", "Deployment", "d", None)],
        }));
        assert_eq!(
            external.text().unwrap(),
            "the owner ExternalSecret db, the label reconcile.external-secrets.io/created-by, \
             the label reconcile.external-secrets.io/managed, the annotation reconcile.external-secrets.io/data-hash"
        );
        let vault = of(json!({
            "labels": {"app.kubernetes.io/managed-by": "hashicorp-vso", "app.kubernetes.io/name": "vault-secrets-operator",
                "app.kubernetes.io/component": "secret-sync", "secrets.hashicorp.com/vso-ownerRefUID": "v"},
            "ownerReferences": [owner("secrets.hashicorp.com", "VaultStaticSecret", "v", None)],
        }));
        assert_eq!(vault.labels.len(), 3, "its managed-by becomes ours: {vault:?}");
        assert_eq!(vault.owners.len(), 1, "it deletes what it owns without controlling it");
        let sealed = of(json!({
            "annotations": {"sealedsecrets.bitnami.com/managed": "true"},
            "ownerReferences": [owner("bitnami.com", "SealedSecret", "s", Some(true))],
        }));
        assert_eq!((sealed.owners.len(), sealed.annotations.len()), (1, 1));
        let own = of(json!({
            "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/component": "secret-sync"},
            "ownerReferences": [owner("rekey.dev", "SecretPolicy", "ours", Some(true))],
        }));
        assert!(own.is_empty() && own.text().is_none(), "{own:?}");
        let other = of(json!({"ownerReferences": [owner("rekey.dev", "SecretPolicy", "gone", Some(true))]}));
        assert_eq!(other.owners.len(), 1, "the API server takes no second controlling owner");
    }
}
