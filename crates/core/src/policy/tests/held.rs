//! A value that is held, and what is said of it: after the digest key was lost, under another mode, and while the source
//! cannot be read.

use rekey_api::policy::HeldReason;

use super::{earlier::failed, *};
use crate::summary::Situation;

fn password(world: &World) -> &str {
    world.data["password"].expose_text().unwrap()
}

/// As the controller does where records are made with another digest key.
fn reread(world: &mut World) {
    let policy = world.policy();
    for at in &mut world.history.values {
        let digests = policy.digests_of(&world.key, &world.copies[&at.published.revision], None);
        let version = ObjectVersion { uid: "c".to_owned(), resource_version: "1".to_owned() };
        at.reread = Some(Reread { digests, version });
    }
    world.look(|_| {});
}

#[test]
fn a_value_that_was_rolled_back_is_known_by_its_bytes_when_the_digest_key_is_lost() {
    for is_read in [false, true] {
        let mut world = failed();
        world.sync();
        world.consumers = Consumers::default();
        let before = world.published().revision.clone();
        world.key = DigestKey::new(SecretBytes::from("another"));
        world.look(|_| {});
        if is_read {
            reread(&mut world);
        }
        world.sync();
        if !is_read {
            assert_eq!(password(&world), "bad", "the digests alone say nothing any more");
            continue;
        }
        assert_eq!((password(&world), &world.published().revision), ("one", &before));
        assert_eq!(world.status().held.map(|held| held.reason), Some(HeldReason::RolledBack));
        assert!(world.published().is_by(&world.key), "its record is made anew");
        assert!(world.history.values.iter().all(|at| at.published.is_by(&world.key)), "and so are those of the copies");
        assert!(world.sync().steps.is_empty(), "once");
        world.change("password", "three");
        world.sync();
        assert_eq!(password(&world), "three");
    }
}

/// Publication numbers of versions: the good one is before the bad one, and stays so in the plain Secret.
#[test]
fn a_value_that_is_held_from_another_mode_is_said_to_be() {
    let mut world = failed();
    world.sync();
    let bad = world.history.rolled_back().next().unwrap().changes.publication;
    let SeenSecret::Ours { published, .. } = &mut world.secret else { panic!() };
    let published = Arc::make_mut(published);
    (published.changes.publication, published.changes.previous) = (bad - 1, None);
    world.sync();
    assert_eq!(world.status().held.map(|held| held.reason), Some(HeldReason::RolledBack));
    assert_eq!(world.shown()[0], "Ready=True/RolledBack");
}

#[test]
fn what_is_held_follows_from_the_cluster_also_where_nothing_could_be_read() {
    let mut world = failed();
    world.sync();
    let away = Situation::LastKnown(Reason::Unavailable, "away".to_owned());
    let held = |world: &World| {
        let (status, consumers) = (SecretPolicyStatus::default(), Consumers::default());
        let known = Known { published: Some(world.published()), consumers: &consumers, history: &world.history };
        super::super::failed(&world.policy(), &status, known, &away, world.now).held.map(|held| held.reason)
    };
    assert_eq!(held(&world), Some(HeldReason::RolledBack));
    world.history = History::default();
    assert_eq!(held(&world), None);
}
