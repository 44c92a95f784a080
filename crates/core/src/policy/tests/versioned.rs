//! `immutability: Versioned`: each value is a Secret of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::*;

fn versioned() -> World {
    World::with(&json!({"immutability": "Versioned", "versions": {"references": "Publish"}}))
}

/// The Secret that a plan makes or changes, and whether it has to be there already.
fn target(plan: &Plan) -> (String, bool) {
    let applied = plan.steps.iter().find_map(|step| match step {
        Step::Apply(desired) => Some((desired.name.clone(), desired.over.is_some())),
        _ => None,
    });
    applied.expect("a write")
}

fn name(world: &World) -> String {
    world.policy().names.of_revision(&world.published().revision)
}

#[test]
fn each_value_is_a_new_secret_and_equal_values_are_none() {
    let mut world = versioned();
    let first = target(&world.sync());
    assert_eq!(first, (name(&world), false));
    assert_eq!(world.status().secret_name, Some(first.0.clone()));
    assert_eq!(writes(&world.sync()), 0);
    world.change("password", "two");
    let second = target(&world.sync());
    assert_eq!(second, (name(&world), false));
    assert_ne!(second.0, first.0);
    let changes = &world.published().changes;
    assert_eq!((changes.publication, changes.previous.as_deref()), (2, first.0.strip_prefix("db-")));
    assert_eq!(world.status().secret_name, Some(second.0));
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::SourceChanged]);
    assert_eq!(changed(&world), ["password"]);
}

#[test]
fn a_write_without_an_answer_is_tried_again_under_its_name() {
    let mut world = versioned();
    world.sync();
    world.change("password", "two");
    let plan = |world: &World, attempted: Option<&Arc<Published>>| {
        let seen = Seen { attempted: attempted.cloned(), ..world.seen() };
        let plan = planned(&world.policy(), &seen, Some(&world.fetched()), world.tools()).unwrap();
        let Some(Step::Apply(desired)) = plan.steps.first() else { panic!("nothing is made") };
        let metadata = ObjectMeta { annotations: Some(desired.annotations.clone()), ..ObjectMeta::default() };
        Arc::new(Published::read(&metadata).unwrap())
    };
    let first = plan(&world, None);
    assert_eq!(plan(&world, Some(&first)).revision, first.revision);
    assert_ne!(plan(&world, None).revision, first.revision, "by chance");
    world.change("password", "three");
    assert_ne!(plan(&world, Some(&first)).revision, first.revision, "another value has another name");
}

#[test]
fn a_version_is_immutable_and_has_no_owner_and_says_what_becomes_of_it() {
    for (on_delete, says) in [("Delete", Some("Delete")), ("Retain", None)] {
        let mut world = World::with(&json!({
            "immutability": "Versioned", "versions": {"references": "Publish"}, "target": {"onPolicyDelete": on_delete},
        }));
        let plan = world.sync();
        let Some(Step::Apply(desired)) = plan.steps.first() else { panic!("nothing is made") };
        assert!(desired.immutable && desired.owner.is_none());
        assert_eq!(desired.annotations.get(names::ON_POLICY_DELETE).map(String::as_str), says);
    }
}

#[test]
fn marks_that_are_gone_are_put_back_on_the_same_object() {
    let mut world = versioned();
    let first = target(&world.sync()).0;
    if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
        *dressed = false;
    }
    let over = ObjectVersion { uid: "u".to_owned(), resource_version: "1".to_owned() };
    let seen = Seen { over: Some(over), ..world.seen() };
    let plan = planned(&world.policy(), &seen, Some(&world.fetched()), world.tools()).unwrap();
    assert_eq!(target(&plan), (first, true));
    assert_eq!(plan.events.first().map(|notice| notice.reason), Some(Reason::Drifted));
}

#[test]
fn a_version_that_was_deleted_comes_back_under_its_name_with_its_value_only() {
    let mut world = versioned();
    let first = (target(&world.sync()).0, world.secret.clone());
    world.change("password", "two");
    let second = target(&world.sync()).0;
    let last = Arc::clone(world.published());
    for (kept, shown) in [(first.1.clone(), "an earlier one is there"), (SeenSecret::Absent, "there is no other")] {
        (world.secret, world.last) = (kept, Some(Arc::clone(&last)));
        assert_eq!(target(&world.plan().unwrap()), (second.clone(), false), "{shown}");
    }
    // With another value, also that of the version that is there, it is another Secret.
    for value in ["three", "one"] {
        (world.secret, world.last) = (first.1.clone(), Some(Arc::clone(&last)));
        world.change("password", value);
        world.sync();
        assert!(![&first.0, &second].contains(&&name(&world)), "{value}");
        assert_eq!(world.published().changes.publication, 3, "{value}: the count goes on");
    }
    // Nothing but the cluster says what there was.
    (world.secret, world.last) = (SeenSecret::Absent, None);
    let anew = target(&world.plan().unwrap()).0;
    assert!(![&first.0, &second].contains(&&anew));
}

#[test]
fn a_name_that_somebody_has_is_not_written() {
    let mut world = versioned();
    let second = {
        let mut other = versioned();
        target(&other.sync()).0
    };
    let seen = Seen { taken: [second.clone()].into(), ..world.seen() };
    let plan = planned(&world.policy(), &seen, Some(&world.fetched()), world.tools()).unwrap();
    assert_ne!(target(&plan).0, second, "chance would have given this one");
    let revision = plan.status.revision.clone().unwrap();
    assert_eq!(target(&plan).0, format!("db-{revision}"));
    // The same for one that was deleted, and whose name somebody else has taken.
    world.sync();
    world.last = Some(Arc::clone(world.published()));
    let (gone, before) = (name(&world), Arc::clone(world.published()));
    let seen = Seen { secret: SeenSecret::Absent, taken: [gone.clone()].into(), ..world.seen() };
    let plan = planned(&world.policy(), &seen, Some(&world.fetched()), world.tools()).unwrap();
    assert_ne!(target(&plan).0, gone);
    let Step::Apply(desired) = &plan.steps[0] else { panic!("{:?}", plan.steps) };
    let mut changes = before.changes.clone();
    changes.previous = Some(before.revision.clone());
    assert_eq!(desired.annotations[names::CHANGES], changes.to_string(), "the content has not changed");
    let told = &plan.events[0];
    assert!(told.reason == Reason::Drifted && told.text.contains(&gone), "{told:?}");
}

#[test]
fn another_type_is_another_version() {
    let mut world = versioned();
    let first = target(&world.sync()).0;
    world.object.spec.target.secret_type = Some("example.com/db".to_owned());
    world.object.metadata.generation = Some(2);
    let second = target(&world.sync());
    assert!(second.0 != first && !second.1, "{second:?}");
    assert!(changed(&world).is_empty(), "no consumer holds an older value");
    assert_eq!(writes(&world.sync()), 0);
}

#[test]
fn a_policy_that_becomes_versioned_keeps_revision_and_record_of_an_equal_value() {
    for value in ["one", "two"] {
        let mut world = World::new();
        world.sync();
        let before = Arc::clone(world.published());
        world.object.spec.immutability = Immutability::Versioned;
        world.object.spec.versions = serde_json::from_value(json!({"references": "Publish"})).unwrap();
        world.object.metadata.generation = Some(2);
        world.change("password", value);
        world.look(|_| {});
        if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
            *dressed = false;
        }
        let made = target(&world.sync());
        let is_same = value == "one";
        assert_eq!(made, (name(&world), false));
        assert_eq!(world.published().revision == before.revision, is_same, "{value}");
        assert_eq!(world.published().changes.publication, if is_same { 1 } else { 2 }, "{value}");
        assert_eq!(writes(&world.sync()), 0);
    }
}

#[test]
fn the_newest_stay_and_what_is_referred_to() {
    let published = |publication: u64, revision: &str| {
        let mut world = versioned();
        world.sync();
        let mut changes = world.published().changes.clone();
        changes.publication = publication;
        Published { revision: revision.to_owned(), changes, ..Published::clone(world.published()) }
    };
    let records = [published(2, "bb"), published(4, "dd"), published(1, "aa"), published(3, "cc")];
    let names: Vec<String> = records.iter().map(|record| format!("db-{}", record.revision)).collect();
    let all = || names.iter().zip(&records).map(|(name, published)| Version { name, published }).collect::<Vec<_>>();
    for (current, keep, gone) in [
        (Some("db-dd"), 3, vec![]),
        (Some("db-dd"), 2, vec!["db-aa"]),
        (Some("db-dd"), 0, vec!["db-aa", "db-bb", "db-cc"]),
        (None, 0, vec!["db-aa", "db-bb", "db-cc", "db-dd"]),
    ] {
        assert_eq!(superfluous(current, keep, all()), gone, "{current:?} {keep}");
    }
    let referred = BTreeSet::from(["db-bb".to_owned()]);
    assert_eq!(unused(&superfluous(Some("db-dd"), 0, all()), &referred), ["db-aa", "db-cc"]);
}

#[test]
fn a_name_needs_room_for_a_revision() {
    let fits = |length: usize, mode: &str| {
        let mut world = World::with(&json!({"immutability": mode, "target": {"name": "n".repeat(length)}}));
        world.object.spec.versions = serde_json::from_value(json!({"references": "Publish"})).unwrap();
        world.object.spec.versions = world.object.spec.versions.filter(|_| mode == "Versioned");
        PolicySpec::try_from(&world.object).map(|_| ())
    };
    assert!(fits(242, "Versioned").is_ok() && fits(253, "None").is_ok());
    let said = fits(243, "Versioned").unwrap_err().to_string();
    assert!(said.starts_with("spec.target.name: write at most 242 characters"), "{said}");
}

/// A consumer, or a pod of nobody's, that refers to these Secrets.
fn referring(secrets: &[&str]) -> Consumers {
    let envs: Vec<Value> = secrets.iter().map(|secret| json!({"secretRef": {"name": secret}})).collect();
    let spec = json!({"containers": [{"name": "app", "envFrom": envs}]});
    let pod = serde_json::from_value(json!({"metadata": {"name": "bare"}, "spec": spec})).unwrap();
    let mut workload = crate::rollout::tests::workload("");
    workload.uses = serde_json::from_value::<k8s_openapi::api::core::v1::PodSpec>(spec)
        .map(|spec| crate::workload::uses(&spec))
        .unwrap();
    let settled = crate::rollout::Settled::NotYet;
    let workload = Consumer {
        workload: Arc::new(workload),
        look: None,
        settled,
        counted: None,
        reverted: false,
        before: crate::rollout::Before::Healthy,
        waits: None,
        set_held_by: None,
    };
    let strays = crate::rollout::Stray::of(&pod, |_| true).into_iter().collect();
    Consumers { workloads: vec![workload], strays, ..Consumers::default() }
}

#[test]
fn what_a_consumer_runs_on_follows_from_the_name_that_it_refers_to() {
    let mut world = versioned();
    let first = target(&world.sync()).0;
    world.change("password", "two");
    let second = target(&world.sync()).0;
    let shown = |secrets: &[&str]| -> Vec<String> {
        let found = consumers(&world.policy(), world.published(), &referring(secrets), world.now);
        let items = found.map(|found| found.status.items).unwrap_or_default().into_iter();
        items
            .map(|item| {
                format!("{} {:?} {}", item.kind, item.state, item.message.unwrap_or_default()).trim().to_owned()
            })
            .collect()
    };
    assert_eq!(shown(&[&second]), ["Deployment Current"]);
    for other in [first.as_str(), "db"] {
        let text = format!(
            "refers to Secret {other}; write {second} there (status.secretName): with versions.references Publish Rekey \
             changes no workload"
        );
        let expected = [format!("Deployment Held {text}"), format!("Pod Held pod bare {text}")];
        assert_eq!(shown(&[other]), expected);
        assert_eq!(shown(&[&second, other]), expected, "one name of two is not enough");
    }
    assert_eq!(shown(&["db-replica"]), Vec::<String>::new(), "another Secret");
}
