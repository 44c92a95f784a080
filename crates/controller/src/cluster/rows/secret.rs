//! The rows of Secrets: of most of a cluster's objects, so in as little room as they take.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference},
};
use rekey_api::names;
use rekey_core::{
    SecretBytes,
    policy::{self, ObjectVersion, value_mark},
    published::Published,
};
use uuid::Uuid;

use super::{Row, Uid, Version};

/// Bytes of an object's name at most. A longer text is no name.
const NAME: usize = 253;
/// Labels, or annotations, that a policy can ask for: those of its template, as many as the CRD allows, and ours.
const WANTED: usize = 64 + 4;
/// Owners that are kept: there is never more than one of ours, but anybody can write more.
const OWNERS: usize = 64;
/// Ours by their names, whoever has put them there.
const OWN: [&str; 4] = [names::MANAGED_BY, names::POLICY, names::REVISION, names::SEED];

/// What is known of a Secret: metadata only, and of those that are not ours next to nothing.
#[derive(Debug)]
pub struct SecretRow {
    pub uid: Uid,
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
    /// Another tool's.
    Other {
        /// `rekey.dev/adopt-by`
        adopt_by: Option<Box<str>>,
        /// Whether our field manager has made it, and another tool has taken off what says so.
        is_made_by_us: bool,
    },
}

/// A Secret that a policy publishes.
#[derive(Debug)]
pub struct Managed {
    /// What its annotations say.
    pub published: Arc<Published>,
    pub labels: Tags,
    /// Its annotations, without the record, which is in `published`.
    pub annotations: Tags,
    /// `rekey.dev/adopt-by`
    pub adopt_by: Option<Box<str>>,
    /// Bytes of the annotations that are not ours.
    pub other_annotations: usize,
    /// Those of its owners that are policies.
    pub owners: Box<[Owner]>,
    /// Kind and name of the object of another tool that controls it.
    pub controller: Option<Box<str>>,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// Whether our field manager has made it: anybody can write what is on a Secret, but not whose fields they are.
    pub is_made_by_us: bool,
    /// Whether it carries the label of those that are a policy's as a whole.
    pub is_labelled: bool,
    /// Whether its content was found to be what its record says, by digests that only the digest key can make. Asked only
    /// of what our field manager has not made.
    pub is_backup: OnceLock<bool>,
}

/// A policy that owns a Secret.
#[derive(Debug)]
pub struct Owner {
    pub name: Box<str>,
    pub uid: Uid,
}

impl Managed {
    /// One with this metadata that publishes this, whatever its annotations say.
    #[must_use]
    pub fn new(mut metadata: ObjectMeta, published: Published) -> Self {
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
            owners: owners.iter().filter_map(owning_policy).take(OWNERS).collect(),
            controller: owners.iter().find_map(controller),
            is_going: metadata.deletion_timestamp.is_some(),
            is_made_by_us,
            is_labelled,
            is_backup: OnceLock::new(),
        }
    }
}

/// The owner, if it is a policy.
fn owning_policy(owner: &OwnerReference) -> Option<Owner> {
    let is_policy = owner.kind == "SecretPolicy" && owner.api_version.split('/').next() == Some(names::GROUP);
    is_policy.then(|| Owner { name: owner.name.as_str().into(), uid: Uid::new(&owner.uid) })
}

/// The owner, if it is no policy and controls the Secret.
fn controller(owner: &OwnerReference) -> Option<Box<str>> {
    let is_other = owner.controller == Some(true) && owning_policy(owner).is_none();
    is_other.then(|| format!("{} {}", owner.kind, owner.name).chars().take(NAME).collect::<String>().into())
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
    /// Whether there are more of ours than any policy can ask for: then none is kept.
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
            is_kept.then(|| Tag { name: name.into(), value: value_mark(&text), is_ours })
        };
        // Of the names in `OWN` none need be ours.
        let kept: Box<[Tag]> = tags.into_iter().filter_map(tag).take(WANTED + OWN.len() + 1).collect();
        let is_crowded = kept.len() > WANTED + OWN.len();
        Self { kept: if is_crowded { Box::default() } else { kept }, is_crowded }
    }

    /// Whether our field manager has put it there with this value, and nobody has changed it since.
    #[must_use]
    pub fn has_ours(&self, name: &str, text: &str) -> bool {
        self.has(name, text) && self.kept.iter().any(|tag| tag.is_ours && *tag.name == *name)
    }

    fn has(&self, name: &str, text: &str) -> bool {
        let at = self.kept.binary_search_by(|tag| tag.name.as_ref().cmp(name));
        at.is_ok_and(|at| self.kept[at].value == value_mark(text))
    }

    /// Whether all that are wanted are there and ours, and none of ours is that is not wanted.
    #[must_use]
    pub fn are(&self, wanted: &BTreeMap<String, String>) -> bool {
        !self.is_crowded
            && wanted.iter().all(|(name, value)| self.has(name, value))
            && self.kept.iter().all(|tag| !tag.is_ours || wanted.contains_key(tag.name.as_ref()))
    }

    /// If all that are wanted are there: those of ours beside them, each with the mark of its value.
    #[must_use]
    pub fn beside(&self, wanted: &BTreeMap<String, String>) -> Option<Vec<(String, Uuid)>> {
        let beside = self.kept.iter().filter(|tag| tag.is_ours && !wanted.contains_key(tag.name.as_ref()));
        (!self.is_crowded && wanted.iter().all(|(name, value)| self.has(name, value)))
            .then(|| beside.map(|tag| (tag.name.to_string(), tag.value)).collect())
    }
}

/// Whether an entry says that we have applied the Secret as a whole: its type, which is written with it once and can
/// never change.
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

/// Labels and annotations of an object that our field manager has put there.
#[must_use]
pub fn own_tags(metadata: &ObjectMeta) -> policy::Tags {
    let ours = Ours::read(metadata.managed_fields.as_deref().unwrap_or_default());
    let part = |all: &Option<BTreeMap<String, String>>, part: &str| {
        let all = all.iter().flatten().filter(|(name, _)| ours.owns(part, name));
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    policy::Tags {
        labels: part(&metadata.labels, "f:labels"),
        annotations: part(&metadata.annotations, "f:annotations"),
    }
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
            (None, _) => Holder::Other {
                adopt_by: adopt_by(&metadata),
                is_made_by_us: metadata.managed_fields.iter().flatten().any(is_made_by_us),
            },
        };
        Self { uid, version, holder }
    }

    /// The object that this row shows.
    #[must_use]
    pub fn object_version(&self) -> ObjectVersion {
        ObjectVersion { uid: self.uid.to_string(), resource_version: self.version.to_string() }
    }

    /// Whether our field manager has made it, whatever it says of itself by now.
    #[must_use]
    pub fn is_made_by_us(&self) -> bool {
        match &self.holder {
            Holder::Policy(managed) => managed.is_made_by_us,
            Holder::Other { is_made_by_us, .. } => *is_made_by_us,
            Holder::Rotation { .. } => false,
        }
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

/// The data of a Secret, as values.
pub fn values(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, SecretBytes> {
    data.unwrap_or_default().into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect()
}

#[cfg(test)]
mod tests;
