//! What a store keeps of a value beside it.

use super::*;
use crate::store::Pin;

const TAGS: &str = r#"{"team": "shop", "owner.name": "x"}"#;

fn world(remote: &Value) -> World {
    let mut source = json!({"remote": {"storeRef": {"name": "vault"}}});
    source["remote"].as_object_mut().unwrap().extend(remote.as_object().unwrap().clone());
    World::with(&json!({ "source": source }))
}

fn item(secret_key: &str, more: &Value) -> Value {
    let mut reference = json!({"key": "k"});
    reference.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"secretKey": secret_key, "remoteRef": reference})
}

/// What is read for the policy, with these tags wherever metadata is asked for.
fn fetched(world: &World, tags: &str, version: &str) -> Fetched {
    let Fetch::Due(wanted) = fetch(&world.policy(), &world.seen(), world.now) else { panic!("nothing is due") };
    let answer = |request: Request| {
        let (text, version) = match request.locator.pin {
            Pin::Metadata => (tags, version),
            Pin::Current | Pin::Version(_) | Pin::Stage(_) => ("value", "7"),
        };
        let value = RemoteValue { bytes: SecretBytes::from(text), version: version.to_owned(), created: None };
        (request, value)
    };
    Fetched { values: wanted.reads.into_iter().map(answer).collect(), ..Fetched::default() }
}

#[test]
fn metadata_is_one_object_that_is_read_once_beside_the_value() {
    let mut world = world(&json!({
        "data": [
            item("value", &json!({})),
            item("tags", &json!({"metadataPolicy": "Fetch"})),
            item("one", &json!({"metadataPolicy": "Fetch", "property": "owner.name"})),
            item("expression", &json!({"metadataPolicy": "Fetch", "jmesPath": "team"})),
        ],
        "dataFrom": [{"extract": {"key": "k", "metadataPolicy": "Fetch"}}],
    }));
    let fetched = fetched(&world, TAGS, "2 of today");
    assert_eq!(fetched.values.len(), 2, "the value and its metadata");
    world.sync_with(Some(&fetched)).unwrap();
    assert_eq!(
        text(&world.data),
        [
            ("expression", "shop"),
            ("one", "x"),
            ("owner.name", "x"),
            ("tags", TAGS),
            ("team", "shop"),
            ("value", "value")
        ]
    );
    let versions = world.status().source_versions;
    let lines: Vec<_> = versions.iter().map(|at| (at.key.as_str(), at.version.as_str())).collect();
    assert_eq!(lines, [("k", "7"), ("k (metadata)", "2 of today")]);
}

#[test]
fn an_entry_that_is_not_there_is_named_and_no_metadata_empties_nothing() {
    let of = |property: &str| json!({"data": [item("a", &json!({"metadataPolicy": "Fetch", "property": property}))]});
    let extract = json!({"dataFrom": [{"extract": {"key": "k", "metadataPolicy": "Fetch"}}]});
    for (remote, tags, reason) in [
        (of("none"), TAGS, Reason::PropertyNotFound),
        (of("team"), "{}", Reason::PropertyNotFound),
        (extract, "{}", Reason::EmptyAnswer),
    ] {
        let world = world(&remote);
        let error = world.plan_with(Some(&fetched(&world, tags, ""))).unwrap_err();
        assert_eq!(error.reason(), reason, "{remote}: {error}");
    }
    let mut world = world(&json!({"data": [item("a", &json!({"metadataPolicy": "Fetch"}))]}));
    let none = fetched(&world, "{}", "");
    world.sync_with(Some(&none)).unwrap();
    assert_eq!(text(&world.data), [("a", "{}")]);
}

#[test]
fn metadata_has_no_versions() {
    for pin in ["version", "stage"] {
        let pinned = json!({"metadataPolicy": "Fetch", pin: "1"});
        let mut extract = pinned.clone();
        extract["key"] = json!("k");
        for (remote, field) in [
            (json!({"data": [item("a", &pinned)]}), "spec.source.remote.data[a].remoteRef"),
            (json!({"dataFrom": [{"extract": extract}]}), "spec.source.remote.dataFrom[0].extract"),
        ] {
            let error = PolicySpec::try_from(&world(&remote).object).unwrap_err();
            assert_eq!(error.reason(), Reason::InvalidSpec, "{remote}");
            let said = error.to_string();
            assert!(said.contains(field) && said.contains("remove version and stage"), "{remote}: {said}");
        }
    }
}

#[test]
fn a_rotation_writes_values_not_what_is_known_of_them() {
    let (value, metadata) = (json!({}), json!({"metadataPolicy": "Fetch"}));
    for (entries, only, follows) in [
        (vec![&metadata], None, None),
        (vec![&value, &metadata], Some("k"), Some(true)),
        (vec![&metadata, &value], Some("k"), Some(true)),
    ] {
        let items: Vec<_> = entries.iter().enumerate().map(|(at, more)| item(&format!("a{at}"), more)).collect();
        let Source::Remote(remote) = world(&json!({ "data": items })).policy().source else { unreachable!() };
        assert_eq!(remote.only_key().map(|(_, key)| key), only, "{items:?}");
        assert_eq!(remote.follows(&remote.store, "k"), follows, "{items:?}");
    }
}

/// A count that falls, at a time that falls, is no store that went back: what is known of a value is followed wherever
/// it goes.
#[test]
fn metadata_is_followed_back() {
    let mut world = world(&json!({"data": [item("a", &json!({"metadataPolicy": "Fetch"}))]}));
    let mut read = |team: &str, version: &str, seconds: i64| {
        world.value = json!({ "team": team });
        world.version = version.to_owned();
        world.created = DateTime::from_timestamp(1_800_000_000 + seconds, 0);
        world.sync();
        text(&world.data)[0].1.to_owned()
    };
    assert_eq!(read("two", "2", 50), r#"{"team":"two"}"#);
    assert_eq!(read("one", "1", 10), r#"{"team":"one"}"#);
}
