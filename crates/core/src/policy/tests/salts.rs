//! Salts of templates: where their seed is, and what becomes of the data when it is lost.

use super::*;
use crate::Seed;

const LINE: &str = "{{ htpasswd .username .password }}";

fn salted(more: &Value) -> World {
    let mut target = json!({"target": {"template": {"include": "Merge", "data": {"line": LINE}}}});
    for (name, value) in more.as_object().unwrap() {
        target[name] = value.clone();
    }
    World::with(&target)
}

fn line(world: &World) -> String {
    sources::value(world, "line")
}

/// The Secret as it is, with this done to its metadata.
fn record(world: &mut World, change: impl FnOnce(&mut Published)) {
    let SeenSecret::Ours { published, .. } = &mut world.secret else { panic!("no Secret of ours") };
    change(Arc::make_mut(published));
}

fn new_key(world: &mut World) {
    world.key = DigestKey::new(SecretBytes::from("another"));
    world.look(|_| {});
}

#[test]
fn the_seed_is_random_and_stands_on_the_secret_while_there_are_templates() {
    let mut world = salted(&json!({}));
    let plan = world.sync();
    let annotation = sources::desired(&plan).annotations[names::SEED].clone();
    assert_eq!(world.published().seed, Seed::parse(&annotation));
    let mut other = salted(&json!({}));
    other.chance = Sequence::from(2);
    other.sync();
    assert_ne!(line(&other), line(&world), "equal inputs elsewhere");
    let first = line(&world);
    world.change("password", "two");
    world.sync();
    assert_eq!(world.published().seed, Seed::parse(&annotation), "it stays");
    world.change("password", "one");
    world.sync();
    assert_eq!(line(&world), first);
    let untemplated = World::new().sync();
    assert!(!sources::desired(&untemplated).annotations.contains_key(names::SEED));
}

#[test]
fn a_lost_digest_key_changes_no_salt_and_locks_nobody_out() {
    for more in [json!({}), json!({"immutability": "Locked"})] {
        let mut world = salted(&more);
        world.sync();
        let (before, revision) = (line(&world), world.published().revision.clone());
        new_key(&mut world);
        world.sync();
        assert_eq!((line(&world), &world.published().revision), (before, &revision), "{more}");
        assert_eq!(world.shown(), ["Ready=True/Synced"]);
    }
}

#[test]
fn without_its_seed_what_is_published_stays_until_its_inputs_change() {
    for key_is_lost in [false, true] {
        let mut world = salted(&json!({}));
        world.sync();
        let (before, revision) = (line(&world), world.published().revision.clone());
        record(&mut world, |published| published.seed = None);
        if key_is_lost {
            new_key(&mut world);
        }
        for _ in 0..2 {
            world.sync();
            assert_eq!((line(&world), &world.published().revision), (before.clone(), &revision), "{key_is_lost}");
            assert_eq!(world.shown(), ["Ready=True/Synced"]);
        }
        // Labels are put back without making anything again.
        world.look(|_| {});
        if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
            *dressed = false;
        }
        assert_eq!(writes(&world.sync()), 1);
        assert_eq!((line(&world), &world.published().revision), (before.clone(), &revision));
        world.change("password", "two");
        world.sync();
        assert_ne!(world.published().revision, revision);
        assert!(world.published().seed.is_some());
        let after = line(&world);
        world.sync();
        assert_eq!(line(&world), after);
    }
}

#[test]
fn a_record_that_somebody_has_written_keeps_no_value_that_he_has_written_too() {
    for is_known_input in [false, true] {
        let mut world = salted(&json!({}));
        world.sync();
        let forged = DigestKey::new(SecretBytes::from("forged"));
        world.data.insert("password".to_owned(), SecretBytes::from("forged"));
        let digests = forged.of_secret("shop", "db", &world.data);
        record(&mut world, |published| {
            published.seed = None;
            published.digests = digests;
            if !is_known_input {
                published.changes.inputs = Some("forged.inputs".to_owned());
            }
        });
        world.look(|_| {});
        world.sync();
        assert_eq!(sources::value(&world, "password"), "one", "{is_known_input}");
    }
}

#[test]
fn a_record_of_another_digest_key_where_ours_stood_keeps_no_salts() {
    for knows_ours in [false, true] {
        let mut world = salted(&json!({}));
        world.sync();
        let (before, seed) = (line(&world), world.published().seed.clone());
        world.last = knows_ours.then(|| Arc::clone(world.published()));
        world.data.insert("line".to_owned(), SecretBytes::from("salts of somebody else"));
        let digests = DigestKey::new(SecretBytes::from("forged")).of_secret("shop", "db", &world.data);
        record(&mut world, |published| {
            published.seed = None;
            published.digests = digests;
            published.changes.inputs = Some("forged.inputs".to_owned());
        });
        world.look(|_| {});
        world.sync();
        if knows_ours {
            assert_eq!((line(&world), world.published().seed.clone()), (before, seed));
        } else {
            assert_eq!(line(&world), "salts of somebody else", "after the loss of our key nobody could tell");
        }
    }
}

#[test]
fn a_template_that_changed_is_followed_also_without_the_seed() {
    let mut world = salted(&json!({}));
    world.sync();
    record(&mut world, |published| published.seed = None);
    let template = json!({"template": {"include": "Merge", "data": {"line": "plain {{ .password }}"}}});
    world.object.spec.target = serde_json::from_value(template).unwrap();
    world.sync();
    assert_eq!(line(&world), "plain one");
}

#[test]
fn what_was_published_before_there_were_seeds_is_not_made_anew() {
    let mut world = salted(&json!({}));
    world.sync();
    // As it was: salts of the digest key.
    let values: BTreeMap<String, SecretBytes> = world
        .data
        .iter()
        .filter(|(name, _)| *name != "line")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let work = crate::render::work::Work::shared(&world.stop);
    let data = world.policy().dress(&values, None, &world.key, &work).unwrap().data;
    let digests = world.key.of_secret("shop", "db", &data);
    world.data = data;
    record(&mut world, |published| {
        published.seed = None;
        published.changes.inputs = None;
        published.digests = digests;
    });
    let (before, revision) = (line(&world), world.published().revision.clone());
    assert!(world.sync().steps.is_empty(), "an upgrade writes nothing");
    new_key(&mut world);
    world.sync();
    assert_eq!((line(&world), &world.published().revision), (before, &revision));
    world.change("password", "two");
    world.sync();
    assert!(world.published().seed.is_some());
}

#[test]
fn a_secret_that_was_deleted_comes_back_with_its_salts_or_not_at_all_if_it_was_locked() {
    for locked in [false, true] {
        let immutability = if locked { "Locked" } else { "None" };
        let mut world = salted(&json!({ "immutability": immutability }));
        world.sync();
        let before = line(&world);
        world.last = Some(Arc::clone(world.published()));
        (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
        world.sync();
        assert_eq!(line(&world), before, "it is remembered");
        (world.last, world.secret) = (None, SeenSecret::Absent);
        let made = world.sync_with(Some(&world.fetched()));
        if locked {
            let error = made.map(|_| ()).unwrap_err();
            assert_eq!(error.reason(), Reason::LockedAndChanged);
            assert!(error.to_string().contains("the seed of the salts"), "{error}");
        } else {
            assert!(made.is_ok() && line(&world) != before);
        }
    }
    let template = json!({"template": {"include": "Merge", "data": {"line": "{{ .password }}"}}});
    let mut world = World::with(&json!({"immutability": "Locked", "target": template}));
    world.sync();
    (world.last, world.secret) = (None, SeenSecret::Absent);
    world.sync();
    assert_eq!(world.shown(), ["Ready=True/Synced"], "without salts it is the same");
}
