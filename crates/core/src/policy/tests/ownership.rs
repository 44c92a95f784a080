//! Whose a Secret is, of what type, and which of its keys go.

use super::*;

/// The policy has another spec from now on.
fn edit(world: &mut World, change: impl FnOnce(&mut Value)) {
    let mut object = serde_json::to_value(&world.object).unwrap();
    change(&mut object["spec"]);
    object["metadata"]["generation"] = json!(world.object.metadata.generation.unwrap() + 1);
    world.object = serde_json::from_value(object).unwrap();
}

/// Publishes `password` alone from here on.
fn drop_username(world: &mut World) {
    edit(world, |spec| drop(spec["source"]["remote"]["data"].as_array_mut().unwrap().remove(0)));
}

fn foreign(world: &mut World, change: impl FnOnce(&mut Content)) {
    world.data = [("username", "orders"), ("password", "one"), ("theirs", "too")]
        .map(|(key, value)| (key.to_owned(), SecretBytes::from(value)))
        .into();
    world.adopt_by = Some("db".to_owned());
    let mut found = content(world.data.clone());
    change(&mut found);
    world.secret = SeenSecret::Foreign { adopt_by: world.adopt_by.clone(), policy: None, content: Some(found) };
}

fn keys(world: &World) -> Vec<&str> {
    world.data.keys().map(String::as_str).collect()
}

#[test]
fn another_type_than_that_of_the_secret_stops_everything_and_names_the_way_out() {
    let mut world = World::new();
    world.sync();
    edit(&mut world, |spec| spec["target"] = json!({"type": "example.com/licence"}));
    let refused = |world: &World| admit(&world.policy(), &world.secret).unwrap_err();
    let error = refused(&world);
    assert_eq!((error.reason(), error.class()), (Reason::WrongType, Class::Data));
    assert!(error.to_string().contains("`kubectl delete secret db -n shop`"), "{error}");
    assert_eq!(world.plan().map(|_| ()).unwrap_err(), error, "also when its content was not looked at");
    world.change("password", "two");
    assert_eq!(world.plan().map(|_| ()).unwrap_err(), error);
    // The way out that the message names.
    (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
    world.sync();
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
    // One to be taken over.
    foreign(&mut world, |_| {});
    assert_eq!(refused(&world).reason(), Reason::WrongType);
    // Whose Secret it is decides its type, so that of a policy that writes keys or governs may not name one.
    edit(&mut world, |spec| spec["target"]["ownership"] = json!("Merge"));
    assert_eq!(PolicySpec::try_from(&world.object).map(|_| ()).unwrap_err().reason(), Reason::InvalidSpec);
    foreign(&mut world, |content| content.kind = "kubernetes.io/basic-auth".to_owned());
    edit(&mut world, |spec| spec["target"] = json!({"ownership": "Merge"}));
    assert_eq!(admit(&world.policy(), &world.secret), Ok(()));
}

#[test]
fn a_key_that_is_dropped_after_adoption_goes_though_its_maker_holds_it_too() {
    let mut world = World::new();
    foreign(&mut world, |_| {});
    world.sync();
    assert_eq!(keys(&world), ["password", "username"], "what others added goes when it is written");
    drop_username(&mut world);
    world.sync();
    assert_eq!(keys(&world), ["password"]);
}

#[test]
fn of_somebody_elses_secret_the_dropped_keys_that_were_ours_go_and_no_others() {
    let mut world = World::with(&json!({"target": {"ownership": "Merge"}}));
    foreign(&mut world, |_| {});
    world.sync();
    assert_eq!(keys(&world), ["password", "theirs", "username"]);
    drop_username(&mut world);
    world.sync();
    assert_eq!(keys(&world), ["password", "theirs"]);
    // Its maker puts it back, for other purposes.
    world.data.insert("username".to_owned(), SecretBytes::from("theirs by now"));
    world.change("password", "two");
    world.sync();
    assert_eq!(keys(&world), ["password", "theirs", "username"]);
}

fn controller() -> OwnerReference {
    OwnerReference {
        api_version: "external-secrets.io/v1".to_owned(),
        kind: "ExternalSecret".to_owned(),
        name: "db".to_owned(),
        uid: "e".to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}

#[test]
fn what_another_operator_claims_a_secret_by_is_taken_off_when_it_is_taken_over() {
    let claims = Claims {
        owners: vec![controller()],
        labels: vec!["reconcile.external-secrets.io/managed".to_owned()],
        annotations: Vec::new(),
    };
    for (more, is_taken) in [
        (json!({}), true),
        (json!({"target": {"onPolicyDelete": "Retain"}}), true),
        (json!({"target": {"ownership": "Merge"}}), false),
    ] {
        let mut world = World::with(&more);
        foreign(&mut world, |content| content.claims = claims.clone());
        let plan = world.sync();
        let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
        assert_eq!(desired.claims, if is_taken { claims.clone() } else { Claims::default() }, "{more}");
        let told = &plan.events[0].text;
        let names = told.ends_with("the owner ExternalSecret db, the label reconcile.external-secrets.io/managed");
        assert_eq!(names, is_taken, "{told}");
    }
}

#[test]
fn an_owner_that_another_tool_puts_on_our_secret_is_reported() {
    let claim = |world: &mut World| {
        if let SeenSecret::Ours { controller, .. } = &mut world.secret {
            *controller = Some("ExternalSecret db".to_owned());
        }
    };
    let mut world = World::new();
    world.sync();
    claim(&mut world);
    let error = world.plan().map(|_| ()).unwrap_err();
    assert_eq!((error.reason(), error.class()), (Reason::ForeignOwner, Class::Data));
    assert!(error.to_string().contains("ExternalSecret db"), "{error}");
    // Where it does not keep us from writing, values go on.
    let mut world = World::with(&json!({"target": {"onPolicyDelete": "Retain"}}));
    world.sync();
    claim(&mut world);
    world.change("password", "two");
    let plan = world.sync();
    assert_eq!(world.shown(), ["Ready=True/Synced"]);
    let told = |plan: &Plan| plan.events.iter().filter(|event| event.reason == Reason::ForeignOwner).count();
    assert_eq!(told(&plan), 1);
    assert!(world.status().conditions[0].message.contains("ExternalSecret db"), "{:?}", world.status().conditions);
    claim(&mut world);
    assert_eq!(told(&world.sync()), 0, "once");
}
