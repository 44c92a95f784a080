//! The rows of Secrets: of most of a cluster's objects, so in as little room as they take.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use rekey_api::names;
use rekey_core::{policy::ObjectVersion, published::Published};

use super::{
    LAST_APPLIED,
    identity::{Uid, Version},
};
use crate::table::Row;

/// What is known of a Secret: metadata only, and of those that are not ours next to nothing.
#[derive(Debug)]
pub struct SecretRow {
    /// Its uid.
    pub uid: Uid,
    /// Its resourceVersion.
    pub version: Version,
    /// Whose it is.
    pub holder: Holder,
}

/// Whose a Secret is.
#[derive(Debug)]
pub enum Holder {
    /// Published by a policy.
    Policy(Box<Managed>),
    /// What looks like the pending Secret of a rotation. Nothing but a look at it follows from that.
    Rotation {
        /// Uid of the schedule.
        schedule: Box<str>,
    },
    /// Somebody else's.
    Other {
        /// `rekey.dev/adopt-by`
        adopt_by: Option<Box<str>>,
    },
}

/// A Secret that a policy publishes.
#[derive(Debug)]
pub struct Managed {
    /// What its annotations say.
    pub published: Arc<Published>,
    /// Its labels.
    pub labels: Tags,
    /// Its annotations, without the record, which is in `published`.
    pub annotations: Tags,
    /// Bytes of the annotations that are not ours.
    pub other_annotations: usize,
    /// Its owners.
    pub owners: Box<[OwnerReference]>,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// Whether our field manager has made it: what stands on a Secret anybody can write, whose fields they are not.
    pub is_made_by_us: bool,
}

impl Managed {
    fn new(mut metadata: ObjectMeta, published: Published) -> Self {
        let other_annotations = other_annotations(&metadata);
        if let Some(annotations) = &mut metadata.annotations {
            annotations.remove(LAST_APPLIED); // of a Secret that somebody has applied it holds the values
            annotations.retain(|name, _| ![names::DIGESTS, names::CHANGES].contains(&name.as_str()));
        }
        let entries = metadata.managed_fields.take().unwrap_or_default();
        let ours = Ours::read(&entries);
        let is_made_by_us = entries.iter().any(is_made_by_us);
        Self {
            published: Arc::new(published),
            labels: Tags::new(metadata.labels.unwrap_or_default(), |name| ours.owns("f:labels", name)),
            annotations: Tags::new(metadata.annotations.unwrap_or_default(), |name| ours.owns("f:annotations", name)),
            other_annotations,
            owners: metadata.owner_references.unwrap_or_default().into(),
            is_going: metadata.deletion_timestamp.is_some(),
            is_made_by_us,
        }
    }

    /// Whether it carries the label of those that are a policy's as a whole.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.labels.get(names::MANAGED_BY) == Some(names::MANAGED_BY_VALUE)
    }
}

/// Labels or annotations, sorted by name.
#[derive(Debug)]
pub struct Tags(Box<[Tag]>);

struct Tag {
    name: Box<str>,
    value: Box<str>,
    /// Whether our field manager has put it there.
    is_ours: bool,
}

/// Without values: people put anything into annotations.
impl std::fmt::Debug for Tag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}

impl Tags {
    fn new(tags: BTreeMap<String, String>, is_ours: impl Fn(&str) -> bool) -> Self {
        let tag =
            |(name, value): (String, String)| Tag { is_ours: is_ours(&name), name: name.into(), value: value.into() };
        Self(tags.into_iter().map(tag).collect())
    }

    /// The value of one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|tag| tag.name.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].value)
    }

    /// Whether all that are wanted are there, and none of ours is that is not wanted.
    #[must_use]
    pub fn are(&self, wanted: &BTreeMap<String, String>) -> bool {
        wanted.iter().all(|(name, value)| self.get(name) == Some(value))
            && self.0.iter().all(|tag| !tag.is_ours || wanted.contains_key(tag.name.as_ref()))
    }
}

/// Whether an entry says that we have applied the Secret as a whole: its type, which is written with it once and cannot be
/// changed by anybody.
fn is_made_by_us(entry: &ManagedFieldsEntry) -> bool {
    let is_ours = entry.manager.as_deref() == Some(names::MANAGER) && entry.operation.as_deref() == Some("Apply");
    is_ours && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:type").is_some())
}

/// Bytes of an object's annotations that our field manager has not put there: they share its room with ours.
#[must_use]
pub fn other_annotations(metadata: &ObjectMeta) -> usize {
    let ours = Ours::read(metadata.managed_fields.as_deref().unwrap_or_default());
    let others = metadata.annotations.iter().flatten().filter(|(name, _)| !ours.owns("f:annotations", name));
    others.map(|(name, value)| name.len() + value.len()).sum()
}

/// What our field manager owns of an object's metadata, as its managed fields say.
pub(super) struct Ours<'a>(Vec<&'a serde_json::Value>);

impl<'a> Ours<'a> {
    pub(super) fn read(entries: &'a [ManagedFieldsEntry]) -> Self {
        let ours = entries.iter().filter(|entry| entry.manager.as_deref() == Some(names::MANAGER));
        Self(ours.filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:metadata")).collect())
    }

    pub(super) fn owns(&self, part: &str, name: &str) -> bool {
        self.0.iter().any(|fields| fields.get(part).is_some_and(|part| part.get(format!("f:{name}")).is_some()))
    }
}

impl SecretRow {
    /// From metadata.
    #[must_use]
    pub fn project(metadata: ObjectMeta) -> Self {
        let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name));
        let annotation = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name));
        let is_pending = metadata.name.as_deref().is_some_and(|name| name.starts_with(names::PENDING_PREFIX));
        let uid = Uid::new(metadata.uid.as_deref().unwrap_or_default());
        let version = Version::new(metadata.resource_version.as_deref().unwrap_or_default());
        let holder = match (Published::read(&metadata), label(names::SCHEDULE_UID)) {
            (_, Some(schedule)) if is_pending => Holder::Rotation { schedule: schedule.as_str().into() },
            (Some(published), _) => Holder::Policy(Box::new(Managed::new(metadata, published))),
            (None, _) => Holder::Other { adopt_by: annotation(names::ADOPT_BY).map(|policy| policy.as_str().into()) },
        };
        Self { uid, version, holder }
    }

    /// The object that this row shows.
    #[must_use]
    pub fn object_version(&self) -> ObjectVersion {
        ObjectVersion { uid: self.uid.to_string(), resource_version: self.version.to_string() }
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
    fn version(&self) -> Version {
        self.version.clone()
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::digest::Digests;
    use serde_json::json;

    use super::*;

    fn managed(more: &[(&str, serde_json::Value)]) -> SecretRow {
        let record = json!({"publication": 1, "time": "2026-01-01T00:00:00.000Z"}).to_string();
        let mut annotations = json!({
            names::POLICY: "db", names::REVISION: "r1", names::DIGESTS: Digests::default().to_string(),
            names::CHANGES: record, "note": "ours", LAST_APPLIED: r#"{"data": {"password": "aHVudGVyMg=="}}"#,
        });
        annotations["theirs"] = json!("x");
        let entry = |manager: &str, labels: serde_json::Value, annotations: serde_json::Value| {
            let fields = json!({"f:metadata": {"f:labels": labels, "f:annotations": annotations}});
            json!({"manager": manager, "operation": "Apply", "fieldsV1": fields})
        };
        let mut metadata = json!({
            "uid": "u", "resourceVersion": "7", "annotations": annotations,
            "labels": {"team": "shop", "tier": "db", "theirs": "x"},
            "managedFields": [
                entry("rekey", json!({"f:team": {}, "f:tier": {}}), json!({"f:note": {}})),
                entry("kubectl", json!({"f:theirs": {}, "f:team": {}}), json!({"f:theirs": {}})),
            ],
        });
        for (name, value) in more {
            metadata[*name] = value.clone();
        }
        SecretRow::project(serde_json::from_value(metadata).unwrap())
    }

    fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_and_annotations_are_as_wanted_with_others_beside_but_none_of_ours_left_over() {
        let row = managed(&[]);
        let Managed { labels, annotations, .. } = row.managed().unwrap();
        assert!(labels.are(&wanted(&[("team", "shop"), ("tier", "db")])));
        assert!(!labels.are(&wanted(&[("team", "shop"), ("tier", "cache")])), "another value");
        assert!(!labels.are(&wanted(&[("team", "shop"), ("tier", "db"), ("new", "x")])), "not there yet");
        assert!(!labels.are(&wanted(&[("team", "shop")])), "ours, from an earlier wish");
        assert!(annotations.are(&wanted(&[("note", "ours")])));
        assert_eq!((annotations.get(names::DIGESTS), annotations.get(names::CHANGES)), (None, None), "kept once");
        assert!(!annotations.are(&wanted(&[])), "ours, from an earlier wish");
    }

    #[test]
    fn a_row_tells_whose_a_secret_is_and_whether_it_goes() {
        let going = json!("2026-01-01T00:00:00Z");
        let is_going = |row: SecretRow| row.managed().unwrap().is_going;
        assert!(!is_going(managed(&[])) && is_going(managed(&[("deletionTimestamp", going)])));
        let row = managed(&[]);
        assert_eq!(row.object_version(), ObjectVersion { uid: "u".to_owned(), resource_version: "7".to_owned() });
        assert_eq!(row.managed().unwrap().published.policy, "db");
        let other = managed(&[("annotations", json!({names::ADOPT_BY: "db"}))]);
        assert!(matches!(other.holder, Holder::Other { adopt_by: Some(policy) } if policy.as_ref() == "db"));
        let labels = json!({names::SCHEDULE_UID: "s"});
        let labelled = managed(&[("labels", labels.clone())]);
        assert!(labelled.managed().is_some(), "a label of ours takes no Secret from its policy");
        let pending = managed(&[("labels", labels), ("name", json!("rekey-pending-1"))]);
        assert!(matches!(pending.holder, Holder::Rotation { schedule } if schedule.as_ref() == "s"));
    }

    #[test]
    fn who_has_made_a_secret_is_told_by_its_fields_and_not_by_what_stands_on_it() {
        let entry = |manager: &str, operation: &str, fields: serde_json::Value| {
            let of = json!([{"manager": manager, "operation": operation, "fieldsV1": fields}]);
            managed(&[("managedFields", of)]).managed().unwrap().is_made_by_us
        };
        let whole = json!({"f:type": {}, "f:data": {"f:a": {}}});
        assert!(entry("rekey", "Apply", whole.clone()));
        assert!(!entry("rekey", "Apply", json!({"f:data": {"f:a": {}}})), "keys in somebody else's");
        assert!(!entry("rekey", "Update", whole.clone()), "a record, or a removed key");
        assert!(!entry("kubectl", "Apply", whole), "a copy with all that stands on it");
    }

    #[test]
    fn annotations_of_others_are_counted() {
        let before = managed(&[]).managed().unwrap().other_annotations;
        let entry = json!([{"manager": "rekey", "operation": "Apply", "fieldsV1": {"f:metadata": {"f:annotations": {
            "f:note": {}, "f:theirs": {}}}}}]);
        let now = managed(&[("managedFields", entry)]).managed().unwrap().other_annotations;
        assert_eq!(before - now, "theirs".len() + "x".len());
    }

    #[test]
    fn the_copy_that_kubectl_keeps_of_a_secret_is_not_kept_here() {
        let row = managed(&[]);
        assert_eq!(row.managed().unwrap().annotations.get(LAST_APPLIED), None);
        let shown = format!("{row:?}");
        assert!(!shown.contains("aHVudGVyMg") && !shown.contains("ours"), "{shown}");
    }
}
