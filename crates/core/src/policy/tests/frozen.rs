//! A Secret that keeps its name, and that another tool has made immutable.

use super::*;

fn freeze(world: &mut World) {
    let SeenSecret::Ours { immutable, .. } = &mut world.secret else { panic!() };
    *immutable = true;
}

#[test]
fn a_secret_that_was_made_immutable_is_read_for_at_once_and_reported() {
    let mut world = World::new();
    world.sync();
    world.sync();
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::NotBefore(_)));
    freeze(&mut world);
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::Due(_)));
    let text = world.plan().unwrap_err().to_string();
    let situation = crate::summary::Situation::Stalled(Reason::LockedAndChanged, text.clone());
    let known = Known { published: Some(world.published()), consumers: &Consumers::default(), history: &world.history };
    world.object.status = Some(failed(&world.policy(), &world.status(), known, &situation, world.now));
    let again = fetch(&world.policy(), &world.seen(), world.now);
    assert!(matches!(again, Fetch::Due(_)), "a round without a read would say that all is well");
    for part in ["another tool has made it immutable", "set spec.immutability to Locked", "rekey.dev/unlock="] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn other_bytes_that_were_made_immutable_are_no_matter_of_the_mode() {
    for mode in ["None", "Locked"] {
        let mut world = World::with(&json!({"immutability": mode}));
        world.sync();
        freeze(&mut world);
        world.look(|content| {
            content.data.insert("password".to_owned(), SecretBytes::from("theirs"));
            content.edited_by = vec!["editor".to_owned()];
        });
        if let SeenSecret::Ours { content: Some(content), .. } = &mut world.secret {
            content.is_intact = false;
        }
        let text = world.plan().unwrap_err().to_string();
        assert!(text.contains("editor had changed its data") && text.contains("rekey.dev/unlock="), "{mode}: {text}");
        assert!(!text.contains("theirs"), "{text}");
    }
}
