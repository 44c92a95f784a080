//! Many keys at once: which store, which part, how decoded, under which names.

use super::*;
use crate::store::Locator;

fn request(store: &str, key: &str) -> Request {
    let store = rekey_api::reference::StoreRef { name: store.to_owned(), ..rekey_api::reference::StoreRef::default() };
    Request { store, locator: Locator { key: key.to_owned(), ..Locator::default() } }
}

fn read(store: &str, key: &str, value: &str) -> (Request, RemoteValue) {
    let value = RemoteValue { bytes: SecretBytes::from(value), version: "1".to_owned(), created: None };
    (request(store, key), value)
}

/// What the Secret of a policy with these entries has, or why it has nothing.
fn published(entries: &Value, values: &[(Request, RemoteValue)], found: &[&str]) -> Result<String, String> {
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": entries}});
    let mut world = World::with(&json!({ "source": source }));
    let policy = PolicySpec::try_from(&world.object).map_err(|error| error.to_string())?;
    let Fetch::Due(wanted) = fetch(&policy, &world.seen(), world.now) else { panic!("nothing is due") };
    let keys = |lookup: Lookup| (lookup, found.iter().map(|key| (*key).to_owned()).collect());
    let fetched = Fetched {
        values: values.iter().cloned().collect(),
        found: wanted.searches.into_iter().map(keys).collect(),
        ..Fetched::default()
    };
    world.sync_with(Some(&fetched)).map_err(|error| error.to_string())?;
    let line = |(key, value): (&str, &str)| format!("{key}={value}");
    Ok(super::text(&world.data).into_iter().map(line).collect::<Vec<_>>().join(" "))
}

#[test]
fn an_entry_takes_the_members_of_a_part_from_its_own_store() {
    let object =
        r#"{"a": {"b": {"user": "one", "port": 1}}, "a.b": {"user": "literal"}, "text": "{\"x\": \"y\"}", "s": "x"}"#;
    let values = [read("vault", "k", object), read("other", "k", r#"{"user": "other"}"#)];
    let extract = |property: &str| json!([{"extract": {"key": "k", "property": property}}]);
    for (entries, expected) in [
        (extract("a"), Ok(r#"b={"user": "one","port": 1}"#)),
        (extract("a.b"), Ok("user=literal")),
        (extract("text"), Ok("x=y")),
        (json!([{"extract": {"key": "k"}, "storeRef": {"name": "other"}}]), Ok("user=other")),
        (extract("s"), Err("\"k, property s\" is not a JSON object")),
        (extract("nope"), Err("nope")),
    ] {
        match (published(&entries, &values, &[]), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.replace(", ", ","), expected, "{entries}"),
            (Err(said), Err(part)) => assert!(said.contains(part), "{entries}: {said}"),
            (found, _) => panic!("{entries}: {found:?}"),
        }
    }
}

#[test]
fn an_entry_decodes_and_names_as_it_says() {
    let values = [
        read("vault", "k", r#"{"a/b": "aGk=", "c": "plain text"}"#),
        read("vault", "shop/api", "aGk="),
        read("other", "shop/api", "other"),
    ];
    let extract = |more: Value| {
        let mut entry = json!({"extract": {"key": "k"}});
        entry["extract"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([entry])
    };
    let find = |more: Value| {
        let mut entry = json!({"find": {"path": "shop"}});
        entry["find"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([entry])
    };
    for (entries, expected) in [
        (extract(json!({})), Err("\"a/b\" cannot be a key")),
        (extract(json!({"keyConversion": "Underscore"})), Ok("a_b=aGk= c=plain text")),
        (extract(json!({"keyConversion": "Unicode", "decoding": "Auto"})), Ok("a_U002f_b=hi c=plain text")),
        (extract(json!({"keyConversion": "Underscore", "decoding": "Base64"})), Err("not base64")),
        (find(json!({})), Ok("shop_api=aGk=")),
        (find(json!({"keyConversion": "Unicode"})), Ok("shop_U002f_api=aGk=")),
        (find(json!({"keyConversion": "None"})), Err("\"shop/api\" cannot be a key")),
        (find(json!({"decoding": "Base64URL"})), Ok("shop_api=hi")),
        (json!([{"find": {"path": "shop"}, "storeRef": {"name": "other"}}]), Ok("shop_api=other")),
    ] {
        match (published(&entries, &values, &["shop/api"]), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{entries}"),
            (Err(said), Err(part)) => assert!(said.contains(part), "{entries}: {said}"),
            (found, _) => panic!("{entries}: {found:?}"),
        }
    }
}

#[test]
fn a_token_that_an_earlier_version_has_handled_is_not_handled_again() {
    let mut world = World::new();
    world.object.metadata.annotations = Some([(names::SYNC_REQUESTED.to_owned(), "old".to_owned())].into());
    world.sync();
    let mut status = serde_json::to_value(world.status()).unwrap();
    assert_eq!(status["lastHandled"], json!({"sync": "old"}));
    status["lastHandled"].take();
    status.as_object_mut().unwrap().remove("lastHandled");
    status["lastHandledSync"] = json!("old");
    world.object.status = serde_json::from_value(status).unwrap();
    let next = fetch(&world.policy(), &world.seen(), world.now);
    assert!(matches!(next, Fetch::NotBefore(_)), "{next:?}");
    let plan = world.sync();
    assert_eq!(plan.status.handled_sync(), Some("old"));
    world.object.metadata.annotations = Some([(names::SYNC_REQUESTED.to_owned(), "new".to_owned())].into());
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::Due(wanted) if wanted.anew));
    let status = serde_json::to_value(world.sync().status).unwrap();
    assert_eq!((&status["lastHandled"], &status["lastHandledSync"]), (&json!({"sync": "new"}), &Value::Null));
}

#[test]
fn a_request_at_first_sight_asks_for_nothing_that_is_not_due_anyway() {
    let mut world = World::new();
    world.object.metadata.annotations = Some([(names::SYNC_REQUESTED.to_owned(), "old".to_owned())].into());
    for generation in [None, Some(-1)] {
        world.object.status =
            Some(SecretPolicyStatus { observed_generation: generation, ..SecretPolicyStatus::default() });
        let next = fetch(&world.policy(), &world.seen(), world.now);
        assert!(matches!(next, Fetch::Due(ref wanted) if !wanted.anew), "{next:?}");
    }
    world.sync();
    assert_eq!(world.status().handled_sync(), Some("old"), "it is recorded");
}

#[test]
fn what_a_search_finds_is_merged_and_then_decoded() {
    let values = [read("vault", "shop/a", r#"{"user": "aGk="}"#), read("vault", "shop/b", r#"{"pass": "eW8="}"#)];
    let entries = json!([{
        "find": {"path": "shop", "decoding": "Base64"},
        "rewrite": [{"merge": {}}, {"transform": {"template": "U_{{ .value }}"}}],
    }]);
    assert_eq!(published(&entries, &values, &["shop/a", "shop/b"]), Ok("U_pass=yo U_user=hi".to_owned()));
}
