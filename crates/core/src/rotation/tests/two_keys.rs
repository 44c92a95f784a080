//! Rotations of SSH keys: two keys are valid at the same time, and at every moment the pod's key opens the door.

use proptest::prelude::*;

use super::*;

const PRIVATE: &str = "ssh-privatekey";

/// The public half of a private key, without its comment.
fn public(private: &str) -> String {
    let key = ssh_key::PrivateKey::from_openssh(private).unwrap();
    key.public_key().to_openssh().unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

impl World {
    /// A key pair is in use, the server lets somebody else in too, and a rotation is asked for.
    fn pairs() -> Self {
        let mut world = Self::new(&json!({"rotator": {"sshKeyPair": {}}, "retireAfter": "10m"}));
        world.used = PRIVATE;
        let task = task_of(&world.object);
        let made = task.spec.rotator.prepare(&Values::new(), &Sequence::from(3)).unwrap();
        let text = |name: &str| made[name].expose_text().unwrap().to_owned();
        let (private, public) = (text(PRIVATE), text("ssh-publickey"));
        let servers = format!("ssh-ed25519 AAAA somebody\n{public}\n");
        let stored =
            json!({PRIVATE: private, "ssh-publickey": public, "authorized_keys": servers, "username": "orders"});
        world.store = Some((1, stored));
        (world.secret, world.pod) = (private.clone(), private);
        world.settle();
        world.ask(TOKEN);
        world
    }

    fn lets_in(&self, private: &str) -> bool {
        let servers = self.store.as_ref().unwrap().1["authorized_keys"].as_str().unwrap_or_default().to_owned();
        servers.lines().any(|line| !line.starts_with('#') && line.starts_with(&public(private)))
    }

    /// Turns to the end; the pod's key works all the time.
    fn rotate(&mut self, fault: &mut dyn FnMut(usize) -> Option<Fault>) {
        for number in 0..400 {
            if self.turn(fault(number)) == Turn::Waits {
                self.others();
                self.now += TimeDelta::minutes(1);
            }
            assert!(self.lets_in(&self.pod), "the pod is locked out\n{}", self.log.join("\n"));
            if !self.status().history.is_empty() && self.at_rest() {
                return;
            }
        }
    }
}

#[test]
fn the_new_key_is_valid_before_it_is_used_and_the_old_one_until_nobody_uses_it() {
    let mut world = World::pairs();
    let old = world.pod.clone();
    world.rotate(&mut |_| None);
    let shown: Vec<&str> = world.log.iter().map(String::as_str).filter(|line| !line.contains("valid until")).collect();
    assert_eq!(
        shown.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>(),
        [
            "status idle",
            "status Preparing",
            "effect puts the finalizer on the schedule",
            "effect makes the pending Secret",
            "status Applying",
            "effect writes the store over version 1, Applied",
            "status Verifying",
            "status Publishing",
            "effect writes the store over version 2",
            "status Publishing, version 3, the policy publishes the new value",
            "policy publishes the Secret",
            "status RollingOut, version 3, not yet on the new value: web",
            "consumer restarts",
            "status Settling, version 3",
            "status Retiring, version 3", // and waits for retireAfter
            "status Retiring, version 3",
            "effect writes the store over version 3, Retired",
            "status idle, Completed (Requested)",
            "effect drops the pending Secret",
            "effect takes the finalizer off the schedule",
        ]
    );
    assert!(!world.lets_in(&old) && world.lets_in(&world.pod));
    let servers = world.store.as_ref().unwrap().1["authorized_keys"].as_str().unwrap().to_owned();
    assert!(servers.starts_with("ssh-ed25519 AAAA somebody\n"), "others keep their keys: {servers}");
    assert_eq!(world.store.as_ref().unwrap().1["username"], "orders");
}

#[test]
fn a_key_that_does_not_work_is_not_used() {
    let mut world = World::pairs();
    let old = world.pod.clone();
    world.refused = Some("host does not take it".to_owned());
    for _ in 0..50 {
        world.turn(None);
        world.others();
    }
    let open = world.status().rotation.unwrap();
    assert_eq!((open.step.as_str(), open.message.as_deref()), ("Verifying", Some("host does not take it")));
    assert_eq!((world.password(), world.pod.as_str()), (Some(old.as_str()), old.as_str()));
    world.refused = None;
    world.rotate(&mut |_| None);
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed);
}

#[test]
fn a_status_that_says_more_than_is_so_skips_nothing() {
    use rekey_api::rotation::RotationStep;
    for step in [RotationStep::Publishing, RotationStep::RollingOut, RotationStep::Settling, RotationStep::Retiring] {
        let mut world = World::pairs();
        let old = world.pod.clone();
        world.refused = Some("host does not take it".to_owned());
        world.until("Verifying");
        world.object.status.as_mut().unwrap().rotation.as_mut().unwrap().step = step;
        for _ in 0..20 {
            world.turn(None);
            world.others();
            assert_eq!(world.password(), Some(old.as_str()), "{step:?}");
        }
    }
    // The pod has not moved: whoever writes that it has ends no key.
    let mut world = World::pairs();
    world.until("RollingOut");
    world.object.status.as_mut().unwrap().rotation.as_mut().unwrap().step = RotationStep::Retiring;
    world.now += TimeDelta::hours(1);
    for _ in 0..20 {
        world.turn(None);
        world.now += TimeDelta::minutes(20);
        assert!(world.lets_in(&world.pod));
    }
}

#[test]
fn a_first_key_pair_needs_none_before_it() {
    let mut world = World::pairs();
    world.store = None;
    (world.secret, world.pod) = (String::new(), String::new());
    for _ in 0..60 {
        if world.turn(None) == Turn::Waits {
            world.others();
            world.now += TimeDelta::minutes(1);
        }
    }
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed, "{}", world.log.join("\n"));
    assert!(world.lets_in(world.password().unwrap()));
}

/// Another tool ends a rotation while a pod still has the old key: the next one must not take that key off the servers.
#[test]
fn a_pod_that_an_unfinished_rotation_left_behind_is_not_locked_out() {
    let mut world = World::pairs();
    let old = world.pod.clone();
    world.until("RollingOut");
    let servers = world.store.as_ref().unwrap().1["authorized_keys"].as_str().unwrap().to_owned();
    world.change_store("authorized_keys", &format!("ssh-ed25519 BBBB colleague\n{servers}"));
    for _ in 0..20 {
        world.turn(None);
    }
    assert_eq!((world.outcomes()[0].0, &world.pod), (RotationOutcome::Superseded, &old));
    world.ask("again");
    for _ in 0..40 {
        world.turn(None);
        assert!(world.lets_in(&old), "{}", world.log.join("\n"));
    }
    for _ in 0..60 {
        if world.turn(None) == Turn::Waits {
            world.others();
            world.now += TimeDelta::minutes(1);
        }
        assert!(world.lets_in(&world.pod), "{}", world.log.join("\n"));
    }
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed, "{}", world.log.join("\n"));
    assert!(!world.lets_in(&old));
}

#[test]
fn a_schedule_that_names_other_properties_by_then_writes_no_more() {
    let mut world = World::pairs();
    world.until("RollingOut");
    world.object.spec.rotator.ssh_key_pair.as_mut().unwrap().properties.authorized_keys = "servers".to_owned();
    let writes = world.writes;
    for _ in 0..80 {
        if world.turn(None) == Turn::Waits {
            world.others();
            world.now += TimeDelta::minutes(1);
        }
    }
    let past = &world.status().history[0];
    assert_eq!((past.outcome, world.writes), (RotationOutcome::Completed, writes), "{}", world.log.join("\n"));
    assert!(past.message.as_ref().unwrap().contains("did not retire the old key"), "{past:?}");
}

#[test]
fn names_of_properties_may_hold_anything() {
    let spec = json!({"rotator": {"generate": {"fields": [{"property": "db/password", "password": {}}]}}});
    let mut world = World::new(&spec);
    world.used = "db/password";
    world.store = Some((1, json!({"db/password": "old"})));
    world.settle();
    world.ask(TOKEN);
    world.settle();
    assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed, "{}", world.log.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))] // keys are parsed at each turn

    #[test]
    fn killed_or_unheard_anywhere_it_ends_the_same(faults in prop::collection::btree_map(0usize..60, any::<bool>(), 0..12)) {
        let mut world = World::pairs();
        let old = world.pod.clone();
        world.rotate(&mut |number| faults.get(&number).map(|lost| if *lost { Fault::Lost } else { Fault::Before }));
        let log = world.log.join("\n");
        prop_assert_eq!(world.outcomes()[0].0, RotationOutcome::Completed, "{}", &log);
        prop_assert_eq!((world.made, world.writes), (1, 3), "{}", &log);
        prop_assert!(world.password() == Some(world.pod.as_str()) && world.pod != old, "{}", &log);
        prop_assert!(!world.lets_in(&old), "{}", &log);
    }

    #[test]
    fn a_deletion_anywhere_locks_nobody_out(at in 0usize..40) {
        let mut world = World::pairs();
        for _ in 0..at {
            if world.turn(None) == Turn::Waits {
                world.others();
                world.now += TimeDelta::minutes(1);
            }
        }
        world.delete();
        for _ in 0..60 {
            if world.turn(None) == Turn::Waits {
                world.others();
            }
            prop_assert!(world.lets_in(&world.pod), "{}", world.log.join("\n"));
        }
        prop_assert!(world.at_rest(), "{}", world.log.join("\n"));
    }

    #[test]
    fn what_another_tool_puts_there_stands(at in 4usize..30) {
        let mut world = World::pairs();
        for _ in 0..at {
            if world.turn(None) == Turn::Waits {
                world.others();
            }
        }
        let is_open = world.status().rotation.is_some_and(|open| open.step.as_str() != "Preparing");
        world.change_store("ssh-publickey", "theirs");
        let theirs = world.store.clone();
        for _ in 0..60 {
            if world.turn(None) == Turn::Waits {
                world.others();
            }
        }
        if is_open {
            prop_assert_eq!(&world.store, &theirs, "{}", world.log.join("\n"));
            prop_assert_eq!(world.outcomes()[0].0, RotationOutcome::Superseded, "{}", world.log.join("\n"));
        }
    }
}
