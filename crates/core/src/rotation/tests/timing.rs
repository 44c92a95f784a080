//! When a rotation starts, and what it waits for before.

use rekey_api::rotation::RotationReason as Why;

use super::*;

fn planned(world: &World) -> DateTime<Utc> {
    time::parse(&world.status().next_rotation_time.unwrap()).unwrap()
}

fn edit(world: &mut World, change: impl FnOnce(&mut RotationSchedule)) {
    change(&mut world.object);
    let generation = world.object.metadata.generation.unwrap_or_default();
    world.object.metadata.generation = Some(generation + 1);
}

#[test]
fn an_outage_leads_to_one_rotation_and_enabling_to_none() {
    let mut world = World::new(&json!({"schedule": {"every": "1h"}}));
    world.settle();
    assert_eq!(world.made, 0, "enabling a schedule rotates nothing");
    let planned = world.status().next_rotation_time.unwrap();
    assert!(time::parse(&planned).unwrap() > world.now);
    world.now += TimeDelta::hours(10);
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::CatchUp)]);
    let next = time::parse(&world.status().next_rotation_time.unwrap()).unwrap();
    assert!(next > world.now && next <= world.now + TimeDelta::hours(1));
    world.now = next;
    world.settle();
    assert_eq!(world.outcomes()[0], (RotationOutcome::Completed, Why::Schedule));
}

#[test]
fn a_changed_spec_is_planned_from_now_on() {
    let mut world = World::new(&json!({"schedule": {"cron": "0 2 * * *"}}));
    world.settle();
    world.now += TimeDelta::days(3);
    world.object.spec.schedule.as_mut().unwrap().cron = Some("0 3 * * *".to_owned());
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!(world.made, 0, "what the old spec has missed is not made up for by the new one");
    assert!(world.status().next_rotation_time.unwrap().ends_with("T03:00:00Z"));
}

#[test]
fn rotate_on_create_rotates_once() {
    let mut world = World::new(&json!({"schedule": {"every": "24h", "rotateOnCreate": true}}));
    world.settle();
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Created)]);
}

#[test]
fn a_rotation_that_hangs_is_overdue() {
    let mut world = World::asked();
    world.until("RollingOut");
    world.now += TimeDelta::hours(25);
    world.turn(None);
    let conditions = world.status().conditions;
    let ready = conditions.iter().find(|at| at.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "RotationOverdue"), "{ready:?}");
}

/// An edit each minute, as a tool may make it, neither drops a rotation that is due nor moves one.
#[test]
fn an_edit_of_anything_else_keeps_the_time() {
    for timing in [json!({"every": "1h"}), json!({"cron": "0 * * * *", "jitter": "10m"})] {
        let mut world = World::new(&json!({"schedule": timing}));
        world.settle();
        let first = planned(&world);
        while world.now + TimeDelta::minutes(1) < first {
            world.now += TimeDelta::minutes(1);
            edit(&mut world, |object| object.spec.overdue_after = rekey_api::GoDuration::minutes(60));
            world.turn(None);
            assert_eq!(planned(&world), first);
        }
        world.unable = Some(Wait::new(Reason::StoreNotAllowed, "it is read-only"));
        world.now = first;
        for _ in 0..3 {
            edit(&mut world, |object| object.spec.overdue_after = rekey_api::GoDuration::minutes(90));
            world.settle();
        }
        assert_eq!((world.made, planned(&world)), (0, first), "due, and kept");
        world.unable = None;
        world.settle();
        assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Schedule)], "{timing}");
    }
}

#[test]
fn a_new_period_counts_from_the_last_rotation() {
    let mut world = World::asked();
    world.settle();
    let last = time::chrono(&world.status().last_rotation_time.unwrap());
    world.now += TimeDelta::hours(10);
    let every = |text: &str| serde_json::from_value(json!({"every": text})).unwrap();
    edit(&mut world, |object| object.spec.schedule = Some(every("24h")));
    world.settle();
    assert_eq!((planned(&world), world.made), (last + TimeDelta::hours(24), 1));
    edit(&mut world, |object| object.spec.schedule = Some(every("5h")));
    world.settle();
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed);
    assert_eq!(world.made, 2, "the value is older than it may be");
}

#[test]
fn a_rotation_longer_than_its_period_skips_and_says_so() {
    let mut world = World::new(&json!({"schedule": {"cron": "0 * * * *"}}));
    world.settle();
    world.now = planned(&world);
    world.until("RollingOut");
    let skipped = planned(&world);
    world.now += TimeDelta::hours(5);
    world.settle();
    assert_eq!((world.made, world.outcomes()), (1, vec![(RotationOutcome::Completed, Why::Schedule)]));
    let said = world.status().history[0].message.clone().unwrap();
    assert_eq!(
        said,
        format!("it took longer than its period: the rotation due at {} was skipped", time::text(skipped))
    );
    assert!(planned(&world) > world.now);
}

#[test]
fn a_rotation_waits_for_its_window_and_a_leak_does_not() {
    let night = json!([{"cron": "0 2 * * *", "duration": "2h"}]);
    let mut world = World::new(&json!({"windows": night}));
    world.settle();
    world.ask(TOKEN);
    world.settle();
    assert_eq!((world.made, world.rotated()), (0, Some(Reason::AwaitingWindow)));
    assert_eq!(world.shown(), ["Ready=True/AwaitingWindow", "Rotated=False/AwaitingWindow"]);
    let open = world.status().rotation.unwrap();
    assert_eq!(open.step.as_str(), "AwaitingWindow");
    assert!(open.message.unwrap().ends_with("T02:00:00Z"));
    let windows = |world: &World| ScheduleSpec::try_from(&world.object).unwrap().windows;
    let crate::schedule::Opening::At(opens) = windows(&world).opening(world.now) else { panic!("it is open") };
    world.now = opens;
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)]);
    world.now += TimeDelta::hours(4);
    world.ask("once more");
    world.settle();
    world.ask("it is out");
    let annotations = world.object.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::ROTATE_REASON.to_owned(), names::ROTATE_REASON_LEAKED.to_owned());
    world.settle();
    let expected = [(RotationOutcome::Completed, Why::Leaked), (RotationOutcome::Superseded, Why::Requested)];
    assert_eq!(world.outcomes()[..2], expected);
}

#[test]
fn a_rotation_waits_for_its_own_approval() {
    let mut world = World::new(&json!({"approval": "Manual"}));
    world.settle();
    let approve = |world: &mut World, id: &str| {
        let annotations = world.object.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATION_APPROVED.to_owned(), id.to_owned());
    };
    approve(&mut world, "an earlier one");
    world.ask(TOKEN);
    world.settle();
    assert_eq!(world.shown(), ["Ready=True/AwaitingApproval", "Rotated=False/AwaitingApproval"]);
    let open = world.status().rotation.unwrap();
    let command =
        format!("kubectl annotate rotationschedule db -n shop --overwrite rekey.dev/rotation-approved={}", open.id);
    assert_eq!(open.message, Some(format!("approve it with: {command}")));
    assert_eq!((world.made, world.object.metadata.finalizers.clone()), (0, None), "nothing is made or held");
    approve(&mut world, &open.id);
    world.settle();
    assert_eq!((world.made, world.status().history[0].id.clone()), (1, open.id));
    let steps: Vec<&str> = world.status().history[0].steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, ["AwaitingApproval", "Preparing", "Publishing", "RollingOut", "Settling"]);
}

#[test]
fn what_waits_to_start_rests_when_it_is_suspended_and_ends_with_its_schedule() {
    let mut world = World::new(&json!({"approval": "Manual"}));
    world.settle();
    world.ask(TOKEN);
    world.settle();
    let id = world.status().rotation.unwrap().id;
    edit(&mut world, |object| object.spec.suspend = true);
    let annotations = world.object.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::ROTATION_APPROVED.to_owned(), id);
    world.settle();
    assert_eq!((world.made, world.rotated()), (0, Some(Reason::Suspended)));
    world.delete();
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Abandoned, Why::Requested)]);
}

#[test]
fn a_request_that_is_withdrawn_before_its_rotation_starts_is_dropped() {
    let mut world = World::new(&json!({"approval": "Manual"}));
    world.settle();
    world.ask(TOKEN);
    world.settle();
    world.object.metadata.annotations = None;
    world.settle();
    assert_eq!((world.made, world.outcomes()), (0, vec![(RotationOutcome::Abandoned, Why::Requested)]));
}

#[test]
fn what_is_overdue_is_so_while_the_store_is_down() {
    let away = crate::summary::Situation::NotReady(Reason::Unavailable, "the store is not responding".to_owned());
    let mut world = World::new(&json!({"schedule": {"every": "1h"}, "overdueAfter": "1h"}));
    world.settle();
    for (hours, expected) in
        [(0, "Ready=False/Unavailable"), (1, "Ready=False/Unavailable"), (3, "Ready=False/RotationOverdue")]
    {
        let now = world.now + TimeDelta::hours(hours);
        world.object.status = Some(failed(&world.status(), &away, TimeDelta::hours(1), 1, now));
        assert_eq!(world.shown()[0], expected, "{hours}");
    }
    let ready = world.status().conditions[0].message.clone();
    assert!(
        ready.starts_with("the rotation that was due at ") && ready.ends_with(": the store is not responding"),
        "{ready}"
    );
}

proptest! {
    #[test]
    fn the_next_time_is_after_now(
        period in 1u32..100_000, jitter in 0u32..10_000, minute in 0u32..60, cron: bool, late in 0i64..1_000_000, millis in 0i64..1000,
    ) {
        let timing = if cron {
            json!({"cron": format!("{minute} * * * *"), "timeZone": "Europe/Berlin", "jitter": format!("{}s", jitter + 1)})
        } else {
            json!({"every": format!("{period}s"), "jitter": format!("{}s", jitter + 1)})
        };
        let mut world = World::new(&json!({"schedule": timing}));
        world.now += TimeDelta::milliseconds(millis);
        world.turn(None);
        let next = |world: &World| time::parse(&world.status().next_rotation_time.unwrap()).unwrap();
        prop_assert!(next(&world) > world.now);
        world.now += TimeDelta::seconds(late);
        world.turn(None);
        let open = world.status().rotation.is_some();
        prop_assert!(next(&world) > world.now, "open: {}", open);
    }
}
