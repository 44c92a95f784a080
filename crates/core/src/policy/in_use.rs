//! What may still make a pod that refers to a Secret, beside the objects that are watched.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, ReplicaSet, StatefulSet},
    batch::v1::Job,
    core::v1::{Pod, PodSpec},
};
use serde_json::Value;

use crate::workload::{is_live, uses};

/// Secrets that are looked for, and in what.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a>(pub &'a BTreeSet<String>);

/// A state of a `StatefulSet` or `DaemonSet` that is kept to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its name.
    pub name: String,
    /// Uid of its owner.
    pub owner: String,
    /// Its number: the newest one of an owner has the highest.
    pub number: i64,
    /// Whether a `StatefulSet` owns it, whose status names those that it makes pods of.
    pub of_stateful_set: bool,
    /// The Secrets that are looked for and stand in it.
    pub secrets: BTreeSet<String>,
}

impl Wanted<'_> {
    fn of(self, spec: Option<&PodSpec>) -> BTreeSet<String> {
        let found = spec.map(uses).unwrap_or_default();
        found.into_keys().filter(|name| self.0.contains(name)).collect()
    }

    /// In a pod that may still use what it has read.
    #[must_use]
    pub fn in_pod(&self, pod: &Pod) -> BTreeSet<String> {
        self.of(pod.spec.as_ref().filter(|_| is_live(pod)))
    }

    /// In a `ReplicaSet` that has pods, or will have.
    #[must_use]
    pub fn in_replica_set(&self, set: &ReplicaSet) -> BTreeSet<String> {
        let wished = set.spec.as_ref().is_some_and(|spec| spec.replicas != Some(0));
        let there = set.status.as_ref().is_some_and(|status| status.replicas > 0);
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref()?.spec.as_ref());
        self.of(template.filter(|_| wished || there))
    }

    /// In a Job that has not ended.
    #[must_use]
    pub fn in_job(&self, job: &Job) -> BTreeSet<String> {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ends =
            conditions.filter(|at| ["Complete", "Failed"].contains(&at.type_.as_str()) && at.status == "True");
        let template = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        self.of(template.filter(|_| ends.next().is_none()))
    }

    /// In a state that is kept. It is a patch of an object, so any text in it that is the name of a Secret counts.
    #[must_use]
    pub fn in_revision(&self, revision: &ControllerRevision) -> Revision {
        let owner = revision.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let mut secrets = BTreeSet::new();
        if let Some(data) = &revision.data {
            self.walk(&data.0, &mut secrets);
        }
        Revision {
            name: revision.metadata.name.clone().unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.clone()).unwrap_or_default(),
            number: revision.revision,
            of_stateful_set: owner.is_some_and(|owner| owner.kind == "StatefulSet"),
            secrets,
        }
    }

    fn walk(self, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) if self.0.contains(text) => drop(found.insert(text.clone())),
            Value::Array(items) => items.iter().for_each(|item| self.walk(item, found)),
            Value::Object(fields) => fields.values().for_each(|item| self.walk(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The revisions that a `StatefulSet` makes pods of, by its uid.
#[must_use]
pub fn made_of(set: &StatefulSet) -> (String, BTreeSet<String>) {
    let status = set.status.iter();
    let names = status.flat_map(|status| [&status.current_revision, &status.update_revision]).flatten().cloned();
    (set.metadata.uid.clone().unwrap_or_default(), names.collect())
}

/// The Secrets in the revisions of which pods are made: those that a `StatefulSet` names, and the newest of others. A
/// `StatefulSet` that is not known, or that names none yet, may make pods of any.
#[must_use]
pub fn in_revisions(all: &[Revision], stateful_sets: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let newest = |of: &Revision| all.iter().filter(|at| at.owner == of.owner).all(|at| at.number <= of.number);
    let is_used = |revision: &&Revision| {
        if !revision.of_stateful_set {
            return newest(revision);
        }
        let named = stateful_sets.get(&revision.owner).filter(|named| !named.is_empty());
        named.is_none_or(|named| named.contains(&revision.name))
    };
    all.iter().filter(is_used).flat_map(|revision| revision.secrets.clone()).collect()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::json;

    use super::*;

    fn object<K: DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).unwrap()
    }

    fn template(secret: &str) -> Value {
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
            {"name": "app", "envFrom": [{"secretRef": {"name": secret}}]}]}})
    }

    fn wanted() -> BTreeSet<String> {
        ["db-b", "db-c"].map(str::to_owned).into()
    }

    #[test]
    fn a_pod_counts_until_it_has_ended() {
        for (phase, counts) in
            [("Pending", true), ("Running", true), ("Unknown", true), ("Succeeded", false), ("Failed", false)]
        {
            let pod = object(json!({"metadata": {}, "spec": template("db-b")["spec"], "status": {"phase": phase}}));
            assert_eq!(Wanted(&wanted()).in_pod(&pod).contains("db-b"), counts, "{phase}");
        }
        let other = object(json!({"metadata": {}, "spec": template("db-d")["spec"]}));
        assert!(Wanted(&wanted()).in_pod(&other).is_empty(), "nobody looks for it");
    }

    #[test]
    fn a_replica_set_counts_while_it_has_pods_or_wants_some() {
        for (wished, there, counts) in
            [(json!(1), 0, true), (json!(null), 0, true), (json!(0), 1, true), (json!(0), 0, false)]
        {
            let spec = json!({"replicas": wished, "selector": {}, "template": template("db-b")});
            let set = object(json!({"metadata": {}, "spec": spec, "status": {"replicas": there}}));
            assert_eq!(Wanted(&wanted()).in_replica_set(&set).contains("db-b"), counts, "{wished} {there}");
        }
    }

    #[test]
    fn a_job_counts_until_it_has_ended() {
        let condition = |kind: &str, status: &str| json!([{"type": kind, "status": status}]);
        for (conditions, counts) in [
            (json!([]), true),
            (condition("Suspended", "True"), true),
            (condition("Complete", "False"), true),
            (condition("Complete", "True"), false),
            (condition("Failed", "True"), false),
        ] {
            let spec = json!({"template": template("db-b")});
            let job = object(json!({"metadata": {}, "spec": spec, "status": {"conditions": conditions}}));
            assert_eq!(Wanted(&wanted()).in_job(&job).contains("db-b"), counts, "{conditions}");
        }
    }

    #[test]
    fn a_kept_state_counts_while_pods_are_made_of_it() {
        let revision = |name: &str, kind: &str, number: i64, secret: &str| {
            let owner =
                json!([{"apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": kind, "controller": true}]);
            let data = json!({"spec": {"template": template(secret)}});
            Wanted(&wanted()).in_revision(&object(json!({
                "metadata": {"name": name, "ownerReferences": owner}, "revision": number, "data": data,
            })))
        };
        let used = |all: &[Revision], named: &[&str]| {
            let named = named.iter().map(|name| (*name).to_owned()).collect();
            in_revisions(all, &[("StatefulSet".to_owned(), named)].into())
        };
        let only = |name: &str| BTreeSet::from([name.to_owned()]);
        let sets = [revision("web-1", "StatefulSet", 1, "db-b"), revision("web-2", "StatefulSet", 2, "db-c")];
        assert_eq!(used(&sets, &["web-2"]), only("db-c"));
        assert_eq!(used(&sets, &["web-1", "web-2"]), wanted(), "in the middle of an update");
        assert_eq!(used(&sets, &[]), wanted(), "its status is not known");
        assert_eq!(in_revisions(&sets, &BTreeMap::new()), wanted(), "nor is the set");
        let daemons = [revision("a", "DaemonSet", 1, "db-b"), revision("b", "DaemonSet", 2, "db-c")];
        assert_eq!(used(&daemons, &[]), only("db-c"));
        let set = object(json!({"metadata": {"uid": "u"}, "status": {
            "replicas": 1, "currentRevision": "web-1", "updateRevision": "web-2"}}));
        assert_eq!(made_of(&set), ("u".to_owned(), ["web-1", "web-2"].map(str::to_owned).into()));
    }
}
