//! Too large reads: for the memory, and from a store that others use, too.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use rekey_e2e::{Scene, World, vigil::Vigil};
use serde_json::{Value, json};
use tokio::time::sleep;

const SYSTEM: &str = "rekey-system";

/// Eight policies search a folder that holds more than the operator may use.
pub async fn a_search_for_more_than_the_memory_is_refused(world: Arc<World>) -> Result<()> {
    const KEYS: usize = 600;
    const POLICIES: usize = 8;
    let scene = Scene::new(&world, "huge").await?;
    let value = json!({"blob": "x".repeat(900 * 1024)});
    let puts = (0..KEYS).map(|number| {
        let (world, key, value) = (&world, scene.key(&format!("big/{number}")), &value);
        async move { world.bao.put(&key, value).await }
    });
    stream::iter(puts).buffer_unordered(4).try_for_each(|_| async { Ok(()) }).await?;
    let mut vigil = Vigil::start(&world, "huge", &[&scene], &[]).await?;
    let attack = async {
        let find = json!({"find": {"path": scene.key("big")}});
        for number in 0..POLICIES {
            scene.policy_of(&format!("p{number}"), searching(&json!({"name": "vault"}), &find)).await?;
        }
        for number in 0..POLICIES {
            let said = scene.wait_policy(&format!("p{number}"), "Stalled=True/SecretTooLarge").await?;
            ensure!(said.contains("find.path") && said.contains("RemoteStore/vault"), "{said}");
        }
        Ok(())
    };
    let outcome = vigil.during(attack).await;
    let puts = (0..KEYS).map(|number| {
        let (world, key) = (&world, scene.key(&format!("big/{number}")));
        async move { world.bao.destroy(&key).await }
    });
    stream::iter(puts).buffer_unordered(4).try_for_each(|()| async { Ok(()) }).await?;
    outcome
}

/// One namespace searches a shared store without end; another one uses the store, too.
pub async fn a_flood_of_searches_leaves_a_shared_store_to_others(world: Arc<World>) -> Result<()> {
    const POLICIES: usize = 12;
    const FOLDERS: usize = 15;
    let scene = Scene::new(&world, "flood").await?;
    for number in 0..FOLDERS {
        world.bao.put(&scene.key(&format!("tree/{number}/a")), &json!({"a": "b"})).await?;
    }
    let mut vigil = Vigil::start(&world, "flood", &[&scene], &[]).await?;
    let other = &vigil.bystander;
    let (theirs, name) = (other.key("shared"), scene.namespace.clone());
    world.bao.put(&theirs, &json!({"password": "0"})).await?;
    let names = [scene.namespace.clone(), other.namespace.clone()];
    share(&world, &name, &names).await?;
    let store = json!({"kind": "ClusterRemoteStore", "name": name});
    let seldom = json!({"source": {"remote": {"storeRef": store, "refreshInterval": "240h"}}});
    other.policy("shared", &name, &[("password", &theirs, "password")], seldom).await?;
    other.wait_data("shared", &[("password", "0")]).await?;
    let (world, namespace) = (Arc::clone(&world), other.namespace.clone());
    let beside = Scene { world: Arc::clone(&world), namespace, stable_for: Scene::STABLE_FOR };
    let attack = async {
        let find = json!({"find": {"path": scene.key("tree")}});
        for number in 0..POLICIES {
            scene.policy_of(&format!("p{number}"), searching(&store, &find)).await?;
        }
        let flood = async {
            loop {
                try_join_all((0..POLICIES).map(|number| {
                    let (scene, name) = (&scene, format!("p{number}"));
                    async move { scene.ask_sync(&name).await }
                }))
                .await?;
                sleep(Duration::from_millis(500)).await;
            }
        };
        let used = async {
            sleep(Duration::from_secs(5)).await; // until the flood has used up the limits
            for round in 1..=8 {
                let value = round.to_string();
                world.bao.put(&theirs, &json!({"password": value})).await?;
                let start = Instant::now();
                beside.ask_sync("shared").await?;
                beside.wait_data("shared", &[("password", &value)]).await?;
                ensure!(start.elapsed() < Duration::from_secs(5), "another namespace waited {:?}", start.elapsed());
                println!("another namespace waited {:.1} s", start.elapsed().as_secs_f64());
            }
            Ok(())
        };
        tokio::select! { result = flood => result, result = used => result }
    };
    vigil.during(attack).await
}

fn searching(store: &Value, find: &Value) -> Value {
    json!({"source": {"remote": {"storeRef": store, "refreshInterval": "10s", "dataFrom": [find]}}})
}

/// A slow store of the cluster, for these namespaces.
async fn share(world: &World, name: &str, namespaces: &[String]) -> Result<()> {
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]});
    let subject = json!({"kind": "ServiceAccount", "name": "rekey", "namespace": SYSTEM});
    let group = "rbac.authorization.k8s.io";
    let auth = json!({"token": {"secretRef": {"name": name, "key": "token"}}});
    let grant = json!({"namespaces": {"names": namespaces}, "keys": ["*"], "operations": ["Read"]});
    for object in [
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": SYSTEM},
            "stringData": {"token": world.bao.token()},
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": {"name": name, "namespace": SYSTEM},
            "rules": [rule],
        }),
        json!({
            "apiVersion": format!("{group}/v1"), "kind": "RoleBinding", "metadata": {"name": name, "namespace": SYSTEM},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name}, "subjects": [subject],
        }),
        json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "ClusterRemoteStore", "metadata": {"name": name},
            "spec": {
                "access": "ReadOnly",
                "limits": {"requestsPerSecond": 5, "burst": 5},
                "provider": {"vault": {"server": world.bao.address(), "mount": "secret", "auth": auth}},
                "grants": [grant],
            },
        }),
    ] {
        world.apply(object).await?;
    }
    Ok(())
}
