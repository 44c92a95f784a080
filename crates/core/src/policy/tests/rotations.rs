//! How a policy acknowledges a rotation.

use rekey_api::reference::StoreRef;

use super::*;
use crate::rotation;

/// A rotation whose new password is this.
fn open(world: &World, password: &str) -> OpenRotation {
    let store = StoreRef { name: "vault".to_owned(), ..StoreRef::default() };
    let from = rotation::Destination { store, key: "shop/db".to_owned() };
    let values = [("password".to_owned(), SecretBytes::from(password))].into();
    let place = rotation::Publication { namespace: "shop", target: &from.to_string(), id: "r" };
    let properties = ["password".to_owned()].into();
    OpenRotation { id: "r".to_owned(), digest: place.record(&values, &world.key).digest, from, properties, since: None }
}

fn is_due(world: &World) -> bool {
    matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::Due(_))
}

#[test]
fn a_rotated_value_is_recorded_with_the_content_that_was_made_from_it() {
    let mut world = World::new();
    world.sync();
    world.rotation = Some(open(&world, "two"));
    assert!(is_due(&world), "it does not wait for its poll");
    world.sync();
    assert_eq!((world.published().changes.rotation.clone(), world.status().rotation), (None, None), "another value");
    world.change("password", "two");
    world.sync();
    let record = world.published().changes.rotation.clone().unwrap();
    assert_eq!((record.id.as_str(), &record.digest), ("r", &world.rotation.as_ref().unwrap().digest));
    let echo = world.status().rotation.unwrap();
    assert_eq!((echo.id.as_str(), echo.key.as_deref(), echo.version.as_deref()), ("r", Some("shop/db"), Some("2")));
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::Rotated]);
    assert!(!is_due(&world));
    world.rotation = None;
    assert!(world.sync().steps.is_empty() && world.status().rotation.is_some(), "it stays with the content");
    world.change("password", "three");
    world.sync();
    assert_eq!((world.published().changes.rotation.clone(), world.status().rotation), (None, None));
}

#[test]
fn equal_bytes_are_acknowledged_and_restart_nobody() {
    let mut world = World::new();
    world.change("password", "two");
    world.sync(); // by its poll, before it knew of the rotation
    let before = world.published().clone();
    world.rotation = Some(open(&world, "two"));
    let plan = world.sync();
    assert_eq!(plan.steps.len(), 1);
    let after = world.published().clone();
    assert_eq!(after.changes.rotation.as_ref().map(|record| record.id.as_str()), Some("r"));
    let mut without = Published::clone(&after);
    without.changes.rotation = None;
    assert_eq!(without, *before, "revision, digests and times are as they were");
    assert!(world.sync().steps.is_empty());
    assert_eq!(world.reasons(), [ChangeReason::Created]);
}

#[test]
fn what_the_status_of_a_schedule_claims_is_recorded_only_if_it_was_read() {
    for (what, forge) in [
        ("no properties", (|open: &mut OpenRotation| open.properties.clear()) as fn(&mut OpenRotation)),
        ("another digest", |open| open.digest = "theirs".to_owned()),
        ("another rotation", |open| open.id = "other".to_owned()),
        ("another store", |open| open.from.store.name = "other".to_owned()),
        ("another key", |open| open.from.key = "shop/other".to_owned()),
    ] {
        let mut world = World::new();
        world.change("password", "two");
        let mut forged = open(&world, "two");
        forge(&mut forged);
        world.rotation = Some(forged);
        world.sync();
        assert_eq!(world.published().changes.rotation, None, "{what}");
        assert!(is_due(&world), "{what}");
    }
}

#[test]
fn another_digest_key_records_anew() {
    let mut world = World::new();
    world.change("password", "two");
    world.rotation = Some(open(&world, "two"));
    world.sync();
    world.key = DigestKey::new(SecretBytes::from("another"));
    world.rotation = Some(open(&world, "two"));
    world.look(|_| {});
    assert!(is_due(&world));
    world.sync();
    let record = world.published().changes.rotation.clone();
    assert_eq!(record.map(|record| record.digest), world.rotation.as_ref().map(|open| open.digest.clone()));
}
