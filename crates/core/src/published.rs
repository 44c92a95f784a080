//! What a managed Secret's own metadata says about its content. Decisions about consumers read this and nothing else:
//! it is written together with the data, so it cannot disagree with it.

mod gaps;
#[cfg(test)]
mod tests;
mod times;
mod versions;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::names;
use serde::{Deserialize, Serialize};

use self::{gaps::Gaps, times::Times};
pub use self::{
    gaps::{Gap, Instead},
    versions::{Versions, order},
};
use crate::{
    Seed,
    digest::{DigestKey, Digests},
    origin::Origins,
    workload::Keys,
};

/// What all annotations of an object may take, names and values together
/// (<https://pkg.go.dev/k8s.io/apimachinery/pkg/api/validation#pkg-constants>, `TotalAnnotationSizeLimitB`).
pub const ANNOTATIONS: usize = 256 * 1024;
/// The record of more keys fits into no annotations, even if there are no others: each takes 32 bytes for its digest
/// and 18 for the time of its change.
pub const MOST_KEYS: usize = ANNOTATIONS / (32 + 18);

/// The published content of a managed Secret, by its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Name of the policy it belongs to.
    pub policy: String,
    /// Random id of the content.
    pub revision: String,
    /// Digest of each key.
    pub digests: Digests,
    /// When what changed.
    pub changes: Changes,
    /// The seed of the salts in the content, if it was made by templates.
    pub seed: Option<Seed>,
    /// When the API server took the last write of ours, to the second (`managedFields`); `None`: it is not known.
    pub taken: Option<DateTime<Utc>>,
}

/// A write that is slow is taken later than its record says, and pods that start meanwhile read the old value. It is
/// given up after 15 s; clocks may differ by the rest. What is written later than that is another matter, labels for
/// example.
const SLOWEST: TimeDelta = TimeDelta::seconds(20);

/// The publication record: a number that goes up with each changed content, and for each key the time of its last
/// change. Keys that have not changed since the first publication have no time: no consumer can have missed a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// 1 for the first content.
    pub publication: u64,
    /// When the current content was first published.
    pub time: String,
    /// The revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Time of the last change by key, also of keys that are gone.
    #[serde(default, skip_serializing_if = "Times::is_empty")]
    keys: Times,
    /// When a key was last added or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// When the Secret did not hold its value.
    #[serde(default, skip_serializing_if = "Gaps::is_empty")]
    gaps: Gaps,
    /// When the API server took the write of the current content, if we have written anything else since: what the
    /// managed fields say is about that then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<String>,
    /// What the content was made by, where asking again would make something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Issue>,
    /// The rotation whose values the content was made from. It stays until other content is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotated>,
    /// Which versions of its sources the content was made from, as far as the store says when they were created.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
    /// Digest of the templates and values that the content was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// Mark of the labels and annotations that templates have made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Whether the content was published before, and is so again: consumers go back to it without waiting.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// The token of `rekey.dev/unlock` by which the content came into a Secret that was locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlock: Option<String>,
}

/// That the values of a rotation were published. Nobody can make one without the digest key, and the operator makes it
/// only in the same write as content that was made from just these values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// The rotation.
    pub id: String,
    /// Keyed digest of its values.
    pub digest: String,
}

/// A content that was issued once, by a request to an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Names what was asked for. A policy that asks for something else needs another one.
    pub request: String,
    /// When it is replaced (RFC 3339); `None`: only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<String>,
    /// When it ends (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Published {
    /// Whether the digests may be ours. Those of another digest key are so after the loss of ours; not if this process
    /// has seen a record by its own key there before, since the key stays the same while it runs: then another tool
    /// wrote it.
    #[must_use]
    pub fn may_be_ours(&self, last: Option<&Self>, key: &DigestKey) -> bool {
        self.is_by(key) || !last.is_some_and(|last| last.is_by(key))
    }

    /// Whether it was published after `other`.
    #[must_use]
    pub fn is_later_than(&self, other: &Self) -> bool {
        self.changes.publication > other.changes.publication
    }

    /// Whether the digests are made with this key.
    #[must_use]
    pub fn is_by(&self, key: &DigestKey) -> bool {
        self.digests.key_id == key.id()
    }

    /// Reads the annotations of a Secret; `None` when it is not managed by Rekey.
    #[must_use]
    pub fn read(metadata: &ObjectMeta) -> Option<Self> {
        let annotations = metadata.annotations.as_ref()?;
        let text = |name: &str| annotations.get(name).map(String::as_str);
        Some(Self {
            policy: text(names::POLICY)?.to_owned(),
            revision: text(names::REVISION)?.to_owned(),
            digests: Digests::parse(text(names::DIGESTS))?,
            changes: text(names::CHANGES).and_then(Changes::read)?,
            seed: text(names::SEED).and_then(Seed::parse),
            taken: taken(metadata),
        })
    }

    /// The marker of what a workload consumes: the digests of the keys, and when pods could last read something else,
    /// so that a value that comes back after another one is not taken for never having changed. Nothing of the time
    /// can be read from it.
    #[must_use]
    pub fn consumed(&self, keys: &Keys) -> String {
        let last = self.recorded(keys).into_iter().chain(self.last_gap(keys)).max();
        self.digests.consumed(keys, last.map_or(0, |time| time.timestamp_millis()))
    }

    /// When pods could last read anything else of the consumed keys than their value: the last change, or the end of
    /// the last gap. `None`: never since the first publication.
    #[must_use]
    pub fn edge(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        self.changed(consumed).into_iter().chain(self.last_gap(consumed)).max()
    }

    /// When the content was published.
    #[must_use]
    pub fn time(&self) -> Option<DateTime<Utc>> {
        parse(&self.changes.time)
    }

    /// When the content was published, if it is the first: what pods held before that nobody knows.
    #[must_use]
    pub fn first(&self) -> Option<DateTime<Utc>> {
        self.time().filter(|_| self.changes.publication == 1)
    }

    /// The times in which the consumed keys did not have their value, though that did not change.
    pub fn gaps<'a>(&'a self, consumed: &'a Keys) -> impl Iterator<Item = &'a Gap> {
        self.changes.gaps.of(consumed)
    }

    fn last_gap(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        self.gaps(consumed).filter_map(Gap::to).max()
    }

    /// When the consumed keys last changed; `None` when they are as first published. A change that the API server took
    /// later than its record says counts from then.
    #[must_use]
    pub fn changed(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        let recorded = self.recorded(consumed)?;
        let is_last = parse(&self.changes.time) == Some(recorded);
        let taken = self.changes.taken.as_deref().and_then(parse).or(self.taken);
        let taken = taken.map(|second| second + TimeDelta::seconds(1)).filter(|_| is_last);
        let late = taken.filter(|taken| (TimeDelta::seconds(2)..SLOWEST).contains(&(*taken - recorded)));
        Some(late.unwrap_or(recorded))
    }

    /// The same, as the record has it.
    fn recorded(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        let shape = self.changes.shape.as_deref().filter(|_| *consumed == Keys::All).and_then(parse);
        self.changes.keys.last(consumed).into_iter().chain(shape).max()
    }

    /// Characters of the two annotations that hold the record, once every key that is there has changed: they do not
    /// outgrow later what they fit into now.
    #[must_use]
    pub fn room(&self) -> usize {
        let (digests, changes) = (self.digests.to_string().len(), self.changes.to_string().len());
        digests + changes + self.changes.keys.growth(&self.digests) + self.changes.gaps.growth()
    }
}

impl Changes {
    fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().filter(|read: &Self| read.keys.are_ours() && read.gaps.are_ours())
    }

    /// The record of a first publication.
    #[must_use]
    pub fn first(now: DateTime<Utc>) -> Self {
        Self { publication: 1, time: format(now), ..Self::default() }
    }

    /// The record of a write that changes no content, over one whose content was taken at this time.
    #[must_use]
    pub fn again(&self, taken: Option<DateTime<Utc>>) -> Self {
        Self { taken: self.taken.clone().or(taken.map(format)), ..self.clone() }
    }

    /// The record after a time in which the Secret did not hold its value. The value is the same.
    #[must_use]
    pub fn after(&self, gap: Gap) -> Self {
        Self { gaps: self.gaps.with(gap), ..self.clone() }
    }

    /// The record of content that `over` had replaced, and that replaces it again: for the time in between the Secret did not
    /// hold it.
    #[must_use]
    pub fn back(&self, over: &Published, between: Gap, now: DateTime<Utc>) -> Self {
        Self {
            publication: over.changes.publication.saturating_add(1),
            previous: Some(over.revision.clone()),
            time: format(now),
            taken: None,
            ..self.after(between)
        }
    }

    /// The record after content with `before` digests was replaced by content with `after` digests.
    #[must_use]
    pub fn next(&self, revision: &str, before: &Digests, after: &Digests, now: DateTime<Utc>) -> Self {
        let time = format(now);
        let (keys, shape) = self.keys.next(before, after, now);
        Self {
            publication: self.publication.saturating_add(1), // whoever may write the Secret may write any number
            shape: if shape { Some(time.clone()) } else { self.shape.clone() },
            previous: Some(revision.to_owned()),
            keys,
            gaps: self.gaps.clone(),
            taken: None,
            time,
            issue: None,
            rotation: None,
            origins: Origins::default(),
            inputs: None,
            tags: None,
            restored: false,
            unlock: None,
        }
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

fn taken(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    let ours =
        metadata.managed_fields.iter().flatten().filter(|entry| entry.manager.as_deref() == Some(names::MANAGER));
    ours.filter_map(|entry| entry.time.as_ref()).map(crate::time::chrono).max()
}

fn format(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn parse(time: &str) -> Option<DateTime<Utc>> {
    crate::time::parse(time)
}
