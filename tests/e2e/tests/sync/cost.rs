//! The operator's requests to the API server and to the store, counted in their audit logs.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Result, ensure};
use rekey_e2e::{Account, Operator, Scene, World, wait::until};
use rekey_testkit::{bao::Mark, plane::Counts};
use serde_json::json;

/// Reads of this scene's keys since the mark.
fn reads(scene: &Scene, mark: Mark) -> Result<BTreeMap<String, usize>> {
    let prefix = format!("secret/data/{}/", scene.namespace);
    let all = scene.world.bao.requests_since(mark)?;
    let mut counts = BTreeMap::new();
    // The tests' own reads and writes are `create` and `update`; they read nothing while they count.
    for request in all.into_iter().filter(|request| request.operation == "read") {
        if let Some(key) = request.path.strip_prefix(&prefix) {
            *counts.entry(key.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

async fn ready(world: &Arc<World>, prefix: &str) -> Result<(Scene, Account, Operator)> {
    let scene = Scene::new(world, prefix).await?;
    let account = Account::new(&scene).await?;
    let operator = account.operator("first")?;
    scene.wait_store("vault", "Ready=True/Synced").await?;
    scene.wait_store("aws", "Ready=True/Synced").await?;
    Ok((scene, account, operator))
}

pub async fn a_first_sync_costs_three_requests(world: Arc<World>) -> Result<()> {
    const POLICIES: u64 = 5;
    let (scene, account, _operator) = ready(&world, "first").await?;
    for number in 0..POLICIES {
        world.bao.put(&scene.key(&number.to_string()), &json!({"password": "one"})).await?;
    }
    let (mark, store) = (account.mark().await?, world.bao.mark()?);
    for number in 0..POLICIES {
        let key = scene.key(&number.to_string());
        let seldom = json!({"source": {"remote": {"refreshInterval": "240h"}}});
        scene.policy(&format!("p{number}"), "vault", &[("password", &key, "password")], seldom).await?;
    }
    for number in 0..POLICIES {
        scene.wait_synced(&format!("p{number}")).await?;
        until("the Event", || async { Ok((scene.events(&format!("p{number}")).await?.len() == 1).then_some(())) })
            .await?;
    }
    let counts = account.since(&mark).await?;
    println!("first sync of {POLICIES} policies:\n{counts}");
    ensure!(counts.of("patch", "secrets") == POLICIES, "{counts}");
    ensure!(counts.of("patch", "secretpolicies/status") == POLICIES, "{counts}");
    ensure!(counts.of("create", "events") == POLICIES, "{counts}");
    ensure!(counts.total() == 3 * POLICIES, "{counts}");
    let reads = reads(&scene, store)?;
    ensure!(reads.len() == 5 && reads.values().all(|count| *count == 1), "{reads:?}");
    Ok(())
}

pub async fn a_change_costs_two_writes_and_an_event(world: Arc<World>) -> Result<()> {
    let (scene, account, _operator) = ready(&world, "change").await?;
    let key = scene.key("db");
    let items = [("password", key.as_str(), "password")];
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "vault", &items, json!({})).await?;
    scene.wait_synced("db").await?;
    until("the first Event", || async { Ok((scene.events("db").await?.len() == 1).then_some(())) }).await?;
    let mark = account.mark().await?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    until("the Event of the change", || async { Ok((scene.events("db").await?.len() == 2).then_some(())) }).await?;
    let counts = account.since(&mark).await?;
    ensure!(counts.of("patch", "secrets") == 1 && counts.of("patch", "secretpolicies/status") == 1, "{counts}");
    // Three seconds after a change come pods that belong to no workload.
    let looks = |counts: &Counts| counts.of("list", "pods");
    ensure!(counts.of("create", "events") == 1 && counts.total() - looks(&counts) == 3, "{counts}");
    until("the look at pods", || async { Ok((looks(&account.since(&mark).await?) == 1).then_some(())) }).await?;
    // An edit of the policy that changes no data: only the status says that it was seen.
    let mark = account.mark().await?;
    scene.policy("db", "vault", &items, json!({"source": {"remote": {"refreshInterval": "240h"}}})).await?;
    scene.wait_synced("db").await?;
    let counts = account.since(&mark).await?;
    ensure!(counts.of("patch", "secretpolicies/status") == 1 && counts.total() == 1, "{counts}");
    Ok(())
}

pub async fn idle_rounds_read_each_key_once_and_ask_the_api_server_nothing(world: Arc<World>) -> Result<()> {
    let (scene, account, _operator) = ready(&world, "idle").await?;
    let (one, two) = (scene.key("one"), scene.key("two"));
    world.bao.put(&one, &json!({"username": "orders", "password": "one"})).await?;
    world.bao.put(&two, &json!({"token": "two"})).await?;
    world.moto.create(&one, r#"{"password": "three"}"#).await?;
    let items = [("username", one.as_str(), "username"), ("password", &one, "password"), ("token", &two, "token")];
    scene.policy("of-bao", "vault", &items, json!({})).await?;
    scene.policy("of-aws", "aws", &[("password", &one, "password")], json!({})).await?;
    scene.wait_synced("of-bao").await?;
    scene.wait_synced("of-aws").await?;
    until("the Events", || async {
        Ok((scene.events("of-bao").await?.len() + scene.events("of-aws").await?.len() == 2).then_some(()))
    })
    .await?;
    let (mark, store) = (account.mark().await?, world.bao.mark()?);
    // Rounds of 10 s: two of them.
    let seen = until("two rounds", || async {
        let seen = reads(&scene, store)?;
        Ok((seen.len() == 2 && seen.values().all(|count| *count >= 2)).then_some(seen))
    })
    .await?;
    ensure!(seen.values().all(|count| *count == 2), "each key once a round: {seen:?}");
    let counts = account.since(&mark).await?;
    ensure!(counts.besides_watches() == 0, "the API server was asked while nothing happened:\n{counts}");
    Ok(())
}

/// A key pair that works is not read again, however long the store is used; an edit of it is followed at once.
pub async fn a_key_pair_is_read_when_it_changes_and_not_while_nothing_does(world: Arc<World>) -> Result<()> {
    let (scene, account, operator) = ready(&world, "pair").await?;
    let key = scene.key("db");
    world.moto.create(&key, r#"{"password": "one"}"#).await?;
    scene.policy("db", "aws", &[("password", &key, "password")], json!({})).await?;
    scene.wait_synced("db").await?;
    until("the Event", || async { Ok((scene.events("db").await?.len() == 1).then_some(())) }).await?;
    let (mark, before) = (account.mark().await?, reads_of_stores(&operator).await);
    // One every 10 s: more than a minute.
    for more in [4, 8] {
        until("more reads", || async { Ok((reads_of_stores(&operator).await >= before + more).then_some(())) }).await?;
    }
    let counts = account.since(&mark).await?;
    ensure!(counts.besides_watches() == 0, "the API server was asked while nothing happened:\n{counts}");
    let mark = account.mark().await?;
    scene.secret("aws", &[("id", "other"), ("secret", "other")]).await?;
    until("the new key pair is read", || async {
        Ok((account.since(&mark).await?.of("get", "secrets") >= 2).then_some(()))
    })
    .await?;
    scene.wait_store("aws", "Ready=True/Synced").await.map(drop)
}

/// How many reads of stores succeeded, by the metrics.
async fn reads_of_stores(operator: &Operator) -> usize {
    let line = "rekey_store_requests_total{kind=\"read\",result=\"ok\"} ";
    let count = async {
        let (_, text) = operator.get("/metrics").await.ok()?;
        text.lines().find_map(|at| at.strip_prefix(line))?.trim().parse().ok()
    };
    count.await.unwrap_or_default()
}

pub async fn a_restarted_operator_writes_nothing(world: Arc<World>) -> Result<()> {
    const POLICIES: usize = 3;
    let (scene, account, mut operator) = ready(&world, "restart").await?;
    for number in 0..POLICIES {
        let key = scene.key(&number.to_string());
        world.bao.put(&key, &json!({"password": "one"})).await?;
        let more = if number == 0 { json!({"immutability": "Locked"}) } else { json!({}) };
        scene.policy(&format!("p{number}"), "vault", &[("password", &key, "password")], more).await?;
    }
    for number in 0..POLICIES {
        scene.wait_synced(&format!("p{number}")).await?;
        until("the Event", || async { Ok((scene.events(&format!("p{number}")).await?.len() == 1).then_some(())) })
            .await?;
    }
    operator.stop()?;
    let (mark, store) = (account.mark().await?, world.bao.mark()?);
    let second = account.operator("second")?;
    until("the new operator has looked at every policy and store", || async {
        let done =
            reconciled(&second, "SecretPolicy").await >= POLICIES && reconciled(&second, "RemoteStore").await >= 2;
        Ok((done && reads(&scene, store)?.len() == POLICIES).then_some(()))
    })
    .await?;
    let counts = account.since(&mark).await?;
    ensure!(counts.writes() == 0, "{counts}");
    ensure!(counts.of("get", "secrets") > 0, "it has not looked at the Secrets: {counts}");
    Ok(())
}

/// How many rounds of a kind succeeded, by the metrics.
async fn reconciled(operator: &Operator, kind: &str) -> usize {
    let line = format!("rekey_reconciles_total{{kind=\"{kind}\",result=\"ok\"}} ");
    let count = async {
        let (_, text) = operator.get("/metrics").await.ok()?;
        text.lines().find_map(|at| at.strip_prefix(&line))?.trim().parse().ok()
    };
    count.await.unwrap_or_default()
}
