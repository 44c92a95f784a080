//! A Secret that does not say any more that it is the policy's, and what proves that it is.

use k8s_openapi::api::core::v1::Secret;
use rekey_api::names;

use super::*;

const RECORD: [&str; 3] = [names::DIGESTS, names::CHANGES, names::REVISION];

fn take_off(secret: &mut Value, annotations: &[&str]) {
    let all = secret["metadata"]["annotations"].as_object_mut().unwrap();
    all.retain(|name, _| !annotations.contains(&name.as_str()));
}

fn annotation(secret: &Value, name: &str) -> Option<String> {
    secret["metadata"]["annotations"][name].as_str().map(str::to_owned)
}

#[tokio::test(start_paused = true)]
async fn the_record_that_is_taken_off_a_secret_of_ours_is_put_back() {
    for kept in ["Retain", "Delete"] {
        let made = || World::new(&policy(|object| object["spec"]["target"] = json!({"onPolicyDelete": kept})));
        for off in [vec![names::DIGESTS], vec![names::CHANGES, names::REVISION], RECORD.to_vec()] {
            for restarted in [false, true] {
                let world = made();
                world.round().await.unwrap();
                world.round_with(r#"{"password": "second"}"#).await.unwrap();
                world.round().await.unwrap();
                let before = world.secret().unwrap();
                world.edited(|secret| take_off(secret, &off));
                if restarted {
                    world.policies.memory.forget_policy("u", &world.key);
                }
                world.round().await.unwrap();
                let (after, what) = (world.secret().unwrap(), format!("{off:?} of {kept}, restarted: {restarted}"));
                assert_eq!((world.ready().as_str(), &after["data"]), ("True/Synced", &before["data"]), "{what}");
                let record = |secret: &Value| RECORD.map(|name| annotation(secret, name));
                if restarted {
                    let found: Secret = serde_json::from_value(after.clone()).unwrap();
                    let found = rekey_core::published::Published::read(&found.metadata).unwrap();
                    let edge = found.edge(&rekey_core::workload::Keys::All);
                    assert_eq!((found.revision, edge), (world.status().revision.unwrap(), None), "{what}");
                } else {
                    assert_eq!(record(&after), record(&before), "{what}");
                }
                let writes = world.ground.server.writes();
                world.round().await.unwrap();
                assert_eq!(world.ground.server.writes(), writes, "{what}: it rests");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_tool_edits_while_the_record_is_off_is_repaired_too() {
    let world = World::new(&policy(|_| {}));
    world.round().await.unwrap();
    world.round().await.unwrap();
    world.edited(|secret| {
        take_off(secret, &RECORD);
        secret["data"] = json!({"password": "Zm9yZ2Vk"});
    });
    world.round().await.unwrap();
    assert_eq!((world.published("password").as_deref(), world.ready().as_str()), (Some("first"), "True/Synced"));
}

/// The policy owns it, and there is no policy of that name.
#[tokio::test(start_paused = true)]
async fn another_name_that_is_written_on_a_secret_of_ours_is_taken_off() {
    for off in [vec![], RECORD.to_vec()] {
        let world = World::new(&policy(|_| {}));
        world.round().await.unwrap();
        world.round().await.unwrap();
        let before = world.secret().unwrap();
        world.edited(|secret| {
            take_off(secret, &off);
            secret["metadata"]["annotations"][names::POLICY] = json!("other");
        });
        world.round().await.unwrap();
        let after = world.secret().unwrap();
        assert_eq!(annotation(&after, names::POLICY).as_deref(), Some("db"), "{off:?}");
        assert_eq!((&after["data"], world.ready().as_str()), (&before["data"], "True/Synced"));
        assert_eq!(annotation(&after, names::REVISION), annotation(&before, names::REVISION));
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_record_that_is_not_proven_ours_is_left_alone() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 5] = [
        ("made by another tool", |secret| {
            secret["metadata"]["managedFields"][0]["manager"] = json!("kubectl");
        }),
        ("another name on it, and nobody's", |secret| {
            secret["metadata"]["annotations"][names::POLICY] = json!("other");
            secret["metadata"]["ownerReferences"] = json!([]);
        }),
        ("neither labelled nor owned", |secret| {
            secret["metadata"]["labels"] = json!({});
            secret["metadata"]["ownerReferences"] = json!([]);
        }),
        ("owned by another", |secret| {
            secret["metadata"]["labels"] = json!({});
            secret["metadata"]["ownerReferences"] = json!([
                {"apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "name": "other", "uid": "theirs"}]);
        }),
        ("labelled for nobody", |secret| {
            secret["metadata"]["annotations"] = json!({});
            secret["metadata"]["ownerReferences"] = json!([]);
        }),
    ];
    for (what, edit) in edits {
        for restarted in [false, true] {
            let world = World::new(&policy(|_| {}));
            world.round().await.unwrap();
            world.round().await.unwrap();
            world.edited(|secret| {
                take_off(secret, &RECORD);
                edit(secret);
            });
            if restarted {
                world.policies.memory.forget_policy("u", &world.key);
            }
            let before = world.secret();
            world.round().await.unwrap_err();
            assert_eq!((world.ready().as_str(), world.secret()), ("False/NoConsent", before), "{what}");
        }
    }
}
