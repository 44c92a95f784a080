//! Chapter: a bad value reaches the canary only, and is taken back; the next good one goes through.

use anyhow::{Context as _, Result, ensure};
use rekey_api::{SecretPolicy, SecretPolicyStatus};
use serde_json::json;

use super::{policies::synced, stores::key};
use crate::{
    conditions,
    demo::{
        stage::Stage,
        walkthrough::{Seen, Walkthrough, eventually},
    },
};

const POLICY: &str = r"apiVersion: rekey.dev/v1alpha1
kind: SecretPolicy
metadata: {name: api}
spec:
  source:
    remote:
      storeRef: {name: bao}
      refreshInterval: 10s
      dataFrom:
      - extract: {key: rekey-demo/api}
  immutability: Versioned
  versions: {references: Move}
  rollout:
    canary: {apiVersion: apps/v1, kind: Deployment, name: api-canary}
    onFailure: RollBack
    stableFor: 2s
    progressDeadline: 20s";

/// The first token in `OpenBao`.
const FIRST: &str = "demo-token-1";
const SECOND: &str = "demo-token-2";
const CANARY: &str = "api-canary";
const OTHER: &str = "api";

fn manifest(name: &str, image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: api
        image: {image}
        imagePullPolicy: IfNotPresent
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
        env:
        - name: TOKEN
          valueFrom: {{secretKeyRef: {{name: api, key: token}}}}"
    )
}

/// What was published and rolled out at some moment.
struct Before {
    secret: String,
    generations: [i64; 2],
}

/// Runs the chapter.
pub async fn tell(walk: &mut Walkthrough<'_>) {
    walk.out.chapter("A bad value: the canary fails, and everything goes back");
    if let Some(before) = starts(walk).await
        && let Some(before) = fails(walk, before).await
    {
        goes_on(walk, before).await;
    }
}

async fn starts(walk: &mut Walkthrough<'_>) -> Option<Before> {
    let stage = walk.stage;
    let written = stage.bao().put(&key("api"), &json!({"token": FIRST})).await;
    walk.apply("Applied: each value is an immutable Secret of its own, and one Deployment gets it first.", POLICY)
        .await?;
    let both = [CANARY, OTHER].map(|name| manifest(name, stage.image())).join("\n---\n");
    walk.apply("Applied: two Deployments that name the plain Secret.", &both).await?;
    walk.check("Rekey has moved both to the first version", async {
        written?;
        let before = complete(stage, FIRST).await?;
        Ok((format!("2/2 consumers run on Secret {}", before.secret), before))
    })
    .await
}

async fn fails(walk: &mut Walkthrough<'_>, before: Before) -> Option<Before> {
    let stage = walk.stage;
    walk.out.say("A user mistypes the name of the property. Pods that need it cannot start:");
    walk.out.block("bao kv put secret/rekey-demo/api tokken=demo-token-2");
    let written = stage.bao().put(&key("api"), &json!({"tokken": SECOND})).await;
    walk.check("The canary fails on it, and Rekey goes back to the version that worked", async {
        written?;
        let status = eventually(async || {
            let status = status(stage).await?;
            let shown = conditions::shown(&status.conditions);
            let is_back = shown.iter().any(|at| at == "Ready=True/RolledBack") && summary(&status) == "2/2";
            Ok(if is_back { Seen::Wanted(status) } else { Seen::Other(format!("{} {shown:?}", summary(&status))) })
        })
        .await?;
        ensure!(status.secret_name.as_ref() == Some(&before.secret), "published is {:?}", status.secret_name);
        Ok((conditions::message(&status.conditions, "Ready"), ()))
    })
    .await?;
    walk.kubectl(&["get", "secretpolicy", "api"]).await;
    walk.check("Nothing else was touched", async {
        let generations = generations(stage).await?;
        let changes = [0, 1].map(|at| generations[at] - before.generations[at]);
        ensure!(changes == [2, 0], "changes of {CANARY} and {OTHER}: {changes:?}");
        Ok((format!("{CANARY} went there and back; {OTHER} never left its version"), Before { generations, ..before }))
    })
    .await
}

async fn goes_on(walk: &mut Walkthrough<'_>, before: Before) {
    let stage = walk.stage;
    walk.out.say("The user corrects it:");
    walk.out.block(&format!("bao kv put secret/rekey-demo/api token={SECOND}"));
    let written = stage.bao().put(&key("api"), &json!({"token": SECOND})).await;
    walk.check("The next value goes through, the canary first", async {
        written?;
        let now = complete(stage, SECOND).await?;
        ensure!(now.secret != before.secret, "still Secret {}", now.secret);
        let changes = [0, 1].map(|at| now.generations[at] - before.generations[at]);
        ensure!(changes == [1, 1], "changes of {CANARY} and {OTHER}: {changes:?}");
        Ok((format!("2/2 consumers run on Secret {}, one rollout each", now.secret), ()))
    })
    .await;
}

/// Waits until both run on a Secret with this token.
async fn complete(stage: &Stage, token: &str) -> Result<Before> {
    let secret = eventually(async || {
        let status = synced(stage, "api").await?.status.unwrap_or_default();
        let name = status.secret_name.clone().context("nothing is published")?;
        let (_, data) = stage.secret(&name).await?;
        let is_it = data.get("token").map(String::as_str) == Some(token) && summary(&status) == "2/2";
        Ok(if is_it { Seen::Wanted(name) } else { Seen::Other(format!("Secret {name}, {}", summary(&status))) })
    })
    .await?;
    for name in [CANARY, OTHER] {
        let pod = eventually(async || stage.pod(name).await).await?;
        let seen = stage.environment(&pod).await?.and_then(|environment| environment.get("TOKEN").cloned());
        ensure!(seen.as_deref().is_none_or(|seen| seen == token), "TOKEN of {name} is {seen:?}");
    }
    Ok(Before { secret, generations: generations(stage).await? })
}

async fn generations(stage: &Stage) -> Result<[i64; 2]> {
    let mut found = [0; 2];
    for (generation, name) in found.iter_mut().zip([CANARY, OTHER]) {
        *generation = stage.deployment(name).await?.metadata.generation.unwrap_or_default();
    }
    Ok(found)
}

async fn status(stage: &Stage) -> Result<SecretPolicyStatus> {
    Ok(stage.api::<SecretPolicy>().get("api").await?.status.unwrap_or_default())
}

fn summary(status: &SecretPolicyStatus) -> &str {
    status.consumers.as_ref().map_or("", |consumers| &consumers.summary)
}
