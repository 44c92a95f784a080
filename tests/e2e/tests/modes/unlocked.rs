//! `rekey.dev/unlock`: a node serves the old content of an immutable Secret that was made again under its name, as long as a
//! pod of the node refers to it. So a locked Secret is replaced when none does.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Secret},
    rbac::v1::{ClusterRole, RoleBinding},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World,
    kill::{self, Rig, Scenario},
    versions::{current, policy, put, scene, status},
    wait::{stays, until},
    workloads::{Form, workload},
};
use rekey_testkit::{node::IMAGE, proxy::Fault};
use serde_json::{Value, json};

/// Longer than it takes the operator to look at the pods again.
pub const LOOK: Duration = Duration::from_secs(7);

pub fn locked() -> Value {
    json!({"immutability": "Locked"})
}

/// A Deployment whose pod has the password in its environment and as a file.
pub async fn consumer(scene: &Scene, name: &str) -> Result<()> {
    let mut object = workload("Deployment", &scene.namespace, name, "db", Form::Env);
    let files = workload("Deployment", &scene.namespace, name, "db", Form::Volume);
    let pod = |object: &Value| object["spec"]["template"]["spec"].clone();
    let spec = &mut object["spec"]["template"]["spec"];
    spec["volumes"] = pod(&files)["volumes"].clone();
    spec["containers"][0]["volumeMounts"] = pod(&files)["containers"][0]["volumeMounts"].clone();
    scene.world.apply(object).await.map(drop)
}

/// What the only pod of a workload holds: in its environment, and as a file.
pub async fn held(scene: &Scene, name: &str) -> Result<(String, String)> {
    let variable = scene.held(name, "PASSWORD").await?;
    let pod = scene.wait_pod(name).await?.name_any();
    let file = scene.world.node()?.file(&scene.namespace, &pod, "/secret/password").await?;
    Ok((variable, String::from_utf8(file)?))
}

pub fn both(value: &str) -> (String, String) {
    (value.to_owned(), value.to_owned())
}

pub async fn scale(scene: &Scene, name: &str, replicas: u32) -> Result<()> {
    let body = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    scene.api::<Deployment>().patch(name, &PatchParams::default(), &body).await?;
    Ok(())
}

pub async fn unlock(scene: &Scene, token: &str) -> Result<()> {
    scene.annotate::<SecretPolicy>("db", names::UNLOCK, token).await
}

pub async fn handled(scene: &Scene, token: &str) -> Result<()> {
    until(&format!("token {token} is handled"), || async {
        Ok((status(scene).await?.handled_unlock() == Some(token)).then_some(()))
    })
    .await
}

/// The source gets another value, and the policy says that the Secret is locked.
async fn change_locked(scene: &Scene, password: &str) -> Result<String> {
    put(scene, password).await?;
    scene.ask_sync("db").await?;
    scene.wait_policy("db", "Stalled=True/LockedAndChanged").await
}

pub async fn secret(scene: &Scene) -> Result<Secret> {
    scene.api::<Secret>().get("db").await.context("Secret db")
}

fn changes(secret: &Secret) -> Result<Value> {
    Ok(serde_json::from_str(secret.annotations().get(names::CHANGES).context("no record")?)?)
}

/// How many templates a Deployment has had: one more for each restart.
pub async fn templates(scene: &Scene, name: &str) -> Result<usize> {
    let of = ListParams::default().labels(&format!("app={name}"));
    Ok(scene.api::<ReplicaSet>().list(&of).await?.items.len())
}

pub async fn a_locked_secret_is_replaced_while_its_consumers_are_down(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "unlocked").await?;
    let _operator = scene.operator()?;
    policy(&scene, locked()).await?;
    current(&scene, "one").await?;
    consumer(&scene, "web").await?;
    ensure!(held(&scene, "web").await? == both("one"));
    scene.wait_at_rest("db", "web").await?;
    let before = secret(&scene).await?;

    let said = change_locked(&scene, "two").await?;
    ensure!(said.contains(&format!("secretpolicy db -n {} --overwrite rekey.dev/unlock=", scene.namespace)), "{said}");
    unlock(&scene, "first").await?;
    let said = scene.wait_policy("db", "Ready=False/Unlocking").await?;
    ensure!(said.contains("Scale these to 0") && said.contains(": Deployment web"), "{said}");
    ensure!(!said.contains("two"), "a value: {said}");
    stays("the Secret that a pod refers to", before.resource_version(), LOOK, || async {
        Ok(secret(&scene).await?.resource_version())
    })
    .await?;

    scale(&scene, "web", 0).await?;
    handled(&scene, "first").await?;
    ensure!(current(&scene, "two").await? == "db");
    let after = secret(&scene).await?;
    ensure!(after.uid() != before.uid() && after.immutable == Some(true), "{:?}", after.metadata);
    let record = changes(&after)?;
    ensure!(
        record["publication"] == 2 && record["previous"] == before.annotations()[names::REVISION].as_str(),
        "{record}"
    );
    scale(&scene, "web", 1).await?;
    ensure!(held(&scene, "web").await? == both("two"), "{:?}", held(&scene, "web").await?);
    scene.wait_at_rest("db", "web").await?;
    let (pod, count) = (scene.wait_pod("web").await?.uid(), templates(&scene, "web").await?);
    stays("the pod", pod, LOOK, || async { Ok(scene.wait_pod("web").await?.uid()) }).await?;
    ensure!(count == 1, "scaling up was enough, and there are {count} templates");

    // The token was for one change.
    let said = change_locked(&scene, "three").await?;
    ensure!(said.contains("is locked"), "{said}");
    ensure!(secret(&scene).await?.resource_version() == after.resource_version(), "it was written");
    let events = scene.events("db").await?;
    let deletions = events.iter().filter(|event| event.starts_with("Unlocking: deleted Secret db")).count();
    ensure!(deletions == 1, "{events:?}");
    Ok(())
}

/// A bare pod with the password in its environment.
async fn bare(scene: &Scene, name: &str) -> Result<()> {
    let env = json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]);
    let container = json!({"name": "app", "image": IMAGE, "imagePullPolicy": "Never", "env": env});
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }))
        .await
}

async fn end(scene: &Scene, pod: &str) -> Result<()> {
    scene.api::<Pod>().delete(pod, &DeleteParams::default().grace_period(0)).await?;
    until(&format!("{pod} is gone"), || async { Ok(scene.api::<Pod>().get_opt(pod).await?.is_none().then_some(())) })
        .await
}

/// Of a pod that refers to the Secret and starts between the look and the deletion nobody knows, and its node goes on serving
/// the old content, to other pods too.
pub async fn a_pod_that_comes_in_between_holds_up_the_creation(world: Arc<World>) -> Result<()> {
    let rig = Rig::new(&world, "between").await?;
    let scene = &rig.scene;
    put(scene, "one").await?;
    rig.start_ready().await?;
    policy(scene, locked()).await?;
    current(scene, "one").await?;
    change_locked(scene, "two").await?;
    kill::quiet(&rig, Duration::from_secs(2)).await?;
    // The deletion is the next write but one, after a status. It reaches the API server only when the pod runs, and before
    // the operator gives it up.
    let next = rig.kubernetes.calls().len() as u64 + 2;
    rig.kubernetes.arm(next, Fault::Delay(Duration::from_secs(12)));
    unlock(scene, "first").await?;
    until("the deletion is on its way", || async { Ok((rig.kubernetes.calls().len() as u64 >= next).then_some(())) })
        .await?;
    bare(scene, "between").await?;
    ensure!(scene.held("between", "PASSWORD").await? == "one");
    until("the Secret is gone", || async { Ok(scene.data("db").await?.is_none().then_some(())) }).await?;
    let said = scene.wait_policy("db", "Ready=False/Unlocking").await?;
    until("the pod is named", || async {
        let said = scene.wait_policy("db", "Ready=False/Unlocking").await?;
        Ok((said.contains("there is no Secret db") && said.contains("Pod between")).then_some(()))
    })
    .await
    .context(said)?;
    // What comes now gets the old content from the node, though there is no Secret: that is why it counts, too.
    bare(scene, "late").await?;
    let late = scene.held("late", "PASSWORD").await?;
    ensure!(late == "one", "{late}");
    end(scene, "between").await?;
    stays("no Secret", None, LOOK, || scene.data("db")).await?;
    until("only the late one is named", || async {
        let said = scene.wait_policy("db", "Ready=False/Unlocking").await?;
        Ok((said.contains("Pod late") && !said.contains("Pod between")).then_some(()))
    })
    .await?;
    end(scene, "late").await?;
    handled(scene, "first").await?;
    bare(scene, "new").await?;
    ensure!(scene.held("new", "PASSWORD").await? == "two");
    rig.alive()
}

/// Pods that wait for the Secret do not hold it up, also of an operator that does not know when it went.
pub async fn a_pod_that_waits_for_the_secret_gets_the_new_value(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "awaited").await?;
    let mut operator = scene.operator()?;
    policy(&scene, locked()).await?;
    current(&scene, "one").await?;
    change_locked(&scene, "two").await?;
    operator.stop()?;
    scene.api::<Secret>().delete("db", &DeleteParams::default()).await?;
    bare(&scene, "waits").await?;
    until("kubelet says what the pod waits for", || async {
        let pod = scene.api::<Pod>().get("waits").await?;
        let containers = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let waiting = containers.into_iter().filter_map(|at| at.state?.waiting?.reason);
        Ok(waiting.into_iter().any(|reason| reason == "CreateContainerConfigError").then_some(()))
    })
    .await?;
    unlock(&scene, "first").await?;
    let _second = scene.operator()?;
    handled(&scene, "first").await?;
    ensure!(scene.held("waits", "PASSWORD").await? == "two");
    ensure!(changes(&secret(&scene).await?)?["publication"] == 2);
    Ok(())
}

pub async fn kill_9_at_any_write_of_an_unlock_ends_the_same(world: Arc<World>) -> Result<()> {
    kill::prove(&world, &Unlock).await
}

/// A locked Secret gets another value.
struct Unlock;

impl Scenario for Unlock {
    fn name(&self) -> &'static str {
        "unlock"
    }

    async fn prepare(&self, rig: &Rig) -> Result<()> {
        put(&rig.scene, "one").await?;
        policy(&rig.scene, locked()).await?;
        current(&rig.scene, "one").await?;
        change_locked(&rig.scene, "two").await?;
        kill::quiet(rig, Duration::from_secs(2)).await
    }

    async fn act(&self, rig: &Rig) -> Result<()> {
        unlock(&rig.scene, "first").await
    }

    async fn end(&self, rig: &Rig) -> Result<Value> {
        handled(&rig.scene, "first").await?;
        current(&rig.scene, "two").await?;
        kill::quiet(rig, Duration::from_secs(6)).await?;
        let (status, secret) = (status(&rig.scene).await?, secret(&rig.scene).await?);
        let calls = rig.kubernetes.calls();
        let deletions = calls
            .iter()
            .filter(|call| call.method == "DELETE" && call.path.ends_with("/secrets/db") && call.status == Some(200));
        let record = changes(&secret)?;
        Ok(json!({
            "data": rig.scene.data("db").await?,
            "immutable": secret.immutable,
            "publication": record["publication"],
            "token": record["unlock"],
            "history": status.history.len(),
            "is of the revision": Some(&secret.annotations()[names::REVISION]) == status.revision.as_ref(),
            "deleted more than once": deletions.count() > 1,
        }))
    }
}

/// A role of the installer's own that does not show pods.
pub async fn without_the_right_to_list_pods_a_locked_secret_stays(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "unlock-unseen").await?;
    let cluster_roles: Api<ClusterRole> = Api::all(world.client.clone());
    let mut role = cluster_roles.get("rekey-namespace").await?;
    let name = format!("{}-without-pods", scene.namespace);
    let rules = role.rules.take().context("rules")?;
    let others: Vec<_> =
        rules.into_iter().filter(|rule| !rule.resources.iter().flatten().any(|resource| resource == "pods")).collect();
    world
        .apply(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name}, "rules": others}))
        .await?;
    scene.apply(rekey_e2e::shipped::binding(&scene.namespace, ("rekey", &name))).await?;
    scene.vault_store("ReadWrite").await?;
    put(&scene, "one").await?;
    let _operator = scene.operator()?;
    policy(&scene, locked()).await?;
    current(&scene, "one").await?;
    let before = secret(&scene).await?;
    change_locked(&scene, "two").await?;
    unlock(&scene, "first").await?;
    let said = scene.wait_policy("db", "Ready=False/Unlocking").await?;
    ensure!(said.contains("cannot see whether one does") && said.contains("list the pods"), "{said}");
    stays("the Secret", before.resource_version(), LOOK, || async { Ok(secret(&scene).await?.resource_version()) })
        .await?;
    scene.api::<RoleBinding>().delete("rekey", &DeleteParams::default()).await?;
    scene.open().await?;
    handled(&scene, "first").await?;
    current(&scene, "two").await.map(drop)
}
