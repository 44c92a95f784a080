//! Chapter: policies bring values out of the stores into Secrets.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rekey_api::SecretPolicy;

use super::stores::{FIRST, MAIL_KEY};
use crate::{
    conditions,
    demo::{
        stage::Stage,
        walkthrough::{Seen, Walkthrough, eventually},
    },
};

const DB: &str = r"apiVersion: rekey.dev/v1alpha1
kind: SecretPolicy
metadata: {name: db}
spec:
  source:
    remote:
      storeRef: {name: bao}
      refreshInterval: 10s
      data:
      - {secretKey: username, remoteRef: {key: rekey-demo/db, property: username}}
      - {secretKey: password, remoteRef: {key: rekey-demo/db, property: password}}
  target:
    template:
      mergePolicy: Merge
      data:
        url: 'postgres://{{ .username }}:{{ .password | urlquery }}@db/orders'";

const MAIL: &str = r"apiVersion: rekey.dev/v1alpha1
kind: SecretPolicy
metadata: {name: mail}
spec:
  source:
    remote:
      storeRef: {name: aws}
      data:
      - {secretKey: key, remoteRef: {key: rekey-demo/mail, property: key}}";

/// Runs the chapter.
pub async fn tell(walk: &mut Walkthrough<'_>) {
    let stage = walk.stage;
    walk.out.chapter("Policies: from the stores into Secrets");
    walk.apply("Applied: two properties from OpenBao, and a URL made of them.", DB).await;
    walk.check("Secret db is there", async {
        synced(stage, "db").await?;
        let url = url(FIRST);
        holds(stage, "db", &[("username", "orders"), ("password", FIRST), ("url", &url)]).await?;
        Ok((format!("url is {url}"), ()))
    })
    .await;
    walk.apply("Applied: one property from AWS Secrets Manager.", MAIL).await;
    walk.check("Secret mail is there", async {
        synced(stage, "mail").await?;
        holds(stage, "mail", &[("key", MAIL_KEY)]).await?;
        Ok((format!("key is {MAIL_KEY}"), ()))
    })
    .await;
}

/// The result of the template for a demo password.
#[must_use]
pub fn url(password: &str) -> String {
    format!("postgres://orders:{}@db/orders", password.replace('@', "%40"))
}

/// Waits until a policy has acted on its spec and is Ready.
///
/// # Errors
/// When it does not get there.
pub async fn synced(stage: &Stage, name: &str) -> Result<SecretPolicy> {
    eventually(async || {
        let policy = stage.api::<SecretPolicy>().get(name).await?;
        let status = policy.status.clone().unwrap_or_default();
        let shown = conditions::shown(&status.conditions);
        let settled = shown.iter().any(|at| at == "Ready=True/Synced")
            && !shown.iter().any(|at| at.starts_with("Reconciling"))
            && status.observed_generation == policy.metadata.generation;
        Ok(if settled {
            Seen::Wanted(policy)
        } else {
            Seen::Other(format!("SecretPolicy {name}: {shown:?} {}", conditions::message(&status.conditions, "Ready")))
        })
    })
    .await
}

/// Checks that a Secret has exactly this content. The values are the demo's own, so a difference may be shown.
///
/// # Errors
/// When it has another.
pub async fn holds(stage: &Stage, name: &str, wanted: &[(&str, &str)]) -> Result<()> {
    let wanted: BTreeMap<String, String> =
        wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let (_, data) = stage.secret(name).await?;
    ensure!(data == wanted, "Secret {name} holds {data:?}");
    Ok(())
}
