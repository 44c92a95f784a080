//! A namespace with three consumers at rest, and the comparison before and after each case.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt::{Debug, Write as _},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::LocalBoxFuture;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Pod, Secret},
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names, policy::ConsumerState};
use rekey_e2e::{
    Scene, conditions,
    wait::until,
    workloads::{Form, is_ready, workload},
};
use serde_json::{Value, json};
use tokio::time::sleep;

/// Longer than the operator gathers changes: a restart that is due has happened by then.
const REST: Duration = Duration::from_secs(4);

/// The policies: the Secret of `db` is overwritten, each value of `key` is a Secret of its own.
pub const POLICIES: [&str; 2] = ["db", "key"];

/// The Deployments, each with the policy whose Secret it consumes.
pub const WORKLOADS: [(&str, &str, Form); 3] =
    [("web", "db", Form::Env), ("files", "db", Form::Volume), ("moved", "key", Form::Env)];

/// What the stores hold from the second value on.
pub const CURRENT: &str = "two";

pub struct Room<'a> {
    pub scene: &'a Scene,
    run: RefCell<Vec<&'static str>>,
    failed: RefCell<Vec<String>>,
}

/// What no case may change.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    workloads: BTreeMap<&'static str, Workload>,
    /// What the policies publish, and under which names and revisions.
    secrets: BTreeMap<String, Published>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Workload {
    template: Value,
    /// Without the edits of the case itself.
    generation: i64,
    replica_sets: usize,
    /// The id of each container of each pod, with how often it has started.
    pods: BTreeMap<String, Vec<(String, i32)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Published {
    data: BTreeMap<String, Vec<u8>>,
    revision: String,
}

/// What a case may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Nothing that concerns the workloads.
    Nothing,
    /// An edit of each Deployment besides its template, which the API server counts.
    Edit,
    /// The same, and it makes more pods: those of before stay.
    MorePods,
    /// The same, and some pods go: those that stay are of before.
    FewerPods,
    /// The record on a Secret is lost with it, and equal bytes get another revision.
    NewRecord,
}

impl<'a> Room<'a> {
    /// Furnishes the namespace of a running operator.
    pub async fn new(scene: &'a Scene) -> Result<Self> {
        for (policy, spec) in [("db", json!({})), ("key", moving())] {
            put(scene, policy, "one").await?;
            apply(scene, policy, spec).await?;
            scene.wait_synced(policy).await?;
        }
        for (name, policy, form) in [WORKLOADS[0], WORKLOADS[2]] {
            scene.world.apply(workload("Deployment", &scene.namespace, name, policy, form)).await?;
        }
        for (name, policy, _) in [WORKLOADS[0], WORKLOADS[2]] {
            pods_run(scene, name).await?;
            scene.wait_at_rest(policy, name).await?;
        }
        let room = Self { scene, run: RefCell::default(), failed: RefCell::default() };
        for policy in POLICIES {
            put(scene, policy, CURRENT).await?;
            scene.ask_sync(policy).await?;
        }
        for (name, policy, _) in [WORKLOADS[0], WORKLOADS[2]] {
            until(&format!("{name} holds the second value"), || async {
                Ok((scene.variable(name, "PASSWORD").await.ok().as_deref() == Some(CURRENT)).then_some(()))
            })
            .await?;
            scene.wait_at_rest(policy, name).await?;
        }
        let (name, policy, form) = WORKLOADS[1];
        scene.world.apply(workload("Deployment", &scene.namespace, name, policy, form)).await?;
        pods_run(scene, name).await?;
        room.at_rest().await?;
        for policy in POLICIES {
            scene.wait_policy(policy, "ConsumersCurrent=True/AllCurrent").await?;
        }
        let web = scene.api::<Deployment>().get("web").await?;
        let template = web.spec.map(|spec| spec.template).unwrap_or_default().metadata.unwrap_or_default();
        ensure!(template.annotations.unwrap_or_default().contains_key(names::CONSUMED), "web was restarted by us");
        Ok(room)
    }

    /// Runs a case that does nothing to the workloads, and compares.
    pub fn case<'f>(
        &'f self,
        name: &'static str,
        work: impl Future<Output = Result<()>> + 'f,
    ) -> LocalBoxFuture<'f, Result<()>> {
        self.case_with(name, Own::Nothing, work)
    }

    /// Runs a case, and compares. A restart is remembered, so that the other cases run, too.
    pub fn case_with<'f>(
        &'f self,
        name: &'static str,
        own: Own,
        work: impl Future<Output = Result<()>> + 'f,
    ) -> LocalBoxFuture<'f, Result<()>> {
        let work = Box::pin(work);
        Box::pin(async move {
            let before = self.standing().await?;
            let done = async {
                work.await?;
                self.settled().await
            };
            if let Err(error) = done.await {
                bail!("{name}: {error:#}; {}", self.shown().await?);
            }
            sleep(REST).await;
            if let Some(difference) = difference(&before, self.standing().await?, own) {
                self.failed.borrow_mut().push(format!("{name}: {difference}"));
            }
            self.run.borrow_mut().push(name);
            Ok(())
        })
    }

    /// Prints what has run, and fails if that is not the whole table or a case has restarted somebody.
    pub fn done(self, room: &str, table: &[&str]) -> Result<()> {
        let (run, failed) = (self.run.into_inner(), self.failed.into_inner());
        println!("{room}: {} cases, {} with a difference", run.len(), failed.len());
        for name in &run {
            println!("    {name}");
        }
        ensure!(run == table, "{room} has not run its table: {table:?}");
        ensure!(failed.is_empty(), "{room}:\n{}", failed.join("\n"));
        Ok(())
    }

    /// Waits until the operator has handled everything up to now, and nobody is behind.
    async fn settled(&self) -> Result<()> {
        for policy in POLICIES {
            self.scene.sync(policy).await?;
        }
        self.at_rest().await
    }

    async fn at_rest(&self) -> Result<()> {
        for policy in POLICIES {
            until(&format!("all consumers of {policy} are at rest"), || self.rests(policy)).await?;
        }
        Ok(())
    }

    /// Waits until a policy whose Secret counts as its own again is at rest. Nobody asks it for anything.
    pub async fn taken(&self, policy: &str) -> Result<()> {
        let what = format!("all consumers of {policy} are at rest after it has its Secret again");
        until(&what, || self.rests(policy)).await
    }

    async fn rests(&self, policy: &str) -> Result<Option<()>> {
        let count = WORKLOADS.iter().filter(|(_, of, _)| *of == policy).count();
        let found = self.scene.api::<SecretPolicy>().get(policy).await?;
        let status = found.status.unwrap_or_default();
        let shown = conditions::shown(&status.conditions);
        let is_settled = shown.iter().any(|at| at.starts_with("Ready=True/"))
            && !shown.iter().any(|at| at.starts_with("Reconciling"))
            && status.observed_generation == found.metadata.generation;
        let items = status.consumers.unwrap_or_default().items;
        let rests = |state: ConsumerState| matches!(state, ConsumerState::Current | ConsumerState::Assumed);
        Ok((is_settled && items.len() == count && items.iter().all(|item| rests(item.state))).then_some(()))
    }

    /// What the policies say, for the error.
    async fn shown(&self) -> Result<String> {
        let mut all = String::new();
        for policy in POLICIES {
            let status = self.scene.api::<SecretPolicy>().get(policy).await?.status.unwrap_or_default();
            let (shown, consumers) = (conditions::shown(&status.conditions), status.consumers.unwrap_or_default());
            write!(all, "{policy} shows {shown:?}, {:?}; ", consumers.items)?;
        }
        Ok(all)
    }

    async fn standing(&self) -> Result<Standing> {
        let mut workloads = BTreeMap::new();
        for (name, ..) in WORKLOADS {
            workloads.insert(name, self.workload(name).await?);
        }
        let mut secrets = BTreeMap::new();
        for name in ["db".to_owned(), "key".to_owned(), self.version().await?] {
            secrets.insert(name.clone(), self.published(&name).await?);
        }
        Ok(Standing { workloads, secrets })
    }

    async fn workload(&self, name: &str) -> Result<Workload> {
        let deployment = self.scene.api::<Deployment>().get(name).await?;
        let of_it = ListParams::default().labels(&format!("app={name}"));
        let pods = self.scene.api::<Pod>().list(&of_it).await?.items;
        Ok(Workload {
            template: serde_json::to_value(deployment.spec.context("no spec")?.template)?,
            generation: deployment.metadata.generation.context("no generation")?,
            replica_sets: self.scene.api::<ReplicaSet>().list(&of_it).await?.items.len(),
            pods: pods
                .iter()
                .filter(|pod| pod.metadata.deletion_timestamp.is_none())
                .map(|pod| (pod.uid().unwrap_or_default(), starts(pod)))
                .collect(),
        })
    }

    /// The name of the Secret that the policy `key` has published last.
    pub async fn version(&self) -> Result<String> {
        let status = self.scene.api::<SecretPolicy>().get("key").await?.status.unwrap_or_default();
        status.secret_name.context("no status.secretName")
    }

    async fn published(&self, name: &str) -> Result<Published> {
        let secret = self.scene.api::<Secret>().get(name).await?;
        let revision = secret.annotations().get(names::REVISION).cloned().unwrap_or_default();
        let data = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        Ok(Published { data, revision })
    }

    /// Changes something of a policy, as its owner does.
    pub async fn edit(&self, policy: &str, change: Value) -> Result<()> {
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        self.scene.api::<SecretPolicy>().patch(policy, &params, &Patch::Merge(change)).await?;
        Ok(())
    }

    /// The same with both policies.
    pub async fn edit_both(&self, change: Value) -> Result<()> {
        for policy in POLICIES {
            self.edit(policy, change.clone()).await?;
        }
        Ok(())
    }

    /// Waits until a policy shows a condition other than that it is synced.
    pub async fn wait_reason(&self, policy: &str, reason: &str) -> Result<()> {
        until(&format!("{policy} shows {reason}"), || async {
            let shown = conditions::shown(&self.scene.policy_conditions(policy).await?);
            Ok(shown.iter().any(|at| at.ends_with(&format!("/{reason}"))).then_some(()))
        })
        .await
    }
}

/// A policy as its owner applies it.
pub async fn apply(scene: &Scene, policy: &str, more: Value) -> Result<()> {
    let key = scene.key(policy);
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    let mut spec = json!({"source": {"remote": {"refreshInterval": "240h"}}});
    for (name, value) in more.as_object().context("fields of the spec")? {
        spec[name] = value.clone();
    }
    scene.policy(policy, "vault", &items, spec).await
}

/// What makes references move.
pub fn moving() -> Value {
    json!({"immutability": "Versioned", "versions": {"references": "Move", "keep": 3}})
}

/// Writes a new version of the policy's key.
pub async fn put(scene: &Scene, policy: &str, password: &str) -> Result<()> {
    scene.world.bao.put(&scene.key(policy), &value(password)).await.map(drop)
}

/// What the store holds.
pub fn value(password: &str) -> Value {
    json!({"username": "orders", "password": password})
}

async fn pods_run(scene: &Scene, name: &str) -> Result<()> {
    until(&format!("all pods of {name} run"), || async {
        let wanted = scene.api::<Deployment>().get(name).await?.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let pods = scene.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await?.items;
        Ok((pods.len() == usize::try_from(wanted)? && pods.iter().all(is_ready)).then_some(()))
    })
    .await
}

impl Room<'_> {
    /// Sets the number of pods of a Deployment, and waits for them.
    pub async fn scale(&self, name: &str, replicas: u32) -> Result<()> {
        let body = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        self.scene.api::<Deployment>().patch(name, &PatchParams::default(), &body).await?;
        pods_run(self.scene, name).await
    }
}

/// The containers of a pod, each with how often it has started.
fn starts(pod: &Pod) -> Vec<(String, i32)> {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|at| (at.container_id.clone().unwrap_or_default(), at.restart_count)).collect()
}

/// What a case has changed that it should not have.
fn difference(before: &Standing, mut after: Standing, own: Own) -> Option<String> {
    for (name, workload) in &mut after.workloads {
        if matches!(own, Own::Edit | Own::MorePods | Own::FewerPods) {
            workload.generation -= 1;
        }
        let earlier = &before.workloads[name].pods;
        match own {
            Own::Nothing | Own::Edit | Own::NewRecord => {}
            Own::MorePods => workload.pods.retain(|pod, _| earlier.contains_key(pod)),
            Own::FewerPods => {
                let gone = earlier.iter().filter(|(pod, _)| !workload.pods.contains_key(*pod));
                let gone: Vec<_> = gone.map(|(pod, starts)| (pod.clone(), starts.clone())).collect();
                workload.pods.extend(gone);
            }
        }
    }
    if own == Own::NewRecord {
        for (name, secret) in &mut after.secrets {
            secret.revision.clone_from(&before.secrets.get(name)?.revision);
        }
    }
    let workloads = before.workloads.iter().map(|(name, at)| unequal(name, at, &after.workloads[name]));
    let secrets = before.secrets.iter().map(|(name, at)| unequal(name, &Some(at), &after.secrets.get(name)));
    let all: Vec<String> = workloads.chain(secrets).flatten().collect();
    (*before != after).then(|| all.join("\n"))
}

fn unequal<T: PartialEq + Debug>(name: &str, before: &T, after: &T) -> Option<String> {
    (before != after).then(|| format!("{name} was {before:?}, and is {after:?}"))
}
