//! `rekey.dev/rollback-to`: an earlier value by request, and where there is none.

use super::{
    earlier::{ask, keeping, password},
    *,
};

#[test]
fn a_revision_is_held_for_as_long_as_it_is_asked_for_and_needs_no_store() {
    let mut world = keeping(3);
    world.sync();
    let first = world.published().revision.clone();
    world.change("password", "two");
    world.sync();
    let second = world.published().revision.clone();
    ask(&mut world, Some(&first));
    assert_eq!(fetch(&world.policy(), &world.seen(), world.now), Fetch::OnChange);
    world.now += TimeDelta::seconds(1);
    world.sync_with(None).unwrap();
    assert_eq!((password(&world), world.published().revision.as_str()), ("one", first.as_str()));
    let plan = world.sync_with(None).unwrap();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert_eq!(world.shown()[0], "Ready=True/Held");
    let status = world.status();
    assert_eq!(status.held.map(|held| held.revision), Some(first.clone()));
    assert_eq!(status.last_handled.and_then(|handled| handled.rollback_to), Some(first));
    world.change("password", "three");
    assert!(world.sync().steps.is_empty(), "whatever the source holds");

    ask(&mut world, Some(&second));
    world.sync();
    assert_eq!(password(&world), "two", "also to a later one");
    ask(&mut world, None);
    let cause = fetch(&world.policy(), &world.seen(), world.now);
    assert!(matches!(cause, Fetch::Due(_)), "the source is asked at once: {cause:?}");
    world.sync();
    world.sync();
    assert_eq!((password(&world), world.status().held), ("three", None));
    assert_eq!(world.shown()[0], "Ready=True/Synced");
}

/// What is generated is in the Secret only: the earlier value is the value from then on.
#[test]
fn a_generated_value_goes_back_and_stays_when_it_is_let_go() {
    let fields = |keys: &[&str]| {
        let fields: Vec<_> = keys.iter().map(|key| json!({"key": key, "password": {}})).collect();
        json!({"generated": {"fields": fields}})
    };
    let mut world = World::with(&json!({"source": fields(&["password"]), "versions": {"keep": 3}}));
    world.sync();
    let (first, password) = (world.published().revision.clone(), world.data["password"].clone());
    let spec = json!({"source": fields(&["password", "token"]), "versions": {"keep": 3}});
    world.object.spec = serde_json::from_value(spec).unwrap();
    world.object.metadata.generation = Some(2);
    world.look(|_| ());
    world.sync();
    let token = world.data["token"].clone();
    ask(&mut world, Some(&first));
    for _ in 0..2 {
        world.sync();
        assert_eq!((world.published().revision.as_str(), world.data.len()), (first.as_str(), 1), "without the token");
    }
    let text = format!("{:?}", world.status().conditions);
    assert!(text.contains("to let it change again"), "{text}");
    ask(&mut world, None);
    assert!(!is_settled(&world.policy(), &world.status()), "what the Secret holds is read");
    world.look(|_| ());
    world.sync();
    assert!(is_settled(&world.policy(), &world.status()));
    assert_eq!(world.data["password"], password, "nothing is made anew");
    assert_ne!(world.data["token"], token, "what is missing is");
    assert!(world.sync().steps.is_empty());
}

#[test]
fn a_revision_that_is_not_kept_or_was_rotated_since_is_refused() {
    let mut world = keeping(3);
    world.sync();
    let first = world.published().revision.clone();
    world.change("password", "two");
    world.sync();
    ask(&mut world, Some("bbbbbbbbbb"));
    let text = world.plan().unwrap_err().to_string();
    assert!(text.contains(&format!("revision bbbbbbbbbb is not kept; write one of {first}")), "{text}");
    ask(&mut world, Some(&first));
    world.history.rotated = Some(world.now);
    let text = world.plan().unwrap_err().to_string();
    assert!(text.contains("the credential was rotated after"), "{text}");
}

#[test]
fn where_there_is_nothing_to_go_back_to_it_is_refused() {
    for (more, expected) in [
        (json!({}), "set spec.versions.keep first"),
        (json!({"immutability": "Locked"}), "a locked Secret keeps its value"),
        (json!({"target": {"ownership": "Merge"}}), "another tool makes the Secret"),
        (
            json!({"source": {"vaultEngine": {"storeRef": {"name": "vault"}, "path": "database/static-creds/app"}}}),
            "may be revoked",
        ),
    ] {
        let mut world = World::with(&more);
        ask(&mut world, Some("bbbbbbbbbb"));
        let text = PolicySpec::try_from(&world.object).unwrap_err().to_string();
        assert!(text.contains("rekey.dev/rollback-to") && text.contains(expected), "{text}");
    }
    let mut world = keeping(1);
    ask(&mut world, Some("two"));
    let text = PolicySpec::try_from(&world.object).unwrap_err().to_string();
    assert!(text.contains("\"two\" is no revision"), "{text}");
    for (more, expected) in [
        (json!({"versions": {"keep": 0}}), "set versions.keep to 1 or more"),
        (json!({"immutability": "Locked"}), "a locked Secret does not change"),
        (json!({"target": {"ownership": "Merge"}}), "keeps no copies of it"),
        (
            json!({"immutability": "Versioned", "versions": {"references": "Publish"}}),
            "set versions.references to Move",
        ),
    ] {
        let mut spec = more.clone();
        spec["rollout"] = json!({"onFailure": "RollBack"});
        let text = PolicySpec::try_from(&World::with(&spec).object).unwrap_err().to_string();
        assert!(text.contains("spec.rollout.onFailure") && text.contains(expected), "{text}");
    }
}

/// One replaced nothing, two replaced one at second 2, and one came back at second 3.
#[test]
fn who_has_read_the_value_before_it_was_replaced_holds_it_when_it_is_back() {
    let mut world = keeping(3);
    world.sync();
    let first = Arc::clone(world.published());
    world.change("password", "two");
    world.sync();
    ask(&mut world, Some(&first.revision));
    world.sync();
    let only = |key: &str| Keys::Some([key.to_owned()].into());
    let (back, times) = (world.published(), [2, 1, 0].map(|ago| world.now - TimeDelta::seconds(ago)));
    let gaps: Vec<_> = back.gaps(&Keys::All).map(|gap| (gap.from(), gap.to())).collect();
    assert_eq!(gaps, [(Some(times[1]), Some(times[2]))]);
    assert_eq!(back.changed(&only("password")), None, "what pods read at first is what is published");
    assert_eq!(back.edge(&only("username")), None, "a consumer of another key has nothing to do with it");
    assert_eq!((back.changes.publication, back.revision == first.revision), (3, true));

    let mut world = keeping(3);
    world.sync();
    let first = world.published().revision.clone();
    for value in ["two", "three"] {
        world.change("password", value);
        world.sync();
    }
    ask(&mut world, Some(&first));
    world.sync();
    assert_eq!(world.published().changed(&only("password")), Some(world.now), "of three values that is not known");
}
