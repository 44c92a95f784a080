//! With nothing to do while versions change, nothing is written but statuses that are worded in another way, and nothing restarts.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World,
    release::SYSTEM,
    wait::until,
    workloads::{Form, workload},
};
use rekey_testkit::helm::helms;
use serde_json::{Map, Value, json};

use crate::{
    audit::{Since, refreshed},
    ground::{Ground, Way},
    objects::Objects,
};

/// The keys that the policies read at every refresh.
const KEYS: [&str; 6] = ["db", "locked", "many", "merged", "shared", "templated"];
/// The consumers of the password of `db`.
const CONSUMERS: [&str; 3] = ["deployment", "statefulset", "daemonset"];

pub async fn an_upgrade_changes_nothing_but_words_and_restarts_nobody(world: Arc<World>) -> Result<()> {
    let helms = tokio::task::spawn_blocking(helms).await??;
    let kinds = moved(&world, &helms.four, Way::Upgrade).await?;
    // Helm 4 writes every object of a release.
    let place = |kind: &str| (kinds.iter().position(|at| at == kind), kinds.iter().rposition(|at| at == kind));
    let (definitions, roles, pods) = (place("customresourcedefinitions"), place("clusterroles"), place("deployments"));
    ensure!(
        definitions.1.is_some() && definitions.1 < roles.0 && roles.1 < pods.0,
        "definitions and roles do not come before pods: {kinds:?}"
    );
    Ok(())
}

/// The old version reads what the new one has written.
pub async fn the_way_back_changes_nothing_but_words_and_restarts_nobody(world: Arc<World>) -> Result<()> {
    let helms = tokio::task::spawn_blocking(helms).await??;
    moved(&world, &helms.three, Way::Back).await.map(drop)
}

/// Changes the version in the order of docs/operations.md; returns the order in which Helm has written the kinds.
async fn moved(world: &Arc<World>, helm: &Path, way: Way) -> Result<Vec<String>> {
    let ground = Ground::new(world, helm, way).await?;
    let mut leaving = ground.start(&ground.from).await?;
    leaving.wait_leads().await?;
    policies(&ground).await?;
    consumers(&ground).await?;
    ground.rotate("before").await?;
    ground.rotated_times(1, &CONSUMERS).await?;
    at_rest(&ground.scene).await?;

    let before = Objects::of(&ground.scene).await?;
    let since = Since::now(world).await?;
    ground.move_release().await?;
    let coming = ground.start(&ground.to).await?;
    coming.wait_ready().await?;
    refreshed(&ground.scene, &KEYS).await?;
    ensure!(leaving.leads().await? && !coming.leads().await?, "who came last works beside who leads");
    leaving.stop()?;
    let stopped = Instant::now();
    coming.wait_leads().await?;
    let silence = stopped.elapsed();
    refreshed(&ground.scene, &KEYS).await?;
    let after = Objects::of(&ground.scene).await?;
    after.are(&before)?;
    let reworded = after.reworded(&before, "SecretPolicy");
    let agents = since.nothing_written_but(&reworded).await?;
    let store_writes = since.store_writes(&ground.scene)?;
    ensure!(store_writes.is_empty(), "written to the store: {store_writes:?}");
    let kinds = since.helm().await?;

    let reads = since.reads(&ground.scene)?;
    println!("{way:?}: the next one leads {:.1} s after the end of the one before", silence.as_secs_f64());
    println!("  requests: {agents:?}; reads of keys: {reads:?}; Helm wrote {kinds:?}");
    for kind in ["Secret", "SecretPolicy", "RotationSchedule", "RemoteStore", "Pod"] {
        println!("  {} of kind {kind} unchanged", after.count(kind));
    }
    println!("  {} statuses of the kind SecretPolicy written once, in other words: {reworded:?}", reworded.len());
    ensure!(agents.len() == 2, "not both versions were at work: {agents:?}");

    works(&ground, &before).await?;
    Ok(kinds)
}

/// One policy of each source that needs no cloud, and what else is kept on a Secret: seeds of salts, answers of engines.
async fn policies(ground: &Ground) -> Result<()> {
    let (scene, bao) = (&ground.scene, &ground.scene.world.bao);
    scene.vault_store("ReadWrite").await?;
    ground.rotated().await?;
    for key in ["locked", "merged", "shared", "templated"] {
        bao.put(&scene.key(key), &json!({"password": "the first"})).await?;
    }
    let policy = async |name: &str, more: Value| {
        let key = scene.key(name);
        scene.policy(name, "vault", &[("password", key.as_str(), "password")], more).await
    };
    policy("locked", json!({"immutability": "Locked"})).await?;
    scene.secret("theirs", &[("theirs", "one")]).await?;
    scene.annotate::<Secret>("theirs", names::ADOPT_BY, "merged").await?;
    policy("merged", json!({"target": {"name": "theirs", "ownership": "Merge"}})).await?;
    let lines = json!({"line": "{{ htpasswd \"orders\" .password }}", "sum": "{{ .password | sha256sum }}"});
    policy("templated", json!({"target": {"template": {"data": lines}}})).await?;
    many(scene).await?;
    scene.policy_of("made", json!({"source": {"generated": {"fields": [{"key": "token", "password": {}}]}}})).await?;
    scene.secret("web-tls", &[("tls.crt", "one")]).await?;
    scene.policy_of("governed", json!({"source": {"existing": {}}, "target": {"name": "web-tls"}})).await?;
    issued(scene).await?;
    shared(scene).await?;
    policy("shared", json!({"source": {"remote": {"storeRef": {"kind": "ClusterRemoteStore", "name": "all"}}}})).await
}

/// A Secret of so many long names that its record is packed.
async fn many(scene: &Scene) -> Result<()> {
    let values: Map<String, Value> = (0..100).map(|number| (format!("{number:0200}"), json!("one"))).collect();
    scene.world.bao.put(&scene.key("many"), &values.into()).await?;
    let from = json!([{"extract": {"key": scene.key("many")}}]);
    let remote = json!({"storeRef": {"name": "vault"}, "refreshInterval": "10s", "dataFrom": from});
    scene.policy_of("many", json!({"source": {"remote": remote}})).await
}

/// A certificate of an engine, which lasts longer than this test.
async fn issued(scene: &Scene) -> Result<()> {
    scene.world.bao.enable_pki("pki", "web").await?;
    let parameters = json!({"common_name": "web.shop.svc", "ttl": "10h"});
    let engine =
        json!({"storeRef": {"name": "vault"}, "path": "pki/issue/web", "method": "Post", "parameters": parameters});
    let data = json!({"tls.crt": "{{ .certificate }}", "tls.key": "{{ .private_key }}"});
    let target = json!({"type": "kubernetes.io/tls", "template": {"data": data}});
    scene.policy_of("issued", json!({"source": {"vaultEngine": engine}, "target": target})).await
}

/// A store of the cluster, whose token the chart lets the operator read.
async fn shared(scene: &Scene) -> Result<()> {
    let (world, name) = (&scene.world, "vault-token");
    let token = json!({"token": world.bao.token()});
    let metadata = json!({"name": name, "namespace": SYSTEM});
    world.apply(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": token})).await?;
    let auth = json!({"token": {"secretRef": {"name": name, "key": "token"}}});
    let vault = json!({"server": world.bao.address(), "mount": "secret", "auth": auth});
    let grants = json!([{"namespaces": {"names": [scene.namespace]}, "keys": ["*"], "operations": ["Read"]}]);
    let store = json!({
        "apiVersion": "rekey.dev/v1alpha1",
        "kind": "ClusterRemoteStore",
        "metadata": {"name": "all"},
        "spec": {"access": "ReadOnly", "provider": {"vault": vault}, "grants": grants},
    });
    world.apply(store).await.map(drop)
}

/// One of each kind that Kubernetes has.
async fn consumers(ground: &Ground) -> Result<()> {
    for (kind, name) in ["Deployment", "StatefulSet", "DaemonSet"].into_iter().zip(CONSUMERS) {
        ground.consumer(kind, name).await?;
    }
    let scene = &ground.scene;
    let mut template =
        workload("Deployment", &scene.namespace, "yearly", "templated", Form::EnvFrom)["spec"]["template"].take();
    template["spec"]["restartPolicy"] = json!("Never");
    let spec = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}});
    scene
        .apply(json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "yearly"}, "spec": spec}))
        .await?;
    until("the policy knows the CronJob", || async {
        let status = scene.api::<SecretPolicy>().get("templated").await?.status.unwrap_or_default();
        Ok(status.consumers.is_some_and(|consumers| consumers.total == 1).then_some(()))
    })
    .await
}

/// Waits until every policy is Ready and nothing is on its way any more, and has been so for a refresh interval, so
/// that later writes are not late work of the current leader.
async fn at_rest(scene: &Scene) -> Result<()> {
    for name in KEYS.into_iter().chain(["made", "governed", "issued"]) {
        scene.wait_settled(name).await?;
    }
    scene.wait_store("vault", "Ready=True/Synced").await?;
    refreshed(scene, &KEYS).await
}

/// It was idle because there was nothing to do: a change and a rotation still work.
async fn works(ground: &Ground, before: &Objects) -> Result<()> {
    let scene = &ground.scene;
    scene.world.bao.put(&scene.key("shared"), &json!({"password": "the second"})).await?;
    scene.wait_data("shared", &[("password", "the second")]).await?;
    ground.rotate("after").await?;
    ground.rotated_times(2, &CONSUMERS).await?;
    let after = Objects::of(scene).await?;
    ensure!(after.are(before).is_err(), "a rotation that shows nowhere");
    Ok(())
}
