//! Chapter: two stores with values in them, and the objects that say how the operator reaches them.

use anyhow::Result;
use rekey_api::RemoteStore;
use rekey_testkit::moto::REGION;
use serde_json::json;

use crate::{
    conditions,
    demo::{
        stage::{NAMESPACE, Stage},
        walkthrough::{Seen, Walkthrough, eventually},
    },
};

/// The first password in `OpenBao`. It has a character that a URL must escape.
pub const FIRST: &str = "demo-p@ssword-1";
/// The API key in AWS.
pub const MAIL_KEY: &str = "demo-mail-key";
/// The signing key in `OpenBao`.
pub const SIGNING_KEY: &str = "demo-signing-key-1";

/// A key of the demo in a store.
#[must_use]
pub fn key(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}

/// Runs the chapter.
pub async fn tell(walk: &mut Walkthrough<'_>) {
    walk.out.chapter("Stores: where the values are kept");
    let stage = walk.stage;
    walk.check("OpenBao and AWS Secrets Manager (emulated) hold values", filled(stage)).await;
    let manifest = format!(
        "apiVersion: rekey.dev/v1alpha1
kind: RemoteStore
metadata: {{name: bao}}
spec:
  access: ReadWrite    # rotations may write
  provider:
    vault:
      server: {}
      mount: secret
      kvVersion: V2
      auth: {{token: {{secretRef: {{name: bao-token, key: token}}}}}}",
        stage.bao().address()
    );
    walk.apply("Applied, with a token for rekey-demo/* alone in the Secret bao-token:", &manifest).await;
    walk.check("RemoteStore bao is Ready", ready(stage, "bao")).await;
    walk.out.say("RemoteStore aws is applied in the same way, with a key pair.");
    let applied = stage.apply(&aws(stage)).await;
    walk.check("RemoteStore aws is Ready", async {
        applied?;
        ready(stage, "aws").await
    })
    .await;
}

fn aws(stage: &Stage) -> String {
    format!(
        "apiVersion: rekey.dev/v1alpha1
kind: RemoteStore
metadata: {{name: aws}}
spec:
  provider:
    aws:
      service: SecretsManager
      region: {REGION}
      endpoint: {}
      auth:
        secretRef:
          accessKeyId: {{name: aws-key, key: id}}
          secretAccessKey: {{name: aws-key, key: secret}}",
        stage.moto().endpoint()
    )
}

/// Puts the first values into the stores, and the stores' credentials into Secrets.
async fn filled(stage: &Stage) -> Result<(String, ())> {
    let bao = stage.bao();
    bao.put(&key("db"), &json!({"username": "orders", "password": FIRST})).await?;
    bao.put(&key("sign"), &json!({"key": SIGNING_KEY})).await?;
    stage.moto().create(&key("mail"), &json!({"key": MAIL_KEY}).to_string()).await?;
    let token = stage.make_token().await?;
    for (name, data) in [("bao-token", json!({"token": token})), ("aws-key", json!({"id": "demo", "secret": "demo"}))] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        stage.apply(&secret.to_string()).await?;
    }
    Ok((String::new(), ()))
}

async fn ready(stage: &Stage, name: &str) -> Result<(String, ())> {
    eventually(async || {
        let status = stage.api::<RemoteStore>().get(name).await?.status.unwrap_or_default();
        let shown = conditions::shown(&status.conditions);
        Ok(if shown.iter().any(|at| at.starts_with("Ready=True")) {
            Seen::Wanted((status.identity.unwrap_or_default(), ()))
        } else {
            Seen::Other(format!("{shown:?} {}", conditions::message(&status.conditions, "Ready")))
        })
    })
    .await
}
