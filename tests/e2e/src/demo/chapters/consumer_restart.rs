//! Chapters: a Deployment consumes the Secrets, and is restarted once when a value changes in the store.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::ResourceExt as _;
use rekey_api::names;
use serde_json::json;

use super::{
    policies::{synced, url},
    stores::{FIRST, MAIL_KEY, key},
};
use crate::demo::{
    stage::{Ground, Stage},
    walkthrough::{Seen, Walkthrough, eventually},
};

/// The second password in `OpenBao`.
const SECOND: &str = "demo-p@ssword-2";
/// The Deployment, and its label `app`.
pub const NAME: &str = "web";

/// What the Deployment and its pod were at some moment.
#[derive(Clone, Debug)]
pub struct Before {
    generation: i64,
    uid: Option<String>,
}

fn manifest(image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: web
        image: {image}
        imagePullPolicy: IfNotPresent
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        env:
        - name: DATABASE_URL
          valueFrom: {{secretKeyRef: {{name: db, key: url}}}}
        - name: MAIL_KEY
          valueFrom: {{secretKeyRef: {{name: mail, key: key}}}}"
    )
}

/// Shows how it starts. Returns its state then.
pub async fn starts(walk: &mut Walkthrough<'_>) -> Option<Before> {
    let stage = walk.stage;
    walk.out.chapter("A consumer: an ordinary Deployment");
    walk.apply("Applied; nothing in it mentions Rekey:", &manifest(stage.image())).await?;
    let claim = match stage.ground {
        Ground::Own(_) => "Its pod runs; the environment of its process holds both values",
        Ground::Current(_) => "Its pod runs",
    };
    walk.check(claim, async {
        let pod = eventually(async || stage.pod(NAME).await).await?;
        let seen = match stage.environment(&pod).await? {
            None => "it is ready, so both Secrets were found when it started".to_owned(),
            Some(environment) => {
                let variable = |name: &str| environment.get(name).map_or("(not set)", String::as_str).to_owned();
                let (url_seen, mail) = (variable("DATABASE_URL"), variable("MAIL_KEY"));
                ensure!(url_seen == url(FIRST) && mail == MAIL_KEY, "DATABASE_URL={url_seen} MAIL_KEY={mail}");
                format!("DATABASE_URL={url_seen} MAIL_KEY={mail}")
            }
        };
        Ok((seen, before(stage, &pod).await?))
    })
    .await
}

/// Shows how a change in the store reaches it. Returns its state then.
pub async fn follows(walk: &mut Walkthrough<'_>, before: Before) -> Option<Before> {
    let stage = walk.stage;
    walk.out.chapter("The value changes in the store");
    walk.out.say(
        "A user writes another password to OpenBao. The policy looks every 10 s (refreshInterval). A restart waits 3 s \
         for further changes, so that several cause one restart.",
    );
    walk.out.block(&format!("bao kv put secret/rekey-demo/db username=orders password={SECOND}"));
    let written = stage.bao().put(&key("db"), &json!({"username": "orders", "password": SECOND})).await;
    walk.check("Secret db follows", async {
        written?;
        let url = url(SECOND);
        eventually(async || {
            let (_, data) = stage.secret("db").await?;
            let seen = data.get("url").map_or("(no url)", String::as_str);
            Ok(if seen == url { Seen::Wanted(()) } else { Seen::Other(format!("url is {seen}")) })
        })
        .await?;
        Ok((format!("url is {url}"), ()))
    })
    .await?;
    let now = restarted(walk, before, "postgres://orders:demo-p%40ssword-2@db/orders", true).await;
    walk.check("The policy reports 1 of 1 consumers current", async {
        let status = synced(stage, "db").await?.status.unwrap_or_default();
        let consumers = status.consumers.unwrap_or_default();
        ensure!(consumers.summary == "1/1" && consumers.outdated == 0, "consumers: {consumers:?}");
        Ok((String::new(), ()))
    })
    .await;
    now
}

/// Checks that it was restarted once since, and runs with this `DATABASE_URL`; `shown`: whether it may be printed.
pub async fn restarted(walk: &mut Walkthrough<'_>, before: Before, url: &str, shown: bool) -> Option<Before> {
    let stage = walk.stage;
    let pod = walk
        .check("The consumer is restarted: a new pod is ready, the old one is gone", async {
            let pod = eventually(async || {
                Ok(match stage.pod(NAME).await? {
                    Seen::Wanted(pod) if pod.uid() == before.uid => {
                        Seen::Other(format!("still the old pod {}", pod.name_any()))
                    }
                    seen => seen,
                })
            })
            .await?;
            Ok((pod.name_any(), pod))
        })
        .await?;
    let claim = match stage.ground {
        Ground::Own(_) => "The new pod really holds the new value",
        Ground::Current(_) => "The new pod belongs to the new value",
    };
    walk.check(claim, async {
        match stage.environment(&pod).await? {
            None => Ok((marked(stage, &pod).await?, ())),
            Some(environment) => {
                let seen = environment.get("DATABASE_URL").map_or("(not set)", String::as_str);
                let visible = if shown { seen } else { "another value, not printed since it may be a secret" };
                ensure!(seen == url, "DATABASE_URL is {visible}");
                let said =
                    if shown { format!("DATABASE_URL={seen}") } else { "DATABASE_URL is the new one".to_owned() };
                Ok((said, ()))
            }
        }
    })
    .await;
    walk.check("It was restarted exactly once", async {
        eventually(async || Ok(complete(&stage.deployment(NAME).await?))).await?;
        let now = self::before(stage, &pod).await?;
        let changes = now.generation - before.generation;
        ensure!(changes == 1, "its pod template was changed {changes} times");
        Ok((format!("one change of its pod template (generation {})", now.generation), now))
    })
    .await
}

/// Checks at the end that nothing but the changed values restarted it.
pub async fn stayed(walk: &mut Walkthrough<'_>, first: &Before, now: &Before, changes: i64) {
    let stage = walk.stage;
    walk.check("Nothing else has restarted the consumer since it was made", async {
        let deployment = stage.deployment(NAME).await?;
        let seen = deployment.metadata.generation.unwrap_or_default() - first.generation;
        ensure!(seen == changes, "{changes} changes of its value, {seen} changes of its pod template");
        let pod = eventually(async || stage.pod(NAME).await).await?;
        ensure!(pod.uid() == now.uid, "the pod {} is not the one of the last restart", pod.name_any());
        Ok((format!("{changes} changed values, {seen} restarts"), ()))
    })
    .await;
}

async fn before(stage: &Stage, pod: &Pod) -> Result<Before> {
    let generation = stage.deployment(NAME).await?.metadata.generation.context("the Deployment has no generation")?;
    Ok(Before { generation, uid: pod.uid() })
}

fn complete(deployment: &Deployment) -> Seen<()> {
    let status = deployment.status.clone().unwrap_or_default();
    let one = Some(1);
    let done = status.observed_generation == deployment.metadata.generation
        && (status.replicas, status.updated_replicas, status.available_replicas) == (one, one, one);
    if done { Seen::Wanted(()) } else { Seen::Other(format!("the Deployment's status is {status:?}")) }
}

/// Where the demo cannot look into the container: the pod started after the value was published, and carries the
/// marker of the restart.
async fn marked(stage: &Stage, pod: &Pod) -> Result<String> {
    let policy = synced(stage, "db").await?;
    let published = policy.status.and_then(|status| status.last_change_time).context("no lastChangeTime")?;
    let started = pod.status.as_ref().and_then(|status| status.start_time.clone()).context("no start time")?;
    ensure!(started >= published, "it started at {}, the value was published at {}", started.0, published.0);
    let template = stage.deployment(NAME).await?.spec.and_then(|spec| spec.template.metadata);
    let wanted = template.and_then(|metadata| metadata.annotations?.get(names::CONSUMED).cloned());
    let marker = pod.annotations().get(names::CONSUMED);
    ensure!(
        marker.is_some() && marker == wanted.as_ref(),
        "the pod carries the marker {marker:?}, its template {wanted:?}"
    );
    Ok("it started after the publication, and carries its marker".to_owned())
}
