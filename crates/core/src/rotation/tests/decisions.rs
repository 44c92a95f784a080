//! A rotation from end to end, and when one starts.

use rekey_api::rotation::RotationReason as Why;

use super::*;

const WHOLE: &str = "\
status    Preparing
effect    puts the finalizer on the schedule
effect    makes the pending Secret
status    Publishing
effect    writes the store over version 1
status    Publishing, version 2, the policy publishes the new value
policy    publishes the Secret
status    RollingOut, version 2, not yet on the new value: web
consumer  restarts
status    Settling, version 2
status    idle, Completed (Requested)
effect    drops the pending Secret
effect    takes the finalizer off the schedule";

#[test]
fn a_whole_rotation_step_by_step() {
    let mut world = World::asked();
    world.log.clear();
    world.settle();
    assert_eq!(world.log.join("\n"), WHOLE);
    let past = &world.status().history[0];
    let steps: Vec<&str> = past.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["Preparing", "Publishing", "RollingOut", "Settling"]);
    assert!(world.status().last_rotation_time.is_some());
}

#[test]
fn a_token_of_before_the_first_sight_is_recorded_not_acted_on() {
    // The CRD's default is as good as no status.
    for unseen in [None, Some(RotationScheduleStatus { observed_generation: Some(-1), ..Default::default() })] {
        let mut world = World::new(&json!({}));
        world.object.status = unseen;
        world.ask("from the backup");
        world.settle();
        assert_eq!((world.made, world.status().last_handled_rotate.as_deref()), (0, Some("from the backup")));
        world.ask("new");
        world.settle();
        world.settle();
        assert_eq!((world.made, world.outcomes().len()), (1, 1), "a new token is acted on exactly once");
    }
}

#[test]
fn a_new_value_goes_where_the_policy_reads_when_nothing_else_is_said() {
    let source = |source: Value| {
        let object = json!({"metadata": {"name": "db"}, "spec": {"source": source}});
        serde_json::from_value::<rekey_api::SecretPolicy>(object).unwrap()
    };
    let remote = |more: Value| {
        let mut remote = json!({"storeRef": {"name": "vault"}});
        remote.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Some(source(json!({ "remote": remote })))
    };
    let item = |name: &str, key: &str| json!({"secretKey": name, "remoteRef": {"key": key, "property": name}});
    let elsewhere = json!({"secretKey": "b", "storeRef": {"name": "other"}, "remoteRef": {"key": "k"}});
    let generated = json!({"generated": {"fields": [{"key": "password", "password": {}}]}});
    let mut object = schedule(&json!({}));
    object.spec.write_to = None;
    for (policy, expected) in [
        (remote(json!({"data": [item("a", "k"), item("b", "k")]})), Ok("vault k")),
        (remote(json!({"data": [item("a", "k")], "dataFrom": [{"extract": {"key": "k"}}]})), Ok("vault k")),
        (remote(json!({"dataFrom": [{"extract": {"key": "k"}, "storeRef": {"name": "other"}}]})), Ok("other k")),
        (remote(json!({"data": [item("a", "k"), item("b", "l")]})), Err("reads more than one key")),
        (remote(json!({"data": [item("a", "k"), elsewhere]})), Err("reads more than one key")),
        (
            remote(json!({"data": [item("a", "k")], "dataFrom": [{"find": {"path": "p"}}]})),
            Err("reads more than one key"),
        ),
        (Some(source(generated)), Err("reads no key of a store")),
        (None, Err("SecretPolicy \"db\" does not exist")),
    ] {
        let source = policy.as_ref().map(|policy| Source::parse(policy).unwrap());
        let source = source.as_ref().map_or(PolicySource::Missing, PolicySource::Known);
        match (Arc::new(ScheduleSpec::try_from(&object).unwrap()).task(source), expected) {
            (Ok(task), Ok(expected)) => assert_eq!(format!("{} {}", task.to.store.name, task.to.key), expected),
            (Err(error), Err(part)) => {
                let said = error.to_string();
                assert!(said.starts_with("spec.writeTo: name the store") && said.contains(part), "{said}");
            }
            (found, expected) => panic!("{expected:?}, and it is {found:?}"),
        }
    }
    object.spec.write_to = schedule(&json!({})).spec.write_to;
    assert_eq!(task_of(&object).to.key, KEY, "what is said counts");
}

#[test]
fn a_refused_spec_does_not_save_an_old_token_for_later() {
    let mut world = World::new(&json!({}));
    world.ask("old");
    let error = SpecError::not_yet("spec.rotator.job", "remove it");
    let status = refused(&world.status(), Some("old"), &error, 1, world.now);
    assert_eq!(status.observed_generation, Some(1), "whoever waits for the object learns that it has stalled");
    world.object.status = Some(status);
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!((world.made, world.status().last_handled_rotate.as_deref()), (0, Some("old")));
}

#[test]
fn a_request_during_a_rotation_is_the_next_one() {
    let mut world = World::asked();
    world.until("RollingOut");
    world.ask("again");
    world.settle();
    let ids: std::collections::BTreeSet<String> = world.status().history.into_iter().map(|past| past.id).collect();
    assert_eq!((world.writes, ids.len()), (2, 2));
    assert_eq!(world.status().last_handled_rotate.as_deref(), Some("again"));
}

#[test]
fn a_leak_does_not_wait_for_consumers_that_hang() {
    let mut world = World::asked();
    world.until("RollingOut");
    world.ask("it is out");
    let annotations = world.object.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::ROTATE_REASON.to_owned(), names::ROTATE_REASON_LEAKED.to_owned());
    world.settle();
    let expected = [(RotationOutcome::Completed, Why::Leaked), (RotationOutcome::Superseded, Why::Requested)];
    assert_eq!(world.outcomes(), expected, "the newest first");
}

#[test]
fn a_key_that_does_not_exist_is_made() {
    let mut world = World::asked();
    world.store = None;
    let task = task_of(&world.object);
    assert!(lacks(&task, None).unwrap());
    world.settle();
    assert_eq!(world.store.as_ref().map(|(version, value)| (*version, value.as_object().unwrap().len())), Some((1, 1)));
    assert!(!lacks(&task, world.remote().as_ref()).unwrap());
}

#[test]
fn waiting_says_what_for_and_goes_on_when_it_may() {
    let mut world = World::asked();
    world.unable = Some(Wait::new(Reason::StoreNotAllowed, "it is read-only"));
    world.settle();
    assert_eq!((world.made, world.rotated()), (0, Some(Reason::StoreNotAllowed)));
    world.unable = None;
    world.object.spec.suspend = true;
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!((world.made, world.rotated()), (0, Some(Reason::Suspended)));
    assert_eq!(world.shown(), ["Ready=True/Suspended", "Rotated=False/Suspended"], "the last value, and why it waits");
    world.object.spec.suspend = false;
    world.object.metadata.generation = Some(3);
    world.settle();
    assert_eq!((world.made, world.rotated()), (1, Some(Reason::Rotated)));
}

#[test]
fn what_keeps_the_policy_from_publishing_is_said_in_each_step() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        let mut world = World::asked();
        world.until(step);
        world.until_seen("a version", |world| world.status().rotation.is_some_and(|open| open.version.is_some()));
        world.record = None; // another tool has put the old Secret back
        world.unable = Some(Wait::new(Reason::PolicyNotReady, "SecretPolicy db is suspended"));
        world.turn(None);
        let open = world.status().rotation.unwrap();
        assert_eq!((open.step.as_str(), open.message.as_deref()), (step, Some("SecretPolicy db is suspended")));
        world.unable = None;
        world.turn(None);
        assert_eq!(world.status().rotation.unwrap().message.as_deref(), Some("the policy publishes the new value"));
    }
}

#[test]
fn something_more_is_said_beside_a_wait_or_an_end() {
    let said = |decided: Move| {
        let decided = decided.adding("more");
        decided.waits.map(|wait| wait.text).or_else(|| decided.ended.and_then(|(_, why)| why))
    };
    assert_eq!(said(Move::waiting(State::Idle, "waits")).as_deref(), Some("waits; more"));
    assert_eq!(said(Move::end(RotationOutcome::Failed, "why")).as_deref(), Some("why; more"));
    let complete = Move { ended: Some((RotationOutcome::Completed, None)), ..Move::to(State::Idle) };
    assert_eq!(said(complete).as_deref(), Some("more"));
    assert_eq!(said(Move::to(State::Idle)), None);
}

#[test]
fn of_the_secrets_with_its_label_a_schedule_looks_at_few() {
    let name = |number: u32| Pending::name(&format!("{number:04}"));
    let looked = candidates(Some("0003"), (0..300).map(name));
    assert_eq!((looked.len(), &looked[0], &looked[1]), (17, &name(3), &name(299)), "the last one and the newest");
    let few = candidates(Some("0001"), [name(1), name(2)]);
    assert_eq!(few, [name(1), name(2)], "each once");
    assert!(candidates(None, []).is_empty());
}

#[test]
fn suspending_lets_an_open_rotation_end() {
    let mut world = World::asked();
    world.until("Publishing");
    world.object.spec.suspend = true;
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
}

#[test]
fn the_history_keeps_the_newest_ten() {
    let mut world = World::asked();
    for number in 0..12 {
        world.ask(&format!("token {number}"));
        world.settle();
    }
    let history = world.status().history;
    assert_eq!(history.len(), 10);
    assert!(history.windows(2).all(|pair| pair[0].id > pair[1].id), "the newest first");
}

#[test]
fn what_is_not_rotated_is_written_back_as_it_stood() {
    let task = task_of(&schedule(&json!({})));
    let stored = "{\n \"z\": \"\\u0026\",\"id\": 12345678901234567890123, \"password\": \"old\", \"rate\": 1.10, \"tags\": [ 1e5 ]}\n";
    let read = RemoteValue { bytes: SecretBytes::from(stored), version: "1".to_owned(), created: None };
    let values: Values = [("password".to_owned(), SecretBytes::from("a\"b"))].into();
    let pending =
        Pending::read(&task.spec.owner(), &ObjectMeta::default(), values, &DigestKey::new(SecretBytes::from("k")));
    let merged = merge(&task, &pending, Stage::Live, Some(&read));
    let expected = stored.replace("\"old\"", r#""a\"b""#);
    assert_eq!(merged, Ok(SecretBytes::from(expected)));
    let created = merge(&task, &pending, Stage::Live, None);
    assert_eq!(created, Ok(SecretBytes::from(r#"{"password":"a\"b"}"#)));
}

/// The rows of the table of conditions that a schedule can be in.
#[test]
fn each_situation_of_a_schedule_has_its_row() {
    let mut world = World::asked();
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
    world.until("RollingOut");
    assert_eq!(world.shown(), ["Ready=True/Synced", "Reconciling=True/Progressing", "Rotated=False/Rotating"]);
    world.settle();
    assert_eq!(world.shown(), ["Ready=True/Synced", "Rotated=True/Rotated"]);
    world.object.spec.suspend = true;
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!(world.shown(), ["Ready=True/Suspended", "Rotated=True/Rotated"], "nothing is due");
    let error = SpecError::not_yet("spec.rotator.job", "remove it");
    world.object.status = Some(refused(&world.status(), None, &error, 3, world.now));
    assert_eq!(world.shown(), ["Ready=False/NotSupportedYet", "Stalled=True/NotSupportedYet", "Rotated=True/Rotated"]);
    let away = crate::summary::Situation::NotReady(Reason::Unavailable, "away".to_owned());
    world.object.status = Some(failed(&world.status(), &away, TimeDelta::hours(24), 3, world.now));
    assert_eq!(
        world.shown(),
        ["Ready=False/Unavailable", "Reconciling=True/ProgressingWithRetry", "Rotated=True/Rotated"]
    );
    let mut world = World::new(&json!({"schedule": {"every": "1h"}, "overdueAfter": "1h"}));
    world.unable = Some(Wait::new(Reason::PolicyNotReady, "SecretPolicy db is not Ready"));
    world.settle();
    world.now += TimeDelta::hours(3);
    world.settle();
    assert_eq!(world.shown(), ["Ready=False/RotationOverdue", "Rotated=False/PolicyNotReady"]);
}

#[test]
fn what_went_as_wanted_is_told_as_such_and_the_rest_as_a_warning() {
    use rekey_api::condition::Severity::{Normal, Warning};
    let task = task_of(&schedule(&json!({})));
    let before = RotationScheduleStatus::default();
    let open = || Open { id: "i".to_owned(), reason: Why::Requested, written: None };
    let told = |decided: &Move, left: Option<&Wait>| {
        let notices = notices(&task, decided, (&before, &before), left);
        notices.into_iter().map(|notice| (notice.reason.severity(), notice.reason)).collect::<Vec<_>>()
    };
    let begun = Move::to(State::Preparing(open()));
    assert_eq!(told(&begun, None), [(Normal, Reason::Rotating)]);
    let completed = Move { ended: Some((RotationOutcome::Completed, None)), ..Move::to(State::Idle) };
    assert_eq!(told(&completed, None), [(Normal, Reason::Rotated)]);
    let left = Wait::new(Reason::AccessDenied, "what the write may have left stays");
    assert_eq!(told(&completed, Some(&left)), [(Normal, Reason::Rotated), (Warning, Reason::AccessDenied)]);
    assert_eq!(told(&Move::end(RotationOutcome::Failed, "no"), None), [(Warning, Reason::Failed)]);
    let wait = Wait::new(Reason::PendingNotProven, "not proven");
    let held = Move { waits: Some(wait), ..Move::to(State::Publishing(open())) };
    assert_eq!(told(&held, None), [(Warning, Reason::PendingNotProven)]);
    assert_eq!(told(&Move::to(State::Publishing(open())), Some(&left)), [(Normal, Reason::Rotating)], "it is retried");
}
