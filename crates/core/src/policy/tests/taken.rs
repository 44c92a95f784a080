//! What a later write of equal content says of when the content was taken: nothing new.

use super::*;

/// Consumers are judged by it.
fn edge(world: &World) -> Option<DateTime<Utc>> {
    world.published().changed(&Keys::All)
}

/// The row of what was written last: the API server has taken it at once.
fn row(world: &mut World) {
    let taken = Some(world.now);
    let SeenSecret::Ours { published, .. } = &mut world.secret else { panic!("no Secret of ours") };
    *published = Arc::new(Published { taken, ..Published::clone(published) });
    world.last = Some(Arc::clone(world.published()));
}

fn changed_at_once() -> (World, DateTime<Utc>) {
    let mut world = World::new();
    world.sync();
    row(&mut world);
    world.change("password", "two");
    world.sync();
    row(&mut world);
    let edge = edge(&world).unwrap();
    (world, edge)
}

#[test]
fn a_secret_that_is_made_again_soon_after_a_change_was_not_written_late() {
    for (seconds, times) in [(2, 1), (7, 3), (18, 1)] {
        let (mut world, change) = changed_at_once();
        for _ in 0..times {
            world.now += TimeDelta::seconds(seconds);
            world.gone = Some(world.now);
            (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
            assert_eq!(writes(&world.sync()), 1);
            row(&mut world);
            assert_eq!(edge(&world), Some(change), "{seconds} s, {times} times");
        }
        assert_eq!(world.published().gaps(&Keys::All).count(), times, "who started without it holds nothing");
    }
}

#[test]
fn a_record_that_is_written_again_soon_after_a_change_does_not_make_it_later() {
    let (mut world, change) = changed_at_once();
    world.now += TimeDelta::seconds(5);
    let found = content(world.data.clone());
    world.secret = SeenSecret::Foreign { adopt_by: Some("db".to_owned()), policy: None, content: Some(found) };
    assert_eq!(writes(&world.sync()), 1);
    row(&mut world);
    assert_eq!(edge(&world), Some(change));
}
