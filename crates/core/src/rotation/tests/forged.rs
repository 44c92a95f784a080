//! Pending Secrets that another tool made, or that cannot be distinguished from such.

use rekey_api::rotation::RotationReason as Why;

use super::*;

const THEIRS: &str = "an attacker's value, as long as any";

impl World {
    fn lose_key(&mut self) {
        self.digest_key = DigestKey::new(SecretBytes::from("another"));
    }

    /// The pending Secret that is there now, changed by another tool.
    fn forge(&mut self, change: impl FnOnce(&mut ObjectMeta, &mut Values)) {
        let (mut metadata, mut values) = self.pending.remove(0);
        metadata.uid = Some("theirs".to_owned());
        change(&mut metadata, &mut values);
        self.pending.push((metadata, values));
    }

    /// Secrets that are not ours and still there.
    fn left(&self) -> usize {
        self.pending.iter().filter(|(metadata, _)| metadata.uid.as_deref() == Some("theirs")).count()
    }

    fn ready(&self) -> Option<Reason> {
        let condition = self.status().conditions.into_iter().find(|at| at.type_ == "Ready")?;
        Reason::from_name(&condition.reason)
    }

    fn turns(&mut self, count: usize) {
        for _ in 0..count {
            if self.turn(None) == Turn::Waits {
                self.others();
            }
        }
    }
}

fn annotate(metadata: &mut ObjectMeta, name: &str, value: &str) {
    metadata.annotations.get_or_insert_default().insert(name.to_owned(), value.to_owned());
}

type Forgery = (&'static str, fn(&mut ObjectMeta, &mut Values));

const FORGERIES: [Forgery; 8] = [
    ("another value", |_, values| drop(values.insert("password".to_owned(), SecretBytes::from(THEIRS)))),
    ("one more property", |_, values| drop(values.insert("host".to_owned(), SecretBytes::from("attacker.example")))),
    ("another property", |_, values| {
        values.clear();
        values.insert("host".to_owned(), SecretBytes::from("attacker.example"));
    }),
    ("no values", |_, values| values.clear()),
    ("the old value", |_, values| drop(values.insert("password".to_owned(), SecretBytes::from("old")))),
    ("another base", |metadata, _| annotate(metadata, names::BASE_DIGESTS, "theirs")),
    ("another target", |metadata, _| annotate(metadata, names::WRITES_TO, "RemoteStore/vault other")),
    ("no proof: of an older version", |metadata, _| {
        metadata.annotations.as_mut().map(|all| all.remove(names::PROOF));
    }),
];

#[test]
fn nothing_of_a_forged_secret_is_written_and_a_new_value_is_made() {
    for (what, forge) in FORGERIES {
        for step in ["Preparing", "Publishing"] {
            let mut world = World::asked();
            world.until(step);
            world.until_seen("a pending Secret", |world| !world.pending.is_empty());
            let first = world.status().rotation.unwrap().id;
            world.forge(forge);
            world.settle();
            let log = world.log.join("\n");
            assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{what} in {step}\n{log}");
            assert_ne!(world.status().history[0].id, first, "{what} in {step}");
            assert_eq!((world.made, world.writes, world.left()), (2, 1, 1), "{what} in {step}\n{log}");
            let stored = &world.store.as_ref().unwrap().1;
            assert_eq!((stored["password"].as_str().unwrap().len(), stored.as_object().unwrap().len()), (32, 2));
            assert_ne!(world.password(), Some(THEIRS));
            assert!(world.object.metadata.finalizers.is_none(), "{what} in {step}");
        }
    }
}

#[test]
fn a_forged_secret_without_a_rotation_is_neither_adopted_nor_deleted() {
    let mut world = World::asked();
    world.until("RollingOut");
    let (mut metadata, mut values) = world.pending[0].clone();
    let id = "ffffffff-ffff-7fff-bfff-ffffffffffff";
    (metadata.name, metadata.uid) = (Some(Pending::name(id)), Some("theirs".to_owned()));
    annotate(&mut metadata, names::ROTATION, id);
    annotate(&mut metadata, names::BASE_VERSION, "2");
    values.insert("host".to_owned(), SecretBytes::from("attacker.example"));
    world.pending.push((metadata, values));
    world.settle();
    assert_eq!((world.outcomes().len(), world.writes, world.left()), (1, 1, 1), "{}", world.log.join("\n"));
    assert!(world.object.metadata.finalizers.is_none());
}

#[test]
fn a_copy_of_a_secret_of_an_earlier_rotation_starts_nothing() {
    let mut world = World::asked();
    world.until("RollingOut");
    let copy = world.pending[0].clone();
    world.settle();
    for number in 0..12 {
        world.ask(&format!("token {number}"));
        world.settle();
    }
    assert!(world.status().history.iter().all(|past| Pending::name(&past.id) != copy.0.name.clone().unwrap()));
    world.ask("and once more");
    world.until("RollingOut");
    world.pending.push(copy);
    let (made, writes) = (world.made, world.writes);
    world.settle();
    assert_eq!((world.made, world.writes, world.pending.len()), (made, writes, 0), "it is ours, over, and dropped");
    assert!(world.status().history.iter().all(|past| past.outcome == RotationOutcome::Completed));
}

#[test]
fn somebody_who_forges_every_secret_drives_a_schedule_no_faster_than_once_a_second_and_then_ever_more_seldom() {
    let mut world = World::asked();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..600 {
        world.turn(None); // a second each
        if let Some((metadata, values)) = world.pending.last_mut() {
            values.insert("password".to_owned(), SecretBytes::from(THEIRS));
            metadata.uid = Some("theirs".to_owned());
        }
        ids.extend(world.status().rotation.map(|open| open.id));
    }
    assert!((5..60).contains(&ids.len()), "{} ids in ten minutes", ids.len());
    assert_eq!(world.writes, 0);
    assert!(world.status().rotation.unwrap().steps.len() <= 20, "the schema takes no more");
}

#[test]
fn a_lost_digest_key_costs_a_new_value_before_anything_was_written() {
    for step in ["Preparing", "Publishing"] {
        let mut world = World::asked();
        world.until(step);
        world.until_seen("a pending Secret", |world| !world.pending.is_empty());
        world.lose_key();
        world.settle();
        assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{step}");
        assert_eq!((world.made, world.writes), (2, 1), "{step}");
        assert_eq!((world.secret.as_str(), world.pod.as_str()), (world.password().unwrap(), world.password().unwrap()));
    }
}

#[test]
fn a_lost_digest_key_does_not_stop_a_rotation_whose_values_are_in_the_store() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        let mut world = World::asked();
        world.until(step);
        world.until_seen("a version", |world| world.status().rotation.is_some_and(|open| open.version.is_some()));
        world.lose_key();
        world.settle();
        assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{step}");
        assert_eq!((world.made, world.writes), (1, 1), "{step}");
    }
}

#[test]
fn what_cannot_be_told_from_a_forgery_while_a_value_is_live_waits_for_a_person() {
    for (what, disturb) in [
        ("a forged value", (|world| world.forge(FORGERIES[0].1)) as fn(&mut World)),
        ("a lost key and a store that has moved on", |world| {
            world.lose_key();
            world.change_store("host", "db.shop");
        }),
    ] {
        for step in ["Publishing", "RollingOut", "Settling"] {
            let mut world = World::asked();
            world.until(step);
            world.until_seen("a version", |world| world.status().rotation.is_some_and(|open| open.version.is_some()));
            world.until(step);
            disturb(&mut world);
            world.turns(30);
            let seen = (world.rotated(), world.ready(), world.writes, world.pending.len());
            let held = Some(Reason::PendingNotProven);
            assert_eq!(seen, (held, held, 1, 1), "{what} in {step}\n{}", world.log.join("\n"));
            let (name, said) = (world.pending[0].0.name.clone().unwrap(), world.status().rotation.unwrap().message);
            let command = format!("to give this rotation up: kubectl delete secret {name} -n shop");
            assert!(said.clone().is_some_and(|said| said.ends_with(&command)), "{said:?}");
            world.pending.clear(); // as the message says
            world.settle();
            assert_eq!(world.outcomes()[0].0, RotationOutcome::Failed, "{what} in {step}");
            assert!(world.at_rest(), "{what} in {step}");
        }
    }
}

#[test]
fn a_secret_that_names_other_properties_than_were_written_is_not_believed() {
    let swap = |values: &mut Values, to: &[(&str, &str)]| {
        values.clear();
        values.extend(to.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::from(*value))));
    };
    for (what, values) in [("none", vec![]), ("others, as the store has them", vec![("username", "orders")])] {
        for step in ["Publishing", "RollingOut", "Settling"] {
            let mut world = World::asked();
            world.until(step);
            world.until_seen("a version", |world| world.status().rotation.is_some_and(|open| open.version.is_some()));
            let before = world.status().rotation.unwrap();
            world.forge(|_, held| swap(held, &values));
            world.turns(30);
            assert_eq!(world.rotated(), Some(Reason::PendingNotProven), "{what} in {step}\n{}", world.log.join("\n"));
            let after = world.status().rotation.unwrap();
            assert_eq!((after.digest, after.properties), (before.digest, before.properties), "{what} in {step}");
        }
    }
}

#[test]
fn in_a_store_without_versions_a_forged_secret_and_value_do_not_vouch_for_each_other() {
    for step in ["Publishing", "RollingOut", "Settling"] {
        let mut world = World { has_versions: false, ..World::asked() };
        world.until(step);
        world.until_seen("a version", |world| world.status().rotation.is_some_and(|open| open.version.is_some()));
        let before = world.status().rotation.unwrap();
        assert_eq!(before.version.as_deref(), Some(""));
        world.change_store("password", THEIRS);
        world.forge(FORGERIES[0].1);
        world.turns(30);
        assert_eq!(world.rotated(), Some(Reason::PendingNotProven), "{step}\n{}", world.log.join("\n"));
        assert_eq!(world.status().rotation.unwrap().digest, before.digest, "{step}");
    }
}

#[test]
fn a_rotation_in_a_store_without_versions_ends_as_any_other() {
    let mut world = World { has_versions: false, ..World::asked() };
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{}", world.log.join("\n"));
    assert_eq!((world.made, world.writes), (1, 1));
}

#[test]
fn the_schedule_names_the_properties_and_a_narrower_one_gets_a_new_value() {
    let mut world = World::asked();
    world.until("Publishing");
    let fields = &mut world.object.spec.rotator.generate.as_mut().unwrap().fields;
    fields.as_mut().unwrap()[0].property = "token".to_owned();
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!(world.outcomes(), [(RotationOutcome::Completed, Why::Requested)], "{}", world.log.join("\n"));
    let stored = &world.store.as_ref().unwrap().1;
    assert_eq!((stored["password"].as_str(), stored["token"].as_str().map(str::len)), (Some("old"), Some(32)));
    assert!(world.at_rest(), "the first one is ours, and is dropped");
}

#[test]
fn a_schedule_that_is_edited_when_its_value_is_live_ends_with_that_value() {
    let mut world = World::asked();
    world.until("RollingOut");
    let fields = &mut world.object.spec.rotator.generate.as_mut().unwrap().fields;
    fields.as_mut().unwrap()[0].property = "token".to_owned();
    world.object.metadata.generation = Some(2);
    world.settle();
    assert_eq!((world.outcomes()[0].0, world.made, world.writes), (RotationOutcome::Completed, 1, 1));
}

#[test]
fn a_secret_that_stays_after_its_deletion_is_asked_for_once_and_named() {
    let mut world = World::asked();
    world.until("RollingOut");
    world.pending[0].0.finalizers = Some(vec!["example.com/guard".to_owned()]);
    world.settle();
    assert_eq!(world.log.iter().filter(|line| line.contains("drops the pending Secret")).count(), 1);
    let ready = world.status().conditions.into_iter().find(|at| at.type_ == "Ready").unwrap();
    let name = world.pending[0].0.name.clone().unwrap();
    let command =
        format!("kubectl patch secret {name} -n shop --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'");
    assert!(ready.message.contains("example.com/guard") && ready.message.contains(&command), "{ready:?}");
    world.ask("the next one is not hindered");
    world.settle();
    assert_eq!((world.outcomes().len(), world.writes, world.pending.len()), (2, 2, 1));
    world.pending.clear();
    world.settle();
    assert!(world.at_rest());
}

#[test]
fn a_deleted_schedule_does_not_wait_for_a_secret_that_stays() {
    let mut world = World::asked();
    world.until("RollingOut");
    world.pending[0].0.finalizers = Some(vec!["example.com/guard".to_owned()]);
    world.delete();
    world.settle();
    assert!(world.object.metadata.finalizers.is_none());
}
