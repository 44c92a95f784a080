//! `rekey.dev/unlock`: a locked Secret is replaced once, when nothing refers to it.

mod moves;

use super::*;

fn locked() -> World {
    locked_with(&json!({}))
}

fn locked_with(versions: &Value) -> World {
    let mut world = World::with(&json!({"immutability": "Locked", "versions": versions}));
    world.sync();
    world.over = Some(ObjectVersion { uid: "s".to_owned(), resource_version: "1".to_owned() });
    world
}

impl World {
    fn token(&mut self, token: &str) {
        let annotations = [(names::UNLOCK.to_owned(), token.to_owned())].into();
        self.object.metadata.annotations = Some(annotations);
    }

    /// Another mode, as a user applies it.
    fn mode(&mut self, mode: Immutability) {
        self.object.spec.immutability = mode;
        self.object.metadata.generation = self.object.metadata.generation.map(|generation| generation + 1);
    }

    /// These stand in the way; none: for long enough.
    fn pods(&mut self, makers: &[&str]) {
        self.unlock.look = match makers {
            [] => Look::Clear { since: self.now - TimeDelta::minutes(1) },
            _ => Look::Referred(makers.iter().map(|maker| Referrer((*maker).to_owned())).collect()),
        };
    }

    /// A round that must succeed; what it did.
    fn round(&mut self) -> (Vec<&'static str>, Plan) {
        self.now += TimeDelta::seconds(1);
        let before = self.secret.published().cloned();
        let fetched = self.fetched();
        let plan = self.sync_with(Some(&fetched)).unwrap();
        let did = plan.steps.iter().map(|step| match step {
            Step::Apply(_) => "apply",
            Step::Delete(..) => "delete",
            Step::Keep { .. } => "keep",
            Step::Verified | Step::Mark { .. } | Step::Rebase { .. } | Step::Restore { .. } => "other",
        });
        let did = did.collect();
        match &self.secret {
            SeenSecret::Absent => (self.last, self.over) = (before.map(Arc::new).or(self.last.take()), None),
            _ => self.over = Some(ObjectVersion { uid: "s".to_owned(), resource_version: "1".to_owned() }),
        }
        (did, plan)
    }

    fn refused(&mut self) -> String {
        let error = self.plan().map(|plan| plan.steps).unwrap_err();
        assert_eq!(error.reason(), Reason::LockedAndChanged, "{error}");
        error.to_string()
    }

    /// As [`refused`](Self::refused), where what is published goes on being kept.
    fn withheld(&mut self) -> String {
        let (did, plan) = self.round();
        let (ready, said) = self.ready();
        assert_eq!((did, ready.as_str(), plan.is_unlocking), (vec![], "False/LockedAndChanged", false));
        said
    }

    fn handled(&self) -> Option<String> {
        self.status().handled_unlock().map(str::to_owned)
    }

    /// The operator has restarted: only what the cluster holds is known.
    fn restart(&mut self) {
        self.last = None;
    }

    fn ready(&self) -> (String, String) {
        let ready = self.status().conditions.into_iter().find(|at| at.type_ == "Ready").unwrap();
        (format!("{}/{}", ready.status, ready.reason), ready.message)
    }
}

#[test]
fn a_locked_secret_is_replaced_once_when_nothing_refers_to_it() {
    let mut world = locked();
    let first = Arc::clone(world.published());
    world.change("password", "two");
    let told = world.refused();
    let command = "kubectl annotate secretpolicy db -n shop --overwrite rekey.dev/unlock=\"$(date +%s)\"";
    assert!(told.contains("(keys: password)") && told.contains(command), "{told}");

    world.token("a");
    world.pods(&["Deployment web", "Deployment web", "Job once"]);
    let (did, plan) = world.round();
    assert!(did.is_empty());
    let (ready, said) = world.ready();
    assert_eq!(ready, "True/Unlocking", "a wait on purpose keeps the last value");
    assert!(said.contains("Deployment web (2 pods), Job once") && said.contains("Scale these to 0"), "{said}");
    assert_eq!(
        plan.events.iter().map(|event| (event.reason, event.action)).collect::<Vec<_>>(),
        [(Reason::Unlocking, "Unlock")]
    );
    assert_eq!((plan.again, plan.is_unlocking), (Some(world.now + TimeDelta::seconds(5)), true));
    assert!(world.round().1.events.is_empty(), "it is told once");
    assert_eq!((world.handled(), world.status().source_versions[0].version.as_str()), (None, "1"));

    world.unlock.look = Look::Clear { since: world.now - TimeDelta::seconds(18) };
    assert!(world.round().0.is_empty(), "a node may still let go of a pod");
    assert!(world.ready().1.contains("20 s to let go of it"), "{}", world.ready().1);
    world.pods(&[]);
    assert_eq!(world.round().0, ["delete"]);
    assert_eq!((world.ready().0.as_str(), world.handled()), ("False/Unlocking", None));
    assert_eq!(world.status().revision.as_ref(), Some(&first.revision));

    // A pod has started between the list and the deletion.
    world.pods(&["Deployment web"]);
    assert!(world.round().0.is_empty());
    let (_, said) = world.ready();
    assert!(said.contains("there is no Secret db") && said.contains("Deployment web"), "{said}");
    world.unlock.look = Look::Clear { since: world.now };
    assert!(world.round().0.is_empty(), "a node may still let go of it");
    world.pods(&[]);
    let (did, plan) = world.round();
    assert_eq!((did, plan.is_unlocking), (vec!["apply"], false));
    assert_eq!(text(&world.data), [("password", "two"), ("username", "orders")]);
    assert!(matches!(world.secret, SeenSecret::Ours { immutable: true, .. }));
    assert_eq!((world.ready().0.as_str(), world.handled().as_deref()), ("True/Synced", Some("a")));
    let published = world.published();
    assert_eq!((published.changes.publication, published.changes.previous.as_ref()), (2, Some(&first.revision)));
    assert_eq!(changed(&world), ["password"], "what has not changed is no news to anybody");
    assert_eq!(world.reasons(), [ChangeReason::Created, ChangeReason::SourceChanged]);

    assert!(world.round().0.is_empty());
    world.change("password", "three");
    assert!(world.refused().contains("(keys: password)"), "the token was for one change");
    world.token("b");
    world.pods(&[]);
    assert_eq!((world.round().0, world.round().0), (vec!["delete"], vec!["apply"]));
    assert_eq!(world.handled().as_deref(), Some("b"));
}

#[test]
fn what_is_replaced_is_copied_first_where_earlier_values_are_kept() {
    let mut world = locked_with(&json!({"keep": 1}));
    world.change("password", "two");
    world.token("a");
    world.pods(&["Deployment web"]);
    assert!(world.round().0.is_empty(), "nothing is copied before it is replaced");
    world.pods(&[]);
    assert_eq!((world.round().0, world.round().0), (vec!["keep", "delete"], vec!["apply"]));
}

#[test]
fn what_is_not_known_deletes_nothing() {
    let mut world = locked();
    world.change("password", "two");
    world.token("a");
    for look in [Look::NotTaken, Look::Failed("the right to list pods is missing".to_owned())] {
        world.unlock.look = look.clone();
        assert!(world.round().0.is_empty(), "{look:?}");
        assert_eq!(world.ready().0, "True/Unlocking", "{look:?}");
    }
    assert!(world.ready().1.contains("the right to list pods is missing"), "{}", world.ready().1);
    world.pods(&[]);
    world.round();
    world.unlock.look = Look::Failed("gone away".to_owned());
    assert!(world.round().0.is_empty());
    assert_eq!(world.ready().0, "False/Unlocking");
    world.pods(&[]);
    assert_eq!(world.round().0, ["apply"]);
}

#[test]
fn a_start_in_the_middle_ends_the_same() {
    let mut world = locked();
    let first = world.published().revision.clone();
    world.change("password", "two");
    world.token("a");
    world.pods(&[]);
    // Killed after the deletion, before its status.
    let status = world.object.status.clone();
    assert_eq!(world.round().0, ["delete"]);
    world.object.status.clone_from(&status);
    world.restart();
    assert_eq!(world.round().0, ["apply"]);
    let published = Arc::clone(world.published());
    assert_eq!((published.changes.publication, published.changes.previous.as_ref()), (2, Some(&first)));
    // Killed after the creation, before its status: the Secret itself says that the token is handled.
    world.object.status = status;
    world.restart();
    let mut again = world;
    assert!(again.round().0.is_empty());
    assert_eq!(again.handled().as_deref(), Some("a"));
    let mut moved_on = again;
    moved_on.object.status.as_mut().unwrap().last_handled = None;
    moved_on.change("password", "three");
    moved_on.refused();
    let (policy, status) = (moved_on.policy(), moved_on.status());
    let known =
        Known { published: Some(moved_on.published()), consumers: &Consumers::default(), history: &History::default() };
    let situation = crate::summary::Situation::Stalled(Reason::LockedAndChanged, String::new());
    let failed = super::failed(&policy, &status, known, &situation, moved_on.now);
    assert_eq!(failed.handled_unlock(), Some("a"), "it is recorded though nothing was published");
}

#[test]
fn a_token_that_was_there_at_first_sight_or_had_nothing_to_do_allows_nothing() {
    for what in
        ["first sight", "first sight, suspended", "first sight, refused", "nothing to do", "taken off and put back"]
    {
        let mut world = locked();
        world.pods(&[]);
        world.token("old");
        let situation = crate::summary::Situation::Stalled(Reason::InvalidSpec, String::new());
        let revision = world.status().revision;
        match what {
            "first sight" => {
                world.object.status = None;
                world.round();
            }
            "first sight, suspended" => {
                world.object.status = Some(suspended(&world.policy(), &SecretPolicyStatus::default(), world.now));
            }
            "first sight, refused" => {
                let status = refused(&world.object, &SecretPolicyStatus::default(), &situation, world.now);
                world.object.status = Some(SecretPolicyStatus { observed_generation: Some(1), ..status });
            }
            "nothing to do" => assert!(world.round().0.is_empty()),
            _ => {
                world.round();
                world.object.metadata.annotations = None;
                world.round();
                world.token("old");
            }
        }
        assert_eq!(world.handled().as_deref(), Some("old"), "{what}");
        world.object.status.as_mut().unwrap().revision = revision;
        world.change("password", "two");
        world.refused();
    }
}

#[test]
fn a_locked_secret_that_a_user_has_deleted_comes_back_with_another_value_if_that_is_allowed() {
    for remembered in [true, false] {
        let mut world = locked();
        world.change("password", "two");
        (world.last, world.over) = (remembered.then(|| Arc::clone(world.published())), None);
        (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
        let told = world.refused();
        assert!(told.contains("was deleted") && told.contains("rekey.dev/unlock="), "{told}");
        world.token("a");
        world.pods(&["Deployment web"]);
        assert!(world.round().0.is_empty());
        world.pods(&[]);
        assert_eq!(world.round().0, ["apply"]);
        assert_eq!((world.published().changes.publication, world.handled().as_deref()), (2, Some("a")));
        // With its value it comes back at once, whoever runs.
        (world.last, world.secret) = (Some(Arc::clone(world.published())), SeenSecret::Absent);
        world.token("b");
        world.pods(&["Deployment web"]);
        assert_eq!(world.round().0, ["apply"]);
    }
}

#[test]
fn leaving_locked_takes_a_token_and_the_same_waits() {
    for value in ["one", "two"] {
        let mut world = locked();
        let first = Arc::clone(world.published());
        world.mode(Immutability::None);
        world.change("password", value);
        let told = world.refused();
        assert!(
            told.contains("is locked, and spec.immutability is None") && told.contains("rekey.dev/unlock="),
            "{told}"
        );
        world.token("a");
        world.pods(&["Deployment web"]);
        assert!(world.round().0.is_empty());
        assert!(world.ready().1.contains("not immutable"), "{}", world.ready().1);
        world.pods(&[]);
        assert_eq!(world.round().0, ["delete"]);
        world.pods(&["Deployment web"]);
        assert!(world.round().0.is_empty(), "also where the value is the same: it will not stay so");
        world.pods(&[]);
        assert_eq!(world.round().0, ["apply"]);
        assert!(matches!(world.secret, SeenSecret::Ours { immutable: false, .. }));
        assert_eq!((world.handled().as_deref(), world.ready().0.as_str()), (Some("a"), "True/Synced"));
        assert_eq!(world.published().revision == first.revision, value == "one");
        world.change("password", "later");
        assert_eq!(world.round().0, ["apply"], "from here on it changes in place");
    }
}

#[test]
fn the_only_copy_is_not_deleted() {
    let generated = json!({"generated": {"fields": [{"key": "password", "password": {}}]}});
    let mut world = World::with(&json!({"source": generated, "immutability": "Locked"}));
    world.sync_with(None).unwrap();
    world.over = Some(ObjectVersion { uid: "s".to_owned(), resource_version: "1".to_owned() });
    world.mode(Immutability::None);
    world.token("a");
    world.pods(&[]);
    world.look(|_| {});
    let told = world.plan_with(None).map(|plan| plan.steps).unwrap_err().to_string();
    assert!(told.contains("the only copy") && told.contains("Versioned"), "{told}");
    world.unlock.is_copied = true;
    let plan = world.plan_with(None).unwrap();
    assert!(matches!(plan.steps.as_slice(), [Step::Delete(..)]), "a version holds it: {:?}", plan.steps);
}

#[test]
fn what_could_not_be_created_is_not_deleted() {
    let mut world = locked();
    world.change("password", "two");
    world.token("a");
    world.pods(&[]);
    world.other_annotations = 256 * 1024;
    let error = world.plan().map(|plan| plan.steps).unwrap_err();
    assert_eq!(error.reason(), Reason::SecretTooLarge, "{error}");
}

#[test]
fn a_token_asks_for_a_fresh_read_also_of_what_is_read_once() {
    for refresh in ["Periodic", "CreatedOnce"] {
        let mut world = locked();
        let source = world.object.spec.source.remote.as_mut().unwrap();
        source.refresh_policy = serde_json::from_value(json!(refresh)).unwrap();
        world.token("a");
        let Fetch::Due(wanted) = fetch(&world.policy(), &world.seen(), world.now) else { panic!("{refresh}") };
        assert!(wanted.anew, "{refresh}");
        world.round();
        assert!(!matches!(fetch(&world.policy(), &world.seen(), world.now), Fetch::Due(_)), "{refresh}");
    }
}
