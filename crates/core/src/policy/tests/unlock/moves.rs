//! Where references move, a token publishes one value under another name.

use super::*;

/// The name of the Secret that a round made.
fn made(plan: &Plan) -> Option<&str> {
    plan.steps.iter().find_map(|step| match step {
        Step::Apply(desired) if desired.over.is_none() && desired.immutable => Some(desired.name.as_str()),
        _ => None,
    })
}

#[test]
fn where_references_move_a_token_publishes_one_value_under_another_name() {
    let mut world = locked_with(&json!({"references": "Move"}));
    let first = world.status().secret_name.unwrap();
    assert_eq!(Some(first.as_str()), world.status().revision.map(|revision| format!("db-{revision}")).as_deref());
    world.change("password", "two");
    let told = world.withheld();
    assert!(
        told.contains(&first) && told.contains("moves consumers there") && told.contains("(keys: password)"),
        "{told}"
    );

    world.token("a");
    world.over = None;
    let (did, plan) = world.round();
    let second = made(&plan).unwrap().to_owned();
    assert_eq!((did, plan.is_unlocking), (vec!["apply"], false), "no pod is waited for");
    assert!(second != first && second.starts_with("db-"));
    assert_eq!((world.handled().as_deref(), world.ready().0.as_str()), (Some("a"), "True/Synced"));
    assert_eq!(world.status().secret_name, Some(second));
    // The record says it, too.
    world.object.status.as_mut().unwrap().last_handled = None;
    world.change("password", "three");
    world.withheld();

    // A version that is gone comes back with its value, and with another one only if that is allowed.
    (world.last, world.over) = (Some(Arc::clone(world.published())), None);
    (world.secret, world.data) = (SeenSecret::Absent, BTreeMap::new());
    let told = world.refused();
    assert!(told.contains("was deleted") && told.contains("moves consumers there"), "{told}");
    world.change("password", "two");
    assert_eq!(world.plan().unwrap().steps.len(), 1);
    world.change("password", "three");
    world.token("b");
    assert_eq!((world.round().0, world.handled().as_deref()), (vec!["apply"], Some("b")));
}

/// The value that consumers run on must not be lost with the plain Secret.
#[test]
fn what_is_published_gets_a_version_while_another_value_waits_for_a_token() {
    let mut world = locked();
    let first = world.published().revision.clone();
    world.object.spec.versions = serde_json::from_value(json!({"references": "Move"})).unwrap();
    world.change("password", "two");
    world.look(|content| content.is_intact = true);
    if let SeenSecret::Ours { dressed, .. } = &mut world.secret {
        *dressed = false;
    }
    let seen = Seen { is_elsewhere: true, over: None, ..world.seen() };
    let plan = planned(&world.policy(), &seen, Some(&world.fetched()), world.tools()).unwrap();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!((desired.name.as_str(), desired.immutable), (format!("db-{first}").as_str(), true));
    assert_eq!(text(&desired.data), [("password", "one"), ("username", "orders")]);
    let ready = plan.status.conditions.iter().find(|at| at.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "LockedAndChanged"));
    assert!(ready.message.contains("Secret \"db\" is locked"), "{}", ready.message);
    assert_eq!(plan.status.secret_name, Some(desired.name.clone()));
}

/// Else it would look like another value once it is compared with what is made by the present key.
#[test]
fn a_record_of_a_lost_digest_key_is_made_anew_while_a_value_is_withheld() {
    let mut world = locked_with(&json!({"references": "Move"}));
    let before = Arc::clone(world.published());
    world.change("password", "two");
    world.key = DigestKey::new(SecretBytes::from("another"));
    world.look(|_| {});
    let plan = world.plan().unwrap();
    let [Step::Apply(desired)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!((text(&desired.data)[0], desired.over.is_some()), (("password", "one"), true));
    let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        annotations: Some(desired.annotations.clone()),
        ..Default::default()
    };
    let record = Published::read(&metadata).unwrap();
    assert_eq!(record.revision, before.revision);
    assert!(record.is_by(&world.key) && !before.is_by(&world.key));
}
