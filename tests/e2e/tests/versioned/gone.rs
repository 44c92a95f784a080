//! What becomes of versions when their policy is deleted.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use kube::api::DeleteParams;
use rekey_api::SecretPolicy;
use rekey_e2e::{
    Scene, World,
    versions::{change, current, deployment, held, policy, scene, versioned},
    wait::{stays, until, until_equal},
};
use serde_json::json;

async fn delete(scene: &Scene) -> Result<()> {
    scene.api::<SecretPolicy>().delete("db", &DeleteParams::default()).await?;
    until("the policy is gone", || async {
        Ok(scene.api::<SecretPolicy>().get_opt("db").await?.is_none().then_some(()))
    })
    .await
}

/// Once while the operator runs, and once before it starts.
pub async fn versions_go_with_their_policy_unless_something_refers_to_them(world: Arc<World>) -> Result<()> {
    for runs in [true, false] {
        let scene = scene(&world, "gone").await?;
        let mut operator = scene.operator()?;
        policy(&scene, versioned(3)).await?;
        let first = current(&scene, "one").await?;
        deployment(&scene, "web", &first).await?;
        ensure!(scene.held("web", "PASSWORD").await? == "one");
        change(&scene, "two").await?;
        change(&scene, "three").await?;
        if !runs {
            operator.stop()?;
        }
        delete(&scene).await?;
        let _second = if runs { None } else { Some(scene.operator()?) };
        until_equal("what the versions hold", vec!["one".to_owned()], || held(&scene)).await?;
        stays("what a pod refers to", vec!["one".to_owned()], Duration::from_secs(2), || held(&scene)).await?;
        // A new policy of the name finds it.
        policy(&scene, versioned(3)).await?;
        current(&scene, "three").await?;
        ensure!(held(&scene).await? == ["one", "three"]);
    }
    Ok(())
}

pub async fn versions_stay_where_the_policy_says_so(world: Arc<World>) -> Result<()> {
    let scene = scene(&world, "retained").await?;
    let _operator = scene.operator()?;
    let mut spec = versioned(3);
    spec["target"] = json!({"onPolicyDelete": "Retain"});
    policy(&scene, versioned(3)).await?;
    current(&scene, "one").await?;
    change(&scene, "two").await?;
    // The newest one says what becomes of all of them.
    policy(&scene, spec).await?;
    scene.wait_synced("db").await?;
    delete(&scene).await?;
    stays("the versions", vec!["one".to_owned(), "two".to_owned()], Duration::from_secs(3), || held(&scene)).await
}
