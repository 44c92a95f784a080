//! Which Secret a policy publishes now. Where each value has a name of its own, that is read off the Secrets that there are,
//! and never off a status: [ADR 011](../../../../docs/adr/011-the-current-version.md).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rekey_api::names;
use rekey_core::{
    SecretNames,
    policy::{Mark, PolicySpec},
    published::{Published, Versions, order},
};

use super::{Cluster, Managed, ObjectName, SecretRow};

/// A version of a policy's Secret.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub row: Arc<SecretRow>,
    /// What it says of itself.
    pub published: Arc<Published>,
}

impl Version {
    /// What became of it, by our own word.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.row.managed()?.mark()
    }

    /// Whether it is a private copy of what the plain Secret held.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.row.managed().is_some_and(Managed::is_copy)
    }

    /// Whether it counts as published no more.
    #[must_use]
    pub fn is_passed_over(&self) -> bool {
        self.mark().is_some_and(Mark::is_passed_over)
    }

    /// Whether its marks are our own word: one that another tool has marked as a policy's is never deleted as such.
    #[must_use]
    pub fn is_our_word(&self) -> bool {
        let Published { policy, revision, .. } = &*self.published;
        self.row.managed().is_some_and(|managed| {
            let marks = &managed.annotations;
            marks.has_ours(names::POLICY, policy) && marks.has_ours(names::REVISION, revision)
        })
    }
}

impl Managed {
    /// Whether it is a private copy, by our own word.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        self.annotations.has_ours(names::COPY, names::COPY_TRUE)
    }

    /// What became of it, by our own word.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| self.annotations.has_ours(names::HELD, mark.text()))
    }
}

/// The name of a policy.
#[must_use]
pub fn policy_name(policy: &PolicySpec) -> ObjectName {
    ObjectName::new(policy.namespace.as_str(), policy.name.as_str())
}

/// What the versions of a policy say of themselves.
#[must_use]
pub fn versions_of(cluster: &Cluster, policy: &PolicySpec) -> Versions {
    if !policy.names.is_versioned() {
        return Versions::default();
    }
    let all = cluster.all_versions(&policy_name(policy), &policy.names);
    let ours: BTreeMap<_, _> = all.into_iter().map(|version| (version.name, version.published)).collect();
    let is_backup = |_: &str, row: &SecretRow| row.managed().is_some_and(|at| at.is_backup.get() == Some(&true));
    let backups = backups(cluster, policy, is_backup).into_iter();
    let backups: BTreeMap<_, _> = backups.map(|version| (version.name, version.published)).collect();
    // A name of ours that another tool has taken: the version that was made instead says so.
    let taken: BTreeSet<String> =
        ours.values().filter_map(|at| Some(policy.names.of_revision(at.changes.previous.as_ref()?))).collect();
    // Anybody may give a Secret such a name: only those that the policy has made, copies that are proven, and what it makes
    // versions of are moved from.
    let is_its = |managed: &&Managed| managed.published.policy == policy.name && managed.is_made_by_us;
    let is_other = |name: &str, row: &SecretRow| {
        let is_plain =
            name == policy.names.base() && (policy.has_original() || row.managed().as_ref().is_some_and(is_its));
        policy.names.covers(name)
            && !ours.contains_key(name)
            && !backups.contains_key(name)
            && !taken.contains(name)
            && !is_plain
    };
    let others = cluster.secrets.starting(&policy.namespace, policy.names.base(), is_other);
    let others = others.into_iter().map(|(name, _)| name).collect();
    let plain = || cluster.secrets.get(&ObjectName::new(policy.namespace.as_str(), policy.names.base()));
    let plain = if policy.locked { plain() } else { None };
    let locked = plain.and_then(|row| row.managed().filter(is_its).map(|managed| Arc::clone(&managed.published)));
    Versions { ours, backups, locked, others }
}

/// Secrets that say that they are versions of the policy's, though our field manager has not made them.
#[must_use]
pub fn backups(cluster: &Cluster, policy: &PolicySpec, which: impl Fn(&str, &SecretRow) -> bool) -> Vec<Version> {
    let is_like_ours = |name: &str, row: &SecretRow| {
        row.managed().is_some_and(|managed| {
            let published = &managed.published;
            published.policy == policy.name
                && policy.names.revision_in(name) == Some(published.revision.as_str())
                && !managed.is_made_by_us
                && !managed.is_going
        }) && which(name, row)
    };
    let rows = cluster.secrets.starting(&policy.namespace, &policy.names.version_prefix(), is_like_ours);
    let version = |(name, row): (String, Arc<SecretRow>)| {
        let published = Arc::clone(&row.managed()?.published);
        Some(Version { name, row, published })
    };
    rows.into_iter().filter_map(version).collect()
}

impl Cluster {
    /// The versions that a policy has published, without those that count as published no more, the newest first.
    #[must_use]
    pub fn versions(&self, policy: &ObjectName, names: &SecretNames) -> Vec<Version> {
        let mut all = self.all_versions(policy, names);
        all.retain(|version| !version.is_passed_over());
        all
    }

    /// All versions that a policy has published, the newest first, whatever its mode is now.
    #[must_use]
    pub fn all_versions(&self, policy: &ObjectName, names: &SecretNames) -> Vec<Version> {
        let mut all = self.versions_and_copies(policy, names);
        all.retain(|version| !version.is_copy());
        all
    }

    /// The same with the private copies of earlier values of its plain Secret: they say that they are its,
    /// they have their own revision in their names, and our field manager has made them. What is being deleted is none.
    #[must_use]
    pub fn versions_and_copies(&self, policy: &ObjectName, names: &SecretNames) -> Vec<Version> {
        let is_version = |name: &str, row: &SecretRow| {
            row.managed().is_some_and(|managed| {
                let published = &managed.published;
                published.policy == policy.name
                    && names.revision_in(name) == Some(published.revision.as_str())
                    && managed.is_made_by_us
                    && !managed.is_going
            })
        };
        let rows = self.secrets.starting(&policy.namespace, &names.version_prefix(), is_version);
        let version = |(name, row): (String, Arc<SecretRow>)| {
            let published = Arc::clone(&row.managed()?.published);
            Some(Version { name, row, published })
        };
        let mut found: Vec<Version> = rows.into_iter().filter_map(version).collect();
        found.sort_by(|one, other| order(&other.published).cmp(&order(&one.published)));
        found
    }

    /// The name of the Secret that a policy publishes now. That of its plain Secret, if there is no version yet.
    #[must_use]
    pub fn current(&self, policy: &ObjectName, names: &SecretNames) -> ObjectName {
        let newest = if names.is_versioned() { self.versions(policy, names).into_iter().next() } else { None };
        let name = newest.map_or_else(|| names.base().to_owned(), |version| version.name);
        ObjectName::new(policy.namespace.as_str(), name)
    }

    /// What is published by a policy now.
    #[must_use]
    pub fn published(&self, policy: &ObjectName, names: &SecretNames) -> Option<Arc<Published>> {
        if names.is_versioned() {
            return self.versions(policy, names).into_iter().next().map(|version| version.published);
        }
        let row = self.secrets.get(&ObjectName::new(policy.namespace.as_str(), names.base()))?;
        let published = &row.managed()?.published;
        (published.policy == policy.name).then(|| Arc::clone(published))
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use rekey_api::SecretPolicy;
    use serde_json::{Value, json};

    use super::*;

    fn policy(immutability: &str) -> SecretPolicy {
        let spec = json!({"source": {"existing": {}}, "immutability": immutability});
        serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": spec})).unwrap()
    }

    /// Metadata of a version with this publication number, made by `manager`.
    fn version(name: &str, revision: &str, publication: u64, manager: &str) -> Value {
        let changes = json!({"publication": publication, "time": "2026-11-30T02:00:00.000Z"});
        json!({
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
            "annotations": {"rekey.dev/policy": "db", "rekey.dev/revision": revision,
                "rekey.dev/digests": r#"{"by": "k", "of": {}}"#, "rekey.dev/changes": changes.to_string()},
            "managedFields": [{"manager": manager, "operation": "Apply", "fieldsV1": {"f:type": {}}}],
        })
    }

    fn found(all: &[Value], immutability: &str) -> (Vec<String>, String) {
        let cluster = Cluster::new(String::new());
        for metadata in all {
            let metadata: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
            let name = ObjectName::new("shop", metadata.name.clone().unwrap());
            cluster.secrets.set(&name, SecretRow::project(metadata));
        }
        let (policy, names) = (ObjectName::new("shop", "db"), SecretNames::of(&policy(immutability)));
        let versions = cluster.versions(&policy, &names).into_iter().map(|version| version.name);
        (versions.collect(), cluster.current(&policy, &names).name)
    }

    #[test]
    fn the_version_with_the_highest_number_is_current() {
        let all = [("db-bbbbbbbbbb", 2), ("db-cccccccccc", 10), ("db-dddddddddd", 9)];
        let all = all.map(|(name, number)| version(name, &name[3..], number, "rekey"));
        let names = ["db-cccccccccc", "db-dddddddddd", "db-bbbbbbbbbb"].map(str::to_owned).to_vec();
        assert_eq!(found(&all, "Versioned"), (names.clone(), "db-cccccccccc".to_owned()));
        assert_eq!(found(&all, "None"), (names, "db".to_owned()), "they are known in another mode, and not current");
        assert_eq!(found(&[], "Versioned"), (Vec::new(), "db".to_owned()));
    }

    #[test]
    fn of_equal_numbers_the_later_one_counts_and_then_always_the_same() {
        let mut later = version("db-bbbbbbbbbb", "bbbbbbbbbb", 2, "rekey");
        later["annotations"]["rekey.dev/changes"] =
            json!(json!({"publication": 2, "time": "2026-11-30T02:00:00.001Z"}).to_string());
        let others =
            ["cccccccccc", "dddddddddd"].map(|revision| version(&format!("db-{revision}"), revision, 2, "rekey"));
        assert_eq!(found(&others, "Versioned").1, "db-dddddddddd");
        let [one, other] = others;
        assert_eq!(found(&[one, later, other], "Versioned").1, "db-bbbbbbbbbb");
    }

    #[test]
    fn what_others_have_made_or_what_is_going_or_says_something_else_is_no_version() {
        let good = version("db-bbbbbbbbbb", "bbbbbbbbbb", 2, "rekey");
        let changed = |pointer: &str, value: Value| {
            let mut other = version("db-cccccccccc", "cccccccccc", 99, "rekey");
            other[pointer] = value;
            other
        };
        let annotated = |name: &str, value: &str| {
            let mut other = version("db-cccccccccc", "cccccccccc", 99, "rekey");
            other["annotations"][name] = json!(value);
            other
        };
        let mut copy = annotated("rekey.dev/copy", "true");
        copy["managedFields"][0]["fieldsV1"]["f:metadata"] = json!({"f:annotations": {"f:rekey.dev/copy": {}}});
        for (what, other) in [
            ("made by another tool", version("db-cccccccccc", "cccccccccc", 99, "kubectl")),
            ("with the name of another revision", version("db-cccccccccc", "dddddddddd", 99, "rekey")),
            ("of another policy", annotated("rekey.dev/policy", "other")),
            ("of another plain name", version("db-eu-cccccccccc", "cccccccccc", 99, "rekey")),
            ("being deleted", changed("deletionTimestamp", json!("2026-11-30T02:00:00Z"))),
            ("a private copy", copy),
            ("without a record", annotated("rekey.dev/changes", "{")),
        ] {
            let only = vec!["db-bbbbbbbbbb".to_owned()];
            assert_eq!(found(&[good.clone(), other], "Versioned"), (only, "db-bbbbbbbbbb".to_owned()), "{what}");
        }
    }

    #[test]
    fn references_leave_the_secret_that_versions_are_made_of_and_no_other_of_another_tool() {
        let remote = json!({"remote": {"storeRef": {"name": "v"}, "dataFrom": [{"extract": {"key": "k"}}]}});
        for (source, others) in
            [(json!({"existing": {}}), vec!["db-cccccccccc"]), (remote, vec!["db", "db-cccccccccc"])]
        {
            let spec = json!({"source": source, "immutability": "Versioned", "versions": {"references": "Move"}});
            let object: SecretPolicy =
                serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "shop"}, "spec": spec})).unwrap();
            let cluster = Cluster::new(String::new());
            let theirs = |name: &str| json!({"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1"});
            let ours = version("db-bbbbbbbbbb", "bbbbbbbbbb", 2, "rekey");
            for metadata in [ours, theirs("db"), theirs("db-cccccccccc")] {
                let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
                let name = ObjectName::new("shop", metadata.name.clone().unwrap());
                cluster.secrets.set(&name, SecretRow::project(metadata));
            }
            let found = versions_of(&cluster, &PolicySpec::try_from(&object).unwrap());
            assert_eq!(found.ours.into_keys().collect::<Vec<_>>(), ["db-bbbbbbbbbb"]);
            assert_eq!(found.others.into_iter().collect::<Vec<_>>(), others);
        }
    }

    #[test]
    fn versions_are_found_among_many_names() {
        let cluster = Cluster::new(String::new());
        for number in 0..3000_u32 {
            let metadata = json!({"name": format!("app-{number}"), "uid": "u", "resourceVersion": "1"});
            let name = ObjectName::new("shop", format!("app-{number}"));
            cluster.secrets.set(&name, SecretRow::project(serde_json::from_value(metadata).unwrap()));
        }
        let looked = std::cell::Cell::new(0);
        let rows = cluster.secrets.starting("shop", "app-29", |_, _| {
            looked.set(looked.get() + 1);
            true
        });
        assert_eq!((rows.len(), looked.get()), (111, 111), "only those with the prefix are looked at");
        assert!(cluster.secrets.starting("other", "app-29", |_, _| true).is_empty());
    }
}
