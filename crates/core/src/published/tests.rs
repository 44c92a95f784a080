//! What a record says and how it goes on.

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
    let (one, two, three) =
        (digests(&[("a", "1"), ("b", "1")]), digests(&[("a", "2"), ("b", "1")]), digests(&[("a", "2"), ("b", "2")]));
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
    assert_eq!((read.digests.to_string().as_str(), &read.changes.to_string()), (digests, &changes), "kept as it was");
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
        let named = |count: usize| (0..count).map(|at| (at.to_string(), "".into())).collect::<serde_json::Map<_, _>>();
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

#[test]
fn a_later_write_of_other_things_does_not_make_the_change_later() {
    let second = |second: i64| at(0) + TimeDelta::seconds(second);
    let digests = |value: &str| {
        let data = [("a".to_owned(), crate::SecretBytes::from(value))].into();
        DigestKey::new(crate::SecretBytes::from("k")).of_secret("shop", "db", &data)
    };
    let (before, after) = (digests("1"), digests("2"));
    let changes = Changes::first(second(0)).next("r1", &before, &after, second(100));
    let published = |changes: Changes, taken| Published {
        policy: "db".to_owned(),
        revision: "r2".to_owned(),
        digests: after.clone(),
        changes,
        seed: None,
        taken: Some(second(taken)),
    };
    assert_eq!(published(changes.clone(), 105).changed(&Keys::All), Some(second(106)), "it was taken late");
    let labelled = changes.again(Some(second(100)));
    assert_eq!(published(labelled.clone(), 110).changed(&Keys::All), Some(second(100)));
    assert_eq!(published(labelled.again(Some(second(110))), 115).changed(&Keys::All), Some(second(100)), "and again");
    let late = changes.again(Some(second(105)));
    assert_eq!(published(late, 112).changed(&Keys::All), Some(second(106)));
}
