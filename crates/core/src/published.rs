//! What a managed Secret's own metadata says about its content. Decisions about consumers read this and nothing else:
//! it is written together with the data, so it cannot disagree with it.

mod times;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use rekey_api::names;
use serde::{Deserialize, Serialize};

use self::times::Times;
use crate::{
    Seed,
    digest::{DigestKey, Digests},
    origin::Origins,
    workload::Keys,
};

/// What all annotations of an object may take, names and values together
/// (<https://pkg.go.dev/k8s.io/apimachinery/pkg/api/validation#pkg-constants>, `TotalAnnotationSizeLimitB`).
pub const ANNOTATIONS: usize = 256 * 1024;
/// The record of more keys fits into no annotations, even if there are no others: each takes 32 bytes for its digest and 18
/// for the time of its change.
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
    /// Time of the last change by key, also of keys that are gone.
    #[serde(default, skip_serializing_if = "Times::is_empty")]
    keys: Times,
    /// When a key was last added or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<String>,
    /// What the content was made by, where asking again would make something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Issue>,
    /// The rotation whose values the content was made from. It stays until other content is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotated>,
    /// Which versions of its sources the content was made from, as far as the store tells when they were created.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
    /// Stands for the templates and values that the content was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<String>,
    /// Stands for the labels and annotations that templates have made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
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
    /// Whether the digests may be ours. Those of another digest key are so after the loss of ours; not if this process has seen
    /// a record by its own key there before, since the key stays the same while it runs: then somebody else wrote it.
    #[must_use]
    pub fn may_be_ours(&self, last: Option<&Self>, key: &DigestKey) -> bool {
        let is_by_key = |published: &Self| published.digests.key_id == key.id();
        is_by_key(self) || !last.is_some_and(is_by_key)
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

    /// The marker of what a workload consumes: the digests of the keys, and when they last changed, so that a value that
    /// comes back after another one is not taken for never having changed. Nothing of the time can be read from it.
    #[must_use]
    pub fn consumed(&self, keys: &Keys) -> String {
        self.digests.consumed(keys, self.recorded(keys).map_or(0, |time| time.timestamp_millis()))
    }

    /// When the consumed keys last changed; `None` when they are as first published. A change that the API server took
    /// later than its record says counts from then.
    #[must_use]
    pub fn changed(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        let recorded = self.recorded(consumed)?;
        let is_last = parse(&self.changes.time) == Some(recorded);
        let taken = self.taken.map(|second| second + TimeDelta::seconds(1)).filter(|_| is_last);
        let late = taken.filter(|taken| (TimeDelta::seconds(2)..SLOWEST).contains(&(*taken - recorded)));
        Some(late.unwrap_or(recorded))
    }

    /// The same, as it stands in the record.
    fn recorded(&self, consumed: &Keys) -> Option<DateTime<Utc>> {
        let shape = self.changes.shape.as_deref().filter(|_| *consumed == Keys::All).and_then(parse);
        self.changes.keys.last(consumed).into_iter().chain(shape).max()
    }

    /// Characters of the two annotations that hold the record, once every key that is there has changed: they do not outgrow
    /// later what they fit into now.
    #[must_use]
    pub fn room(&self) -> usize {
        let (digests, changes) = (self.digests.to_string().len(), self.changes.to_string().len());
        digests + changes + self.changes.keys.growth(&self.digests)
    }
}

impl Changes {
    fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok().filter(|read: &Self| read.keys.are_ours())
    }

    /// The record of a first publication.
    #[must_use]
    pub fn first(now: DateTime<Utc>) -> Self {
        Self { publication: 1, time: format(now), ..Self::default() }
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
            time,
            issue: None,
            rotation: None,
            origins: Origins::default(),
            inputs: None,
            tags: None,
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
        Published { policy: "db".to_owned(), revision: "r".to_owned(), digests, changes, seed: None, taken: None }
    }

    #[test]
    fn a_change_that_was_taken_late_counts_from_then() {
        let (one, two) = (digests(&[("a", "1"), ("b", "1")]), digests(&[("a", "2"), ("b", "1")]));
        let first = published(one.clone(), Changes::first(at(0)).next("r0", &digests(&[]), &one, at(1)));
        let second = published(two.clone(), first.changes.next("r1", &one, &two, at(2)));
        let taken = |seconds: i64| Published { taken: Some(at(2) + TimeDelta::seconds(seconds)), ..second.clone() };
        for (seconds, late) in [(-1, 0), (0, 0), (1, 2), (8, 9), (30, 0)] {
            let expected = at(2) + TimeDelta::seconds(late);
            assert_eq!(taken(seconds).changed(&only("a")), Some(expected), "{seconds}");
            assert_eq!(taken(seconds).changed(&only("b")), Some(at(1)), "an earlier change is as it was");
            assert_eq!(taken(seconds).consumed(&only("a")), second.consumed(&only("a")), "the marker stays");
        }
    }

    fn metadata(digests: &str, changes: &str) -> ObjectMeta {
        let annotations =
            [(names::POLICY, "db"), (names::REVISION, "r"), (names::DIGESTS, digests), (names::CHANGES, changes)];
        let annotations = annotations.map(|(name, value)| (name.to_owned(), value.to_owned()));
        ObjectMeta { annotations: Some(annotations.into()), ..ObjectMeta::default() }
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
        let count = |changes: &Changes| changes.keys.packed().len();
        assert_eq!(count(&changes), 65, "the one that is there and the last 64 that were");
        let last = |changes: &Changes, key: &str| changes.keys.last(&only(key));
        assert!(last(&changes, "key-199").is_some() && last(&changes, "key-1").is_none());
        for minute in 200..300 {
            changes = changes.next("r", &digests(&[]), &many(&minute.to_string()), at(minute));
            changes = changes.next("r", &many(&minute.to_string()), &digests(&[]), at(minute));
        }
        assert_eq!(count(&changes), 64, "packed by now");
        assert!(last(&changes, "key-199").is_none(), "later ones have gone since");
    }

    #[test]
    fn a_number_that_somebody_else_has_written_does_not_overflow() {
        let changes = format!(r#"{{"publication":{},"time":"2027-01-15T08:01:00.123Z"}}"#, u64::MAX);
        let read = Published::read(&metadata(&digests(&[("a", "1")]).to_string(), &changes)).unwrap();
        let next = read.changes.next("r1", &read.digests, &digests(&[("a", "2")]), at(1));
        assert_eq!(next.publication, u64::MAX);
    }

    #[test]
    fn more_than_the_most_keys_have_no_room_and_nearly_as_many_have() {
        let room = |keys: usize| published(numbered(keys, "1"), Changes::first(at(0))).room();
        assert!(room(MOST_KEYS + 1) > ANNOTATIONS && room(MOST_KEYS - 150) < ANNOTATIONS, "{}", room(MOST_KEYS));
    }

    /// Many and long keys, with this value each.
    fn many(value: &str) -> Digests {
        numbered(1_000, value)
    }

    fn numbered(keys: usize, value: &str) -> Digests {
        let data = (0..keys).map(|number| (format!("{number:0100}"), SecretBytes::from(value))).collect();
        DigestKey::new(SecretBytes::from("k")).of_secret("shop", "db", &data)
    }

    #[test]
    fn a_thousand_long_keys_that_change_at_once_fit_into_annotations() {
        let first = Changes::first(at(0));
        let changes = first.next("r1", &many("1"), &many("2"), at(1));
        let now = published(many("2"), changes);
        assert!(now.room() < 64 * 1024, "{}", now.room());
        let key = format!("{:0100}", 999);
        assert_eq!((now.changed(&only(&key)), now.changed(&only("999"))), (Some(at(1)), None));
        assert_eq!((now.changed(&Keys::All), &now.changes.shape), (Some(at(1)), &None));
        let metadata = metadata(&now.digests.to_string(), &now.changes.to_string());
        assert_eq!(Published::read(&metadata), Some(now.clone()));
        let untouched = published(many("1"), first);
        assert!(now.room() - untouched.room() < 256, "what was never changed takes the room that it will need");
    }

    #[test]
    fn times_go_on_when_a_secret_grows_out_of_names() {
        let (small, large) = (digests(&[("a", "1"), ("b", "1")]), many("1"));
        let changed = Changes::first(at(0)).next("r1", &digests(&[("a", "0"), ("b", "1")]), &small, at(1));
        let grown = changed.next("r2", &small, &large, at(2));
        let shrunk = published(small.clone(), grown.next("r3", &large, &small, at(3)));
        let grown = published(large, grown);
        assert_eq!((grown.changed(&only("a")), grown.changed(&only("b"))), (Some(at(2)), Some(at(2))), "gone");
        assert_eq!(grown.changed(&Keys::All), Some(at(2)));
        assert_eq!((shrunk.changed(&only("a")), shrunk.changed(&only("c"))), (Some(at(3)), None));
        let named = grown.changes.next("r3", &small, &digests(&[("a", "1"), ("b", "2")]), at(4));
        let named = published(digests(&[("a", "1"), ("b", "2")]), named);
        assert_eq!((named.changed(&only("a")), named.changed(&only("b"))), (Some(at(2)), Some(at(4))));
    }

    /// Written by the program before there was another form.
    #[test]
    fn earlier_annotations_say_what_they_said() {
        let digests =
            r#"{"by":"7c7d0065","of":{"a":"222d8f39610e2d861373170fa52ed271","b":"89fabae371c4bef385ccd1ca7bcc2e8d"}}"#;
        let time = "2027-01-15T08:01:00.123Z";
        let changes = format!(
            r#"{{"publication":2,"time":"{time}","previous":"r0","keys":{{"a":"{time}","old":"{time}"}},"shape":"{time}"}}"#
        );
        let read = Published::read(&metadata(digests, &changes)).unwrap();
        assert_eq!(
            (read.digests.to_string().as_str(), &read.changes.to_string()),
            (digests, &changes),
            "not written anew"
        );
        assert_eq!(read.digests, self::digests(&[("a", "2"), ("b", "1")]), "of equal bytes");
        let then = parse(time);
        for (keys, marker, since) in [
            (Keys::All, "7c7d0065.77cc82c8e1d62c50", then),
            (only("a"), "7c7d0065.b86034ccd63bd110", then),
            (only("b"), "7c7d0065.f28c5000a54724c6", None),
            (only("old"), "7c7d0065.698d09983f474358", then),
        ] {
            assert_eq!((read.consumed(&keys).as_str(), read.changed(&keys)), (marker, since), "{keys:?}");
        }
    }

    #[test]
    fn a_record_of_more_names_than_are_ever_written_is_nobodys() {
        let record = |digests: usize, times: usize| {
            let named =
                |count: usize| (0..count).map(|at| (at.to_string(), "".into())).collect::<serde_json::Map<_, _>>();
            let digests = serde_json::json!({"by": "k", "of": named(digests)}).to_string();
            let changes = serde_json::json!({"publication": 1, "time": "", "keys": named(times)}).to_string();
            let all =
                [(names::POLICY, "db"), (names::REVISION, "r"), (names::DIGESTS, &digests), (names::CHANGES, &changes)];
            let annotations = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Published::read(&ObjectMeta { annotations: Some(annotations.into()), ..ObjectMeta::default() }).is_some()
        };
        assert!(record(1_000, 1_000));
        assert!(!record(20_000, 0) && !record(0, 20_000));
    }

    #[test]
    fn annotations_read_back() {
        let of = digests(&[("a", "1")]);
        let changes = Changes::first(at(0)).next("r0", &of, &digests(&[("a", "2")]), at(1));
        let metadata = metadata(&of.to_string(), &changes.to_string());
        assert_eq!(Published::read(&metadata), Some(published(of, changes)));
        assert_eq!(Published::read(&ObjectMeta::default()), None);
    }
}
