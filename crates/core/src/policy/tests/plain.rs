//! The Secret with the plain name that stays beside versions, where it is immutable.

use super::*;
use crate::published::{Changes, Versions};

fn spec(immutability: &str) -> PolicySpec {
    World::with(&json!({"immutability": immutability, "versions": {"references": "Move"}})).policy()
}

fn published(revision: &str, publication: u64, value: &str) -> Arc<Published> {
    let key = DigestKey::new(SecretBytes::from("k"));
    let data = [("password".to_owned(), SecretBytes::from(value))].into();
    let mut changes = Changes::first(at(0));
    changes.publication = publication;
    Arc::new(Published {
        policy: "db".to_owned(),
        revision: revision.to_owned(),
        digests: key.of_secret("shop", "db", &data),
        changes,
        seed: None,
        taken: None,
    })
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn following(policy: &PolicySpec, seen: &PlainSeen) -> Option<String> {
    let (one, two) = (published("one1111111", 1, "1"), published("two2222222", 2, "2"));
    let version = |at: &Arc<Published>| (policy.names.version(&at.revision), Arc::clone(at));
    let versions = Versions { ours: [version(&one), version(&two)].into(), ..Versions::default() };
    let status = SecretPolicyStatus::default(); // nobody is behind
    let found = plain(policy, &status, &two, &versions, &History::default(), seen)?;
    Some(match found {
        Following::Write(plain) => format!("write {}", plain.copy_of.trim_start_matches("db-")),
        Following::WriteOnceForgotten(_) => "write once forgotten".to_owned(),
        Following::DeleteOnceUnused(_) => "delete once unused".to_owned(),
    })
}

#[test]
fn an_immutable_one_gets_another_value_only_when_nothing_may_read_the_old_one() {
    let ours = |published: Arc<Published>, immutable| {
        let version = ObjectVersion { uid: "u".to_owned(), resource_version: "1".to_owned() };
        let holds = published.digests.clone();
        PlainSeen::Ours { published, is_intact: true, edited_by: None, immutable, holds, version }
    };
    let (one, two) = (|| published("one1111111", 1, "1"), || published("two2222222", 2, "2"));
    let was = |published: Arc<Published>| PlainSeen::Absent(LastPlain::Was(published));
    for (mode, seen, wanted) in [
        ("Locked", ours(one(), true), Some("delete once unused")),
        ("Locked", ours(two(), true), None),
        ("Locked", ours(one(), false), Some("write two2222222")),
        ("Locked", ours(two(), false), Some("write two2222222")),
        ("Locked", was(one()), Some("write one1111111")),
        ("Locked", was(two()), Some("write two2222222")),
        ("Locked", was(published("zzz3333333", 1, "3")), Some("write once forgotten")),
        ("Locked", PlainSeen::Absent(LastPlain::Deleted), Some("write once forgotten")),
        ("Locked", PlainSeen::Absent(LastPlain::Unknown), Some("write once forgotten")),
        ("Locked", PlainSeen::Going, None),
        ("Versioned", ours(one(), false), Some("write two2222222")),
        ("Versioned", ours(two(), false), None),
        ("Versioned", was(one()), Some("write two2222222")),
        ("Versioned", PlainSeen::Absent(LastPlain::Unknown), Some("write two2222222")),
    ] {
        assert_eq!(following(&spec(mode), &seen).as_deref(), wanted, "{mode} {seen:?}");
    }
    let frozen = ours(two(), true).writable(&spec("Versioned"));
    assert_eq!(frozen.trouble(), Some(Trouble::Immutable), "it takes a user");
}

/// Bytes decide, not the key that their digests were made with.
#[test]
fn an_immutable_one_stays_when_the_digest_key_was_lost() {
    let two = published("two2222222", 2, "2");
    let lost = DigestKey::new(SecretBytes::from("lost"));
    let data = [("password".to_owned(), SecretBytes::from("2"))].into();
    let before = Published { digests: lost.of_secret("shop", "db", &data), ..Published::clone(&two) };
    let seen = PlainSeen::Ours {
        published: Arc::new(before),
        is_intact: false,
        edited_by: None,
        immutable: true,
        holds: two.digests.clone(),
        version: ObjectVersion { uid: "u".to_owned(), resource_version: "1".to_owned() },
    };
    let policy = spec("Locked");
    let versions =
        Versions { ours: [(policy.names.version("two2222222"), Arc::clone(&two))].into(), ..Versions::default() };
    let found = plain(&policy, &SecretPolicyStatus::default(), &two, &versions, &History::default(), &seen);
    let Some(Following::Write(plain)) = found else { panic!("{found:?}") };
    assert_eq!(plain.before.unwrap().digests, two.digests, "no change of the value is recorded");
}
