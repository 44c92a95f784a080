//! A Secret that is gone and comes back, by what the status says of its sources: the operator has restarted meanwhile.

use super::*;
use crate::store::{Locator, Pin};

/// A locked Secret of a search over so many keys.
fn searched(keys: usize) -> (World, Fetched) {
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"find": {"path": "api"}}]}});
    let world = World::with(&json!({"source": source, "immutability": "Locked"}));
    let Fetch::Due(wanted) = fetch(&world.policy(), &world.seen(), world.now) else { panic!("nothing is due") };
    let lookup = wanted.searches.into_iter().next().unwrap();
    let names: Vec<String> = (0..keys).map(|number| format!("api/{number:03}")).collect();
    let value = |name: &String| {
        let locator = Locator { key: name.clone(), ..Locator::default() };
        (Request { store: lookup.store.clone(), locator }, value("one", "1"))
    };
    let values = names.iter().map(value).collect();
    (world, Fetched { values, found: [(lookup, names)].into(), ..Fetched::default() })
}

fn value(text: &str, version: &str) -> RemoteValue {
    RemoteValue { bytes: SecretBytes::from(text), version: version.to_owned(), created: None }
}

/// The Secret is deleted, and the store holds other values by then.
fn after(world: &mut World, fetched: &Fetched) -> Result<Plan, SpecError> {
    (world.secret, world.last, world.data) = (SeenSecret::Absent, None, BTreeMap::new());
    world.sync_with(Some(fetched))
}

#[test]
fn a_locked_secret_of_many_keys_comes_back_with_its_value_only() {
    for keys in [3, 256, 257, 300] {
        for changed in [0, keys / 2, keys - 1] {
            let (mut world, mut fetched) = searched(keys);
            world.sync_with(Some(&fetched)).unwrap();
            assert!(world.status().source_versions.len() <= 256);
            assert_eq!(
                after(&mut world, &fetched).map(|plan| writes(&plan)),
                Ok(1),
                "{keys} keys: nothing has changed"
            );
            *fetched.values.values_mut().nth(changed).unwrap() = value("two", "2");
            let error = after(&mut world, &fetched).map(|_| ()).unwrap_err();
            assert_eq!(error.reason(), Reason::LockedAndChanged, "key {changed} of {keys}: {error}");
        }
    }
}

#[test]
fn a_version_that_nobody_knows_proves_nothing_wherever_it_stands() {
    for keys in [3, 300] {
        let (mut world, mut fetched) = searched(keys);
        *fetched.values.values_mut().last().unwrap() = value("one", "");
        world.sync_with(Some(&fetched)).unwrap();
        let error = after(&mut world, &fetched).map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), Reason::LockedAndChanged, "{keys}");
    }
}

#[test]
fn long_versions_and_equal_keys_of_two_places_are_told_apart() {
    let long = |end: &str| format!("{}{end}", "v".repeat(300));
    let (mut world, mut fetched) = searched(3);
    *fetched.values.values_mut().next().unwrap() = value("one", &long("1"));
    world.sync_with(Some(&fetched)).unwrap();
    *fetched.values.values_mut().next().unwrap() = value("two", &long("2"));
    assert!(after(&mut world, &fetched).is_err());

    let read =
        |key: &str, version: &str| json!({"secretKey": key, "remoteRef": {"key": "a"}, "storeRef": {"name": version}});
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "data": [read("x", "one"), read("y", "two")]}});
    let mut world = World::with(&json!({"source": source, "immutability": "Locked"}));
    let mut fetched = world.fetched();
    let versions = |fetched: &mut Fetched, versions: [&str; 2]| {
        for (at, version) in fetched.values.values_mut().zip(versions) {
            *at = value(version, version);
        }
    };
    versions(&mut fetched, ["1", "2"]);
    world.sync_with(Some(&fetched)).unwrap();
    versions(&mut fetched, ["2", "1"]);
    assert!(after(&mut world, &fetched).is_err(), "the two have changed places");
    assert!(fetched.values.keys().all(|request| request.locator.pin == Pin::Current));
}
