//! Small inputs with their exact result, on real parts: what a store holds, a policy, and the whole data of its Secret or
//! the condition that refuses it. Each file of cases is a test; it runs all of them and names each wrong result.

use std::{collections::BTreeMap, process::ExitCode, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use rekey_e2e::{Scene, World, suite, tests};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many cases run side by side: they mostly wait.
const AT_ONCE: usize = 16;

fn main() -> Result<ExitCode> {
    suite::main(
        false,
        tests![templates_are_those_of_go, stored_values_arrive_as_they_are, values_of_aws_arrive_as_they_are],
    )
}

async fn templates_are_those_of_go(world: Arc<World>) -> Result<()> {
    run(world, include_str!("templates.yaml")).await
}

async fn stored_values_arrive_as_they_are(world: Arc<World>) -> Result<()> {
    run(world, include_str!("values.yaml")).await
}

async fn values_of_aws_arrive_as_they_are(world: Arc<World>) -> Result<()> {
    run(world, include_str!("aws.yaml")).await
}

/// One case. Its id is the name of the policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    id: String,
    /// Objects of `OpenBao`, store `vault`.
    #[serde(default)]
    kv: BTreeMap<String, Value>,
    /// Texts of Secrets Manager, store `aws`.
    #[serde(default)]
    aws: BTreeMap<String, String>,
    /// Parameters, store `ssm`.
    #[serde(default)]
    ssm: BTreeMap<String, String>,
    /// Of the policy; the store is `vault` unless it says another.
    spec: Value,
    /// The whole data of the Secret.
    secret: Option<BTreeMap<String, String>>,
    /// A condition, as `Ready=False/TemplateError`.
    condition: Option<String>,
    /// A part of the message of that condition.
    message: Option<String>,
    /// Why this is right.
    why: String,
}

async fn run(world: Arc<World>, cases: &str) -> Result<()> {
    let cases: Vec<Case> = serde_saphyr::from_str(cases).context("read the cases")?;
    let scene = Scene::new(&world, "cases").await?;
    scene.parameter_store("ssm").await?;
    let _operator = scene.operator()?;
    let scene = &scene;
    let wrong: Vec<String> = stream::iter(&cases)
        .map(|case| async move {
            let result = look(scene, case).await;
            result.err().map(|error| format!("{}: {error:#}\n  {}", case.id, case.why))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|wrong| async { wrong })
        .collect()
        .await;
    eprintln!("{} cases, {} wrong", cases.len(), wrong.len());
    ensure!(wrong.is_empty(), "{} of {} cases came out wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    Ok(())
}

async fn look(scene: &Scene, case: &Case) -> Result<()> {
    let world = &scene.world;
    for (key, value) in &case.kv {
        world.bao.put(key, value).await?;
    }
    for (name, value) in &case.aws {
        world.moto.create(name, value).await?;
    }
    for (name, value) in &case.ssm {
        let asked = json!({"Name": name, "Value": value, "Type": "SecureString"});
        world.moto.parameter_store("PutParameter", &asked).await?;
    }
    let mut spec = case.spec.clone();
    let remote = &mut spec["source"]["remote"];
    if remote["storeRef"].is_null() {
        remote["storeRef"] = json!({"name": "vault"});
    }
    scene.policy_of(&case.id, spec).await?;
    match (&case.secret, &case.condition) {
        (Some(secret), None) => {
            let wanted: Vec<(&str, &str)> = secret.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            scene.wait_data(&case.id, &wanted).await
        }
        (None, Some(condition)) => {
            let message = scene.wait_policy(&case.id, condition).await?;
            let part = case.message.as_deref().unwrap_or_default();
            ensure!(message.contains(part), "{part:?} is not in the message {message:?}");
            ensure!(scene.data(&case.id).await?.is_none(), "there is a Secret");
            Ok(())
        }
        _ => anyhow::bail!("a case has either secret or condition"),
    }
}
