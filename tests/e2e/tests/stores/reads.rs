//! What many policies cost their store.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World};
use serde_json::json;

pub async fn equal_reads_of_many_policies_are_few_calls(world: Arc<World>) -> Result<()> {
    const POLICIES: usize = 20;
    let scene = Scene::new(&world, "shared").await?;
    let _operator = scene.operator()?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    for number in 0..POLICIES {
        scene.policy(&format!("p{number}"), "vault", &[("password", &key, "password")], json!({})).await?;
    }
    for number in 0..POLICIES {
        scene.wait_data(&format!("p{number}"), &[("password", "one")]).await?;
    }
    // The next round, with a new value in the store.
    let mark = world.bao.mark()?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    let start = Instant::now();
    for number in 0..POLICIES {
        scene.wait_data(&format!("p{number}"), &[("password", "two")]).await?;
    }
    let path = format!("secret/data/{key}");
    let reads = world.bao.requests_since(mark)?.into_iter();
    let reads = reads.filter(|request| request.operation == "read" && request.path == path).count();
    println!("{POLICIES} policies of one key: {reads} reads in {:.1} s", start.elapsed().as_secs_f64());
    // One for each round of ten seconds, and some more where the machine spread a round over several moments.
    ensure!(reads <= POLICIES / 3, "{reads} reads for {POLICIES} policies of one key");
    Ok(())
}

pub async fn a_store_is_asked_no_faster_than_its_limits(world: Arc<World>) -> Result<()> {
    const POLICIES: usize = 30;
    let scene = Scene::closed(&world, "limits").await?;
    scene.open().await?;
    scene.secret("vault-token", &[("token", world.bao.token())]).await?;
    let auth = json!({"token": {"secretRef": {"name": "vault-token", "key": "token"}}});
    let provider = json!({"vault": {"server": world.bao.address(), "mount": "secret", "auth": auth}});
    let limits = json!({"requestsPerSecond": 4, "burst": 2});
    let store = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "RemoteStore", "metadata": {"name": "vault"},
        "spec": {"limits": limits, "provider": provider},
    });
    scene.apply(store).await?;
    for number in 0..POLICIES {
        let (name, key) = (format!("p{number}"), scene.key(&number.to_string()));
        world.bao.put(&key, &json!({"password": name})).await?;
        let seldom = json!({"source": {"remote": {"refreshInterval": "240h"}}});
        scene.policy(&name, "vault", &[("password", &key, "password")], seldom).await?;
    }
    let start = Instant::now();
    let _operator = scene.operator()?;
    for number in 0..POLICIES {
        let name = format!("p{number}");
        scene.wait_data(&name, &[("password", &name)]).await?;
    }
    // Two at once, and then four a second.
    let least = Duration::from_secs_f64((30.0 - 2.0) / 4.0);
    println!("{POLICIES} reads at 4 a second took {:.1} s", start.elapsed().as_secs_f64());
    ensure!(start.elapsed() >= least, "the store was asked faster than its limits: {:?}", start.elapsed());
    Ok(())
}
