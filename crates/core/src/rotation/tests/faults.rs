//! What a rotation comes to when it is disturbed.

use rekey_api::rotation::RotationReason as Why;

use super::*;
use crate::summary::Situation;

/// Completed once, with one value, one write, and nothing left over.
fn check(world: &World) -> Result<(), TestCaseError> {
    let log = world.log.join("\n");
    prop_assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{}", log);
    prop_assert!(world.at_rest(), "{}", log);
    prop_assert_eq!((world.made, world.writes), (1, 1), "values made, store written\n{}", log);
    let password = world.password().unwrap_or_default();
    prop_assert_eq!(password.len(), 32);
    prop_assert_eq!((world.secret.as_str(), world.pod.as_str()), (password, password));
    let handled = world.status().last_handled_rotate;
    prop_assert_eq!(handled.as_deref(), Some(TOKEN));
    prop_assert_eq!(&world.store.as_ref().unwrap().1["username"], "orders");
    Ok(())
}

proptest! {
    #[test]
    fn killed_or_unheard_anywhere_it_ends_the_same(faults in prop::collection::btree_map(0usize..60, any::<bool>(), 0..12)) {
        let mut world = World::asked();
        world.settle_with(&mut |number| match faults.get(&number) {
            Some(true) => Some(Fault::Lost),
            Some(false) => Some(Fault::Before),
            None => None,
        });
        check(&world)?;
    }

    #[test]
    fn other_properties_that_move_meanwhile_are_merged(at in 0usize..12) {
        let mut world = World::asked();
        for _ in 0..at {
            world.turn(None);
        }
        world.change_store("host", "db.shop");
        world.settle();
        check(&world)?;
        prop_assert_eq!(&world.store.as_ref().unwrap().1["host"], "db.shop");
    }

    #[test]
    fn a_deletion_anywhere_leaves_nothing_behind(at in 0usize..24) {
        let mut world = World::asked();
        for _ in 0..at {
            if world.turn(None) == Turn::Waits {
                world.others();
            }
        }
        world.delete();
        world.settle();
        prop_assert!(world.at_rest(), "{}", world.log.join("\n"));
        prop_assert!(world.writes <= 1 && world.made <= 1);
        let live = world.writes == 1;
        let completed = world.outcomes().first().is_some_and(|(outcome, _)| *outcome == RotationOutcome::Completed);
        prop_assert_eq!(live, completed, "a value that is live is a rotation that is complete");
    }
}

#[test]
fn each_single_fault_at_each_action_ends_the_same() {
    for fault in [Fault::Before, Fault::Lost] {
        for at in 0..20 {
            let mut world = World::asked();
            world.settle_with(&mut |number| (number == at).then_some(fault));
            check(&world).unwrap_or_else(|error| panic!("{fault:?} at {at}: {error}"));
        }
    }
}

#[test]
fn a_foreign_value_is_never_overwritten() {
    for step in ["Preparing", "Publishing"] {
        let mut world = World::asked();
        world.until(step);
        if step == "Preparing" {
            // The pending Secret has the value from before.
            world.until_seen("a pending Secret", |world| !world.pending.is_empty());
        }
        world.change_store("password", "theirs");
        world.settle();
        assert_eq!(world.outcomes(), [(RotationOutcome::Superseded, Why::Requested)], "{step}");
        assert_eq!((world.password(), world.writes), (Some("theirs"), 0), "{step}");
        assert!(world.at_rest(), "{step}");
        assert_eq!(world.rotated(), Some(Reason::ForeignRotation));
    }
}

#[test]
fn a_foreign_value_after_ours_stands_too() {
    let mut world = World::asked();
    world.until("Publishing");
    world.until_seen("a write", |world| world.writes > 0);
    world.change_store("password", "theirs");
    world.settle();
    assert_eq!((world.password(), world.writes), (Some("theirs"), 1));
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Superseded);
}

#[test]
fn a_key_that_is_deleted_meanwhile_is_not_made_again() {
    let mut world = World::asked();
    world.until("Publishing");
    world.store = None;
    world.settle();
    assert_eq!((world.store.is_none(), world.writes), (true, 0));
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Superseded);
}

#[test]
fn a_spec_that_changes_meanwhile_does_not_make_our_value_a_foreign_one() {
    let mut world = World::asked();
    world.until("Publishing");
    let spec = &mut world.object.spec.rotator.generate.as_mut().unwrap().fields;
    let mut more = spec.as_ref().unwrap()[0].clone();
    more.property = "username".to_owned();
    spec.as_mut().unwrap().push(more);
    world.object.metadata.generation = Some(2);
    world.settle();
    check(&world).unwrap();
}

#[test]
fn a_status_that_is_lost_loses_no_value() {
    let mut world = World::asked();
    world.until("Publishing");
    let value = world.pending[0].1["password"].clone();
    world.object.status = None;
    world.settle();
    assert_eq!(world.password(), value.expose_text());
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::CatchUp)]);
    assert_eq!((world.made, world.writes), (1, 1));
    assert_eq!(world.status().last_handled_rotate.as_deref(), Some(TOKEN), "the old token starts no second one");
}

#[test]
fn a_pending_secret_that_vanishes_fails_the_rotation_and_says_so() {
    let mut world = World::asked();
    world.until("Publishing");
    world.pending.clear();
    world.settle();
    assert_eq!((world.outcomes()[0].0, world.writes), (RotationOutcome::Failed, 0));
    assert!(world.at_rest());
}

#[test]
fn a_deletion_waits_for_nobody_once_the_value_is_live() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        let mut world = World::asked();
        world.until(step);
        world.until_seen("a write", |world| world.writes > 0);
        world.pod = "old".to_owned();
        world.delete();
        for _ in 0..20 {
            world.turn(None); // and nobody else does anything
        }
        assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed, "{step}");
        assert!(world.at_rest(), "{step}");
    }
}

#[test]
fn a_deletion_whose_store_is_gone_too_lets_go() {
    let mut world = World::asked();
    world.until("Publishing");
    world.delete();
    world.store_gone = true;
    world.settle();
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Abandoned);
    assert!(world.at_rest());
}

#[test]
fn an_outage_costs_one_write_an_attempt_and_what_failed_stays_readable() {
    let mut world = World::asked();
    world.until("Publishing");
    let denied = Situation::NotReady(Reason::AccessDenied, "write key \"shop/db\": not allowed".to_owned());
    for attempt in 1..=3 {
        // The effect is decided and fails: nothing is written before it, and one status after it.
        let task = task_of(&world.object);
        let status = world.status();
        let seen = world.seen(&task, &state(&status), &status, Due::OnRequest);
        let decided = step(state(&status), &seen, world.now);
        assert!(matches!(decided.effect, Some(Effect::WriteStore { .. })));
        let due = Due::OnRequest;
        let next = record(&Record {
            task: &task,
            status: &status,
            decided: &decided,
            due: &due,
            handled: None,
            now: world.now,
        });
        assert_eq!(next, status, "attempt {attempt}");
        let after = failed(&status, &denied, TimeDelta::hours(24), 1, world.now);
        let open = after.rotation.as_ref().unwrap();
        assert_eq!((open.attempts, open.message.as_deref()), (attempt, Some(denied.message())));
        world.object.status = Some(after);
    }
    world.settle();
    check(&world).unwrap();
}
