//! Every object of the API's own table of cases.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, core::object::HasStatus as _};
use rekey_api::{ClusterRemoteStore, RemoteStore, RotationSchedule, SecretPolicy};
use rekey_e2e::{
    Scene, World,
    conditions::{check, shown},
    wait::until,
};
use serde_json::json;

use crate::cases;

/// The conditions and their generation, if there is a status yet.
async fn conditions(scene: &Scene, kind: &str, name: &str) -> Result<Option<(Vec<Condition>, Option<i64>)>> {
    Ok(match kind {
        "SecretPolicy" => {
            let object = scene.api::<SecretPolicy>().get(name).await?;
            object.status().map(|status| (status.conditions.clone(), status.observed_generation))
        }
        "RotationSchedule" => {
            let object = scene.api::<RotationSchedule>().get(name).await?;
            object.status().map(|status| (status.conditions.clone(), status.observed_generation))
        }
        "RemoteStore" => {
            let object = scene.api::<RemoteStore>().get(name).await?;
            object.status().map(|status| (status.conditions.clone(), status.observed_generation))
        }
        _ => {
            let object = Api::<ClusterRemoteStore>::all(scene.world.client.clone()).get(name).await?;
            object.status().map(|status| (status.conditions.clone(), status.observed_generation))
        }
    })
}

pub async fn every_object_that_the_api_takes_gets_an_answer(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "table").await?;
    let mut operator = scene.operator()?;
    let mut objects = Vec::new();
    // Updates are left to the API's own suite.
    let taken = |case: &&cases::Case| case.refused.is_none() && case.before.is_none();
    for (number, case) in cases::all().iter().filter(taken).enumerate() {
        let name = format!("{}-{number}", scene.namespace);
        let mut object = case.object.clone();
        object["metadata"]["name"] = json!(name);
        if case.kind == "ClusterRemoteStore" {
            world.apply(object).await.with_context(|| case.title.clone())?;
        } else {
            // A name that the object repeats would be another one for each of them.
            if object["spec"]["target"]["name"] == "case" {
                object["spec"]["target"]["name"] = json!(name);
            }
            scene.apply(object).await.with_context(|| case.title.clone())?;
        }
        objects.push((case.title.clone(), case.kind.clone(), name));
    }
    let mut answers = std::collections::BTreeMap::<String, usize>::new();
    for (title, kind, name) in &objects {
        let found = until(&format!("{title} has an answer"), || async {
            let Some((found, generation)) = conditions(&scene, kind, name).await? else { return Ok(None) };
            check(title, &found)?;
            Ok((found.iter().any(|at| at.type_ == "Ready") && generation == Some(1)).then_some(found))
        })
        .await?;
        let ready = shown(&found).into_iter().find(|text| text.starts_with("Ready")).unwrap_or_default();
        for at in &found {
            ensure!(!at.message.is_empty(), "{title}: {at:?}");
            ensure!(at.reason != "InternalError" && at.reason != "ApiError", "{title}: {at:?}");
        }
        *answers.entry(format!("{kind} {ready}")).or_default() += 1;
    }
    operator.alive()?;
    println!("{} objects: {answers:#?}", objects.len());
    ensure!(objects.len() > 35, "the table is not what it was");
    for (_, kind, name) in objects.iter().filter(|(_, kind, _)| kind == "ClusterRemoteStore") {
        let api: Api<ClusterRemoteStore> = Api::all(world.client.clone());
        api.delete(name, &kube::api::DeleteParams::default()).await.with_context(|| kind.clone())?;
    }
    Ok(())
}
