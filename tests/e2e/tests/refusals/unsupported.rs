//! What the API has and this version does not support: refused by the name of the field, never ignored.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use rekey_api::{RotationSchedule, names};
use rekey_e2e::{
    Scene, World,
    conditions::{self, check},
    wait::{stays, until},
};
use serde_json::{Value, json};

/// Both sides of a refusal, and the field in its text.
fn refused(what: &str, found: &[Condition], field: &str) -> Result<bool> {
    check(what, found)?;
    let shown = conditions::shown(found);
    if !shown.contains(&"Stalled=True/NotSupportedYet".to_owned()) {
        return Ok(false);
    }
    ensure!(shown == ["Ready=False/NotSupportedYet", "Stalled=True/NotSupportedYet"], "{what}: {shown:?}");
    let said = conditions::message(found, "Stalled");
    ensure!(said.contains(&format!("{field} is not supported yet: ")), "{what}: {said}");
    Ok(true)
}

/// The change of a policy's spec, and the field that the message names.
fn policy_table() -> Vec<(Value, &'static str)> {
    vec![(
        json!({"immutability": "Versioned", "versions": {"references": "Publish"},
                   "source": {"remote": {"onMissing": "Delete"}}}),
        "spec.source.remote.onMissing: Delete with immutability: Versioned",
    )]
}

async fn policy_refused(scene: &Scene, name: &str, field: &str) -> Result<()> {
    until(&format!("SecretPolicy {name} refuses {field}"), || async {
        Ok(refused(name, &scene.policy_conditions(name).await?, field)?.then_some(()))
    })
    .await?;
    ensure!(scene.data(name).await?.is_none(), "{name}: a Secret was written for {field}");
    Ok(())
}

pub async fn policies_with_what_is_not_built_say_which_field(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "unsupported").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let table = policy_table();
    let named = |number: usize| format!("p{number}");
    for (number, (more, _)) in table.iter().enumerate() {
        scene.policy(&named(number), "vault", &[("password", &key, "password")], more.clone()).await?;
    }
    for (number, (_, field)) in table.iter().enumerate() {
        policy_refused(&scene, &named(number), field).await?;
    }
    println!("{} fields of policies refused", table.len());
    Ok(())
}

/// What a schedule has beside `policyRef`, and the field that the message names.
fn schedule_table(key: &str) -> Vec<(Value, &'static str)> {
    let generate = json!({"generate": {"fields": [{"property": "password", "password": {}}]}});
    let with = |more: Value| {
        let mut spec = json!({"writeTo": {"storeRef": {"name": "vault"}, "key": key}, "rotator": generate});
        for (name, value) in more.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        spec
    };
    let mut table = vec![
        (with(json!({"schedule": {"renewBefore": "24h"}})), "spec.schedule.renewBefore"),
        (json!({"rotator": {"generate": {}}}), "spec.rotator.generate.fields: to leave it out"),
        (json!({"rotator": {"awsRotation": {"mode": "Follow"}}}), "spec.rotator.awsRotation"),
        (
            json!({"rotator": {"vaultStaticRole": {"mount": "database", "role": "app", "mode": "Follow"}}}),
            "spec.rotator.vaultStaticRole",
        ),
    ];
    table.extend(rotators().into_iter().map(|(rotator, field)| (with(json!({"rotator": rotator})), field)));
    table
}

/// Rotators that write to the store and are not built.
fn rotators() -> Vec<(Value, &'static str)> {
    let admin = json!({"name": "admin"});
    let single = json!({"single": {"name": "a"}});
    let slots = json!({"alternating": {"first": "a", "second": "b", "owner": "o"}});
    let users = json!({"alternating": {"first": "a", "second": "b"}});
    let password = json!({"password": "password"});
    let keys = json!({"accessKeyId": "id", "secretAccessKey": "secret"});
    let issuer = json!({"ca": {"secretRef": {"name": "ca"}}});
    let hmac = json!({"secretRef": {"name": "hmac", "key": "key"}});
    vec![
        (
            json!({"postgres": {"host": "db", "database": "d", "adminSecretRef": admin, "users": single}}),
            "spec.rotator.postgres.users.single",
        ),
        (
            json!({"postgres": {"host": "db", "database": "d", "adminSecretRef": admin, "users": slots}}),
            "spec.rotator.postgres",
        ),
        (json!({"mysql": {"host": "db", "adminSecretRef": admin, "users": users}}), "spec.rotator.mysql"),
        (
            json!({"redis": {"host": "db", "adminSecretRef": admin, "user": "app", "properties": password}}),
            "spec.rotator.redis",
        ),
        (
            json!({"certificate": {"issuer": issuer, "commonName": "web", "duration": "24h"}}),
            "spec.rotator.certificate",
        ),
        (
            json!({"awsAccessKey": {"storeRef": {"name": "aws"}, "userName": "u", "properties": keys}}),
            "spec.rotator.awsAccessKey",
        ),
        (json!({"job": {"cronJobRef": {"name": "rotate"}, "overlap": "None"}}), "spec.rotator.job"),
        (
            json!({"webhook": {"url": "https://rotate.infra/x", "hmac": hmac, "overlap": "None"}}),
            "spec.rotator.webhook",
        ),
    ]
}

pub async fn schedules_with_what_is_not_built_say_which_field(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "schedules").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_synced("db").await?;
    let table = schedule_table(&key);
    for (number, (more, field)) in table.iter().enumerate() {
        let name = format!("s{number}");
        let mut spec = more.clone();
        spec["policyRef"] = json!({"name": "db"});
        let asked = json!({names::ROTATE_REQUESTED: "now"});
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1",
            "kind": "RotationSchedule",
            "metadata": {"name": name, "annotations": asked},
            "spec": spec,
        });
        scene.apply(object).await?;
        until(&format!("RotationSchedule {name} refuses {field}"), || async {
            let status = scene.schedule(&name).await?.status.unwrap_or_default();
            Ok(refused(&name, &status.conditions, field)?.then_some(()))
        })
        .await?;
        scene.api::<RotationSchedule>().delete(&name, &kube::api::DeleteParams::default()).await?;
    }
    println!("{} fields of schedules refused", table.len());
    // None of them has rotated anything.
    let span = std::time::Duration::from_secs(1);
    stays("versions in the store", vec![1], span, || world.bao.versions(&key)).await?;
    scene.wait_data("db", &[("password", "one")]).await
}
