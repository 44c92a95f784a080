//! `v1` `ServiceAccount`: pods that run as it get its pull secrets, and may be let refer to the Secrets of a list only.

use std::collections::BTreeSet;

use k8s_openapi::{api::core::v1::ServiceAccount, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rekey_api::names;
use serde_json::Value;

use super::{Kind, Project, Workload, references::References, without_pods};

/// By this annotation the API server refuses pods that refer to a Secret which is not in the list
/// (<https://kubernetes.io/docs/concepts/security/service-accounts/#enforce-mountable-secrets>).
const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";
/// What the API server takes for true there.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
/// Entries of a list that is followed. One with more is the work of a machine, and takes too much room here.
const MOST: usize = 1_024;

/// An entry of the list of Secrets that pods of an account may refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mountable {
    /// The Secret.
    pub name: Box<str>,
    /// Whether it is there by our doing.
    pub is_ours: bool,
}

impl Project for ServiceAccount {
    fn project(&self) -> Workload {
        let mut found = References::default();
        found.add_pull_secrets(self.image_pull_secrets.as_deref().unwrap_or_default());
        Workload { mountable: mountable(self), ..without_pods(Kind::ServiceAccount, &self.metadata, found) }
    }
}

/// The list, if it counts: its entries in their order.
fn mountable(account: &ServiceAccount) -> Option<Box<[Mountable]>> {
    let enforced = account.metadata.annotations.as_ref().and_then(|all| all.get(ENFORCED));
    let entries = account.secrets.as_deref().filter(|entries| entries.len() <= MOST)?;
    if !enforced.is_some_and(|value| TRUE.contains(&value.as_str())) {
        return None;
    }
    let ours = ours(&account.metadata);
    let entry = |name: &str| Mountable { name: name.into(), is_ours: ours.contains(name) };
    Some(entries.iter().map(|at| entry(at.name.as_deref().unwrap_or_default())).collect())
}

/// The entries that our field manager has added.
fn ours(metadata: &ObjectMeta) -> BTreeSet<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(names::MANAGER_RESTART));
    let lists = ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:secrets")?.as_object());
    // Entries of the list are known by their names: `k:{"name":"db"}`.
    let name = |field: &String| {
        let key: Value = serde_json::from_str(field.strip_prefix("k:")?).ok()?;
        Some(key.get("name")?.as_str()?.to_owned())
    };
    lists.flat_map(|list| list.keys().filter_map(name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn account(change: impl FnOnce(&mut Value)) -> Workload {
        let mut object = json!({
            "metadata": {"name": "default", "namespace": "shop", "annotations": {ENFORCED: "true"}},
            "secrets": [{"name": "token"}, {"name": "db"}],
            "imagePullSecrets": [{"name": "registry"}],
        });
        change(&mut object);
        serde_json::from_value::<ServiceAccount>(object).unwrap().project()
    }

    #[test]
    fn its_pull_secrets_are_found() {
        let workload = account(|_| {});
        assert_eq!(workload.uses.keys().collect::<Vec<_>>(), ["registry"], "its token is not pulled with");
        assert!(workload.uses["registry"].needs_no_restart());
    }

    #[test]
    fn its_list_is_known_where_it_counts() {
        let names = |workload: Workload| {
            let entries = workload.mountable?.iter().map(|at| at.name.to_string()).collect::<Vec<_>>();
            Some(entries.join(" "))
        };
        assert_eq!(names(account(|_| {})).as_deref(), Some("token db"));
        for (annotation, counts) in [("True", true), ("1", true), ("false", false), ("yes", false), ("", false)] {
            let found = account(|object| object["metadata"]["annotations"][ENFORCED] = json!(annotation));
            assert_eq!(found.mountable.is_some(), counts, "{annotation:?}");
        }
        assert_eq!(names(account(|object| object["metadata"]["annotations"] = json!({}))), None);
        assert_eq!(
            names(account(|object| object["secrets"] = json!(null))),
            None,
            "no list lets pods refer to nothing"
        );
        let many = |count: usize| json!((0..count).map(|at| json!({"name": format!("s{at}")})).collect::<Vec<_>>());
        assert!(account(|object| object["secrets"] = many(MOST)).mountable.is_some());
        assert_eq!(account(|object| object["secrets"] = many(MOST + 1)).mountable, None, "it would take too much room");
    }

    #[test]
    fn what_we_have_added_is_known_by_its_managed_fields() {
        let by = |manager: &str, name: &str| {
            let fields = json!({"f:secrets": {format!("k:{{\"name\":\"{name}\"}}"): {".": {}, "f:name": {}}}});
            json!({"manager": manager, "operation": "Update", "fieldsV1": fields})
        };
        let workload = account(|object| {
            object["metadata"]["managedFields"] = json!([by("kubectl", "token"), by("rekey-restart", "db")]);
        });
        let ours: Vec<bool> = workload.mountable.unwrap().iter().map(|at| at.is_ours).collect();
        assert_eq!(ours, [false, true]);
    }
}
