//! Stores that hang or are not responding, and the policies of others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rekey_e2e::{Scene, World, wait::until};
use rekey_testkit::proxy::TcpProxy;
use serde_json::{Value, json};

/// A scene, and a proxy before `OpenBao` that its store `vault` goes through.
async fn behind_proxy(world: &Arc<World>, prefix: &str) -> Result<(Scene, TcpProxy)> {
    let scene = Scene::closed(world, prefix).await?;
    scene.open().await?;
    let proxy = TcpProxy::start(world.bao.address().trim_start_matches("http://"))?;
    scene.vault_store_at(&format!("http://{}", proxy.address()), "ReadOnly").await?;
    Ok((scene, proxy))
}

fn seldom() -> Value {
    json!({"source": {"remote": {"refreshInterval": "240h"}}})
}

pub async fn a_hanging_store_does_not_slow_the_policies_of_others(world: Arc<World>) -> Result<()> {
    const HANGING: usize = 40;
    let (scene, proxy) = behind_proxy(&world, "hanging").await?;
    let mut operator = scene.operator()?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    scene.secret("healthy-token", &[("token", world.bao.token())]).await?;
    let auth = json!({"token": {"secretRef": {"name": "healthy-token", "key": "token"}}});
    let healthy = json!({"vault": {"server": world.bao.address(), "mount": "secret", "auth": auth}});
    scene.store("healthy", "ReadOnly", healthy).await?;
    for number in 0..5 {
        let (name, key) = (format!("h{number}"), scene.key(&format!("h{number}")));
        world.bao.put(&key, &json!({"password": "0"})).await?;
        scene.policy(&name, "healthy", &[("password", &key, "password")], seldom()).await?;
        scene.wait_synced(&name).await?;
    }
    // From now on the store accepts connections and never responds.
    proxy.delay(Duration::from_hours(1));
    for number in 0..HANGING {
        let key = scene.key(&format!("x{number}"));
        scene.policy(&format!("x{number}"), "vault", &[("password", &key, "password")], seldom()).await?;
    }
    let (start, mut slowest, mut round) = (Instant::now(), Duration::ZERO, 0);
    while start.elapsed() < Duration::from_secs(25) {
        round += 1;
        for number in 0..5 {
            let (name, value) = (format!("h{number}"), round.to_string());
            world.bao.put(&scene.key(&name), &json!({"password": value})).await?;
            let asked = Instant::now();
            scene.sync(&name).await?;
            scene.wait_data(&name, &[("password", &value)]).await?;
            slowest = slowest.max(asked.elapsed());
        }
    }
    println!("{round} rounds of 5 policies beside {HANGING} that hang: the slowest took {slowest:.1?}");
    ensure!(slowest < Duration::from_secs(5), "a policy of a healthy store waited {slowest:?}");
    // And those that hang say why.
    let said = scene.wait_policy("x0", "Ready=False/Unavailable").await?;
    ensure!(said.contains("RemoteStore/vault"), "{said}");
    scene.wait_store("vault", "Ready=False/Unavailable").await?;
    operator.alive()
}

pub async fn policies_are_fresh_as_soon_as_their_store_is_back(world: Arc<World>) -> Result<()> {
    const POLICIES: usize = 10;
    let (scene, proxy) = behind_proxy(&world, "back").await?;
    let mut operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let names: Vec<String> = (0..POLICIES).map(|number| format!("p{number}")).collect();
    for name in &names {
        scene.policy(name, "vault", &[("password", &key, "password")], json!({})).await?;
        scene.wait_synced(name).await?;
    }
    proxy.down();
    for name in &names {
        scene.wait_policy(name, "Fresh=False/Unavailable").await?;
    }
    scene.wait_store("vault", "Ready=False/Unavailable").await?;
    proxy.up();
    scene.wait_store("vault", "Ready=True/Synced").await?;
    let start = Instant::now();
    for name in &names {
        until(&format!("{name} is fresh"), || async {
            let found = scene.policy_conditions(name).await?;
            Ok((!found.iter().any(|at| at.type_ == "Fresh" && at.status == "False")).then_some(()))
        })
        .await?;
    }
    println!("{POLICIES} policies were fresh {:.1} s after their store", start.elapsed().as_secs_f64());
    ensure!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    operator.alive()
}
