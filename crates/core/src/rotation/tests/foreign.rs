//! The store against an open rotation, once our values have been there.

use super::*;

fn written(step: &str) -> World {
    let mut world = World::asked();
    world.until(step);
    world.until_seen("a version", |world| world.status().rotation.is_some_and(|open| open.version.is_some()));
    assert_eq!(world.status().rotation.unwrap().step.as_str(), step);
    world
}

#[test]
fn another_value_in_place_of_ours_ends_the_rotation_and_stands() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        for theirs in ["theirs", "old"] {
            let mut world = written(step);
            world.change_store("password", theirs);
            world.settle();
            let log = world.log.join("\n");
            assert_eq!(world.outcomes()[0].0, RotationOutcome::Superseded, "{theirs} in {step}\n{log}");
            assert_eq!((world.password(), world.writes), (Some(theirs), 1), "{theirs} in {step}\n{log}");
            assert_eq!(world.rotated(), Some(Reason::ForeignRotation));
            assert_eq!((world.secret.as_str(), world.pod.as_str()), (theirs, theirs), "what is there is published");
            assert!(world.at_rest());
        }
    }
}

#[test]
fn a_key_that_is_deleted_after_our_write_ends_it_too() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        let mut world = written(step);
        world.store = None;
        world.turn(None);
        assert_eq!(world.outcomes()[0].0, RotationOutcome::Superseded, "{step}");
    }
}

#[test]
fn other_properties_may_move_on_at_any_time() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        let mut world = written(step);
        world.change_store("host", "db.shop");
        world.settle();
        assert_eq!((world.outcomes()[0].0, world.writes), (RotationOutcome::Completed, 1), "{step}");
    }
}

#[test]
fn what_was_published_from_other_bytes_is_no_acknowledgement() {
    for (what, record) in [
        ("none", None),
        ("another rotation's", Some(Rotated { id: "other".to_owned(), digest: String::new() })),
        ("our id, other bytes", Some(Rotated { id: String::new(), digest: "theirs".to_owned() })),
    ] {
        for step in ["Publishing", "RollingOut", "Settling"] {
            let mut world = written(step);
            let open = world.status().rotation.unwrap();
            world.record = record.clone().map(|record| match record.id.as_str() {
                "" => Rotated { id: open.id.clone(), ..record },
                _ => Rotated { digest: open.digest.clone().unwrap_or_default(), ..record },
            });
            world.pod = world.secret.clone();
            for _ in 0..20 {
                world.turn(None); // and the policy does nothing
            }
            assert_eq!(world.status().rotation.map(|open| open.step.as_str()), Some(step), "{what}");
        }
    }
}

#[test]
fn a_forged_status_leads_to_no_acknowledgement() {
    let mut world = written("Publishing");
    world.store.as_mut().unwrap().0 += 1;
    let status = world.object.status.as_mut().unwrap().rotation.as_mut().unwrap();
    status.properties.clear();
    status.digest = Some("theirs".to_owned());
    world.record = Some(Rotated { id: status.id.clone(), digest: "theirs".to_owned() });
    world.turn(None);
    let open = world.status().rotation.unwrap();
    assert_eq!((open.step.as_str(), open.properties.len()), ("Publishing", 1), "it is written again");
    assert_ne!(open.digest.as_deref(), Some("theirs"));
    world.settle();
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed);
}

#[test]
fn a_deleted_schedule_gives_up_on_a_store_that_refuses_and_says_what_is_left() {
    let mut world = World::asked();
    world.until("Publishing");
    let away = crate::summary::Situation::NotReady(Reason::Unavailable, "write key: away".to_owned());
    world.delete();
    for attempt in 0..TRIES {
        assert_eq!(world.status().rotation.unwrap().attempts, attempt);
        world.object.status = Some(failed(&world.status(), &away, TimeDelta::hours(24), 1, world.now));
    }
    world.settle();
    let past = &world.status().history[0];
    assert_eq!((past.outcome, world.writes), (RotationOutcome::Failed, 0));
    let text = past.message.clone().unwrap_or_default();
    assert!(text.contains("RemoteStore/vault shop/db") && text.contains("5 tries"), "{text}");
    assert!(world.at_rest());
}
