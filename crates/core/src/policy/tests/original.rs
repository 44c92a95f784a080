//! `source.existing` with `immutability: Versioned`: versions are made of another tool's Secret.

use super::{sources::PASSWORD, *};

fn world() -> World {
    World::with(&json!({
        "source": {"existing": {}}, "immutability": "Versioned", "versions": {"references": "Move"},
    }))
}

fn holds(value: &str) -> Content {
    let data = [(PASSWORD.to_owned(), SecretBytes::from(value))].into();
    Content {
        kind: "example.com/theirs".to_owned(),
        edited_by: vec!["cert-manager".to_owned()],
        tags: Tags { labels: [("team".to_owned(), "shop".to_owned())].into(), annotations: BTreeMap::new() },
        ..content(data)
    }
}

fn tls(certificate: &str) -> Content {
    let data = ["tls.crt", "tls.key"].map(|key| (key.to_owned(), SecretBytes::from(certificate)));
    Content { kind: "kubernetes.io/tls".to_owned(), data: data.into(), ..holds("") }
}

impl World {
    /// A round that finds this, and what it writes.
    fn find(&mut self, original: Original) -> Result<Vec<Desired>, SpecError> {
        self.now += TimeDelta::seconds(1);
        let seen = Seen { original: Some(original), ..self.seen() };
        let plan = planned(&self.policy(), &seen, None, self.tools())?;
        let written: Vec<Desired> = plan
            .steps
            .iter()
            .map(|step| match step {
                Step::Apply(desired) => Desired::clone(desired),
                other => panic!("{other:?}"),
            })
            .collect();
        for desired in &written {
            self.apply(desired);
        }
        self.object.status = Some(plan.status);
        Ok(written)
    }

    fn read(&mut self, value: &str) -> Vec<Desired> {
        self.find(Original::Read(Box::new(holds(value)))).unwrap()
    }
}

#[test]
fn each_value_of_the_original_is_a_version_of_its_type_and_the_original_is_not_written() {
    let mut world = world();
    let first = world.read("one");
    let [first] = first.as_slice() else { panic!("{first:?}") };
    let policy = world.policy();
    assert!(policy.has_original() && policy.moves_references() && !policy.keeps_plain());
    let base = policy.names.base().to_owned();
    assert!(first.name != base && first.name.starts_with("db-"), "{}", first.name);
    assert_eq!((first.kind.as_deref(), text(&first.data)), (Some("example.com/theirs"), vec![(PASSWORD, "one")]));
    assert!(first.immutable && first.owner.is_none() && first.over.is_none());
    assert!(!first.labels.contains_key("team"), "labels are its maker's: {:?}", first.labels);
    assert_eq!(first.annotations.get(names::ON_POLICY_DELETE).map(String::as_str), Some("Delete"));
    assert_eq!(world.status().secret_name.as_ref(), Some(&first.name));
    assert_eq!(world.shown()[0], "Ready=True/Synced");
    assert!(world.read("one").is_empty(), "equal bytes are no version");
    assert!(world.find(Original::Copied).unwrap().is_empty());
    let second = world.read("two");
    let [second] = second.as_slice() else { panic!("{second:?}") };
    assert!(second.name != first.name && second.name != base && second.over.is_none());
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::SourceChanged]);
    let other = Content { kind: "Opaque".to_owned(), ..holds("two") };
    let third = world.find(Original::Read(Box::new(other))).unwrap();
    assert_eq!(third.len(), 1, "the type of a Secret cannot change: it is another version");
}

#[test]
fn without_the_original_or_with_an_empty_one_what_is_published_stays_and_the_status_says_why() {
    for (original, reason) in [
        (Original::Absent, "SecretNotFound"),
        (Original::Read(Box::new(Content { data: BTreeMap::new(), ..holds("") })), "EmptyAnswer"),
    ] {
        let mut world = world();
        assert!(world.find(original.clone()).unwrap().is_empty());
        assert_eq!(world.shown()[0], format!("Ready=False/{reason}"));
        let name = world.read("one")[0].name.clone();
        assert!(world.find(original.clone()).unwrap().is_empty());
        assert_eq!(world.status().secret_name, Some(name), "{reason}");
        let shown = world.shown();
        let expected = ["Ready=True/ServingLastKnown".to_owned(), format!("Fresh=False/{reason}")];
        assert!(expected.iter().all(|condition| shown.contains(condition)), "{shown:?}");
        // Its marks are put back all the same, out of its own data.
        if let SeenSecret::Ours { content: found, dressed, .. } = &mut world.secret {
            (*found, *dressed) = (Some(Content { is_intact: true, immutable: true, ..holds("one") }), false);
        }
        let repaired = world.find(original).unwrap();
        assert_eq!(repaired.iter().map(|at| text(&at.data)).collect::<Vec<_>>(), [[(PASSWORD, "one")]], "{reason}");
        assert!(world.read("one").is_empty(), "it is back as it was");
        assert_eq!(world.shown()[0], "Ready=True/Synced");
    }
}

#[test]
fn what_is_half_written_is_no_version_and_a_credential_of_the_cluster_never_is() {
    let mut world = world();
    world.read("one");
    let name = world.status().secret_name;
    let error = world.find(Original::Read(Box::new(tls("no certificate")))).unwrap_err();
    assert_eq!((error.reason(), world.status().secret_name), (Reason::InvalidData, name));
    let token = Content { kind: "kubernetes.io/service-account-token".to_owned(), ..holds("two") };
    let error = world.find(Original::Read(Box::new(token))).unwrap_err();
    assert_eq!(error.reason(), Reason::InvalidSpec);
    assert!(error.to_string().contains("never copies"), "{error}");
}

#[test]
fn a_version_that_was_deleted_is_made_of_the_original_and_of_no_earlier_version() {
    let mut world = world();
    let earlier = (world.read("one"), world.secret.clone()).1;
    let second = world.read("two")[0].name.clone();
    world.last = Some(Arc::clone(world.published()));
    world.secret = earlier;
    if let SeenSecret::Ours { content: found, .. } = &mut world.secret {
        *found = Some(holds("one"));
    }
    assert!(world.find(Original::Absent).unwrap().is_empty(), "what is lost is not made of something else");
    let again = world.read("two");
    assert_eq!(again.iter().map(|at| at.name.as_str()).collect::<Vec<_>>(), [second]);
}

#[test]
fn what_cannot_work_with_it_is_refused_by_name() {
    let refused = |pointer: &str, value: Value| {
        let mut spec = serde_json::to_value(world().object).unwrap();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[name] = value;
        PolicySpec::try_from(&serde_json::from_value::<SecretPolicy>(spec).unwrap())
            .map(drop)
            .map_err(|at| at.to_string())
    };
    for (pointer, value, field) in [
        ("/spec/rollout/onFailure", json!("RollBack"), "spec.rollout.onFailure"),
        ("/spec/target/ownership", json!("Merge"), "spec.immutability"),
        ("/spec/target/type", json!("Opaque"), "spec.target.type"),
        ("/spec/target/template", json!({"data": {"a": "b"}}), "spec.target.template"),
    ] {
        let error = refused(pointer, value).unwrap_err();
        assert!(error.contains(field), "{field}: {error}");
    }
    for kept in ["Retain", "Delete"] {
        assert_eq!(refused("/spec/target/onPolicyDelete", json!(kept)), Ok(()), "versions are Rekey's own");
    }
}
