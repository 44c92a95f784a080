//! A policy with a consumer, on one Secret of which another tool makes its attempts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, Secret},
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World, conditions,
    versions::{change, current, deployment, policy, scene, status, versioned},
    wait::{stays, until},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    expected::{End, Which, end},
    face::{Face, face, pods},
    other_tool::{Answer, Attempt, FOREIGN, THEIRS, tool},
};

/// Within this time an attempt is repaired or refused, and reported.
const SECONDS: Duration = Duration::from_secs(5);
/// So long after the start of a pod it is known for sure what it has read.
const EDGE: Duration = Duration::from_secs(13);

/// See the [module documentation](self).
pub struct Stage {
    pub scene: Scene,
    which: Which,
    /// The Secret that is meant.
    name: String,
    /// What is published.
    value: String,
    values: u32,
}

impl Stage {
    pub async fn new(world: &Arc<World>, which: Which, prefix: &str) -> Result<Self> {
        let (scene, value) = (scene(world, prefix).await?, "one".to_owned());
        Ok(Self { scene, which, name: "db".to_owned(), value, values: 0 })
    }

    /// Publishes two values, or one that is locked, with a consumer that runs.
    pub async fn prepare(&mut self) -> Result<()> {
        let scene = &self.scene;
        let spec = match self.which {
            Which::Mutable => json!({}),
            Which::Copy => json!({"versions": {"keep": 1}}),
            Which::Locked => json!({"immutability": "Locked"}),
            Which::Published => versioned(1),
            Which::Moved | Which::Plain | Which::Superseded => {
                json!({"immutability": "Versioned", "versions": {"references": "Move", "keep": 1}})
            }
        };
        policy(scene, spec).await?;
        let name = current(scene, "one").await?;
        deployment(scene, "web", if self.which == Which::Published { &name } else { "db" }).await?;
        scene.wait_at_rest("db", "web").await?;
        if self.which == Which::Locked {
            scene.wait_pod("web").await?;
        } else {
            self.next().await?;
        }
        if matches!(self.which, Which::Mutable | Which::Locked) {
            sleep(EDGE).await;
        }
        Ok(())
    }

    /// Publishes another value, and takes its Secret, or the one of the value before.
    async fn next(&mut self) -> Result<()> {
        let (scene, before) = (&self.scene, status(&self.scene).await?);
        self.values += 1;
        self.value = format!("value-{}", self.values);
        let now = change(scene, &self.value).await?;
        if self.which == Which::Published {
            deployment(scene, "web", &now).await?;
        }
        until("web runs on it", || async {
            Ok((scene.variable("web", "PASSWORD").await.ok().as_deref() == Some(&self.value)).then_some(()))
        })
        .await?;
        scene.wait_at_rest("db", "web").await?;
        let revision = before.revision.context("a revision")?;
        self.name = match self.which {
            Which::Mutable | Which::Plain | Which::Locked => "db".to_owned(),
            Which::Published | Which::Moved => now,
            Which::Superseded | Which::Copy => format!("db-{revision}"),
        };
        if self.which == Which::Plain {
            scene.wait_data("db", &[("password", &self.value)]).await?;
        }
        Ok(())
    }

    /// Lets the other tool make an attempt; how long the answer took.
    pub async fn run(&mut self, attempt: Attempt) -> Result<Duration> {
        let scene = &self.scene;
        let before = face(scene, &self.name).await?.context("there is a Secret")?;
        let (generation, running) = (scene.generation("Deployment", "web").await?, pods(scene).await?);
        scene.api::<Event>().delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let answer = attempt.make(scene, &self.name).await?;
        let start = Instant::now();
        let end = end(self.which, attempt);
        ensure!((answer == Answer::Refused) == (end == End::Refused), "the API server: {answer:?}");
        let took = self.answered(end, attempt, start, &before).await?;
        let moves = match (end, self.which) {
            (End::Renamed, _) => 1, // no other bytes may come to a new pod
            (End::Frozen, _) => return self.thawed(&before).await.map(|()| took),
            (End::Lost, _) => {
                self.unmoved(generation, &running).await?;
                self.scene.api::<Secret>().delete(&self.name, &DeleteParams::default()).await.ok();
                return self.next().await.map(|()| took);
            }
            (End::Repaired(_) | End::Refused | End::Stays | End::Stalled(_) | End::Told(_), _) => 0,
        };
        self.scene.wait_at_rest("db", "web").await?;
        if moves == 0 {
            self.unmoved(generation, &running).await?;
        } else {
            let after = self.scene.generation("Deployment", "web").await?;
            ensure!(after == generation + moves, "one rollout: {generation} {after}");
        }
        Ok(took)
    }

    /// Waits for what has to come of it, and takes back what is left of the other tool.
    async fn answered(&mut self, end: End, attempt: Attempt, start: Instant, before: &Face) -> Result<Duration> {
        let scene = &self.scene;
        match end {
            End::Repaired(reason) => self.soon(start, Some(before), &[reason]).await,
            End::Refused | End::Stays => {
                let is_same = || async { Ok(face(scene, &self.name).await?.as_ref() == Some(before)) };
                stays("the Secret", true, Duration::from_millis(1500), is_same).await?;
                self.keeps_what_is_theirs(attempt).await?;
                Ok(Duration::ZERO)
            }
            End::Stalled(reason) => {
                let took = self.says(start, &format!("Stalled=True/{reason}"), "kubectl ").await?;
                let left = scene.data(&self.name).await?.unwrap_or_default();
                ensure!(left.get("password").map(String::as_str) == Some(THEIRS), "{left:?}");
                scene.api::<Secret>().delete(&self.name, &DeleteParams::default()).await?;
                self.soon(Instant::now(), Some(before), &["Synced"]).await?;
                Ok(took)
            }
            End::Frozen => self.says(start, "Stalled=True/LockedAndChanged", "rekey.dev/unlock=").await,
            End::Told(reason) => {
                let took = self.says(start, "Ready=True/Synced", "kubectl delete secret db ").await?;
                self.soon(start, None, &[reason]).await?;
                scene.api::<Secret>().delete(&self.name, &DeleteParams::default()).await?;
                self.soon(Instant::now(), Some(before), &[]).await?;
                Ok(took)
            }
            End::Renamed => {
                self.soon(start, None, &["Drifted"]).await?;
                let now = status(scene).await?.secret_name.filter(|name| *name != self.name).context("another name")?;
                ensure!(scene.data(&now).await?.as_ref() == Some(&before.data), "{now} holds something else");
                let took = start.elapsed();
                if self.which == Which::Published {
                    deployment(scene, "web", &now).await?;
                }
                until("web refers to it", || async {
                    let web = serde_json::to_value(scene.api::<Deployment>().get("web").await?)?;
                    let env = &web["spec"]["template"]["spec"]["containers"][0]["env"][0];
                    Ok((env["valueFrom"]["secretKeyRef"]["name"] == json!(now)).then_some(()))
                })
                .await?;
                scene.api::<Secret>().delete(&self.name, &DeleteParams::default()).await?;
                self.name = now;
                Ok(took)
            }
            End::Lost => self.soon(start, None, &["Drifted"]).await,
        }
    }

    /// The consumer is what it was, and so are its pods.
    async fn unmoved(&self, generation: i64, running: &BTreeMap<String, i32>) -> Result<()> {
        let after = self.scene.generation("Deployment", "web").await?;
        ensure!(after == generation, "web was restarted: {generation} {after}");
        let pods = pods(&self.scene).await?;
        ensure!(pods == *running, "{pods:?} were {running:?}");
        Ok(())
    }

    /// The way out of an immutable Secret: pods go, and it is replaced.
    async fn thawed(&self, before: &Face) -> Result<()> {
        let scene = &self.scene;
        scale(scene, 0).await?;
        scene.annotate::<SecretPolicy>("db", names::UNLOCK, &format!("{:?}", Instant::now())).await?;
        until("it is as it was", || async {
            Ok(face(scene, &self.name).await?.filter(|found| found == before).map(drop))
        })
        .await?;
        scene.wait_policy("db", "Ready=True/Synced").await?;
        sleep(EDGE).await; // a pod that starts as the Secret comes back may have to be restarted once
        scale(scene, 1).await?;
        let held = scene.held("web", "PASSWORD").await?;
        ensure!(before.data.get("password") == Some(&held), "web holds {held}");
        scene.wait_at_rest("db", "web").await?;
        sleep(EDGE).await;
        Ok(())
    }

    /// Waits until the Secret is as it was, if that is asked, and Events with these reasons say so.
    async fn soon(&self, start: Instant, before: Option<&Face>, reasons: &[&str]) -> Result<Duration> {
        loop {
            let (found, events) = (face(&self.scene, &self.name).await?, self.scene.events("db").await?);
            let is_told = |reason: &&str| events.iter().any(|event| event.starts_with(&format!("{reason}: ")));
            if before.is_none_or(|before| found.as_ref() == Some(before)) && reasons.iter().all(is_told) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > SECONDS {
                let told = self.told().await?;
                bail!("wanted {before:?} and Events {reasons:?}, found {found:?}; {events:?}; {told}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the policy has this condition, with a message that says what to do.
    async fn says(&self, start: Instant, condition: &str, command: &str) -> Result<Duration> {
        loop {
            let found = self.scene.policy_conditions("db").await?;
            let mut said = conditions::shown(&found).into_iter().zip(&found);
            if said.any(|(shown, at)| shown == condition && at.message.contains(command)) {
                return Ok(start.elapsed());
            }
            ensure!(start.elapsed() < SECONDS, "wanted {condition} with {command}: {}", self.told().await?);
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn told(&self) -> Result<String> {
        let found = self.scene.policy_conditions("db").await?;
        let said = conditions::shown(&found).into_iter().zip(&found);
        Ok(said.map(|(shown, at)| format!("{shown}: {}", at.message)).collect::<Vec<_>>().join(" | "))
    }

    /// What is the other tool's stays, and goes by its own hand.
    async fn keeps_what_is_theirs(&self, attempt: Attempt) -> Result<()> {
        let api = self.scene.api::<Secret>();
        let secret = api.get(&self.name).await?;
        let has = |all: &BTreeMap<String, String>| all.get(FOREIGN).map(String::as_str) == Some(THEIRS);
        let owner = secret.owner_references().iter().find(|owner| owner.kind == "ConfigMap");
        let off: Value = match (attempt, owner) {
            (Attempt::AddMarks, _) => {
                ensure!(has(secret.labels()) && has(secret.annotations()), "{:?}", secret.metadata);
                json!({"labels": {FOREIGN: null}, "annotations": {FOREIGN: null}})
            }
            (Attempt::AddFinalizer, _) => {
                ensure!(secret.finalizers().iter().any(|at| at == FOREIGN), "{:?}", secret.finalizers());
                json!({"$deleteFromPrimitiveList/finalizers": [FOREIGN]})
            }
            (Attempt::AddOwner | Attempt::AddController, Some(owner)) => {
                json!({"ownerReferences": [{"$patch": "delete", "uid": owner.uid}]})
            }
            _ => return Ok(()),
        };
        api.patch(&self.name, &tool(), &Patch::Strategic(&json!({ "metadata": off }))).await.map(drop)?;
        Ok(())
    }

    /// After a failure: a Secret for the next attempt.
    pub async fn reset(&mut self) -> Result<()> {
        self.scene.api::<Secret>().delete(&self.name, &DeleteParams::default()).await.ok();
        if self.which == Which::Locked {
            return until("it is there again", || async { Ok(face(&self.scene, &self.name).await?.map(drop)) }).await;
        }
        self.next().await
    }

    /// A pod that starts after all of it gets the value.
    pub async fn starts_late(&self) -> Result<()> {
        let name = if self.which == Which::Copy { "db" } else { &self.name };
        deployment(&self.scene, "late", name).await?;
        until("a pod that starts late holds the value", || async {
            Ok((self.scene.variable("late", "PASSWORD").await.ok().as_deref() == Some(&self.value)).then_some(()))
        })
        .await
    }
}

async fn scale(scene: &Scene, replicas: u32) -> Result<()> {
    let body = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    scene.api::<Deployment>().patch("web", &PatchParams::default(), &body).await.map(drop)?;
    Ok(())
}
