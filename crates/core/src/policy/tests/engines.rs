//! Answers of Vault engines: what lasts is polled, what was issued is kept.

use std::time::Duration;

use super::{sources::*, *};
use crate::store::Answer;

fn engine() -> World {
    world(&json!({"vaultEngine": {"storeRef": {"name": "vault"}, "path": "pki/issue/web", "method": "Post"}}))
}

fn answer(data: &Value, version: &str, lifetime: Option<u64>, is_stable: bool) -> Fetched {
    let value = RemoteValue { bytes: SecretBytes::from(data.to_string()), version: version.to_owned(), created: None };
    let answer = Answer { value, lifetime: lifetime.map(Duration::from_secs), is_stable };
    Fetched { answer: Some(answer), ..Fetched::default() }
}

#[test]
fn an_engine_writes_back_its_own_keys_only() {
    let mut world = engine();
    world.object.spec.target = serde_json::from_value(json!({"ownership": "Merge"})).unwrap();
    foreign(&mut world, "theirs", Some("db"));
    let issued = answer(&json!({"certificate": "C"}), "1", Some(1000), false);
    world.sync_with(Some(&issued)).unwrap();
    world.object.metadata.generation = Some(2);
    world.look(|_| ());
    if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
        *dressed = false;
    }
    let plan = world.sync_with(None).unwrap();
    assert_eq!(text(&desired(&plan).data), [("certificate", "C")]);
}

#[test]
fn what_asks_for_the_same_has_the_same_fingerprint_in_every_version() {
    let policy = engine().policy();
    let Source::Engine(engine) = &policy.source else { unreachable!() };
    assert_eq!(policy.fingerprint(engine), "3db0572f778625ff");
}

#[test]
fn what_was_issued_is_asked_for_again_only_when_its_time_has_come() {
    let mut world = engine();
    let start = world.now;
    let issued = answer(&json!({"certificate": "C", "private_key": "K"}), "01:02", Some(1000), false);
    world.sync_with(Some(&issued)).unwrap();
    let renew = world.now + TimeDelta::seconds(670);
    assert_eq!(world.status().source_versions[0].version, "01:02");
    assert!(world.status().expiration_time.is_some());
    // As after a restart of the operator: nothing is remembered.
    world.next = None;
    let policy = world.policy();
    let at = |world: &World, seconds| fetch(&policy, &world.seen(), start + TimeDelta::seconds(seconds));
    assert_eq!(at(&world, 2), Fetch::NotBefore(renew));
    assert!(matches!(at(&world, 672), Fetch::Due(_)));
    // An edit of the policy that asks for the same.
    world.object.metadata.generation = Some(2);
    world.look(|_| ());
    if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
        *dressed = false;
    }
    assert_eq!(at(&world, 3), Fetch::NotBefore(renew));
    let revision = world.published().revision.clone();
    let plan = world.sync_with(None).unwrap();
    assert_eq!(text(&desired(&plan).data), [("certificate", "C"), ("private_key", "K")]);
    assert_eq!(world.published().revision, revision);
    assert!(world.published().changes.issue.is_some(), "what it was issued for is still known");
    // An edit by another tool, or another request.
    world.look(|content| content.data.clear());
    assert!(matches!(at(&world, 4), Fetch::Due(_)));
    let source = json!({"vaultEngine": {"storeRef": {"name": "vault"}, "path": "pki/issue/other", "method": "Post"}});
    let mut other = engine();
    other.sync_with(Some(&issued)).unwrap();
    other.object.spec.source = serde_json::from_value(source).unwrap();
    assert!(matches!(fetch(&other.policy(), &other.seen(), other.now), Fetch::Due(_)));
    let again = answer(&json!({"certificate": "D", "private_key": "L"}), "01:03", Some(1000), false);
    world.sync_with(Some(&again)).unwrap();
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::Renewed]);
}

#[test]
fn an_answer_that_lasts_is_polled_and_its_countdown_is_no_change() {
    let mut world =
        world(&json!({"vaultEngine": {"storeRef": {"name": "vault"}, "path": "database/static-creds/app"}}));
    let counted = |ttl: u64| {
        let data = json!({"username": "app", PASSWORD: "one", "ttl": ttl});
        answer(&data, "2026-01-01T00:00:00Z", Some(ttl), true)
    };
    let plan = world.sync_with(Some(&counted(86_400))).unwrap();
    assert_eq!(text(&world.data), [(PASSWORD, "one"), ("username", "app")]);
    assert_eq!(plan.again, Some(world.now + TimeDelta::minutes(5)));
    let status = world.status();
    let plan = world.sync_with(Some(&counted(86_399))).unwrap();
    assert_eq!((plan.steps.len(), &plan.status), (0, &status), "an idle round writes nothing");
    let plan = world.sync_with(Some(&counted(5))).unwrap();
    assert_eq!(plan.again, Some(world.now + TimeDelta::seconds(10)), "and does not hammer the server");
}

#[test]
fn a_life_of_any_length_is_published_and_none_longer_than_allowed_is_told() {
    let year = 365 * 24 * 3600;
    for (lifetime, is_told) in
        [(99 * year, true), (100 * year, false), (9_000_000_000_000_000, false), (u64::MAX, false)]
    {
        let mut issued = engine();
        let plan = issued.sync_with(Some(&answer(&json!({"certificate": "C"}), "1", Some(lifetime), false))).unwrap();
        assert_eq!(plan.status.expiration_time.is_some(), is_told, "{lifetime}");
        let renew = issued.published().changes.issue.as_ref().and_then(|issue| issue.renew.clone()).unwrap();
        assert!(is_told || renew.starts_with("2093-12"), "two thirds of a hundred years: {renew}");
        let policy = issued.policy();
        issued.next = None;
        assert!(matches!(fetch(&policy, &issued.seen(), issued.now), Fetch::NotBefore(_)), "{lifetime}");

        let mut lasting = world(&json!({"vaultEngine": {"storeRef": {"name": "vault"}, "path": "a/static-creds/app"}}));
        let read = answer(&json!({"password": "one"}), "1", Some(lifetime), true);
        lasting.sync_with(Some(&read)).unwrap();
        let status = lasting.status();
        assert_eq!(status.expiration_time.is_some(), is_told, "{lifetime}");
        lasting.now += TimeDelta::minutes(5);
        let plan = lasting.sync_with(Some(&read)).unwrap();
        assert!(is_told || plan.status == status, "{lifetime}: an idle round writes nothing");
    }
}
