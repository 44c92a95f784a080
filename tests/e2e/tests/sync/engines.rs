//! Answers of Vault engines, and values that a search finds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rekey_api::{SecretPolicy, policy::ChangeReason};
use rekey_e2e::{
    Account, Scene, World,
    wait::{stays, until},
};
use rekey_testkit::postgres::Postgres;
use serde_json::{Value, json};

/// A certificate of Vault's PKI: made once, kept over restarts and edits of the policy, and made again on request.
pub async fn a_certificate_is_issued_once(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "pki").await?;
    let account = Account::new(&scene).await?;
    let mount = format!("pki-{}", scene.namespace);
    world.bao.enable_pki(&mount, "web").await?;
    let operator = account.operator("first")?;
    let spec = |labels: Value| {
        json!({
            "source": {"vaultEngine": {
                "storeRef": {"name": "vault"}, "path": format!("{mount}/issue/web"), "method": "Post",
                "parameters": {"common_name": "web.shop.svc", "ttl": "1h"},
            }},
            "target": {
                "type": "kubernetes.io/tls",
                "template": {
                    "metadata": {"labels": labels},
                    "data": {"tls.crt": "{{ .certificate }}", "tls.key": "{{ .private_key }}"},
                },
            },
        })
    };
    scene.policy_of("web", spec(json!({}))).await?;
    let first = scene.wait_synced("web").await?.status.unwrap_or_default();
    let issued = scene.data("web").await?.context("no Secret")?;
    ensure!(issued["tls.crt"].starts_with("-----BEGIN CERTIFICATE-----"), "no certificate");
    ensure!(first.expiration_time.is_some() && !first.source_versions[0].version.is_empty(), "{first:?}");
    drop(operator);
    let _operator = account.operator("second")?;
    scene.policy_of("web", spec(json!({"team": "shop"}))).await?;
    until("the label is there and the spec acknowledged", || async {
        let synced = scene.wait_synced("web").await?.status.unwrap_or_default();
        Ok((synced.observed_generation == Some(2)).then_some(()))
    })
    .await?;
    ensure!(scene.data("web").await?.as_ref() == Some(&issued), "a restart and a label made another certificate");
    let start = account.mark().await?;
    scene.sync("web").await?;
    let renewed = scene.data("web").await?.context("no Secret")?;
    ensure!(renewed["tls.crt"] != issued["tls.crt"], "the request made nothing new");
    let status = scene.wait_synced("web").await?.status.unwrap_or_default();
    let reasons: Vec<ChangeReason> = status.history.iter().map(|change| change.reason).collect();
    ensure!(reasons == [ChangeReason::Renewed, ChangeReason::Created], "{reasons:?}");
    // Some seconds after a change, the pods of the namespace are looked at once.
    let looked = || async { Ok((account.since(&start).await?.of("list", "pods") > 0).then_some(())) };
    until("the pods were listed", looked).await?;
    // Nothing is due: nothing is asked and nothing written.
    let mark = account.mark().await?;
    let number = || async { Ok(account.since(&mark).await?.besides_watches()) };
    stays("API requests", 0, Duration::from_secs(5), number).await
}

/// The operator keeps an answer that it cannot publish yet, so that the engine does not issue again and again.
pub async fn what_could_not_be_published_is_not_issued_again(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "unpublished").await?;
    let mount = format!("pki-{}", scene.namespace);
    world.bao.enable_pki(&mount, "web").await?;
    let _operator = scene.operator()?;
    let certificates = || async {
        let listed = world.bao.request(http::Method::GET, &format!("{mount}/certs?list=true"), None).await?;
        Ok::<usize, anyhow::Error>(listed["data"]["keys"].as_array().map_or(0, Vec::len))
    };
    let before = certificates().await?;
    let spec = |template: Value| {
        json!({
            "source": {"vaultEngine": {
                "storeRef": {"name": "vault"}, "path": format!("{mount}/issue/web"), "method": "Post",
                "parameters": {"common_name": "web.shop.svc", "ttl": "1h"},
            }},
            "target": {"type": "kubernetes.io/tls", "template": {"data": template}},
        })
    };
    scene.policy_of("web", spec(json!({"tls.crt": "{{ .certificate }}"}))).await?;
    scene.wait_policy("web", "Stalled=True/InvalidData").await?;
    scene.ask_sync("web").await?; // one more round, at once
    let whole = json!({"tls.crt": "{{ .certificate }}", "tls.key": "{{ .private_key }}"});
    scene.policy_of("web", spec(whole)).await?;
    scene.wait_synced("web").await?;
    ensure!(certificates().await? == before + 1, "{} certificates were issued", certificates().await? - before);
    Ok(())
}

/// A `Post` may be a write to another mount of values: a store that is `ReadOnly` makes none.
pub async fn a_read_only_store_posts_to_no_engine(world: Arc<World>) -> Result<()> {
    let scene = Scene::closed(&world, "posts").await?;
    scene.open().await?;
    scene.vault_store("ReadOnly").await?;
    let mount = format!("other-{}", scene.namespace);
    world.bao.mount(&mount, "kv", &json!({})).await?;
    let path = format!("{mount}/theirs");
    world.bao.put_plain(&path, &json!({"password": "theirs"})).await?;
    let engine = json!({
        "storeRef": {"name": "vault"}, "path": path, "method": "Post", "parameters": {"password": "ours"},
    });
    scene.policy_of("db", json!({"source": {"vaultEngine": engine}})).await?;
    let _operator = scene.operator()?;
    let said = scene.wait_policy("db", "Ready=False/StoreNotAllowed").await?;
    ensure!(said.contains("RemoteStore/vault: it is read-only") && said.contains("ReadWrite"), "{said}");
    stays("the value of others", json!("theirs"), Duration::from_secs(2), || async {
        Ok(world.bao.get_plain(&path).await?["password"].clone())
    })
    .await
}

/// A static role of the database engine: the Secret follows its rotated password, and its countdown is no change.
pub async fn a_static_role_is_followed(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "static").await?;
    let postgres = Postgres::start()?;
    let mount = format!("database-{}", scene.namespace);
    world.bao.enable_database(&mount, &postgres, "app", "app").await?;
    let _operator = scene.operator()?;
    let path = format!("{mount}/static-creds/app");
    let source = json!({"vaultEngine": {"storeRef": {"name": "vault"}, "path": path}});
    scene.policy_of("app", json!({"source": source})).await?;
    let first = scene.wait_synced("app").await?.status.unwrap_or_default();
    let data = scene.data("app").await?.context("no Secret")?;
    ensure!(data["username"] == "app" && !data.contains_key("ttl"), "{:?}", data.keys());
    scene.sync("app").await?;
    let second = scene.wait_synced("app").await?.status.unwrap_or_default();
    ensure!(second.revision == first.revision && second.expiration_time == first.expiration_time, "{second:?}");
    let asked = format!("{mount}/rotate-role/app");
    world.bao.request(http::Method::POST, &asked, None).await?;
    scene.sync("app").await?;
    let rotated = scene.data("app").await?.context("no Secret")?;
    ensure!(rotated["password"] != data["password"], "the rotated password did not arrive");
    let status = scene.api::<SecretPolicy>().get("app").await?.status.unwrap_or_default();
    ensure!(status.source_versions != first.source_versions, "{:?}", status.source_versions);
    Ok(())
}

/// What fits a search becomes keys, in Vault, Secrets Manager and Parameter Store; keys that are gone go.
pub async fn what_a_search_finds_becomes_keys(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "find").await?;
    let _operator = scene.operator()?;
    scene.parameter_store("parameters").await?;
    let (one, two) = (scene.key("api/one"), scene.key("api/two"));
    for key in [&one, &two, &scene.key("other")] {
        world.bao.put(key, &json!({"value": key})).await?;
        world.moto.create(key, key).await?;
        let parameter = json!({"Name": format!("/{key}"), "Value": key, "Type": "SecureString"});
        world.moto.parameter_store("PutParameter", &parameter).await?;
    }
    let source = |store: &str, path: &str| {
        json!({"source": {"remote": {
            "storeRef": {"name": store}, "refreshInterval": "10s",
            "dataFrom": [{
                "find": {"path": path, "nameRegexp": "(one|two)$"},
                "rewrite": [{"regexp": {"source": "^.*/", "target": ""}}],
            }],
        }}})
    };
    let path = scene.key("api");
    for (name, store, path) in [
        ("in-vault", "vault", path.clone()),
        ("in-aws", "aws", path.clone()),
        ("in-ssm", "parameters", format!("/{path}")),
    ] {
        scene.policy_of(name, source(store, &path)).await?;
    }
    let (of_vault_one, of_vault_two) = (json!({"value": one}).to_string(), json!({"value": two}).to_string());
    scene.wait_data("in-vault", &[("one", &of_vault_one), ("two", &of_vault_two)]).await?;
    scene.wait_data("in-aws", &[("one", &one), ("two", &two)]).await?;
    scene.wait_data("in-ssm", &[("one", &one), ("two", &two)]).await?;
    world.moto.delete(&two).await?;
    world.bao.request(http::Method::DELETE, &format!("secret/metadata/{two}"), None).await?;
    scene.wait_data("in-vault", &[("one", &of_vault_one)]).await?;
    scene.wait_data("in-aws", &[("one", &one)]).await?;
    // Nothing at all is no reason to empty a Secret that works.
    world.moto.delete(&one).await?;
    let said = scene.wait_policy("in-aws", "Fresh=False/KeyNotFound").await?;
    ensure!(said.contains("finds nothing in the store"), "{said}");
    scene.wait_data("in-aws", &[("one", &one)]).await?;
    let versions: BTreeMap<String, String> = scene
        .wait_synced("in-ssm")
        .await?
        .status
        .unwrap_or_default()
        .source_versions
        .into_iter()
        .map(|at| (at.key, at.version))
        .collect();
    ensure!(versions.len() == 2, "{versions:?}");
    Ok(())
}
