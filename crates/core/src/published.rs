//! What a managed Secret's own metadata says about its content. Decisions about consumers read this and nothing else:
//! it is written together with the data, so it cannot disagree with it.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use litemap::LiteMap;
use rekey_api::names;
use serde::{Deserialize, Serialize};

use crate::{digest::Digests, workload::Keys};

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
}

/// The publication record: a number that goes up with each changed content, and for each key the time of its last
/// change. Keys that have not changed since the first publication have no time: nobody can have missed anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// 1 for the first content.
    pub publication: u64,
    /// When the current content was first published.
    pub time: String,
    /// The revision before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Time of the last change by key (RFC 3339), also of keys that are gone.
    #[serde(default, skip_serializing_if = "LiteMap::is_empty")]
    pub keys: LiteMap<String, String>,
    /// When a key was last added or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// What the content was made by, where asking again would make something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Issue>,
    /// The rotation whose values the content was made from. It stays until other content is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotated>,
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
    /// Reads the annotations of a Secret; `None` when it is not managed by Rekey.
    #[must_use]
    pub fn read(metadata: &ObjectMeta) -> Option<Self> {
        let annotations = metadata.annotations.as_ref()?;
        let text = |name: &str| annotations.get(name).map(String::as_str);
        Some(Self {
            policy: text(names::POLICY)?.to_owned(),
            revision: text(names::REVISION)?.to_owned(),
            digests: Digests::parse(text(names::DIGESTS))?,
            changes: text(names::CHANGES).and_then(|json| serde_json::from_str(json).ok())?,
        })
    }

    /// The marker of what a workload consumes: the digests of the keys, and when they last changed, so that a value that
    /// comes back after another one is not taken for never having changed. Nothing of the time can be read from it.
    #[must_use]
    pub fn consumed(&self, keys: &Keys) -> String {
        self.digests.consumed(keys, self.changed(keys).map_or(0, |time| time.timestamp_millis()))
    }

    /// When the consumed keys last changed; `None` when they are as first published.
    #[must_use]
    pub fn changed(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        let keys = self.changes.keys.iter().filter(|(key, _)| consumed.contains(key)).map(|(_, time)| time);
        let shape = self.changes.shape.iter().filter(|_| *consumed == Keys::All);
        keys.chain(shape).filter_map(|time| parse(time)).max()
    }
}

impl Changes {
    /// The record of a first publication.
    #[must_use]
    pub fn first(now: DateTime<Utc>) -> Self {
        Self { publication: 1, time: format(now), ..Self::default() }
    }

    /// The record after content with `before` digests was replaced by content with `after` digests.
    #[must_use]
    pub fn next(&self, revision: &str, before: &Digests, after: &Digests, now: DateTime<Utc>) -> Self {
        let time = format(now);
        let names: BTreeSet<&String> = before.by_key.keys().chain(after.by_key.keys()).collect();
        let shape = before.by_key.keys().ne(after.by_key.keys());
        let mut keys = self.keys.clone();
        for name in names {
            if before.by_key.get(name) != after.by_key.get(name) {
                keys.insert(name.clone(), time.clone());
            }
        }
        forget(&mut keys, after);
        Self {
            publication: self.publication + 1,
            shape: if shape { Some(time.clone()) } else { self.shape.clone() },
            previous: Some(revision.to_owned()),
            keys,
            time,
            issue: None,
            rotation: None,
        }
    }
}

/// Keys that are gone are remembered for those who still ask for them, the latest ones only.
fn forget(keys: &mut LiteMap<String, String>, present: &Digests) {
    const GONE: usize = 64;
    let gone = keys.iter().filter(|(name, _)| !present.by_key.contains_key(*name));
    let mut gone: Vec<(String, String)> = gone.map(|(name, time)| (time.clone(), name.clone())).collect();
    gone.sort();
    for (_, name) in gone.iter().rev().skip(GONE) {
        keys.remove(name);
    }
}

impl std::fmt::Display for Changes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

fn format(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn parse(time: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(time).ok().map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SecretBytes, digest::DigestKey};

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    fn digests(pairs: &[(&str, &str)]) -> Digests {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect();
        DigestKey::new(SecretBytes::from("k")).of_secret("shop", "db", &data)
    }

    fn published(digests: Digests, changes: Changes) -> Published {
        Published { policy: "db".to_owned(), revision: "r".to_owned(), digests, changes }
    }

    fn only(key: &str) -> Keys {
        Keys::Some([key.to_owned()].into())
    }

    #[test]
    fn each_key_remembers_its_own_change_over_later_ones() {
        let (one, two, three) = (
            digests(&[("a", "1"), ("b", "1")]),
            digests(&[("a", "2"), ("b", "1")]),
            digests(&[("a", "2"), ("b", "2")]),
        );
        let first = Changes::first(at(0));
        assert_eq!(published(one.clone(), first.clone()).changed(&Keys::All), None);
        let second = first.next("r1", &one, &two, at(1));
        let third = second.next("r2", &two, &three, at(2));
        let now = published(three, third.clone());
        assert_eq!(now.changed(&only("a")), Some(at(1)));
        assert_eq!(now.changed(&only("b")), Some(at(2)));
        assert_eq!(now.changed(&Keys::All), Some(at(2)));
        assert_eq!((third.publication, third.previous.as_deref()), (3, Some("r2")));
    }

    #[test]
    fn a_key_that_comes_or_goes_is_a_change_for_those_who_take_all() {
        let (one, two) = (digests(&[("a", "1"), ("b", "1")]), digests(&[("a", "1")]));
        let gone = published(two.clone(), Changes::first(at(0)).next("r1", &one, &two, at(1)));
        assert_eq!(gone.changed(&Keys::All), Some(at(1)));
        assert_eq!(gone.changed(&only("a")), None);
        assert_eq!(gone.changed(&only("b")), Some(at(1)));
        assert_eq!(gone.changed(&only("never-there")), None, "what was never ours has not changed");
    }

    #[test]
    fn keys_that_come_and_go_without_end_do_not_fill_the_record() {
        let mut changes = Changes::first(at(0));
        for minute in 1..200 {
            let name = |minute: i64| format!("key-{minute}");
            let (before, after) = (digests(&[(&name(minute), "1")]), digests(&[(&name(minute + 1), "1")]));
            changes = changes.next("r", &before, &after, at(minute));
        }
        assert_eq!(changes.keys.len(), 65, "the one that is there and the last 64 that were");
        assert!(changes.keys.contains_key("key-199") && !changes.keys.contains_key("key-1"));
    }

    #[test]
    fn annotations_read_back() {
        let of = digests(&[("a", "1")]);
        let changes = Changes::first(at(0)).next("r0", &of, &digests(&[("a", "2")]), at(1));
        let metadata = ObjectMeta {
            annotations: Some(
                [
                    (names::POLICY, "db".to_owned()),
                    (names::REVISION, "r".to_owned()),
                    (names::DIGESTS, of.to_string()),
                    (names::CHANGES, changes.to_string()),
                ]
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
            ),
            ..ObjectMeta::default()
        };
        assert_eq!(Published::read(&metadata), Some(published(of, changes)));
        assert_eq!(Published::read(&ObjectMeta::default()), None);
    }
}
