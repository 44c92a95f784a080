//! Values and names in a store: a value arrives as it is, or is refused with the right spelling.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_e2e::{Scene, World};
use serde_json::{Value, json};

/// A policy of parts of keys: `(key of the Secret, store, remoteRef)`.
fn parts(items: &[(&str, &str, Value)]) -> Value {
    let item = |(name, store, reference): &(&str, &str, Value)| json!({"secretKey": name, "storeRef": {"name": store}, "remoteRef": reference});
    let data: Vec<Value> = items.iter().map(item).collect();
    json!({"source": {"remote": {"storeRef": {"name": "vault"}, "refreshInterval": "10s", "data": data}}})
}

fn extract(key: &str) -> Value {
    let from = json!([{"extract": {"key": key}}]);
    json!({"source": {"remote": {"storeRef": {"name": "vault"}, "refreshInterval": "10s", "dataFrom": from}}})
}

pub async fn values_arrive_as_they_stand_in_the_store(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "as-they-stand").await?;
    scene.parameter_store("ssm").await?;
    let _operator = scene.operator()?;
    let (key, cloud) = (scene.key("db"), scene.key("cloud"));
    world.bao.put(&key, &json!({"url": "http://h/?a=1&b=<2>", "none": null, "in": {"b": "&", "c": null}})).await?;
    world.moto.create(&cloud, "{\"in\": { \"id\" : 12345678901234567890,\n \"rate\": 1.10 }, \"none\": null}").await?;
    let reference = format!("/aws/reference/secretsmanager/{cloud}");
    let items = [
        ("whole", "vault", json!({"key": key})),
        ("nested", "vault", json!({"key": key, "property": "in"})),
        ("null", "vault", json!({"key": key, "property": "in.c"})),
        ("found", "vault", json!({"key": key, "jmesPath": "none"})),
        ("cloud", "aws", json!({"key": cloud, "property": "in"})),
        ("referenced", "ssm", json!({"key": reference, "property": "in.rate"})),
        ("empty", "ssm", json!({"key": reference, "property": "none"})),
    ];
    scene.policy_of("parts", parts(&items)).await?;
    let expected = [
        ("whole", r#"{"in":{"b":"&","c":null},"none":null,"url":"http://h/?a=1&b=<2>"}"#),
        ("nested", r#"{"b":"&","c":null}"#),
        ("null", ""),
        ("found", ""),
        ("cloud", "{ \"id\" : 12345678901234567890,\n \"rate\": 1.10 }"),
        ("referenced", "1.10"),
        ("empty", ""),
    ];
    scene.wait_data("parts", &expected).await
}

pub async fn an_object_that_is_emptied_changes_nothing(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "emptied").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({})).await?;
    scene.policy_of("db", extract(&key)).await?;
    let said = scene.wait_policy("db", "Reconciling=True/ProgressingWithRetry").await?;
    ensure!(said.contains("has no members"), "{said}");
    ensure!(scene.data("db").await?.is_none(), "a Secret was written");
    world.bao.put(&key, &json!({"user": "orders", "token": null})).await?;
    let held = [("user", "orders"), ("token", "")];
    scene.wait_data("db", &held).await?;
    scene.wait_synced("db").await?;
    let before = scene.api::<Secret>().get("db").await?.resource_version().context("no version")?;
    for empty in [json!({}), json!({"user": null, "token": null})] {
        world.bao.put(&key, &empty).await?;
        let said = scene.wait_policy("db", "Fresh=False/EmptyAnswer").await?;
        ensure!(said.contains(&key), "{said}");
        scene.wait_policy("db", "Ready=True/ServingLastKnown").await?;
        world.bao.put(&key, &json!({"user": "orders", "token": null})).await?;
        scene.wait_synced("db").await?;
    }
    scene.wait_data("db", &held).await?;
    ensure!(scene.api::<Secret>().get("db").await?.resource_version() == Some(before), "it was written");
    Ok(())
}

pub async fn a_key_works_or_is_refused_with_its_right_spelling(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "spelt").await?;
    scene.parameter_store("ssm").await?;
    let _operator = scene.operator()?;
    let (key, cloud, parameter) = (scene.key("db"), scene.key("cloud"), format!("/{}", scene.key("parameter")));
    world.bao.put(&key, &json!({"password": "one"})).await?;
    world.moto.create(&cloud, "one").await?;
    let put = json!({"Name": parameter, "Value": "one", "Type": "SecureString"});
    world.moto.parameter_store("PutParameter", &put).await?;
    let vault = |key: String| ("password", "vault", json!({"key": key, "property": "password"}));
    let whole = |store: &'static str, key: String| ("password", store, json!({"key": key}));
    for (name, item) in [("slash", vault(format!("/{key}"))), ("cloud-slash", whole("aws", format!("/{cloud}")))] {
        scene.policy_of(name, parts(&[item])).await?;
        scene.wait_data(name, &[("password", "one")]).await?;
    }
    let right = format!("write {key:?}");
    for (name, item, right) in [
        ("api-path", vault(format!("secret/data/{key}")), right.clone()),
        ("mount", vault(format!("secret/{key}")), right.clone()),
        ("data", vault(format!("data/{key}")), right.clone()),
        ("folder", vault(format!("{key}/")), right.clone()),
        ("escaped", vault(key.replace('/', "%2F")), right),
        ("selector", whole("ssm", format!("{parameter}:1")), format!("key {parameter:?} and version \"1\"")),
        ("no-slash", whole("ssm", parameter[1..].to_owned()), format!("write {parameter:?}")),
        ("cloud-stage", whole("aws", format!("{cloud}:AWSCURRENT")), format!("write key {cloud:?}")),
    ] {
        scene.policy_of(name, parts(&[item])).await?;
        let said = scene.wait_policy(name, "Stalled=True/InvalidSpec").await?;
        ensure!(said.contains(&right), "{name}: {said}");
    }
    // With the right spelling it works at once; and a key that really has such a name is read.
    scene.policy_of("mount", parts(&[vault(key.clone())])).await?;
    scene.wait_data("mount", &[("password", "one")]).await?;
    let odd = format!("data/{}", scene.key("odd"));
    world.bao.put(&odd, &json!({"password": "odd"})).await?;
    scene.policy_of("odd", parts(&[vault(odd)])).await?;
    scene.wait_data("odd", &[("password", "odd")]).await
}

/// Metadata of a value is read by itself: it follows its own changes, and the value follows its own.
pub async fn metadata_of_a_key_follows_its_own_changes(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "metadata").await?;
    let _operator = scene.operator()?;
    let (key, cloud) = (scene.key("db"), scene.key("cloud"));
    let bao = &world.bao;
    let team = |team: &str| {
        let (path, body) = (format!("secret/metadata/{key}"), json!({"custom_metadata": {"team": team, "tier": "1"}}));
        async move { bao.request(Method::POST, &path, Some(&body)).await.map(drop) }
    };
    world.bao.put(&key, &json!({"password": "one"})).await?;
    team("shop").await?;
    world.moto.create(&cloud, "secret").await?;
    let tags = json!({"SecretId": cloud, "Tags": [{"Key": "team", "Value": "cloud"}]});
    world.moto.secrets_manager("TagResource", &tags).await?;
    let fetch = |key: &str| json!({"key": key, "property": "team", "metadataPolicy": "Fetch"});
    let items = [
        ("password", "vault", json!({"key": key, "property": "password"})),
        ("team", "vault", fetch(&key)),
        ("cloud", "aws", fetch(&cloud)),
    ];
    scene.policy_of("db", parts(&items)).await?;
    scene.wait_data("db", &[("password", "one"), ("team", "shop"), ("cloud", "cloud")]).await?;
    team("billing").await?;
    scene.wait_data("db", &[("password", "one"), ("team", "billing"), ("cloud", "cloud")]).await?;
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.wait_data("db", &[("password", "two"), ("team", "billing"), ("cloud", "cloud")]).await?;
    let extract = json!({"extract": {"key": key, "metadataPolicy": "Fetch"}});
    let remote = json!({"storeRef": {"name": "vault"}, "dataFrom": [extract]});
    scene.policy_of("all", json!({"source": {"remote": remote}})).await?;
    scene.wait_data("all", &[("team", "billing"), ("tier", "1")]).await
}
