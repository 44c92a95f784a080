//! The list of Secrets that pods of a `ServiceAccount` may refer to follows the versions, where the API server refuses pods
//! that refer to others: a version is listed before the first template refers to it, and an entry of ours goes when its
//! Secret is gone. Entries of others stay: templates of theirs still name them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::workload::{Mountable, Workload};

/// A change of an account's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Secrets that it lacks.
    pub added: BTreeSet<String>,
    /// Places and names of those that are not there any more, the last first.
    removed: Vec<(usize, Box<str>)>,
}

/// What the list of `account` has to become; `None`: it is so, or it does not count. `current`: the versions that are
/// published of what it lists. `is_there`: whether there is a Secret of this name.
#[must_use]
pub fn listing(account: &Workload, current: &BTreeSet<String>, is_there: impl Fn(&str) -> bool) -> Option<Listing> {
    let entries = account.mountable.as_deref()?;
    let is_listed = |name: &&String| entries.iter().any(|entry| *entry.name == ***name);
    let added: BTreeSet<String> = current.iter().filter(|name| !is_listed(name)).cloned().collect();
    let is_gone = |entry: &Mountable| entry.is_ours && !is_there(&entry.name);
    let gone = entries.iter().enumerate().filter(|(_, entry)| is_gone(entry));
    let removed: Vec<(usize, Box<str>)> = gone.map(|(at, entry)| (at, entry.name.clone())).rev().collect();
    (!added.is_empty() || !removed.is_empty()).then_some(Listing { added, removed })
}

impl Listing {
    /// The JSON patch (RFC 6902) that makes the change, of just the version of the account that was looked at.
    #[must_use]
    pub fn json_patch(&self, account: &Workload) -> Value {
        let mut operations = vec![
            json!({"op": "replace", "path": "/metadata/uid", "value": account.uid}),
            json!({"op": "replace", "path": "/metadata/resourceVersion", "value": account.resource_version}),
        ];
        for (at, name) in &self.removed {
            operations.push(json!({"op": "test", "path": format!("/secrets/{at}/name"), "value": name}));
            operations.push(json!({"op": "remove", "path": format!("/secrets/{at}")}));
        }
        let added = self.added.iter().map(|name| json!({"op": "add", "path": "/secrets/-", "value": {"name": name}}));
        operations.extend(added);
        Value::Array(operations)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceAccount;

    use super::*;
    use crate::workload::Project as _;

    /// An account that lists these; those with a star are ours.
    fn account(listed: &[&str]) -> Workload {
        let name = |entry: &str| entry.trim_end_matches('*').to_owned();
        let secrets: Vec<Value> = listed.iter().map(|entry| json!({"name": name(entry)})).collect();
        let ours = listed.iter().filter(|entry| entry.ends_with('*'));
        let fields = ours.map(|entry| (format!("k:{{\"name\":\"{}\"}}", name(entry)), json!({}))).collect();
        let managed = json!([{"manager": "rekey-restart", "fieldsV1": {"f:secrets": Value::Object(fields)}}]);
        let metadata = json!({"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "managedFields": managed,
                              "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}});
        let object = json!({"metadata": metadata, "secrets": secrets});
        serde_json::from_value::<ServiceAccount>(object).unwrap().project()
    }

    fn patch(listed: &[&str], current: &[&str], there: &[&str]) -> Option<Vec<String>> {
        let (account, current) = (account(listed), current.iter().map(|name| (*name).to_owned()).collect());
        let patch = listing(&account, &current, |name| there.contains(&name))?.json_patch(&account);
        let text = |at: &Value| format!("{} {} {}", at["op"], at["path"], at["value"]).replace('"', "");
        Some(patch.as_array().unwrap().iter().map(text).collect())
    }

    #[test]
    fn the_current_version_is_added_and_what_others_have_listed_stays() {
        let guard = ["replace /metadata/uid u", "replace /metadata/resourceVersion 7"];
        let found = patch(&["token", "db"], &["db-bbbbbbbbbb"], &["token", "db", "db-bbbbbbbbbb"]).unwrap();
        assert_eq!(found, [guard[0], guard[1], "add /secrets/- {name:db-bbbbbbbbbb}"]);
        let listed = ["db", "db-aaaaaaaaaa*", "db-bbbbbbbbbb*"];
        let all = ["db", "db-aaaaaaaaaa", "db-bbbbbbbbbb"];
        assert_eq!(patch(&listed, &["db-bbbbbbbbbb"], &all), None, "older versions are there: pods still need them");
        let theirs = ["db", "db-aaaaaaaaaa"];
        assert_eq!(patch(&theirs, &[], &[]), None, "what others have listed is theirs, whether it is there or not");
    }

    #[test]
    fn entries_of_ours_go_with_their_secrets_the_last_first() {
        let listed = ["db-aaaaaaaaaa*", "db", "db-bbbbbbbbbb*", "db-cccccccccc*"];
        let found = patch(&listed, &["db-dddddddddd"], &["db", "db-cccccccccc", "db-dddddddddd"]).unwrap();
        assert_eq!(
            found[2..],
            [
                "test /secrets/2/name db-bbbbbbbbbb",
                "remove /secrets/2 null",
                "test /secrets/0/name db-aaaaaaaaaa",
                "remove /secrets/0 null",
                "add /secrets/- {name:db-dddddddddd}",
            ]
        );
    }

    #[test]
    fn a_list_that_does_not_count_is_left_alone() {
        let mut account = account(&["db"]);
        account.mountable = None;
        assert_eq!(listing(&account, &["db-bbbbbbbbbb".to_owned()].into(), |_| false), None);
    }
}
