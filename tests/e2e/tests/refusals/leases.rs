//! Answers of Vault engines that come with a lease: refused, revoked, and not requested again and again.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_e2e::{Scene, World, conditions, wait::stays};
use rekey_testkit::postgres::Postgres;
use serde_json::json;

pub async fn credentials_with_a_lease_are_made_once_and_given_back(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "leases").await?;
    let postgres = tokio::task::spawn_blocking(Postgres::start).await??;
    let mount = format!("database-{}", scene.namespace);
    world.bao.enable_database(&mount, &postgres, "app", "app_user").await?;
    let mut operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("moved", "vault", &[("password", &key, "password")], json!({})).await?;
    scene.wait_synced("moved").await?;
    let served = scene.api::<Secret>().get("moved").await?.resource_version();

    let mark = world.bao.mark()?;
    let path = format!("{mount}/creds/app-made");
    let asked = || {
        let found = world.bao.reads_since(mark);
        async { Ok(found?.get(&("read".to_owned(), path.clone())).copied().unwrap_or(0)) }
    };
    let source = json!({"source": {"vaultEngine": {"storeRef": {"name": "vault"}, "path": path}}});
    for (number, policy) in ["new", "moved"].into_iter().enumerate() {
        scene.policy_of(policy, source.clone()).await?;
        let said = scene.wait_policy(policy, "Stalled=True/NotSupportedYet").await?;
        ensure!(said.contains("(dynamic credentials with a lease) is not supported yet: use a path"), "{said}");
        ensure!(said.contains("was revoked at once"), "{said}");
        let shown = conditions::shown(&scene.policy_conditions(policy).await?);
        ensure!(shown == ["Ready=False/NotSupportedYet", "Stalled=True/NotSupportedYet"], "{policy}: {shown:?}");
        stays("credentials that were made", number + 1, Duration::from_secs(3), asked).await?;
    }
    ensure!(postgres.sql("select count(*) from pg_roles where rolname like 'v-%'")? == "0", "a user was left");
    ensure!(scene.data("new").await?.is_none(), "a Secret was written");
    ensure!(scene.api::<Secret>().get("moved").await?.resource_version() == served, "the Secret was written");
    // The path of a static role of the same engine comes without a lease.
    let fixed = json!({"storeRef": {"name": "vault"}, "path": format!("{mount}/static-creds/app")});
    scene.policy_of("new", json!({"source": {"vaultEngine": fixed}})).await?;
    scene.wait_synced("new").await?;
    operator.alive()
}
