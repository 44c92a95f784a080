//! Which questions the server of a database gets, and when.

use rekey_api::rotation::RotationReason;
use rekey_core::{
    rotation::Open,
    rotator::database::{Fence, Role, Sessions},
};

use super::*;

/// A schedule of two users of which one is due, with a policy that could publish a new login.
async fn due(change: impl FnOnce(&mut Value)) -> World {
    due_after(change, |_| {}).await
}

/// The same, after something has happened.
async fn due_after(change: impl FnOnce(&mut Value), happens: impl FnOnce(&World)) -> World {
    let users = json!({"alternating": {"first": "orders_a", "second": "orders_b", "owner": "orders"}});
    let postgres =
        json!({"host": "db.shop", "database": "orders", "adminSecretRef": {"name": "admin"}, "users": users});
    let mut object = schedule("k", &[("/spec/rotator", json!({ "postgres": postgres }))]);
    object["metadata"]["finalizers"] = json!([]);
    change(&mut object);
    let mut world = World::new(&object);
    world.schedules.allow_alpha = true;
    world.ground.values.refuse("write", None);
    world.ground.values.put("k", r#"{"username": "orders_a", "password": "old"}"#);
    let role = |name: &str, can_login| Role {
        name: name.to_owned(),
        can_login,
        member_of: vec!["orders".to_owned()],
        fence: None,
        sessions: Sessions::default(),
        owns: false,
    };
    world.ground.values.put_roles(&[role("orders", false), role("orders_a", true), role("orders_b", false)]);
    let text = |text: &str| json!(k8s_openapi::ByteString(text.as_bytes().to_vec()));
    let data = json!({"username": text("rekey_admin"), "password": text("what the admin knows")});
    let admin =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "admin", "namespace": "shop"}, "data": data});
    world.ground.server.put(&format!("{SECRETS}admin"), admin);
    let source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
    let ready = json!([{"type": "Ready", "status": "True", "reason": "Synced", "message": "", "lastTransitionTime": "2026-11-21T02:00:00Z"}]);
    world.ground.apply::<SecretPolicy>(&json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
        "metadata": {"name": "db", "namespace": "shop", "uid": "y", "generation": 1, "resourceVersion": "1"},
        "spec": {"source": source}, "status": {"observedGeneration": 1, "revision": "r", "conditions": ready},
    }));
    happens(&world);
    world.rounds(2).await; // a request that is on a schedule at first sight is no request
    let mut object = world.object();
    object["metadata"]["annotations"] = json!({names::ROTATE_REQUESTED: "now"});
    object["metadata"]["resourceVersion"] = json!("500");
    world.ground.apply::<RotationSchedule>(&object);
    world
}

fn step(world: &World) -> String {
    world.status().rotation.map(|open| open.step.as_str().to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn a_database_is_asked_only_when_the_rotation_would_start_at_once() {
    let world = due(|object| object["spec"]["approval"] = json!("Manual")).await;
    for _ in 0..5 {
        world.round().await.unwrap();
        world.ground.clock.pass(TimeDelta::minutes(1));
    }
    assert_eq!((step(&world).as_str(), world.ground.values.looks()), ("AwaitingApproval", 0));
    let id = world.status().rotation.unwrap().id;
    let mut object = world.object();
    object["metadata"]["annotations"][names::ROTATION_APPROVED] = json!(id);
    object["metadata"]["resourceVersion"] = json!("900");
    world.ground.apply::<RotationSchedule>(&object);
    world.round().await.unwrap();
    assert_eq!((step(&world).as_str(), world.ground.values.looks()), ("Preparing", 1));
}

/// Guards of servers ban an address after five failed logins in ten minutes.
#[tokio::test]
async fn a_login_that_the_server_refuses_is_not_tried_at_each_look() {
    for what in ["ask the database", "log in"] {
        let world = due(|_| {}).await;
        world.ground.values.refuse(what, Some(StoreErrorKind::Denied));
        let tries = || match what {
            "log in" => world.ground.values.logins(),
            _ => world.ground.values.looks(),
        };
        for _ in 0..20 {
            let _ = world.round().await;
            world.ground.clock.pass(TimeDelta::seconds(30));
        }
        assert!((2..5).contains(&tries()), "{what}: {} tries in ten minutes", tries());
        assert!(step(&world).is_empty(), "{what}");
        world.ground.values.refuse(what, None);
        world.ground.clock.pass(TimeDelta::minutes(6));
        world.round().await.unwrap();
        assert_eq!(step(&world), "Preparing", "{what}");
    }
}

#[tokio::test]
async fn a_rotation_is_let_go_though_neither_store_nor_database_responds() {
    let rotation = json!({"id": ID, "step": "Retiring", "startedAt": "2027-01-15T07:59:00Z", "reason": "Requested"});
    let open = |object: &mut Value| {
        object["metadata"]["finalizers"] = json!([names::FINALIZER]);
        object["metadata"]["annotations"] = json!({names::LET_GO: ID});
        object["status"] = json!({"observedGeneration": 1, "rotation": rotation});
    };
    let world = due_after(open, |world| {
        world.pending("new");
        world.ground.values.refuse("read", Some(StoreErrorKind::Unavailable));
    })
    .await;
    assert_eq!(world.status().history[0].outcome, RotationOutcome::Completed);
    let said = world.status().history[0].message.clone().unwrap_or_default();
    assert!(said.starts_with("you let it go"), "{said}");
    assert_eq!((world.ground.values.looks(), world.ground.values.reads()), (0, 0));
}

/// Pods are judged by what is published: while the store holds another login, they may use the user whose turn it is.
#[tokio::test]
async fn a_user_is_not_taken_before_the_schedules_own_policy_has_read_the_stored_login() {
    let world = due(|_| {}).await;
    let row = world.schedules.cluster.schedules.get(&world.key).unwrap();
    let task = world.schedules.task(row.spec().unwrap()).unwrap();
    let open = Open { id: ID.to_owned(), reason: RotationReason::Requested, written: None };
    let others = |version: &str| {
        let held = StoreView::Holds(Stored::Before { version: Some(version.to_owned()) });
        readers::others(&world.schedules, &task, &State::Applying(open.clone()), &held).here
    };
    assert_eq!(others("3"), ["SecretPolicy db"], "it has read nothing yet");
    let mut policy = world.ground.server.get("/apis/rekey.dev/v1alpha1/namespaces/shop/secretpolicies/db").unwrap();
    policy["metadata"]["resourceVersion"] = json!("900");
    policy["status"]["sourceVersions"] = json!([{"key": "k", "version": "3"}]);
    world.ground.apply::<SecretPolicy>(&policy);
    assert!(others("3").is_empty());
    assert_eq!(others("4"), ["SecretPolicy db"]);
}

#[tokio::test]
async fn a_leaked_login_whose_password_was_changed_is_replaced_all_the_same() {
    for (schedule, wanted) in [("u", "Preparing"), ("another", "")] {
        let world = due(|_| {}).await;
        world.ground.values.refuse("log in", Some(StoreErrorKind::Denied));
        let fence = Fence { cluster: "c".to_owned(), schedule: schedule.to_owned(), rotation: "r".to_owned() };
        world.ground.values.change_roles(|role| {
            if role.name == "orders_a" {
                role.fence = Some(fence.clone());
            }
        });
        let mut object = world.object();
        object["metadata"]["annotations"][names::ROTATE_REASON] = json!(names::ROTATE_REASON_LEAKED);
        object["metadata"]["resourceVersion"] = json!("900");
        world.ground.apply::<RotationSchedule>(&object);
        let _ = world.round().await;
        assert_eq!(step(&world), wanted, "{schedule}");
    }
}
