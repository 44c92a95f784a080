//! The rows of Secrets: of most of a cluster's objects, so in as little room as they take.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use rekey_api::names;
use rekey_core::{policy::ObjectVersion, published::Published};
use uuid::Uuid;

use super::identity::{Uid, Version};
use crate::table::Row;

/// Bytes of an object's name at most. What is longer names nobody.
const NAME: usize = 253;
/// Labels, or annotations, that a policy can want: those of its template, as many as the CRD allows, and ours.
const WANTED: usize = 64 + 2;
/// Owners that are kept: there is never more than one of ours, but anybody can write more.
const OWNERS: usize = 64;
/// Ours by their names, whoever has put them there.
const OWN: [&str; 3] = [names::MANAGED_BY, names::POLICY, names::REVISION];

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
    /// `rekey.dev/adopt-by`
    pub adopt_by: Option<Box<str>>,
    /// Bytes of the annotations that are not ours.
    pub other_annotations: usize,
    /// Those of its owners that are policies.
    pub owners: Box<[Owner]>,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// Whether our field manager has made it: what stands on a Secret anybody can write, whose fields they are not.
    pub is_made_by_us: bool,
    /// Whether it carries the label of those that are a policy's as a whole.
    pub is_labelled: bool,
}

/// A policy that owns a Secret.
#[derive(Debug)]
pub struct Owner {
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Uid,
}

impl Managed {
    fn new(mut metadata: ObjectMeta, published: Published) -> Self {
        let other_annotations = other_annotations(&metadata);
        let adopt_by = adopt_by(&metadata);
        let is_labelled = metadata.labels.as_ref().and_then(|all| all.get(names::MANAGED_BY)).map(String::as_str)
            == Some(names::MANAGED_BY_VALUE);
        if let Some(annotations) = &mut metadata.annotations {
            annotations.retain(|name, _| ![names::DIGESTS, names::CHANGES].contains(&name.as_str()));
        }
        let entries = metadata.managed_fields.take().unwrap_or_default();
        let ours = Ours::read(&entries);
        let is_made_by_us = entries.iter().any(is_made_by_us);
        let owners = metadata.owner_references.unwrap_or_default();
        Self {
            published: Arc::new(published),
            labels: Tags::new(metadata.labels.unwrap_or_default(), |name| ours.owns("f:labels", name)),
            annotations: Tags::new(metadata.annotations.unwrap_or_default(), |name| ours.owns("f:annotations", name)),
            adopt_by,
            other_annotations,
            owners: owners.iter().filter_map(policy).take(OWNERS).collect(),
            is_going: metadata.deletion_timestamp.is_some(),
            is_made_by_us,
            is_labelled,
        }
    }
}

/// The owner, if it is a policy.
fn policy(owner: &OwnerReference) -> Option<Owner> {
    let is_policy = owner.kind == "SecretPolicy" && owner.api_version.split('/').next() == Some(names::GROUP);
    is_policy.then(|| Owner { name: owner.name.as_str().into(), uid: Uid::new(&owner.uid) })
}

/// The policy that may take the Secret over.
fn adopt_by(metadata: &ObjectMeta) -> Option<Box<str>> {
    let policy = metadata.annotations.as_ref()?.get(names::ADOPT_BY)?;
    (policy.len() <= NAME).then(|| policy.as_str().into())
}

/// Our labels or annotations, sorted by name. Those of others, which can be large, decide nothing.
#[derive(Debug)]
pub struct Tags {
    kept: Box<[Tag]>,
    /// Whether there are more of ours than any policy can want: then none is kept.
    is_crowded: bool,
}

struct Tag {
    name: Box<str>,
    value: Uuid,
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
        let tag = |(name, text): (String, String)| {
            let is_ours = is_ours(&name);
            let is_kept = is_ours || OWN.contains(&name.as_str());
            is_kept.then(|| Tag { name: name.into(), value: value(&text), is_ours })
        };
        // Of the names in `OWN` none need be ours.
        let kept: Box<[Tag]> = tags.into_iter().filter_map(tag).take(WANTED + OWN.len() + 1).collect();
        let is_crowded = kept.len() > WANTED + OWN.len();
        Self { kept: if is_crowded { Box::default() } else { kept }, is_crowded }
    }

    fn has(&self, name: &str, text: &str) -> bool {
        let at = self.kept.binary_search_by(|tag| tag.name.as_ref().cmp(name));
        at.is_ok_and(|at| self.kept[at].value == value(text))
    }

    /// Whether all that are wanted are there and ours, and none of ours is that is not wanted.
    #[must_use]
    pub fn are(&self, wanted: &BTreeMap<String, String>) -> bool {
        !self.is_crowded
            && wanted.iter().all(|(name, value)| self.has(name, value))
            && self.kept.iter().all(|tag| !tag.is_ours || wanted.contains_key(tag.name.as_ref()))
    }
}

/// Stands for a value, in 16 bytes however long it is. Whoever makes two that are taken for the same fools only himself: what
/// a policy wants and what stands on its Secret are both the tenant's.
fn value(text: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes())
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
        let is_pending = metadata.name.as_deref().is_some_and(|name| name.starts_with(names::PENDING_PREFIX));
        let uid = Uid::new(metadata.uid.as_deref().unwrap_or_default());
        let version = Version::new(metadata.resource_version.as_deref().unwrap_or_default());
        let published = Published::read(&metadata).filter(|published| published.policy.len() <= NAME);
        let holder = match (published, label(names::SCHEDULE_UID)) {
            (_, Some(schedule)) if is_pending => Holder::Rotation { schedule: schedule.as_str().into() },
            (Some(published), _) => Holder::Policy(Box::new(Managed::new(metadata, published))),
            (None, _) => Holder::Other { adopt_by: adopt_by(&metadata) },
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
        let annotations = json!({
            names::POLICY: "db", names::REVISION: "r1", names::DIGESTS: Digests::default().to_string(),
            names::CHANGES: record, "note": "ours", "theirs": "x",
            "kubectl.kubernetes.io/last-applied-configuration": r#"{"data": {"password": "aHVudGVyMg=="}}"#,
        });
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
        assert!(annotations.are(&wanted(&[("note", "ours"), (names::POLICY, "db"), (names::REVISION, "r1")])));
        assert!(!annotations.are(&wanted(&[("note", "ours"), (names::POLICY, "other")])), "ours by its name");
        assert!(!annotations.are(&wanted(&[])), "ours, from an earlier wish");
        assert!(!annotations.are(&wanted(&[("note", "ours"), ("theirs", "x")])), "wanted, and not ours yet");
    }

    #[test]
    fn what_others_write_on_a_secret_takes_no_room_in_its_row() {
        let large = "x".repeat(240 * 1024);
        let row = managed(&[]);
        let mut annotations = json!({"theirs": large, "note": large, names::ADOPT_BY: large});
        for (name, text) in [(names::POLICY, "db"), (names::REVISION, "r1"), (names::DIGESTS, "")] {
            annotations[name] = json!(text);
        }
        annotations[names::DIGESTS] = json!(Digests::default().to_string());
        annotations[names::CHANGES] = json!(json!({"publication": 1, "time": ""}).to_string());
        let owner = |kind: &str, uid: usize| json!({"apiVersion": "rekey.dev/v1alpha1", "kind": kind, "name": "db", "uid": format!("u{uid}")});
        let others =
            (0..1_000).map(|uid| owner("ConfigMap", uid)).chain((0..1_000).map(|uid| owner("SecretPolicy", uid)));
        let others: Vec<serde_json::Value> = others.collect();
        let full = managed(&[("annotations", annotations), ("ownerReferences", json!(others))]);
        let (row, full) = (row.managed().unwrap(), full.managed().unwrap());
        assert_eq!(
            names_of(&full.annotations),
            names_of(&row.annotations),
            "the same, however much stands beside them"
        );
        assert!(full.adopt_by.is_none(), "longer than any name");
        assert_eq!((full.owners.len(), full.owners[0].uid.to_string()), (OWNERS, "u0".to_owned()));
        assert!(
            full.annotations.are(&wanted(&[("note", &large)])) && !full.annotations.are(&wanted(&[("note", "ours")]))
        );
    }

    fn names_of(tags: &Tags) -> Vec<&str> {
        tags.kept.iter().map(|tag| tag.name.as_ref()).collect()
    }

    #[test]
    fn of_more_labels_than_a_policy_can_want_none_is_kept_and_none_is_as_wanted() {
        let labelled = |count: usize| {
            let names: Vec<String> = (0..count).map(|at| format!("l{at:05}")).collect();
            let labels: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!("x"))).collect();
            let fields: serde_json::Map<_, _> = names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
            let entry = json!([{"manager": "rekey", "fieldsV1": {"f:metadata": {"f:labels": fields}}}]);
            let row = managed(&[("labels", json!(labels)), ("managedFields", entry)]);
            let wanted = names.into_iter().map(|name| (name, "x".to_owned())).collect();
            let managed = row.managed().unwrap();
            (managed.labels.kept.len(), managed.labels.are(&wanted))
        };
        assert_eq!(labelled(WANTED), (WANTED, true));
        assert_eq!(labelled(5_000), (0, false));
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
        let shown = format!("{row:?}");
        assert!(!shown.contains("aHVudGVyMg") && !shown.contains("ours"), "{shown}");
    }
}
