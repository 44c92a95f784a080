//! A namespace that is closed while a rotation is open: watches that run do not notice it for minutes.

use super::*;

async fn closed(object: &Value) -> World {
    let world = World::new(object);
    world.pending("new");
    world.ground.server.refuse(SECRETS, 403);
    world.rounds(2).await;
    world
}

fn finalizers(world: &World) -> Value {
    world.object()["metadata"]["finalizers"].clone()
}

#[tokio::test]
async fn a_deleted_schedule_is_let_go_at_once() {
    for (what, object) in [
        ("whole", publishing(schedule("k", &[]))),
        ("out of bounds", schedule("k", &[("/spec/writeTo/key", json!(""))])),
    ] {
        let world = closed(&deleted(object)).await;
        assert_eq!(finalizers(&world), json!([]), "{what}");
        assert_eq!(world.asked("DELETE"), 0, "{what}: nobody may delete the pending Secret");
        assert_eq!(world.schedules.cluster.namespaces.access("shop"), NamespaceAccess::Closed, "{what}");
    }
}

#[tokio::test]
async fn one_that_is_not_deleted_is_not() {
    let world = closed(&publishing(schedule("k", &[]))).await;
    assert_eq!(finalizers(&world), json!([names::FINALIZER]));
    assert_eq!(world.schedules.cluster.namespaces.access("shop"), NamespaceAccess::Open);
}
