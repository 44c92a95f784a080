//! Earlier values of one Secret: private copies, going back by itself and by request.

use super::*;
use crate::{
    rollout::{Before, Settled, tests::workload},
    workload::{Marker, Progress},
};

pub(super) fn keeping(keep: u32) -> World {
    World::with(&json!({"versions": {"keep": keep}}))
}

fn going_back() -> World {
    World::with(&json!({"rollout": {"onFailure": "RollBack"}}))
}

pub(super) fn password(world: &World) -> &str {
    world.data["password"].expose_text().unwrap()
}

/// What became of each copy, by its password, in the order in which they were made.
fn copies(world: &World) -> Vec<(&str, Option<Mark>)> {
    let copy = |at: &Earlier| (world.copies[&at.published.revision]["password"].expose_text().unwrap(), at.mark);
    world.history.values.iter().map(|at| (copy(at).0, copy(at).1)).collect()
}

/// The one consumer, restarted onto what is published.
fn consumer(world: &mut World, progress: Progress) {
    let mut row = workload("");
    row.uses = [("db".to_owned(), crate::rollout::tests::changed("db").how)].into();
    row.marker = Marker::parse(Some(&format!("db={}", world.published().consumed(&Keys::All))));
    row.marked = Some(world.now);
    let settled = if progress == Progress::Complete { Settled::Yes } else { Settled::NotYet };
    row.progress = progress;
    let consumer = Consumer {
        workload: Arc::new(row),
        look: None,
        settled,
        counted: None,
        reverted: false,
        before: Before::Healthy,
        waits: None,
        set_held_by: None,
    };
    world.consumers = Consumers { workloads: vec![consumer], ..Consumers::default() };
}

fn stuck() -> Progress {
    Progress::Stuck("its pod is in a back-off".to_owned())
}

/// A value that worked, and one on which the consumer fails.
pub(super) fn failed() -> World {
    let mut world = going_back();
    world.sync();
    consumer(&mut world, Progress::Complete);
    world.sync();
    world.change("password", "bad");
    world.sync();
    consumer(&mut world, stuck());
    world
}

#[test]
fn what_is_replaced_is_kept_and_no_copy_is_made_where_none_is_asked_for() {
    let mut world = keeping(2);
    for value in ["two", "three"] {
        world.sync();
        world.change("password", value);
    }
    world.sync();
    assert_eq!((password(&world), copies(&world)), ("three", vec![("one", None), ("two", None)]));
    let plan = world.sync();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    let mut world = World::new();
    world.sync();
    world.change("password", "two");
    world.sync();
    assert!(world.copies.is_empty());
}

#[test]
fn a_value_that_not_all_have_run_on_is_no_good_one() {
    let mut world = keeping(2);
    world.sync();
    consumer(&mut world, Progress::Underway(String::new()));
    world.sync();
    world.change("password", "two");
    world.sync();
    assert_eq!(copies(&world), [("one", Some(Mark::Untried))]);
}

#[test]
fn a_value_that_fails_is_replaced_by_the_last_good_one_and_not_tried_again() {
    let mut world = failed();
    let bad = world.published().changes.publication;
    let plan = world.sync();
    assert!(plan.events.iter().any(|event| event.text.contains("which worked last")), "{:?}", plan.events);
    assert_eq!(password(&world), "one");
    assert_eq!(copies(&world), [("one", None), ("bad", Some(Mark::RolledBack))]);
    assert_eq!(world.published().changes.publication, bad + 1, "a new publication of a known revision");
    assert!(world.published().changes.restored, "consumers go back without waiting");
    for _ in 0..3 {
        assert!(world.sync().steps.is_empty(), "once");
        consumer(&mut world, stuck());
    }
    assert!(world.sync().steps.is_empty(), "a consumer that fails on the good value, too, changes nothing");
    let held = world.status().held.map(|held| (held.revision, held.reason));
    assert_eq!(held, Some((world.published().revision.clone(), rekey_api::policy::HeldReason::RolledBack)));
    assert_eq!(world.reasons().last(), Some(&ChangeReason::RolledBack));
    consumer(&mut world, Progress::Complete);
    world.change("password", "three");
    world.sync();
    world.sync();
    assert_eq!((password(&world), world.status().held), ("three", None));
}

#[test]
fn going_back_needs_nothing_of_the_source() {
    let world = failed();
    let back = back_without_source(&world.policy(), &world.seen(), world.now).expect("it goes back");
    assert!(matches!(back.steps.as_slice(), [Step::Keep { .. }, Step::Restore { .. }]), "{:?}", back.steps);
    let mut well = going_back();
    well.sync();
    assert!(back_without_source(&well.policy(), &well.seen(), well.now).is_none());
}

#[test]
fn who_asks_gets_the_bad_value_again() {
    let mut world = failed();
    world.sync();
    consumer(&mut world, Progress::Complete);
    world.sync();
    let asked = [(rekey_api::names::SYNC_REQUESTED.to_owned(), "now".to_owned())].into();
    world.object.metadata.annotations = Some(asked);
    world.sync();
    assert_eq!(password(&world), "bad");
}

#[test]
fn a_rotation_waits_for_a_person() {
    let mut world = failed();
    for value in [stuck(), Progress::Complete] {
        consumer(&mut world, value);
        world.history.rotated = Some(world.now);
        assert!(world.sync().steps.is_empty(), "the credential of the value before may be dead");
    }
}

#[test]
fn a_set_goes_back_whole_or_not_at_all() {
    let mut world = failed();
    world.consumers.workloads[0].set_held_by = Some("mail".to_owned());
    assert!(world.sync().steps.is_empty(), "another member of the set stays where it is");
    world.consumers.workloads[0].set_held_by = None;
    world.sync();
    assert_eq!(password(&world), "one");
}

#[test]
fn an_edit_is_repaired_with_the_copy_while_an_earlier_value_is_held() {
    let mut world = failed();
    world.sync();
    world.look(|content| content.data = [("password".to_owned(), SecretBytes::from("edited"))].into());
    if let SeenSecret::Ours { content: Some(content), .. } = &mut world.secret {
        content.is_intact = false;
    }
    let before = Arc::clone(world.published());
    world.sync();
    assert_eq!(password(&world), "one");
    assert_eq!(world.published().revision, before.revision);
    assert_ne!(world.published().edge(&Keys::All), before.edge(&Keys::All), "who read the edit is outdated");
    assert!(world.sync().steps.is_empty());
}

/// Nothing can be written into it: neither an edit is repaired, nor another revision published.
#[test]
fn a_secret_that_was_made_immutable_while_an_earlier_value_is_held_is_reported() {
    let mut world = failed();
    world.sync();
    world.look(|content| content.data = [("password".to_owned(), SecretBytes::from("edited"))].into());
    let SeenSecret::Ours { content: Some(content), immutable, .. } = &mut world.secret else { panic!() };
    (content.is_intact, *immutable) = (false, true);
    let text = world.plan().unwrap_err().to_string();
    assert!(text.contains("made it immutable") && text.contains("rekey.dev/unlock="), "{text}");
    let kept = world.history.values[0].published.revision.clone();
    ask(&mut world, Some(&kept));
    let text = world.plan_with(None).unwrap_err().to_string();
    assert!(text.contains("first remove the annotation rekey.dev/rollback-to"), "{text}");
    let mut failing = failed();
    let SeenSecret::Ours { immutable, .. } = &mut failing.secret else { panic!() };
    *immutable = true;
    assert!(back_without_source(&failing.policy(), &failing.seen(), failing.now).is_none());
}

pub(super) fn ask(world: &mut World, revision: Option<&str>) {
    let asked = revision.map(|revision| (rekey_api::names::ROLLBACK_TO.to_owned(), revision.to_owned()));
    world.object.metadata.annotations = Some(asked.into_iter().collect());
}

/// Publication numbers: one is good and its copy the oldest, two was never complete, three was rolled back, and one is
/// published again as the fourth.
#[test]
fn what_going_back_needs_is_not_collected() {
    let mut world = failed();
    world.sync();
    let policy = world.policy();
    let needed = world.history.needed(&policy, world.published());
    let all: BTreeSet<String> = world.history.values.iter().map(|at| at.published.revision.clone()).collect();
    assert_eq!(needed, all, "the bad one, so that it is known, and the good one, for repairs");
    world.change("password", "three");
    consumer(&mut world, Progress::Complete);
    world.sync();
    let needed = world.history.needed(&policy, world.published());
    let good = world.history.values.iter().find(|at| at.mark.is_none()).unwrap();
    assert_eq!(needed, [good.published.revision.clone()].into());
}

#[test]
fn a_secret_that_is_deleted_while_a_bad_value_is_held_back_comes_back_with_the_good_one() {
    let mut world = failed();
    world.sync();
    world.last = Some(Arc::clone(world.published()));
    (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
    world.consumers = Consumers::default();
    world.sync();
    assert_eq!(password(&world), "one");
    // Nor does a process that has not seen it know less.
    (world.secret, world.data, world.last) = (SeenSecret::Absent, BTreeMap::new(), None);
    world.sync();
    assert_eq!(password(&world), "one");
}

#[test]
fn a_value_is_not_taken_back_for_what_it_has_not_caused() {
    let mut world = failed();
    let row = Arc::make_mut(&mut world.consumers.workloads[0].workload);
    let only = Keys::Some(["username".to_owned()].into());
    row.uses.get_mut("db").unwrap().keys = only.clone();
    let SeenSecret::Ours { published, .. } = &world.secret else { panic!() };
    row.marker = Marker::parse(Some(&format!("db={}", published.consumed(&only))));
    assert!(world.sync().steps.is_empty(), "the consumer reads a key that is equal in both");

    let mut world = failed();
    world.consumers = Consumers::default();
    world.look(|content| content.data = [("password".to_owned(), SecretBytes::from("edited"))].into());
    if let SeenSecret::Ours { content: Some(content), .. } = &mut world.secret {
        content.is_intact = false;
    }
    world.sync();
    consumer(&mut world, stuck());
    assert!(world.sync().steps.is_empty(), "it was restarted for a repair of the same value");
}

/// What is published now came from a rotation, or one is under way: the value before may not log in any more.
#[test]
fn nobody_goes_back_past_a_rotation() {
    let mut world = keeping(3);
    world.sync();
    let first = world.published().revision.clone();
    world.change("password", "two");
    world.sync();
    ask(&mut world, Some(&first));
    let SeenSecret::Ours { published, .. } = &mut world.secret else { panic!() };
    let rotated = crate::published::Rotated { id: "r".to_owned(), digest: "d".to_owned() };
    Arc::make_mut(published).changes.rotation = Some(rotated);
    let text = world.plan().unwrap_err().to_string();
    assert!(text.contains("the credential was rotated after"), "{text}");
}
