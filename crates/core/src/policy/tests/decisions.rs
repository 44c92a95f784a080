//! What each situation leads to.

use super::*;

#[test]
fn a_new_secret_is_created_and_the_second_look_does_nothing() {
    let mut world = World::new();
    let plan = world.sync();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert!(desired.over.is_none() && !desired.immutable && desired.owner.is_some());
    assert_eq!(text(&world.data), [("password", "one"), ("username", "orders")]);
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
    assert_eq!(world.reasons(), [ChangeReason::Created]);
    assert_eq!(world.status().revision.as_deref(), Some(world.published().revision.as_str()));
    let status = world.status();
    let second = world.sync();
    assert_eq!((second.steps.len(), second.events.len()), (0, 0));
    assert_eq!(second.status, status, "what is written twice is written equal");
}

#[test]
fn a_changed_key_makes_a_revision_and_is_recorded_for_itself() {
    let mut world = World::new();
    world.sync();
    let before = world.published().clone();
    world.change("password", "two");
    let plan = world.sync();
    let after = world.published().clone();
    assert_eq!(writes(&plan), 1);
    assert_ne!(after.revision, before.revision);
    assert_eq!(after.changes.previous.as_deref(), Some(before.revision.as_str()));
    assert_eq!(changed(&world), ["password"]);
    assert!(after.digests.differs(&before.digests, "password") && !after.digests.differs(&before.digests, "username"));
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::SourceChanged]);
    let versions: Vec<String> = world.status().source_versions.into_iter().map(|at| at.version).collect();
    assert_eq!(versions, ["2"]);
}

#[test]
fn a_new_version_with_equal_bytes_changes_the_status_alone() {
    let mut world = World::new();
    world.sync();
    let revision = world.published().revision.clone();
    world.change("password", "one");
    let plan = world.sync();
    assert_eq!((writes(&plan), plan.events.len()), (0, 0));
    assert_eq!(plan.status.source_versions[0].version, "2");
    assert_eq!(plan.status.revision, Some(revision));
}

#[test]
fn drift_is_repaired_without_a_new_revision_and_names_who_did_it() {
    let mut world = World::new();
    world.sync();
    let revision = world.published().revision.clone();
    world.look(|content| {
        content.data.insert("password".to_owned(), SecretBytes::from("theirs"));
        content.data.insert("extra".to_owned(), SecretBytes::from("x"));
        content.edited_by = vec!["kubectl-edit".to_owned()];
    });
    let plan = world.sync();
    assert_eq!(text(&world.data), [("password", "one"), ("username", "orders")], "what others added is removed");
    assert_eq!(world.published().revision, revision);
    let Notice { reason, text: told, .. } = &plan.events[0];
    assert_eq!(*reason, Reason::Drifted);
    assert!(told.contains("kubectl-edit"), "{told}");
    assert_eq!(world.reasons(), [ChangeReason::Created]);
}

#[test]
fn a_secret_that_was_deleted_comes_back_and_its_consumers_learn_of_what_changed_meanwhile() {
    let everything = crate::workload::Keys::All;
    for (remembered, change, changed) in
        [(true, false, false), (true, true, true), (false, false, false), (false, true, true)]
    {
        let mut world = World::new();
        world.sync();
        let before = world.published().clone();
        world.last = Some(Arc::new(before.clone())).filter(|_| remembered);
        (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
        if change {
            world.change("password", "two");
        }
        world.sync();
        let after = world.published();
        assert_eq!(after.changed(&everything).is_some(), changed, "{remembered} {change}");
        assert_eq!(after.revision == before.revision, remembered && !change, "equal bytes keep what is known of them");
    }
}

#[test]
fn lost_labels_are_put_back_at_once_and_a_wish_for_others_is_no_drift() {
    let mut world = World::new();
    world.sync();
    let undress = |world: &mut World| {
        if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
            *dressed = false;
        }
    };
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::NotBefore(_)));
    undress(&mut world);
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::Due(_)));
    let plan = world.sync();
    assert_eq!((writes(&plan), plan.events[0].reason), (1, Reason::Drifted));
    world.object.metadata.generation = Some(2);
    undress(&mut world);
    let plan = world.sync();
    assert_eq!((writes(&plan), plan.events[0].reason), (1, Reason::Synced));
}

#[test]
fn annotations_of_ours_are_refused_but_the_one_about_use() {
    let with = |name: &str| {
        let annotations = json!({ name: "RemoteStore/vault" });
        let more = json!({"target": {"template": {"metadata": {"annotations": annotations}}}});
        Policy::try_from(&World::with(&more).object).map(|policy| policy.annotations.len())
    };
    assert_eq!(with("rekey.dev/usable-by"), Ok(1));
    assert_eq!(with("example.com/note"), Ok(1));
    assert!(with("rekey.dev/revision").is_err() && with("kubernetes.io/service-account.name").is_err());
}

#[test]
fn content_that_is_as_it_should_be_is_only_remembered() {
    let mut world = World::new();
    world.sync();
    world.look(|_| {});
    let plan = world.plan().unwrap();
    assert!(matches!(plan.steps.as_slice(), [Step::Verified]), "{:?}", plan.steps);
}

#[test]
fn a_lost_digest_key_makes_new_digests_but_no_new_revision() {
    let mut world = World::new();
    world.sync();
    let before = world.published().clone();
    world.key = DigestKey::new(SecretBytes::from("another"));
    world.look(|_| {});
    let plan = world.sync();
    let after = world.published().clone();
    assert_eq!(writes(&plan), 1);
    assert_eq!((&after.revision, &after.changes), (&before.revision, &before.changes));
    assert!(!after.digests.comparable(&before.digests));
    assert_eq!(world.reasons(), [ChangeReason::Created]);
}

#[test]
fn a_lost_digest_key_and_a_new_value_make_a_revision() {
    let mut world = World::new();
    world.sync();
    let before = world.published().clone();
    world.key = DigestKey::new(SecretBytes::from("another"));
    world.change("password", "two");
    world.look(|_| {});
    world.sync();
    assert_ne!(world.published().revision, before.revision);
    assert_eq!(changed(&world), ["password"]);
}

fn foreign(world: &mut World, adopt_by: Option<&str>, password: &str) {
    let pairs = [("username", "orders"), ("password", password)];
    world.data = pairs.map(|(key, value)| (key.to_owned(), SecretBytes::from(value))).into();
    let content = adopt_by.map(|_| Content {
        data: world.data.clone(),
        kind: "Opaque".to_owned(),
        immutable: false,
        edited_by: Vec::new(),
        edited_at: None,
        created: None,
        other_annotations: 0,
        is_intact: false,
    });
    world.secret = SeenSecret::Foreign { adopt_by: adopt_by.map(str::to_owned), policy: None, content };
}

#[test]
fn a_foreign_secret_is_not_touched_without_consent() {
    for adopt_by in [None, Some("another-policy")] {
        let mut world = World::new();
        foreign(&mut world, adopt_by, "one");
        let error = world.plan().map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), Reason::NoConsent);
        assert!(error.to_string().contains("rekey.dev/adopt-by=db"), "{error}");
    }
}

#[test]
fn adoption_of_the_same_bytes_restarts_nobody_and_of_others_is_a_change() {
    for (theirs, changed) in [("one", Vec::<&str>::new()), ("theirs", vec!["password"])] {
        let mut world = World::new();
        foreign(&mut world, Some("db"), theirs);
        world.sync();
        assert_eq!(super::changed(&world), changed, "{theirs}");
        assert_eq!(world.reasons(), [ChangeReason::Adopted]);
        assert_eq!(text(&world.data), [("password", "one"), ("username", "orders")]);
        assert!(world.sync().steps.is_empty());
    }
}

#[test]
fn the_secret_of_another_policy_is_a_conflict() {
    let mut world = World::new();
    world.secret = SeenSecret::Foreign { adopt_by: None, policy: Some("other".to_owned()), content: None };
    let error = world.plan().map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::TargetConflict);
    assert!(error.to_string().contains("\"other\""), "{error}");
}

#[test]
fn a_locked_secret_refuses_another_value_and_takes_the_old_one_back() {
    let mut world = World::with(&json!({"immutability": "Locked"}));
    let plan = world.sync();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert!(desired.immutable);
    world.change("password", "two");
    let error = world.plan().map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::LockedAndChanged);
    let told = error.to_string();
    assert!(told.contains("(keys: password)") && told.contains("no way out"), "{told}");
    world.change("password", "one");
    assert_eq!(writes(&world.sync()), 0);
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
}

#[test]
fn leaving_locked_is_refused_and_says_so() {
    let mut world = World::with(&json!({"immutability": "Locked"}));
    world.sync();
    world.object.spec.immutability = Immutability::None;
    let error = world.plan().map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::NotSupportedYet);
}

#[test]
fn a_rotated_value_is_reported_once_it_was_read_not_before() {
    let mut world = World::new();
    world.sync();
    world.rotation = Some(OpenRotation { id: "r".to_owned(), key: "shop/db".to_owned(), version: "2".to_owned() });
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::Due(_)), "it does not wait for its poll");
    world.sync();
    assert_eq!(world.status().rotation, None, "the old version was read");
    world.change("password", "two");
    world.sync();
    let echo = world.status().rotation.unwrap();
    assert_eq!((echo.id.as_str(), echo.version.as_deref()), ("r", Some("2")));
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::Rotated]);
    assert!(matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::NotBefore(_)));
}

#[test]
fn a_later_version_delivers_a_rotation_too() {
    let mut world = World::new();
    world.sync();
    world.rotation = Some(OpenRotation { id: "r".to_owned(), key: "shop/db".to_owned(), version: "2".to_owned() });
    world.version = "10".to_owned();
    world.sync();
    assert!(world.status().rotation.is_some(), "versions are compared as numbers");
}

#[test]
fn what_is_missing_in_the_store_leaves_everything_as_it_is() {
    let mut world = World::new();
    world.sync();
    world.value = json!({"username": "orders"});
    let error = world.plan().map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::PropertyNotFound);
}

proptest! {
    #[test]
    fn planning_after_applying_gives_no_steps(
        changes in prop::collection::vec(("(username|password)", "[a-z]{0,3}", any::<bool>()), 1..12),
    ) {
        let mut world = World::new();
        for (property, value, tampered) in changes {
            world.change(&property, &value);
            if tampered && !world.data.is_empty() {
                world.look(|content| drop(content.data.insert("extra".to_owned(), SecretBytes::from("x"))));
            }
            world.sync();
            let (status, data) = (world.status(), world.data.clone());
            let again = world.sync();
            prop_assert_eq!(again.steps.len(), 0);
            prop_assert_eq!(again.status, status);
            prop_assert_eq!(&world.data, &data);
            prop_assert_eq!(data.len(), 2);
        }
    }
}
