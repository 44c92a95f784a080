//! Whose a Secret is.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_api::{SecretPolicy, names};
use rekey_e2e::{
    Scene, World, conditions,
    kubectl::kubectl,
    wait::{stays, until},
};
use serde_json::json;

pub async fn an_existing_secret_needs_consent(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "consent").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "from the store"})).await?;
    scene.secret("db", &[("password", "theirs"), ("mine", "too")]).await?;
    let before = scene.api::<Secret>().get("db").await?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    let said = scene.wait_policy("db", "Stalled=True/NoConsent").await?;
    scene.wait_policy("db", "Ready=False/NoConsent").await?;
    // Another policy's name is no consent to this one.
    scene.annotate::<Secret>("db", names::ADOPT_BY, "another").await?;
    let annotated = scene.api::<Secret>().get("db").await?;
    ensure!(annotated.data == before.data, "it was written");
    stays("the Secret of another owner", annotated.resource_version(), Duration::from_secs(3), || async {
        Ok(scene.api::<Secret>().get("db").await?.resource_version())
    })
    .await?;
    // The command that the message gives, as a user would run it.
    let command = said.split('`').nth(1).unwrap_or_default().to_owned();
    let mut words: Vec<&str> = command.split(' ').skip(1).collect();
    words.push("--overwrite");
    ensure!(words.first() == Some(&"annotate"), "{said}");
    kubectl(&world, &words).await?;
    scene.wait_data("db", &[("password", "from the store")]).await?;
    let policy = scene.wait_synced("db").await?;
    let secret = scene.api::<Secret>().get("db").await?;
    ensure!(secret.uid() == before.uid(), "it was created again");
    let owner = secret.owner_references().first().map(|owner| owner.uid.clone());
    ensure!(owner == policy.uid(), "{:?}", secret.owner_references());
    let told = "Synced: took over Secret db".to_owned();
    until("an Event says so", || async { Ok(scene.events("db").await?.contains(&told).then_some(())) }).await?;
    Ok(())
}

pub async fn two_policies_cannot_have_one_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "conflict").await?;
    let _operator = scene.operator()?;
    let (one, two) = (scene.key("one"), scene.key("two"));
    world.bao.put(&one, &json!({"password": "one"})).await?;
    world.bao.put(&two, &json!({"password": "two"})).await?;
    let target = json!({"target": {"name": "shared"}});
    scene.policy("first", "vault", &[("password", &one, "password")], target.clone()).await?;
    scene.wait_synced("first").await?;
    scene.policy("second", "vault", &[("password", &two, "password")], target).await?;
    let said = scene.wait_policy("second", "Stalled=True/TargetConflict").await?;
    ensure!(said.contains("\"shared\"") && said.contains("\"first\""), "{said}");
    stays("the Secret of the first", Some("one".to_owned()), Duration::from_secs(3), || async {
        Ok(scene.data("shared").await?.and_then(|data| data.get("password").cloned()))
    })
    .await?;
    scene.wait_synced("first").await?;
    // When the first goes, its Secret goes, and the second is served.
    scene.api::<SecretPolicy>().delete("first", &DeleteParams::default()).await?;
    scene.wait_data("shared", &[("password", "two")]).await?;
    scene.wait_synced("second").await.map(drop)
}

/// A copy of a published Secret, with all its metadata, is not the policy's: its maker must consent.
pub async fn a_copy_of_a_published_secret_needs_consent(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "copied").await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "from the store"})).await?;
    let retained = json!({"target": {"onPolicyDelete": "Retain"}});
    let first = scene.operator()?;
    scene.policy("db", "vault", &[("password", &key, "password")], retained).await?;
    scene.wait_synced("db").await?;
    drop(first);
    let api = scene.api::<Secret>();
    let published = api.get("db").await?;
    api.delete("db", &DeleteParams::default()).await?;
    let copy = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "db", "labels": published.labels(), "annotations": published.annotations()},
        "stringData": {"password": "theirs"},
    });
    scene.apply(copy).await?;
    let _operator = scene.operator()?;
    scene.wait_policy("db", "Stalled=True/NoConsent").await?;
    stays("the copy", Some("theirs".to_owned()), Duration::from_secs(2), || async {
        Ok(scene.data("db").await?.and_then(|data| data.get("password").cloned()))
    })
    .await?;
    scene.annotate::<Secret>("db", names::ADOPT_BY, "db").await?;
    scene.wait_data("db", &[("password", "from the store")]).await
}

/// One that was put back from a backup holds what its record says, so it is the policy's as before.
pub async fn a_secret_that_was_put_back_from_a_backup_is_the_policys_as_before(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "restored").await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let first = scene.operator()?;
    scene.policy("db", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_synced("db").await?;
    drop(first);
    let api = scene.api::<Secret>();
    let published = api.get("db").await?;
    api.delete("db", &DeleteParams::default()).await?;
    let (labels, annotations) = (published.labels(), published.annotations());
    let backup = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "db", "labels": labels, "annotations": annotations},
        "stringData": {"password": "one"},
    });
    scene.apply(backup).await?;
    let _operator = scene.operator()?;
    scene.wait_synced("db").await?;
    ensure!(api.get("db").await?.annotations().get(names::REVISION) == annotations.get(names::REVISION));
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.sync("db").await?;
    scene.wait_data("db", &[("password", "two")]).await
}

/// Rekey does not write a credential of the cluster itself, whatever its metadata.
pub async fn a_credential_of_the_cluster_is_never_written(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "reserved").await?;
    scene.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})).await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "from the store"})).await?;
    let names = ["taken", "merged", "governed"];
    for name in names {
        let account = json!({names::ADOPT_BY: name, "kubernetes.io/service-account.name": "robot"});
        scene
            .apply(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
                "metadata": {"name": name, "annotations": account},
            }))
            .await?;
    }
    let secrets = || async {
        let mut found = Vec::new();
        for name in names {
            let secret = scene.api::<Secret>().get(name).await?;
            found.push((secret.annotations().keys().cloned().collect::<Vec<_>>(), secret.data.map(|data| data.len())));
        }
        Ok::<_, anyhow::Error>(found)
    };
    until("the tokens are there", || async {
        Ok(secrets().await?.iter().all(|(_, keys)| keys.is_some_and(|keys| keys > 0)).then_some(()))
    })
    .await?;
    let before = secrets().await?;
    let items = [("password", key.as_str(), "password")];
    scene.policy("taken", "vault", &items, json!({})).await?;
    scene.policy("merged", "vault", &items, json!({"target": {"ownership": "Merge"}})).await?;
    scene.policy_of("governed", json!({"source": {"existing": {}}})).await?;
    let _operator = scene.operator()?;
    for name in names {
        let said = scene.wait_policy(name, "Stalled=True/InvalidSpec").await?;
        ensure!(said.contains("kubernetes.io/service-account-token") && said.contains("never writes"), "{said}");
    }
    ensure!(secrets().await? == before, "a token of the cluster was written: {:?}", secrets().await?);
    Ok(())
}

/// Pairs of policies with one target each, all of them in the same moment.
pub async fn two_policies_that_make_one_secret_at_once_do_not_overwrite_each_other(world: Arc<World>) -> Result<()> {
    const PAIRS: usize = 10;
    let scene = Scene::new(&world, "race").await?;
    let keys = [scene.key("a"), scene.key("b")];
    for key in &keys {
        world.bao.put(key, &json!({"password": key})).await?;
    }
    for pair in 0..PAIRS {
        for (side, key) in keys.iter().enumerate() {
            let target = json!({"target": {"name": format!("pair{pair}")}});
            scene.policy(&format!("p{pair}-{side}"), "vault", &[("password", key, "password")], target).await?;
        }
    }
    let _operator = scene.operator()?;
    for pair in 0..PAIRS {
        let winner = until("one of the pair to be synced and the other to report it", || async {
            let mut found = Vec::new();
            for side in 0..2 {
                found.push(conditions::shown(&scene.policy_conditions(&format!("p{pair}-{side}")).await?));
            }
            let is = |side: usize, wanted: &str| found[side].iter().any(|condition| condition == wanted);
            Ok((0..2).find(|side| is(*side, "Ready=True/Synced") && is(1 - side, "Stalled=True/TargetConflict")))
        })
        .await?;
        let data = scene.data(&format!("pair{pair}")).await?.context("no Secret")?;
        ensure!(data.get("password") == Some(&keys[winner]), "pair {pair}: {winner} is synced, and {data:?} is served");
        let loser = scene.events(&format!("p{pair}-{}", 1 - winner)).await?;
        ensure!(!loser.iter().any(|event| event.contains("created")), "both have made it: {loser:?}");
    }
    Ok(())
}

pub async fn a_secret_goes_or_stays_with_its_policy(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "deletion").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let items = [("password", key.as_str(), "password")];
    for (name, more) in
        [("goes", json!({})), ("stays", json!({"target": {"onPolicyDelete": "Retain"}})), ("changed", json!({}))]
    {
        scene.policy(name, "vault", &items, more).await?;
        scene.wait_synced(name).await?;
    }
    let owners = |name: &'static str| async {
        Ok::<_, anyhow::Error>(scene.api::<Secret>().get(name).await?.owner_references().len())
    };
    ensure!(owners("goes").await? == 1 && owners("stays").await? == 0, "owners");
    // A later wish counts, too.
    scene.policy("changed", "vault", &items, json!({"target": {"onPolicyDelete": "Retain"}})).await?;
    until("the owner is gone", || async { Ok((owners("changed").await? == 0).then_some(())) }).await?;
    for name in ["goes", "stays", "changed"] {
        scene.api::<SecretPolicy>().delete(name, &DeleteParams::default()).await?;
    }
    until("the owned Secret is gone", || async { Ok(scene.data("goes").await?.is_none().then_some(())) }).await?;
    for name in ["stays", "changed"] {
        stays(name, true, Duration::from_secs(2), || async { Ok(scene.data(name).await?.is_some()) }).await?;
    }
    // The same policy made again takes what it had left.
    let before = scene.api::<Secret>().get("stays").await?.uid();
    scene.policy("stays", "vault", &items, json!({})).await?;
    scene.wait_synced("stays").await?;
    ensure!(owners("stays").await? == 1, "no owner");
    ensure!(scene.api::<Secret>().get("stays").await?.uid() == before, "created again");
    Ok(())
}
