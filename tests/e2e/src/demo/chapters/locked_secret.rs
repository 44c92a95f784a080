//! Chapter: a locked Secret does not change, and its policy says why.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use rekey_api::{SecretPolicy, names};
use serde_json::json;

use super::{
    policies::{holds, synced},
    stores::{SIGNING_KEY, key},
};
use crate::{
    conditions,
    demo::{
        stage::Stage,
        walkthrough::{Seen, Walkthrough, eventually},
    },
};

const POLICY: &str = r"apiVersion: rekey.dev/v1alpha1
kind: SecretPolicy
metadata: {name: sign}
spec:
  source:
    remote:
      storeRef: {name: bao}
      data:
      - {secretKey: key, remoteRef: {key: rekey-demo/sign, property: key}}
  immutability: Locked";

/// Runs the chapter.
pub async fn tell(walk: &mut Walkthrough<'_>) {
    let stage = walk.stage;
    walk.out.chapter("A locked Secret refuses to change");
    walk.apply("Applied: a key that must never change under its name.", POLICY).await;
    let secret = walk
        .check("Secret sign is there, and immutable", async {
            synced(stage, "sign").await?;
            holds(stage, "sign", &[("key", SIGNING_KEY)]).await?;
            let (secret, _) = stage.secret("sign").await?;
            ensure!(secret.immutable == Some(true), "immutable is {:?}", secret.immutable);
            Ok((format!("key is {SIGNING_KEY}"), secret))
        })
        .await;
    walk.out.say("A user writes another key to OpenBao. We request a sync now, since the policy reads hourly:");
    walk.out.block("bao kv put secret/rekey-demo/sign key=demo-signing-key-2");
    let written = stage.bao().put(&key("sign"), &json!({"key": "demo-signing-key-2"})).await;
    let request = format!("{}=first", names::SYNC_REQUESTED);
    walk.kubectl(&["annotate", "secretpolicy", "sign", &request]).await;
    walk.check("The policy is Stalled and says why", async {
        written?;
        stalled(stage).await
    })
    .await;
    if let Some(before) = secret {
        walk.check("The Secret was not touched", untouched(stage, &before)).await;
    }
}

async fn stalled(stage: &Stage) -> Result<(String, ())> {
    let status = eventually(async || {
        let status = stage.api::<SecretPolicy>().get("sign").await?.status.unwrap_or_default();
        let shown = conditions::shown(&status.conditions);
        let stalled = shown.iter().any(|at| at == "Stalled=True/LockedAndChanged");
        Ok(if stalled { Seen::Wanted(status) } else { Seen::Other(format!("{shown:?}")) })
    })
    .await?;
    let shown = conditions::shown(&status.conditions);
    ensure!(shown.iter().any(|at| at == "Ready=False/LockedAndChanged"), "{shown:?}");
    Ok((format!("LockedAndChanged. {}", conditions::message(&status.conditions, "Stalled")), ()))
}

async fn untouched(stage: &Stage, before: &Secret) -> Result<(String, ())> {
    let (now, _) = stage.secret("sign").await?;
    ensure!(now.metadata.resource_version == before.metadata.resource_version, "it was written");
    ensure!(now.metadata.uid == before.metadata.uid, "it was created again");
    holds(stage, "sign", &[("key", SIGNING_KEY)]).await?;
    Ok((format!("key is still {SIGNING_KEY}"), ()))
}
