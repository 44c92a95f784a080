//! The process: who leads, how it ends, and what it logs and serves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rekey_e2e::{
    Operator, Scene, World,
    operator::Options,
    wait::{stays, until},
    world::{GROUPS, OPERATOR},
};
use rekey_testkit::proxy::TcpProxy;
use serde_json::{Value, json};

/// An operator that reaches the API server through a proxy.
fn behind(world: &World, proxy: &TcpProxy, only: &str) -> Result<Operator> {
    let url = format!("https://{}", proxy.address());
    let kubeconfig = world.plane.kubeconfig_via("behind", OPERATOR, &GROUPS, &url, &world.plane.ca_pem())?;
    Operator::start("behind", world.plane.directory(), &Options { kubeconfig, arguments: vec![only.to_owned()] })
}

/// A replica that waits for the Lease and is cut off lives, is not ready, and is ready again when the API server is
/// back.
async fn cut_off(operator: &Operator, proxy: &TcpProxy) -> Result<()> {
    proxy.down();
    let said = until("it is not ready", || async {
        let (status, text) = operator.get("/readyz").await?;
        Ok((status == 503).then_some(text))
    })
    .await?;
    ensure!(said.contains("not answered about the Lease"), "{said}");
    let (status, text) = operator.get("/livez").await?;
    ensure!(status == 200, "{status} {text}");
    proxy.up();
    until("it is ready again", || async { Ok((operator.get("/readyz").await?.0 == 200).then_some(())) }).await
}

pub async fn another_replica_takes_over_after_a_kill(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "lease").await?;
    let only = format!("--namespaces={}", scene.namespace);
    let start = |name: &str| world.operator(&format!("{}-{name}", scene.namespace), &[&only]);
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let items = [("password", key.as_str(), "password")];
    let mut first = start("first")?;
    first.wait_leads().await?;
    let proxy = TcpProxy::start(world.plane.url().trim_start_matches("https://"))?;
    let mut second = behind(&world, &proxy, &only)?;
    first.wait_ready().await?;
    second.wait_ready().await?;
    cut_off(&second, &proxy).await?;
    scene.policy("one", "vault", &items, json!({})).await?;
    scene.wait_synced("one").await?;
    stays("the second waits", false, Duration::from_secs(3), || second.leads()).await?;
    let holder = world.lease().await?.holder_identity.context("no replica leads")?;

    first.kill()?;
    let killed = Instant::now();
    scene.policy("two", "vault", &items, json!({})).await?;
    until("another one leads", || async {
        let now = world.lease().await?.holder_identity;
        Ok(now.is_some_and(|name| !name.is_empty() && name != holder).then_some(()))
    })
    .await?;
    let took = killed.elapsed();
    ensure!(took < Duration::from_secs(20), "it took {took:?}");
    scene.wait_synced("two").await?;
    println!(
        "leads after {:.1} s, serves {:.1} s after the leader was killed",
        took.as_secs_f64(),
        killed.elapsed().as_secs_f64()
    );

    second.stop()?; // fails unless it ends with 0
    let given_back = world.lease().await?;
    ensure!(given_back.holder_identity.unwrap_or_default().is_empty(), "the Lease was not given back");
    let third = start("third")?;
    let started = Instant::now();
    third.wait_leads().await?;
    ensure!(started.elapsed() < Duration::from_secs(10), "a Lease that was given back: {:?}", started.elapsed());
    let transitions = world.lease().await?.lease_transitions.unwrap_or_default();
    ensure!(transitions >= 3, "{transitions}");
    Ok(())
}

pub async fn health_and_metrics_answer_without_names(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "health").await?;
    let mut operator = scene.operator()?;
    let key = scene.key("very-private-key");
    world.bao.put(&key, &json!({"property-name": "canary-value"})).await?;
    scene.policy("policy-name", "vault", &[("secret-key", &key, "property-name")], json!({})).await?;
    scene.policy("missing", "vault", &[("secret-key", &scene.key("no-such-key"), "x")], json!({})).await?;
    scene.wait_synced("policy-name").await?;
    scene.wait_policy("missing", "Ready=False/KeyNotFound").await?;
    for path in ["/livez", "/readyz"] {
        let (status, text) = operator.get(path).await?;
        ensure!((status, text.trim()) == (200, "ok"), "{path}: {status} {text}");
    }
    ensure!(operator.get("/other").await?.0 == 404, "/other");
    let (status, text) = operator.get("/metrics").await?;
    ensure!(status == 200, "{status}");
    for wanted in [
        "rekey_reconciles_total{kind=\"SecretPolicy\",result=\"ok\"}",
        "rekey_reconciles_total{kind=\"SecretPolicy\",result=\"KeyNotFound\"}",
        "rekey_reconcile_duration_seconds_count{kind=\"RemoteStore\"}",
        "rekey_store_requests_total{kind=\"read\",result=\"ok\"}",
        "rekey_store_requests_total{kind=\"read\",result=\"not_found\"}",
        "rekey_leader 1",
        "# EOF",
    ] {
        ensure!(text.contains(wanted), "no {wanted} in:\n{text}");
    }
    let names =
        ["very-private-key", "property-name", "secret-key", "policy-name", "canary-value", "no-such-key", "missing\""];
    for name in names.into_iter().chain([scene.namespace.as_str()]) {
        ensure!(!text.contains(name), "the metrics tell {name}:\n{text}");
    }
    operator.stop()?;
    unreachable(&world).await
}

pub async fn json_logs_name_kind_object_and_reason(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "logs").await?;
    let only = format!("--namespaces={}", scene.namespace);
    let operator = world.operator(&scene.namespace, &[&only, "--leader-elect=false", "--log-format=json"])?;
    scene.policy("missing", "vault", &[("password", &scene.key("no-such-key"), "x")], json!({})).await?;
    scene.wait_policy("missing", "Ready=False/KeyNotFound").await?;
    let log = operator.log()?;
    let lines: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let object = format!("{}/missing", scene.namespace);
    let told = |line: &&Value| line["span"]["object"] == object.as_str() && line["reason"] == "KeyNotFound";
    let line = lines.iter().find(told).with_context(|| format!("not logged:\n{log}"))?;
    ensure!(line["span"]["kind"] == "SecretPolicy" && line["level"] == "WARN", "{line}");
    ensure!(lines.iter().all(|line| line["timestamp"].is_string() && line["message"].is_string()), "{log}");
    Ok(())
}

/// Without an API server it lives, and is not ready.
async fn unreachable(world: &World) -> Result<()> {
    let (user, groups) = ("nobody", ["nobody"]);
    let url = format!("https://127.0.0.1:{}", rekey_testkit::process::free_port()?);
    let kubeconfig = world.plane.kubeconfig_via("nowhere", user, &groups, &url, &world.plane.ca_pem())?;
    let mut operator =
        Operator::start("nowhere", world.plane.directory(), &Options { kubeconfig, arguments: Vec::new() })?;
    until("it lives", || async { Ok(operator.get("/livez").await.is_ok_and(|(code, _)| code == 200).then_some(())) })
        .await?;
    let (status, text) = operator.get("/readyz").await?;
    ensure!(status == 503 && text.contains("API server"), "{status} {text}");
    until("the log says so", || async { Ok(operator.log()?.contains("cannot be reached yet").then_some(())) }).await?;
    operator.stop()
}
