//! Where values come from: each source in the same small world.

use super::*;
use crate::{store::Locator, summary::Situation, workload::Keys};

pub const PASSWORD: &str = "password";

pub fn world(source: &Value) -> World {
    World::with(&json!({ "source": source }))
}

fn generated() -> World {
    world(&json!({"generated": {"fields": [{"key": PASSWORD, "password": {}}]}}))
}

pub fn remote(more: &Value) -> World {
    let mut source = json!({"remote": {"storeRef": {"name": "vault"},
        "data": [{"secretKey": PASSWORD, "remoteRef": {"key": "shop/db", "property": PASSWORD}}]}});
    for (name, value) in more.as_object().unwrap() {
        source["remote"][name] = value.clone();
    }
    world(&source)
}

pub fn foreign(world: &mut World, value: &str, adopt_by: Option<&str>) {
    world.data = [(PASSWORD.to_owned(), SecretBytes::from(value))].into();
    world.adopt_by = adopt_by.map(str::to_owned);
    let content = Some(Content {
        kind: "example.com/theirs".to_owned(),
        edited_by: vec!["cert-manager".to_owned()],
        edited_at: Some(world.now - TimeDelta::minutes(1)),
        created: Some(world.now - TimeDelta::minutes(1)),
        ..content(world.data.clone())
    });
    world.secret = SeenSecret::Foreign { adopt_by: world.adopt_by.clone(), policy: None, content };
}

pub fn value(world: &World, key: &str) -> String {
    world.data[key].expose_text().unwrap().to_owned()
}

pub fn desired(plan: &Plan) -> &Desired {
    match plan.steps.as_slice() {
        [Step::Apply(desired)] => desired,
        other => panic!("one write was expected: {other:?}"),
    }
}

#[test]
fn a_generated_value_is_made_once_and_kept_when_fields_come() {
    let mut world = generated();
    world.sync_with(None).unwrap();
    let first = value(&world, PASSWORD);
    assert_eq!((world.shown(), world.reasons()), (vec!["Ready=True/Synced".to_owned()], vec![ChangeReason::Created]));
    assert_eq!(world.sync_with(None).unwrap().steps.len(), 0, "what is there is not made again");
    let more = json!({"generated": {"fields": [{"key": PASSWORD, "password": {}}, {"key": "token", "password": {}}]}});
    world.object.spec.source = serde_json::from_value(more).unwrap();
    world.object.metadata.generation = Some(2);
    world.look(|_| ());
    world.sync_with(None).unwrap();
    assert_eq!(value(&world, PASSWORD), first);
    assert_eq!(value(&world, "token").len(), 32);
    assert_eq!(world.published().changed(&Keys::Some([PASSWORD.to_owned()].into())), None);
}

#[test]
fn edits_of_a_generated_value_stand_and_what_is_missing_is_made_anew() {
    let mut world = generated();
    world.sync_with(None).unwrap();
    world.look(|content| {
        content.data.insert(PASSWORD.to_owned(), SecretBytes::from("by hand"));
        content.edited_by = vec!["kubectl-edit".to_owned()];
    });
    let plan = world.sync_with(None).unwrap();
    assert_eq!(value(&world, PASSWORD), "by hand");
    assert_eq!(plan.events[0].reason, Reason::Drifted);
    assert!(plan.events[0].text.contains("kubectl-edit"), "{}", plan.events[0].text);
    assert!(world.published().changed(&Keys::All).is_some(), "consumers follow");
    world.look(|content| content.data.clear());
    world.sync_with(None).unwrap();
    assert_eq!(value(&world, PASSWORD).len(), 32);
}

#[test]
fn a_generated_secret_that_was_deleted_is_another_value_and_says_so() {
    for remembered in [true, false] {
        let mut world = generated();
        world.sync_with(None).unwrap();
        let before = world.published().clone();
        world.last = Some(Arc::clone(&before)).filter(|_| remembered);
        (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
        world.sync_with(None).unwrap();
        assert_ne!(world.published().revision, before.revision);
        assert!(world.published().changed(&Keys::All).is_some(), "{remembered}");
    }
}

#[test]
fn a_template_works_on_generated_values_but_not_in_their_place() {
    let with = |template: Value| {
        let fields = json!({"generated": {"fields": [{"key": PASSWORD, "password": {}}]}});
        World::with(&json!({"source": fields, "target": {"template": template}}))
    };
    let mut world = with(json!({"data": {"url": "x://{{ .password }}"}}));
    world.sync_with(None).unwrap();
    assert_eq!(value(&world, "url"), format!("x://{}", value(&world, PASSWORD)));
    for template in [
        json!({"data": {"url": "x"}, "include": "Replace"}),
        json!({"data": {"url": "x"}, "mergePolicy": "Replace"}),
        json!({"data": {PASSWORD: "x"}}),
    ] {
        let error = PolicySpec::try_from(&with(template).object).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidSpec, "{error}");
    }
}

#[test]
fn an_existing_secret_gets_a_record_and_nothing_else() {
    let mut world = world(&json!({"existing": {}}));
    let error = world.plan_with(None).unwrap_err();
    assert_eq!(error.reason(), Reason::SecretNotFound);
    foreign(&mut world, "one", None);
    let plan = world.sync_with(None).unwrap();
    let written = desired(&plan);
    assert!(written.data.is_empty() && written.kind.is_none() && written.owner.is_none(), "{written:?}");
    assert!(written.labels.is_empty(), "{written:?}");
    assert_eq!(world.reasons(), [ChangeReason::Adopted]);
    assert_eq!(world.published().changed(&Keys::All), None, "first sight restarts nobody");
    assert_eq!(world.sync_with(None).unwrap().steps.len(), 0);
    let edited_at = world.now;
    world.now += TimeDelta::minutes(5);
    world.look(|content| {
        content.data.insert(PASSWORD.to_owned(), SecretBytes::from("two"));
        (content.edited_at, content.edited_by) = (Some(edited_at), vec!["cert-manager".to_owned()]);
    });
    let plan = world.sync_with(None).unwrap();
    assert!(desired(&plan).data.is_empty());
    assert!(plan.events[0].text.contains("cert-manager"), "{}", plan.events[0].text);
    assert_eq!(world.published().changed(&Keys::All), Some(edited_at), "the time is that of the edit");
    assert_eq!(value(&world, PASSWORD), "two");
}

#[test]
fn a_record_that_its_maker_removed_with_a_new_value_is_no_first_sight() {
    let mut world = world(&json!({"existing": {}}));
    foreign(&mut world, "one", None);
    world.sync_with(None).unwrap();
    world.last = Some(Arc::clone(world.published()));
    foreign(&mut world, "two", None);
    world.sync_with(None).unwrap();
    assert!(world.published().changed(&Keys::All).is_some());
}

#[test]
fn a_governed_secret_that_was_made_anew_while_nobody_looked_is_a_change() {
    for (minutes, changed) in [(10, true), (-10, false)] {
        let mut world = world(&json!({"existing": {}}));
        foreign(&mut world, "one", None);
        world.sync_with(None).unwrap();
        let made = world.now + TimeDelta::minutes(minutes);
        world.now += TimeDelta::hours(1);
        foreign(&mut world, "two", None);
        if let SeenSecret::Foreign { content: Some(content), .. } = &mut world.secret {
            (content.created, content.edited_at) = (Some(made), Some(made));
        }
        world.sync_with(None).unwrap();
        let expected = changed.then_some(made);
        assert_eq!(world.published().changed(&Keys::All), expected, "made {minutes} minutes after the last change");
    }
}

#[test]
fn keys_are_merged_by_consent_and_those_of_others_are_theirs() {
    let make = || {
        let mut world = remote(&json!({}));
        world.object.spec.target = serde_json::from_value(json!({"ownership": "Merge"})).unwrap();
        world
    };
    let mut world = make();
    assert_eq!(world.plan().unwrap_err().reason(), Reason::SecretNotFound);
    foreign(&mut world, "theirs", None);
    assert_eq!(world.plan().unwrap_err().reason(), Reason::NoConsent);
    foreign(&mut world, "theirs", Some("db"));
    world.data.insert("other".to_owned(), SecretBytes::from("untouched"));
    let plan = world.sync();
    let written = desired(&plan);
    assert_eq!(text(&written.data), [(PASSWORD, "one")]);
    assert!(written.kind.is_none() && written.owner.is_none(), "{written:?}");
    assert_eq!(value(&world, "other"), "untouched");
    assert!(world.published().changed(&Keys::Some([PASSWORD.to_owned()].into())).is_some());
    world.look(|content| {
        content.data.insert("other".to_owned(), SecretBytes::from("changed"));
    });
    assert_eq!(writes(&world.sync()), 0, "others' keys are theirs");
    world.look(|content| {
        content.data.insert(PASSWORD.to_owned(), SecretBytes::from("edited"));
    });
    let plan = world.sync();
    assert_eq!((plan.events[0].reason, value(&world, PASSWORD).as_str()), (Reason::Drifted, "one"));
    world.adopt_by = None;
    if let SeenSecret::Ours { adopt_by, .. } = &mut world.secret {
        *adopt_by = None;
    }
    assert_eq!(world.plan().unwrap_err().reason(), Reason::NoConsent, "consent can be taken back");
}

#[test]
fn what_only_the_maker_may_decide_is_refused_for_merge() {
    for more in [
        json!({"target": {"ownership": "Merge", "type": "Opaque"}}),
        json!({"target": {"ownership": "Merge", "onPolicyDelete": "Delete"}}),
        json!({"target": {"ownership": "Merge"}, "immutability": "Locked"}),
    ] {
        let error = PolicySpec::try_from(&World::with(&more).object).unwrap_err();
        assert_eq!(error.reason(), Reason::InvalidSpec, "{more}: {error}");
    }
}

#[test]
fn refresh_policies_say_when_the_store_is_read() {
    let hour = TimeDelta::hours(1);
    for (refresh, exists, asked, edited, expected) in [
        ("Periodic", true, false, false, "due"),
        ("OnChange", true, false, false, "rests"),
        ("OnChange", true, true, false, "due"),
        ("OnChange", true, false, true, "due"),
        ("OnChange", false, false, false, "due"),
        ("CreatedOnce", true, false, false, "rests"),
        ("CreatedOnce", true, true, false, "rests"),
        ("CreatedOnce", true, false, true, "rests"),
        ("CreatedOnce", false, false, false, "due"),
    ] {
        let mut world = remote(&json!({"refreshPolicy": refresh}));
        world.sync();
        if !exists {
            world.secret = SeenSecret::Absent;
        }
        if edited {
            world.look(|content| content.data.clear());
        }
        let mut policy = world.policy();
        policy.sync_requested = asked.then(|| "now".to_owned());
        let seen = Seen { last_read: None, ..world.seen() };
        let found = match fetch(&policy, &seen, world.now + hour) {
            Fetch::Due(_) => "due",
            Fetch::OnChange | Fetch::NotBefore(_) => "rests",
        };
        assert_eq!(found, expected, "{refresh}, there: {exists}, asked: {asked}, edited: {edited}");
    }
}

#[test]
fn a_value_that_is_gone_takes_the_secret_along_only_when_the_policy_says_so() {
    let missing = |world: &World| {
        let Source::Remote(remote) = world.policy().source else { unreachable!() };
        let request = |item: Item| Request { store: item.store, locator: item.locator };
        Fetched { missing: remote.items.into_iter().map(request).collect(), ..Fetched::default() }
    };
    let mut world = remote(&json!({"onMissing": "Delete"}));
    world.sync();
    let gone = missing(&world);
    let over = ObjectVersion { uid: "s".to_owned(), resource_version: "7".to_owned() };
    let seen = Seen { over: Some(over.clone()), ..world.seen() };
    let plan = planned(&world.policy(), &seen, Some(&gone), world.tools()).unwrap();
    assert!(
        matches!(plan.steps.as_slice(), [Step::Delete(name, at)] if name == "db" && *at == over),
        "{:?}",
        plan.steps
    );
    world.object.status = Some(plan.status);
    assert_eq!(world.shown(), ["Ready=False/KeyNotFound", "Reconciling=True/ProgressingWithRetry"]);
    world.last = Some(Arc::clone(world.published()));
    world.secret = SeenSecret::Absent;
    let status = world.status();
    let again = world.sync_with(Some(&gone)).unwrap();
    assert!(again.steps.is_empty() && again.status == status, "it is told once");
    world.change(PASSWORD, "two");
    world.sync();
    assert!(world.published().changed(&Keys::All).is_some(), "who held the old value follows the new one");
}

#[test]
fn part_of_the_keys_missing_deletes_nothing() {
    let items = json!([{"secretKey": "a", "remoteRef": {"key": "a"}}, {"secretKey": "b", "remoteRef": {"key": "b"}}]);
    let mut world = remote(&json!({"onMissing": "Delete", "data": items}));
    world.sync();
    let mut fetched = world.fetched();
    let first = fetched.values.pop_first().unwrap().0;
    fetched.missing.insert(first);
    let error = world.plan_with(Some(&fetched)).unwrap_err();
    assert_eq!(error.reason(), Reason::KeyNotFound);
    assert!(error.to_string().contains("\"a\""), "{error}");
}

#[test]
fn a_last_known_value_is_good_for_as_long_as_the_policy_says() {
    let (good, old) = ("True/ServingLastKnown", "False/TooStale");
    for (more, reason, minutes, expected) in [
        (json!({"maxStaleness": "1h"}), Reason::Unavailable, 59, good),
        (json!({"maxStaleness": "1h"}), Reason::Unavailable, 60, old),
        (json!({"maxStaleness": "1h"}), Reason::KeyNotFound, 60, old),
        (json!({"maxStaleness": "1h", "onMissing": "Keep"}), Reason::KeyNotFound, 60, good),
        (json!({"maxStaleness": "1h", "onMissing": "Keep"}), Reason::Unavailable, 60, old),
        (json!({}), Reason::Unavailable, 24 * 60 - 1, good),
        (json!({}), Reason::Unavailable, 24 * 60, old),
        (json!({"maxStaleness": "Unlimited"}), Reason::Unavailable, 365 * 24 * 60, good),
    ] {
        let world = remote(&more);
        let away = Situation::LastKnown(reason, "nobody answers".to_owned());
        let first = failed(
            &world.policy(),
            &world.status(),
            Known { published: None, consumers: &Consumers::default(), history: &History::default() },
            &away,
            world.now,
        );
        let now = world.now + TimeDelta::minutes(minutes);
        let status = failed(
            &world.policy(),
            &first,
            Known { published: None, consumers: &Consumers::default(), history: &History::default() },
            &away,
            now,
        );
        let ready = status.conditions.into_iter().find(|at| at.type_ == "Ready").unwrap();
        assert_eq!(format!("{}/{}", ready.status, ready.reason), expected, "{more} {reason:?} {minutes}");
    }
}

#[test]
fn sets_come_first_in_their_order_and_single_values_over_them() {
    let sets = json!([
        {"extract": {"key": "shop/db"}},
        {"find": {"path": "api"}, "rewrite": [{"regexp": {"source": "^api/", "target": ""}}]},
    ]);
    let mut world = remote(&json!({"dataFrom": sets}));
    let Source::Remote(remote) = world.policy().source else { unreachable!() };
    let store = remote.store.clone();
    let at = |key: &str, value: &str| {
        let locator = Locator { key: key.to_owned(), ..Locator::default() };
        let value = RemoteValue { bytes: SecretBytes::from(value), version: "1".to_owned(), created: None };
        (Request { store: store.clone(), locator }, value)
    };
    let values = [at("shop/db", r#"{"username": "orders", "password": "one"}"#), at("api/username", "found")].into();
    let Fetch::Due(wanted) = fetch(&world.policy(), &world.seen(), world.now) else { panic!("nothing is due") };
    assert_eq!((wanted.reads.len(), wanted.searches.len()), (1, 1));
    let found = wanted.searches.into_iter().map(|lookup| (lookup, vec!["api/username".to_owned()])).collect();
    let fetched = Fetched { values, found, ..Fetched::default() };
    world.sync_with(Some(&fetched)).unwrap();
    assert_eq!(text(&world.data), [(PASSWORD, "one"), ("username", "found")]);
    let nothing = Fetched { found: BTreeMap::new(), ..fetched };
    assert_eq!(
        world.plan_with(Some(&nothing)).unwrap_err().reason(),
        Reason::KeyNotFound,
        "an empty search empties nothing"
    );
}

#[test]
fn a_wall_clock_that_is_set_back_delays_no_round() {
    let (second, hour) = (TimeDelta::seconds(1), TimeDelta::hours(1));
    let mut world = remote(&json!({"refreshInterval": "10m"}));
    world.sync();
    let policy = world.policy();
    let read = world.now;
    let interval = next_round(&policy, read).unwrap() - read;
    for set in [TimeDelta::zero(), -hour, -hour * 24 * 365, hour] {
        for (age, is_due) in [(TimeDelta::zero(), set > interval), (interval - second, set > second), (interval, true)]
        {
            let now = read + age + set;
            let seen = Seen { last_read: Some(LastRead { at: read, age, next: None }), ..world.seen() };
            let found = fetch(&policy, &seen, now);
            assert_eq!(matches!(found, Fetch::Due(_)), is_due, "set by {set}, {age} after the read: {found:?}");
            // What is looked at for another reason meanwhile comes again in time.
            let again = planned(&policy, &seen, None, Tools { now, ..world.tools() }).unwrap().again.unwrap();
            assert!(again - now <= interval - age, "set by {set}, {age} after the read: again in {}", again - now);
        }
    }
}
