//! The rows of the tables: what is kept of each kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use kube::{Resource, core::DeserializeGuard};
use rekey_api::names;
use rekey_core::{policy::ObjectVersion, published::Published, workload::Workload};
use serde_json::json;

use crate::{
    error::Error,
    index::{References, Referent, Refers},
    table::Row,
};

/// Where `kubectl apply` keeps a copy of the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// One of our own objects; malformed ones keep their metadata, so that their users can be told.
#[derive(Debug)]
pub struct Object<K> {
    /// The object, or why it could not be read.
    pub parsed: Result<K, String>,
    /// Its metadata.
    pub metadata: ObjectMeta,
}

impl<K: Resource<DynamicType = ()>> Object<K> {
    /// From what a watch delivers.
    #[must_use]
    pub fn from_guard(guard: DeserializeGuard<K>) -> Self {
        match guard.0 {
            Ok(object) => Self::from_object(object),
            Err(mut invalid) => {
                slim(&mut invalid.metadata);
                Self { parsed: Err(invalid.error), metadata: invalid.metadata }
            }
        }
    }

    /// The object.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn object(&self) -> Result<&K, Error> {
        self.parsed.as_ref().map_err(|text| Error::Malformed { text: text.clone() })
    }

    /// From an object.
    #[must_use]
    pub fn from_object(mut object: K) -> Self {
        slim(object.meta_mut());
        Self { metadata: object.meta().clone(), parsed: Ok(object) }
    }
}

/// Drops what nobody asks the rows for and what would be most of them: who manages which field, but for the annotations
/// by which people ask for things, and the copy that `kubectl apply` keeps.
fn slim(metadata: &mut ObjectMeta) {
    let entries = metadata.managed_fields.take().into_iter().flatten();
    let asked: Vec<ManagedFieldsEntry> = entries.filter_map(asked).collect();
    metadata.managed_fields = Some(asked).filter(|asked| !asked.is_empty());
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// What an entry says about annotations of ours; nothing if it says nothing.
fn asked(mut entry: ManagedFieldsEntry) -> Option<ManagedFieldsEntry> {
    let fields = entry.fields_v1.take()?;
    let mut annotations = fields.0.get("f:metadata")?.get("f:annotations")?.as_object()?.clone();
    annotations.retain(|name, _| name.starts_with("f:rekey.dev/"));
    entry.fields_v1 = Some(FieldsV1(json!({"f:metadata": {"f:annotations": annotations}})));
    (!annotations.is_empty()).then_some(entry)
}

impl<K: Refers + Send + Sync + 'static> Row for Object<K> {
    fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn references(&self) -> References {
        self.parsed.as_ref().map(Refers::references).unwrap_or_default()
    }
}

/// What is known of a Secret: metadata only, and of those that are not ours next to nothing.
#[derive(Debug)]
pub struct SecretRow {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Whose it is.
    pub holder: Holder,
}

/// Whose a Secret is.
#[derive(Debug)]
pub enum Holder {
    /// Published by a policy.
    Policy(Box<Managed>),
    /// The pending Secret of an open rotation.
    Rotation {
        /// Uid of the schedule.
        schedule: String,
    },
    /// Somebody else's.
    Other {
        /// `rekey.dev/adopt-by`
        adopt_by: Option<String>,
    },
}

/// A Secret that a policy publishes.
#[derive(Debug)]
pub struct Managed {
    /// Its metadata, without managed fields.
    pub metadata: ObjectMeta,
    /// What its annotations say.
    pub published: Published,
    /// Labels and annotations that we have put on it.
    pub owned: Owned,
}

impl Managed {
    /// Whether it carries the label of those that are a policy's as a whole.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        let label = self.metadata.labels.as_ref().and_then(|labels| labels.get(names::MANAGED_BY));
        label.map(String::as_str) == Some(names::MANAGED_BY_VALUE)
    }
}

/// Names of labels and annotations that our field manager owns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// Labels.
    pub labels: BTreeSet<String>,
    /// Annotations.
    pub annotations: BTreeSet<String>,
}

impl Owned {
    fn read(metadata: &ObjectMeta) -> Self {
        let entries = metadata.managed_fields.iter().flatten();
        let ours = entries.filter(|entry| entry.manager.as_deref() == Some(names::MANAGER));
        let fields: Vec<_> = ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")).collect();
        let names = |part: &str| {
            let maps = fields.iter().filter_map(|fields| fields.get(part)?.as_object());
            maps.flat_map(|map| map.keys()).filter_map(|name| name.strip_prefix("f:")).map(str::to_owned).collect()
        };
        Self { labels: names("f:labels"), annotations: names("f:annotations") }
    }
}

impl SecretRow {
    /// From metadata.
    #[must_use]
    pub fn project(mut metadata: ObjectMeta) -> Self {
        let uid = metadata.uid.clone().unwrap_or_default();
        let resource_version = metadata.resource_version.clone().unwrap_or_default();
        let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
        let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).cloned();
        let ours = label(names::MANAGED_BY).as_deref() == Some(names::MANAGED_BY_VALUE);
        let holder = match (Published::read(&metadata), label(names::SCHEDULE_UID)) {
            (_, Some(schedule)) if ours => Holder::Rotation { schedule },
            (Some(published), _) => {
                let owned = Owned::read(&metadata);
                metadata.managed_fields = None;
                Holder::Policy(Box::new(Managed { metadata, published, owned }))
            }
            (None, _) => Holder::Other { adopt_by: annotation(names::ADOPT_BY) },
        };
        Self { uid, resource_version, holder }
    }

    /// The object that this row shows.
    #[must_use]
    pub fn version(&self) -> ObjectVersion {
        ObjectVersion { uid: self.uid.clone(), resource_version: self.resource_version.clone() }
    }

    /// What is published in it.
    #[must_use]
    pub fn managed(&self) -> Option<&Managed> {
        match &self.holder {
            Holder::Policy(managed) => Some(managed),
            Holder::Rotation { .. } | Holder::Other { .. } => None,
        }
    }
}

impl Row for SecretRow {
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// What is known of a namespace: its labels, which grants go by.
#[derive(Debug)]
pub struct NamespaceRow {
    /// Its resourceVersion.
    pub resource_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl NamespaceRow {
    /// From metadata.
    #[must_use]
    pub fn project(metadata: ObjectMeta) -> Self {
        Self {
            resource_version: metadata.resource_version.unwrap_or_default(),
            labels: metadata.labels.unwrap_or_default(),
        }
    }
}

impl Row for NamespaceRow {
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// A workload's row.
#[derive(Debug)]
pub struct WorkloadRow(pub Workload);

impl Row for WorkloadRow {
    fn resource_version(&self) -> &str {
        &self.0.resource_version
    }

    fn references(&self) -> References {
        self.0.uses.keys().map(|secret| (Referent::Secret, secret.clone())).collect()
    }

    fn follow(&mut self, before: &Self) {
        self.0.follow(&before.0);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::DaemonSet;
    use rekey_core::workload::Project as _;

    use super::*;
    use crate::table::{ObjectName, Table};

    #[test]
    fn of_managed_fields_only_who_asked_for_something_is_kept() {
        let entry = |manager: &str, fields: serde_json::Value| json!({"manager": manager, "fieldsV1": fields});
        let asked = json!({"f:rekey.dev/rotate-requested": {}, "f:team": {}});
        let policy = json!({
            "metadata": {
                "name": "db",
                "annotations": {LAST_APPLIED: "{}", "team": "shop"},
                "managedFields": [
                    entry("alice", json!({"f:metadata": {"f:annotations": asked}, "f:spec": {}})),
                    entry("kubectl", json!({"f:metadata": {"f:annotations": {"f:team": {}}}})),
                    entry("rekey-status", json!({"f:status": {}})),
                ],
            },
            "spec": {"source": {}},
        });
        let row = Object::<rekey_api::SecretPolicy>::from_object(serde_json::from_value(policy).unwrap());
        let kept = json!({"f:metadata": {"f:annotations": {"f:rekey.dev/rotate-requested": {}}}});
        assert_eq!(serde_json::to_value(&row.metadata.managed_fields).unwrap(), json!([entry("alice", kept)]));
        assert_eq!(row.metadata.annotations, Some([("team".to_owned(), "shop".to_owned())].into()));
        let parsed = row.parsed.unwrap();
        assert_eq!(parsed.metadata, row.metadata, "both are slim");
    }

    #[test]
    fn a_daemon_set_that_was_complete_stays_so_until_its_template_changes() {
        let set = |version: &str, generation: i64, available: i32| {
            let set: DaemonSet = serde_json::from_value(json!({
                "metadata": {"name": "agent", "namespace": "shop", "uid": "u", "resourceVersion": version,
                             "generation": generation},
                "spec": {"selector": {}, "template": {}},
                "status": {"observedGeneration": generation, "currentNumberScheduled": 3, "desiredNumberScheduled": 3,
                           "numberMisscheduled": 0, "numberReady": available, "updatedNumberScheduled": 3,
                           "numberAvailable": available, "numberUnavailable": 3 - available},
            }))
            .unwrap();
            WorkloadRow(set.project())
        };
        let table = Table::default();
        let name = ObjectName::new("shop", "DaemonSet/agent");
        let completed = |row: WorkloadRow| table.set(&name, row).unwrap().now.unwrap().0.completed;
        assert!(!completed(set("1", 1, 1)), "two pods are not there yet");
        assert!(completed(set("2", 1, 3)));
        assert!(completed(set("3", 1, 2)), "a pod that fails later is no failure of the rollout");
        assert!(!completed(set("4", 2, 2)), "another template");
    }

    #[test]
    fn what_we_own_is_told_from_what_others_put_there() {
        let entry = |manager: &str, label: &str| {
            let labels = json!({ format!("f:{label}"): {} });
            json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": labels}}})
        };
        let metadata = json!({"managedFields": [entry("rekey", "team"), entry("kubectl", "theirs")]});
        let owned = Owned::read(&serde_json::from_value(metadata).unwrap());
        assert_eq!(owned, Owned { labels: ["team".to_owned()].into(), annotations: BTreeSet::new() });
    }
}
