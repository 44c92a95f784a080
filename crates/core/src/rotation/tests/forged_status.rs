//! Statuses that another tool has written.

use rekey_api::rotation::RotationReason as Why;

use super::*;
use crate::summary::Situation;

/// What a tenant may write of an open rotation, whatever the schema takes.
fn open(id: &str, step: &str) -> rekey_api::rotation::RotationProgress {
    let open = json!({"id": id, "step": step, "startedAt": "9999-01-01T00:00:00Z", "attempts": 2_147_483_647, "version": "1",
                      "reason": "Schedule", "stepStartedAt": "0001-01-01T00:00:00Z", "digest": "theirs"});
    serde_json::from_value(open).unwrap()
}

const STEPS: [&str; 13] = [
    "Preparing",
    "Applying",
    "Verifying",
    "Publishing",
    "RollingOut",
    "Settling",
    "Retiring",
    "AwaitingApproval",
    "AwaitingWindow",
    "Held",
    "RolledBack",
    "Superseded",
    "Failed",
];
const UNKNOWN: &str = "ffffffff-ffff-7fff-bfff-ffffffffffff";

fn ids(world: &World) -> Vec<String> {
    world.status().history.into_iter().map(|past| past.id).collect()
}

#[test]
fn a_rotation_that_only_a_status_knows_ends_and_writes_nothing() {
    for step in STEPS.iter().filter(|step| **step != "Preparing") {
        let mut world = World::new(&json!({}));
        world.settle();
        for _ in 0..2 {
            let mut status = world.status();
            status.rotation = Some(open(UNKNOWN, step));
            world.object.status = Some(status);
            world.settle();
            assert!(world.at_rest(), "{step}: {:?}", world.status());
            assert_eq!((world.made, world.writes, world.password()), (0, 0, Some("old")), "{step}");
            let ended = if step.starts_with("Awaiting") { RotationOutcome::Abandoned } else { RotationOutcome::Failed };
            assert!(world.outcomes().iter().all(|(outcome, _)| *outcome == ended), "{step}");
            assert!(ids(&world).len() < 2, "{step}: the API server takes no two entries of one id");
        }
    }
}

#[test]
fn an_id_that_is_none_of_ours_is_part_of_no_name() {
    for id in
        ["", "../../kube-system/secrets/x", "FFFFFFFF-FFFF-7FFF-BFFF-FFFFFFFFFFFF", "ffffffffffff7fffbfffffffffffffff"]
    {
        for step in STEPS {
            let mut world = World::new(&json!({}));
            world.settle();
            let mut status = world.status();
            status.rotation = Some(open(id, step));
            world.object.status = Some(status);
            world.settle();
            assert!(
                world.at_rest() && world.log.iter().all(|line| !line.contains("effect")),
                "{id} {step}: {:?}",
                world.log
            );
            world.ask("another");
            world.settle();
            assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{id} {step}");
            assert!(world.status().history[0].started_at.0.as_second() < 2_000_000_000, "nothing is left of the lie");
        }
    }
}

#[test]
fn a_forged_step_of_an_open_rotation_does_not_complete_what_was_not_done() {
    for step in STEPS {
        for at in ["Preparing", "Publishing"] {
            let mut world = World::asked();
            world.until(at);
            let mut status = world.status();
            status.rotation = Some(open(&status.rotation.unwrap().id, step));
            world.object.status = Some(status);
            world.settle();
            let log = world.log.join("\n");
            assert!(world.at_rest(), "{step} at {at}\n{log}");
            let completed = world.outcomes().iter().any(|(outcome, _)| *outcome == RotationOutcome::Completed);
            let is_new = world.password() != Some("old") && world.pod == world.password().unwrap_or_default();
            assert!(!completed || is_new, "{step} at {at}\n{log}");
            assert_eq!(world.writes, usize::from(is_new), "{step} at {at}\n{log}");
        }
    }
}

#[test]
fn a_forged_time_stops_no_rotation_and_makes_none_where_nothing_is_planned() {
    for (spec, planned) in [
        (json!({"schedule": {"every": "24h"}}), true),
        (json!({"schedule": {"cron": "0 2 * * *", "jitter": "10m"}}), true),
        (json!({}), false),
    ] {
        let mut world = World::new(&spec);
        world.settle();
        let first = world.status().next_rotation_time;
        assert_eq!(first.is_some(), planned);
        for forged in ["9998-01-01T00:00:00Z", "2027-03-01T00:00:00Z"] {
            let mut status = world.status();
            status.next_rotation_time = Some(forged.to_owned());
            world.object.status = Some(status);
            world.settle();
            let next = world.status().next_rotation_time;
            assert_eq!(next.is_some(), planned, "{spec}");
            assert!(next.is_none_or(|next| next.as_str() < "2027-01-17T00:00:00Z"), "{spec}");
            assert!(world.status().history.is_empty(), "{spec}");
        }
        let mut status = world.status();
        status.next_rotation_time = Some("2026-01-01T00:00:00Z".to_owned()); // as after an outage
        world.object.status = Some(status);
        world.settle();
        assert_eq!(world.status().history.len(), usize::from(planned), "{spec}");
    }
}

#[test]
fn what_is_said_of_a_rotation_fits_its_schema_and_times_of_the_future_are_not_kept() {
    let mut world = World::asked();
    let waits = "the policy cannot publish: ".repeat(200);
    world.until("Publishing");
    world.unable = Some(Wait::new(Reason::PolicyNotReady, waits));
    let mut status = world.status();
    let mut forged = open(&status.rotation.clone().unwrap().id, "Publishing");
    (forged.version, forged.digest) = (None, None);
    status.rotation = Some(forged);
    world.object.status = Some(status);
    world.until_seen("why it waits", |world| world.status().rotation.is_some_and(|open| open.message.is_some()));
    let open = world.status().rotation.unwrap();
    assert_eq!(open.message.unwrap().chars().count(), 1024);
    assert!(time::chrono(&open.started_at) <= world.now, "{:?}", open.started_at);
    let failed = failed(
        &world.status(),
        &Situation::NotReady(Reason::ApiError, "x".repeat(5_000)),
        TimeDelta::hours(24),
        1,
        world.now,
    );
    let open = fit::<RotationSchedule>(&failed).unwrap().rotation.unwrap();
    assert_eq!(open.message.unwrap().chars().count(), 1024);
    assert!(open.attempts <= i32::MAX.unsigned_abs(), "{}", open.attempts);
}
