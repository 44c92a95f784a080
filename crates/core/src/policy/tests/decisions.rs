//! What each situation leads to.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

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
    assert_eq!((reason.severity(), *reason), (Severity::Warning, Reason::Drifted));
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
        world.last = Some(Arc::clone(&before)).filter(|_| remembered);
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
fn no_template_may_set_what_rekey_or_kubernetes_act_on() {
    let with = |name: &str| {
        ["annotations", "labels"].map(|part| {
            let more = json!({"target": {"template": {"metadata": {part: {name: "x"}}}}});
            PolicySpec::try_from(&World::with(&more).object).map(drop).map_err(|error| error.reason())
        })
    };
    for name in ["example.com/note", "argocd.argoproj.io/secret-type", "kustomize.toolkit.fluxcd.io/prune"] {
        assert_eq!(with(name), [Ok(()), Ok(())], "{name}");
    }
    for name in [
        "kubectl.kubernetes.io/last-applied-configuration",
        "rekey.dev/usable-by",
        "rekey.dev/adopt-by",
        "rekey.dev/revision",
        "rekey.dev/schedule-uid",
        "kubernetes.io/service-account.name",
    ] {
        assert_eq!(with(name), [Err(Reason::InvalidSpec), Err(Reason::InvalidSpec)], "{name}");
    }
}

/// They steer other tools, and are there for the policy.
#[test]
fn nothing_that_stands_on_a_policy_is_copied_to_its_secret() {
    let mut world = World::new();
    let marks: BTreeMap<String, String> =
        names::NEVER_COPIED.iter().map(|name| (format!("{name}x"), "x".to_owned())).collect();
    world.object.metadata.labels = Some(marks.clone());
    world.object.metadata.annotations = Some(marks.clone());
    let plan = world.sync();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert!(!marks.keys().any(|name| desired.labels.contains_key(name) || desired.annotations.contains_key(name)));
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
    let content = adopt_by.map(|_| content(world.data.clone()));
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
fn a_credential_of_the_cluster_itself_is_never_written_however_it_is_held() {
    let merge = json!({"target": {"ownership": "Merge"}});
    let existing = json!({"source": {"existing": {}}});
    for more in [json!({}), merge, existing] {
        for (kind, is_refused) in [
            ("kubernetes.io/service-account-token", true),
            ("bootstrap.kubernetes.io/token", true),
            ("kubernetes.io/of-a-later-version", true),
            ("kubernetes.io/tls", false),
            ("example.com/licence", false),
        ] {
            let mut world = World::with(&more);
            foreign(&mut world, Some("db"), "one");
            let SeenSecret::Foreign { content: Some(content), .. } = &mut world.secret else { panic!("no content") };
            content.kind = kind.to_owned();
            let content = content.clone();
            let refused = |secret: &SeenSecret| {
                admit(&world.policy(), secret)
                    .is_err_and(|error| error.to_string().contains("credential of the cluster itself"))
            };
            assert_eq!(refused(&world.secret), is_refused, "{more} {kind}");
            // Also one that was governed, or written into, before the rule.
            let published = Arc::new(Published {
                policy: "db".to_owned(),
                revision: "r".to_owned(),
                digests: crate::digest::Digests::default(),
                changes: crate::published::Changes::first(world.now),
                seed: None,
                taken: None,
            });
            let (content, adopt_by, kind) = (Some(content), Some("db".to_owned()), kind.to_owned());
            let (dressed, immutable, controller) = (true, false, None);
            let ours = SeenSecret::Ours { published, content, dressed, immutable, kind, adopt_by, controller };
            assert_eq!(refused(&ours), is_refused, "{more} {ours:?}");
        }
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
    assert!(told.contains("(keys: password)") && told.contains("Set the value back"), "{told}");
    world.change("password", "one");
    assert_eq!(writes(&world.sync()), 0);
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
}

#[test]
fn a_locked_secret_that_is_gone_comes_back_with_its_value_whatever_the_status_says() {
    for forged in [json!({}), json!({"observedGeneration": 1, "sourceVersions": [{"key": "shop/db", "version": "2"}]})]
    {
        let mut world = World::with(&json!({"immutability": "Locked"}));
        world.sync();
        world.last = Some(Arc::clone(world.published()));
        world.change("password", "two");
        world.secret = SeenSecret::Absent;
        world.object.status = Some(serde_json::from_value(forged).unwrap());
        let error = world.plan().map(|_| ()).unwrap_err();
        assert_eq!(error.reason(), Reason::LockedAndChanged, "{error}");
        world.change("password", "one");
        assert_eq!(writes(&world.sync()), 1, "what it held is known, and is put back");
    }
}

#[test]
fn leaving_locked_needs_more_than_another_spec() {
    let mut world = World::with(&json!({"immutability": "Locked"}));
    world.sync();
    world.object.spec.immutability = Immutability::None;
    let error = world.plan().map(|_| ()).unwrap_err();
    assert_eq!(error.reason(), Reason::LockedAndChanged);
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

#[test]
fn a_publication_is_dated_when_its_values_are_made_and_not_before() {
    let mut world = World::new();
    world.sync();
    world.change("password", "two");
    let (policy, seen, fetched) = (world.policy(), world.seen(), world.fetched());
    let made = make(&policy, &seen, Some(&fetched), world.tools()).unwrap();
    // Templates may take seconds; pods that start meanwhile read the old value.
    let after = Tools { now: world.now + TimeDelta::seconds(4), ..world.tools() };
    let plan = secret(&policy, &seen, Some(&fetched), made, after).unwrap();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    let metadata = ObjectMeta { annotations: Some(desired.annotations.clone()), ..ObjectMeta::default() };
    let changed = Published::read(&metadata).unwrap().changed(&Keys::All);
    assert_eq!(changed, Some(after.now));
}

#[test]
fn a_suspended_policy_keeps_its_last_value_and_says_why() {
    let mut world = World::new();
    let rest = |world: &mut World| world.object.status = Some(suspended(&world.policy(), &world.status(), world.now));
    rest(&mut world);
    assert_eq!(world.shown(), ["Ready=False/Suspended", "ConsumersCurrent=False/Suspended"], "nothing is published");
    world.sync();
    rest(&mut world);
    assert_eq!(world.shown(), ["Ready=True/Suspended", "ConsumersCurrent=False/Suspended"]);
    world.sync();
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
}

#[test]
fn before_the_first_publication_the_reason_is_a_specific_one() {
    let mut world = World::new();
    world.secret = SeenSecret::Going;
    world.sync_with(None).unwrap();
    assert_eq!(world.shown(), ["Ready=False/SecretTerminating", "Reconciling=True/ProgressingWithRetry"]);
}
