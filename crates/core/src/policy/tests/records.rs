//! The record on the Secret: that it fits, and that a store which went back is held against it.

use super::*;
use crate::render::RenderError;

fn at(second: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(1_700_000_000 + second, 0)
}

/// A world in which version 7, created at second 70, is published.
fn published() -> World {
    let mut world = World::new();
    (world.version, world.created) = ("7".to_owned(), at(70));
    world.sync();
    world
}

#[test]
fn a_store_that_went_back_is_not_followed() {
    for (version, second, value, is_held) in [
        ("3", 30, "old", true),
        ("3", 70, "old", true),
        ("3", 30, "one", false), // equal bytes never matter
        ("3", 80, "old", false), // made again, or counted again
        ("8", 80, "new", false),
        ("7", 60, "old", true),
    ] {
        let mut world = published();
        (world.version, world.created) = (version.to_owned(), at(second));
        world.value["password"] = json!(value);
        let plan = world.sync();
        let text = format!("{version} {second} {value}");
        let shown: &[&str] = if is_held {
            &["Ready=True/ServingLastKnown", "Fresh=False/StoreWentBack"]
        } else {
            &["Ready=True/Synced"]
        };
        assert_eq!(world.shown(), shown, "{text}");
        let expected = if is_held { "one" } else { value };
        assert_eq!(super::text(&world.data)[0], ("password", expected), "{text}");
        if is_held {
            let [notice] = plan.events.as_slice() else { panic!("{text}: {:?}", plan.events) };
            assert_eq!(notice.reason, Reason::StoreWentBack);
            assert_eq!(plan.status.source_versions[0].version, "7", "{text}: what is published came from that");
            assert!(world.sync().events.is_empty(), "{text}: told once");
        }
    }
}

#[test]
fn the_message_says_what_went_back_and_how_to_accept_it() {
    let mut world = published();
    (world.version, world.created) = ("3".to_owned(), at(30));
    world.value["password"] = json!("old");
    world.sync();
    let conditions = world.status().conditions;
    assert_eq!(
        conditions[1].message,
        "key \"shop/db\" of RemoteStore/vault went back from version 7 of 2023-11-14T22:14:30Z to version 3 of \
         2023-11-14T22:13:50Z; a store that was restored or lags behind gives old values, so Secret db keeps the newer ones. \
         To publish what the store holds now: kubectl annotate secretpolicy db -n shop --overwrite \
         rekey.dev/sync-requested=\"$(date +%s)\""
    );
}

#[test]
fn an_old_version_is_published_when_somebody_asks_and_is_what_counts_from_then_on() {
    let mut world = published();
    (world.version, world.created) = ("3".to_owned(), at(30));
    world.value["password"] = json!("old");
    world.sync();
    world.object.metadata.annotations = Some([(names::SYNC_REQUESTED.to_owned(), "now".to_owned())].into());
    world.sync();
    assert_eq!(super::text(&world.data)[0], ("password", "old"));
    assert_eq!((world.shown(), world.status().handled_sync()), (vec!["Ready=True/Synced".to_owned()], Some("now")));
    (world.version, world.created) = ("4".to_owned(), at(40));
    world.value["password"] = json!("next");
    world.sync();
    assert_eq!(super::text(&world.data)[0], ("password", "next"), "one request for good");
}

#[test]
fn a_request_that_was_restored_with_its_object_asks_for_nothing() {
    let mut world = published();
    world.object.status = None;
    world.object.metadata.annotations = Some([(names::SYNC_REQUESTED.to_owned(), "old".to_owned())].into());
    (world.version, world.created) = ("3".to_owned(), at(30));
    world.value["password"] = json!("old");
    world.sync();
    assert_eq!(world.shown(), ["Ready=True/ServingLastKnown", "Fresh=False/StoreWentBack"]);
    world.sync();
    assert_eq!(super::text(&world.data)[0], ("password", "one"), "and later neither");
}

#[test]
fn a_pinned_version_is_what_its_user_wants() {
    let pinned = |version: &str| {
        json!({"remote": {"storeRef": {"name": "vault"}, "data": [{
            "secretKey": "password", "remoteRef": {"key": "shop/db", "property": "password", "version": version}}]}})
    };
    let mut world = published();
    let mut object = serde_json::to_value(&world.object).unwrap();
    object["spec"]["source"] = pinned("3");
    object["metadata"]["generation"] = json!(2);
    world.object = serde_json::from_value(object).unwrap();
    (world.version, world.created) = ("3".to_owned(), at(30));
    world.value["password"] = json!("old");
    world.sync();
    assert_eq!(super::text(&world.data)[0], ("password", "old"));
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
}

#[test]
fn a_store_that_went_back_for_too_long_is_too_stale() {
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "maxStaleness": "1h", "data": [{
        "secretKey": "password", "remoteRef": {"key": "shop/db", "property": "password"}}]}});
    let mut world = World::with(&json!({ "source": source }));
    (world.version, world.created) = ("7".to_owned(), at(70));
    world.sync();
    (world.version, world.created) = ("3".to_owned(), at(30));
    world.value["password"] = json!("old");
    world.sync();
    world.now += TimeDelta::hours(1);
    world.sync();
    assert_eq!(world.shown()[0], "Ready=False/TooStale");
}

/// A world whose Secret is one object of the store, with so many keys.
fn extracted(keys: usize, length: usize) -> World {
    let source =
        json!({"remote": {"storeRef": {"name": "vault"}, "data": [], "dataFrom": [{"extract": {"key": "shop/db"}}]}});
    let mut world = World::with(&json!({ "source": source }));
    world.value = members(keys, length, "one");
    world
}

fn members(keys: usize, length: usize, value: &str) -> Value {
    (0..keys).map(|number| (format!("{number:0length$}"), json!(value))).collect::<serde_json::Map<_, _>>().into()
}

fn annotations(plan: &Plan) -> usize {
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    desired.annotations.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[test]
fn as_many_keys_as_fit_are_published_and_change_and_more_are_refused() {
    for (keys, length) in [(1_000, 100), (5_000, 10), (5_000, 100)] {
        let mut world = extracted(keys, length);
        world.sync();
        world.value = members(keys, length, "two");
        let plan = world.sync();
        assert!(annotations(&plan) <= 256 * 1024, "{keys} keys of {length}: {}", annotations(&plan));
        assert_eq!(world.shown(), ["Ready=True/Synced"]);
        let before = world.published().clone();
        for keys in [5_200, 5_300] {
            world.value = members(keys, length, "three");
            let error = world.sync_with(Some(&world.fetched())).map(|_| ()).unwrap_err();
            assert_eq!((error.reason(), error.class()), (Reason::SecretTooLarge, Class::Data));
            let text = error.to_string();
            let count = format!("would have {keys} keys");
            assert!(text.contains(&count) && text.contains("several policies"), "{text}");
            assert_eq!(world.published(), &before, "the last good one stays");
        }
    }
}

#[test]
fn keys_without_values_are_not_gathered_without_end() {
    let extract = |key: &str| json!({"extract": {"key": key}});
    let sets: Vec<Value> = ["a", "b", "c"].into_iter().map(extract).collect();
    let world = World::with(&json!({"source": {"remote": {"storeRef": {"name": "vault"}, "dataFrom": sets}}}));
    let mut fetched = world.fetched();
    for (request, value) in &mut fetched.values {
        let name = |number: usize| (format!("{}{number}", request.locator.key), json!(""));
        let object: serde_json::Map<_, _> = (0..3_000).map(name).collect();
        value.bytes = SecretBytes::from(Value::from(object).to_string());
    }
    let error = world.plan_with(Some(&fetched)).map(|_| ()).unwrap_err();
    let SpecError::Render(RenderError::TooManyKeys { keys }) = &error else { panic!("{error}") };
    assert!(*keys < 5_300, "the third is not gathered: {keys}");
}

#[test]
fn a_secret_that_only_gets_a_record_has_no_more_keys_than_that_has_room_for() {
    let mut world = World::with(&json!({"source": {"existing": {}}}));
    sources::foreign(&mut world, "x", None);
    let names = (0..6_000).map(|number| (format!("k{number}"), SecretBytes::default()));
    if let SeenSecret::Foreign { content: Some(content), .. } = &mut world.secret {
        content.data = names.collect();
    }
    let error = world.plan_with(None).map(|_| ()).unwrap_err();
    assert_eq!(error, RenderError::TooManyKeys { keys: 6_000 }.into());
    assert_eq!(error.reason(), Reason::SecretTooLarge);
}

#[test]
fn annotations_of_others_count_too() {
    let mut world = extracted(10, 10);
    world.other_annotations = 256 * 1024 - 500;
    assert!(matches!(world.plan().map(|_| ()), Err(SpecError::TooManyKeys { keys: 10, .. })));
    world.other_annotations = 256 * 1024 - 2_000;
    assert!(world.plan().is_ok());
    let note = json!({"template": {"metadata": {"annotations": {"example.com/note": "x".repeat(2_000)}}}});
    let mut object = serde_json::to_value(&world.object).unwrap();
    object["spec"]["target"] = note;
    world.object = serde_json::from_value(object).unwrap();
    assert!(matches!(world.plan().map(|_| ()), Err(SpecError::TooManyKeys { .. })));
}

#[test]
fn what_kubernetes_keeps_beside_the_values_counts_too() {
    let mut world = extracted(1_000, 250);
    world.value = members(1_000, 250, &"x".repeat(900));
    world.sync();
    assert_eq!(world.shown(), ["Ready=True/Synced"], "900,000 bytes of values, 250,000 of names");
    world.value = members(1_000, 250, &"x".repeat(1_000));
    let error = world.plan().map(|_| ()).unwrap_err();
    assert!(matches!(error, SpecError::ObjectTooLarge { keys: 1_000, .. }), "{error}");
    assert_eq!(error.reason(), Reason::SecretTooLarge);
}

/// What the schema or etcd refuses once is refused for as long as it is that long.
#[test]
fn no_status_outgrows_its_schema_or_etcd() {
    let mut world = World::new();
    let mut fetched = world.fetched();
    let (request, value) =
        fetched.values.iter().next().map(|(request, value)| (request.clone(), value.clone())).unwrap();
    for number in 0..300 {
        let mut request = request.clone();
        request.locator.key = format!("{number:03}{}", "ü".repeat(3_000));
        fetched.values.insert(request, RemoteValue { version: "v".repeat(1_000), ..value.clone() });
    }
    world.sync_with(Some(&fetched)).unwrap();
    let versions = world.status().source_versions;
    let size: usize = versions.iter().map(|at| at.key.len() + at.version.len()).sum();
    assert!(!versions.is_empty() && size <= 64 * 1024, "{size}");
    assert!(versions.iter().all(|at| at.key.chars().count() <= 2_048 && at.version.chars().count() <= 256));
    world.object.metadata.annotations = Some([(names::SYNC_REQUESTED.to_owned(), "x".repeat(257))].into());
    let error = PolicySpec::try_from(&world.object).map(|_| ()).unwrap_err();
    assert!(
        error.to_string().starts_with("metadata.annotations[rekey.dev/sync-requested]: the token is longer"),
        "{error}"
    );
}

#[test]
fn a_changed_set_of_keys_is_told() {
    let mut world = extracted(3, 1);
    world.sync();
    world.value = json!({"1": "one", "2": "one", "new": "x"});
    let told = |plan: &Plan| plan.events.iter().map(|event| event.text.clone()).collect::<Vec<_>>();
    assert_eq!(told(&world.sync()), ["updated Secret db from RemoteStore/vault; new keys: new; removed keys: 0"]);
    world.value = members(1_000, 100, "one");
    world.sync();
    world.value = members(990, 100, "one");
    assert_eq!(told(&world.sync()), ["updated Secret db from RemoteStore/vault; 10 keys removed"]);
}

/// What is on Secrets since before records could be packed stays as it is while the bytes do.
#[test]
fn a_large_record_of_an_earlier_version_is_not_written_anew() {
    let mut world = extracted(400, 60);
    world.sync();
    let (revision, by) = (world.published().revision.clone(), world.key.id().to_owned());
    let of = |key: &String| world.key.of(&["shop", "db", key], &world.data[key]);
    let named: serde_json::Map<_, _> = world.data.keys().map(|key| (key.clone(), json!(of(key)))).collect();
    let earlier = json!({"by": by, "of": named}).to_string();
    let SeenSecret::Ours { published, .. } = &mut world.secret else { panic!() };
    let digests = crate::digest::Digests::parse(Some(&earlier)).unwrap();
    *published = Arc::new(Published { digests, ..Published::clone(published) });
    assert!(world.sync().steps.is_empty());
    let SeenSecret::Ours { dressed, .. } = &mut world.secret else { panic!() };
    *dressed = false;
    let plan = world.sync();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!((&desired.annotations[names::DIGESTS], &desired.annotations[names::REVISION]), (&earlier, &revision));
    world.value[format!("{:060}", 0)] = json!("two");
    world.sync();
    assert_ne!(world.published().revision, revision);
    assert!(world.published().digests.named().is_none());
    let first = world.published().changed(&Keys::Some([format!("{:060}", 0)].into()));
    let second = world.published().changed(&Keys::Some([format!("{:060}", 1)].into()));
    assert_eq!((first, second), (Some(world.now), None));
}
