//! What goes wrong after a value was published: the status says so, and the last good Secret stays untouched.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::DeleteParams};
use rekey_api::{RemoteStore, SecretPolicy};
use rekey_e2e::{Scene, World, conditions, wait::stays};
use serde_json::{Value, json};

/// The version of a Secret: the same until the next write.
pub async fn version(scene: &Scene, secret: &str) -> Result<String> {
    scene.api::<Secret>().get(secret).await?.resource_version().context("no version")
}

/// Waits until the policy stalls so, and checks what it says.
pub async fn stalls(scene: &Scene, policy: &str, reason: &str, part: &str) -> Result<()> {
    let said = scene.wait_policy(policy, &format!("Stalled=True/{reason}")).await?;
    ensure!(said.contains(part), "{policy}: {said}");
    let found = scene.policy_conditions(policy).await?;
    ensure!(conditions::shown(&found).contains(&format!("Ready=False/{reason}")), "{policy}: {found:?}");
    ensure!(conditions::message(&found, "Ready") == said, "{policy}: {found:?}");
    Ok(())
}

/// An edit of a policy that cannot work: name, the new spec, the condition's reason, a part of the message.
type Edit = (&'static str, Value, &'static str, &'static str);

/// A spec whose source is the store `vault` and this.
fn from(more: &Value) -> Value {
    let mut remote = json!({"storeRef": {"name": "vault"}, "refreshInterval": "10s"});
    for (name, value) in more.as_object().into_iter().flatten() {
        remote[name] = value.clone();
    }
    json!({"source": {"remote": remote}})
}

/// Templates that cannot be rendered, or that render too much.
fn of_target(key: &str) -> Vec<Edit> {
    let templated = |text: &str| {
        let mut spec = from(&json!({"dataFrom": [{"extract": {"key": key}}]}));
        spec["target"] = json!({"template": {"data": {"url": text}}});
        spec
    };
    let large = |name: &str| json!({"secretKey": name, "remoteRef": {"key": format!("{key}-large")}});
    let twice = from(&json!({"data": [large("one"), large("two")]}));
    let fields = json!({"fields": [{"key": "password", "password": {}}]});
    let replace = json!({"template": {"mergePolicy": "Replace", "data": {"url": "{{ .password }}"}}});
    let bomb = "{{ range $i := 9000 }}{{ range $j := 9000 }}aaaaaaaaaaaaaaaaaaaa{{ end }}{{ end }}";
    let recursion = "{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}";
    vec![
        ("large", twice, "SecretTooLarge", "at most 1048576 (1 MiB)"),
        ("syntax", templated("{{ .username"), "TemplateError", "spec.target.template.data \"url\""),
        ("explodes", templated(bomb), "TemplateError", "spec.target.template.data \"url\""),
        ("recursion", templated(recursion), "TemplateError", "spec.target.template.data \"url\""),
        (
            "clock",
            templated("{{ now }}"),
            "TemplateError",
            "there is no function \"now\": it would give something else",
        ),
        (
            "generated",
            json!({"source": {"generated": fields}, "target": replace}),
            "InvalidSpec",
            "spec.target.template.mergePolicy: write Merge, or remove it; generated values are kept in the Secret only",
        ),
    ]
}

/// Expressions that do not parse, and names that cannot be keys.
fn of_source(key: &str) -> Vec<Edit> {
    let rewritten = |regexp: &str, replacement: &str| {
        let rewrite = json!([{"regexp": {"source": regexp, "target": replacement}}]);
        from(&json!({"dataFrom": [{"extract": {"key": key}, "rewrite": rewrite}]}))
    };
    let broken = json!({"secretKey": "value", "remoteRef": {"key": key, "jmesPath": "foo["}});
    vec![
        (
            "find",
            from(&json!({"dataFrom": [{"find": {"nameRegexp": "shop/("}}]})),
            "InvalidSpec",
            "spec.source.remote.dataFrom[0].find.nameRegexp: ",
        ),
        (
            "rewrite",
            rewritten("(", ""),
            "InvalidSpec",
            "spec.source.remote.dataFrom[0].rewrite[0].regexp.source: \"(\" is no regular expression",
        ),
        (
            "jmespath",
            from(&json!({"data": [broken]})),
            "InvalidSpec",
            "spec.source.remote.data[value].remoteRef.jmesPath: \"foo[\" is not a usable JMESPath expression",
        ),
        (
            "clash",
            rewritten("^.*$", "same"),
            "InvalidData",
            "\"password\" and \"username\" would both become the key \"same\"",
        ),
        ("slash", rewritten("^", "db/"), "InvalidData", "\"db/password\" cannot be a key of a Secret"),
    ]
}

pub async fn an_edit_that_cannot_work_keeps_the_last_good_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "edited").await?;
    let mut operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"username": "orders", "password": "one"})).await?;
    world.bao.put(&format!("{key}-large"), &json!({"blob": "x".repeat(600 * 1024)})).await?;
    let items = [("username", key.as_str(), "username"), ("password", key.as_str(), "password")];
    let table = [of_target(&key), of_source(&key)].concat();
    for (name, ..) in &table {
        scene.policy(name, "vault", &items, json!({})).await?;
    }
    let mut before = Vec::new();
    for (name, spec, ..) in &table {
        scene.wait_synced(name).await?;
        before.push(version(&scene, name).await?);
        scene.policy_of(name, spec.clone()).await?;
    }
    for ((name, _, reason, part), before) in table.iter().zip(&before) {
        stalls(&scene, name, reason, part).await?;
        ensure!(version(&scene, name).await? == *before, "{name}: the Secret was written");
    }
    // A fixed spec is followed, and nothing is left of the message.
    world.bao.put(&key, &json!({"username": "orders", "password": "two"})).await?;
    for (name, ..) in &table {
        scene.policy(name, "vault", &items, json!({})).await?;
        scene.wait_data(name, &[("username", "orders"), ("password", "two")]).await?;
        let shown = conditions::shown(&scene.wait_synced(name).await?.status.unwrap_or_default().conditions);
        ensure!(shown == ["Ready=True/Synced"], "{name}: {shown:?}");
    }
    operator.alive()
}

pub async fn a_search_that_finds_nothing_keeps_the_last_good_secret(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "found").await?;
    let _operator = scene.operator()?;
    let key = scene.key("apis/one");
    let find = json!({"find": {"path": scene.key("apis")}, "rewrite": [{"regexp": {"source": "^.*/", "target": ""}}]});
    let remote = json!({"storeRef": {"name": "vault"}, "refreshInterval": "10s", "dataFrom": [find]});
    scene.policy_of("apis", json!({"source": {"remote": remote}})).await?;
    let said = scene.wait_policy("apis", "Ready=False/KeyNotFound").await?;
    ensure!(said.contains("a search of spec.source.remote.dataFrom finds nothing in the store"), "{said}");
    ensure!(scene.data("apis").await?.is_none(), "a Secret was written");
    world.bao.put(&key, &json!({"token": "one"})).await?;
    scene.wait_synced("apis").await?;
    let before = version(&scene, "apis").await?;
    world.bao.request(http::Method::DELETE, &format!("secret/metadata/{key}"), None).await?;
    let said = scene.wait_policy("apis", "Fresh=False/KeyNotFound").await?;
    ensure!(said.contains("finds nothing in the store"), "{said}");
    scene.wait_policy("apis", "Ready=True/ServingLastKnown").await?;
    ensure!(version(&scene, "apis").await? == before, "the Secret was written");
    Ok(())
}

pub async fn a_store_that_is_not_there_keeps_the_last_good_secret(world: Arc<World>) -> Result<()> {
    let (scene, others) = (Scene::new(&world, "stores").await?, Scene::closed(&world, "others").await?);
    let provider = |scene: &Scene| {
        json!({"vault": {
            "server": scene.world.bao.address(), "mount": "secret", "kvVersion": "V2",
            "auth": {"token": {"secretRef": {"name": "vault-token", "key": "token"}}},
        }})
    };
    others.open().await?;
    others.secret("vault-token", &[("token", world.bao.token())]).await?;
    others.store("theirs", "ReadOnly", provider(&others)).await?;
    scene.store("own", "ReadOnly", provider(&scene)).await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    let items = [("password", key.as_str(), "password")];
    world.bao.put(&key, &json!({"password": "one"})).await?;
    for policy in ["moved", "lost"] {
        scene.policy(policy, "own", &items, json!({})).await?;
        scene.wait_synced(policy).await?;
    }
    let before = (version(&scene, "moved").await?, version(&scene, "lost").await?);
    // A store of another namespace does not count, for a new policy as for one that works.
    scene.policy("moved", "theirs", &items, json!({})).await?;
    scene.policy("new", "theirs", &items, json!({})).await?;
    let missing = "RemoteStore/theirs does not exist in this namespace; create it, or fix storeRef";
    let said = scene.wait_policy("new", "Ready=False/StoreNotFound").await?;
    ensure!(said.contains(missing), "{said}");
    ensure!(scene.data("new").await?.is_none(), "a Secret was written");
    let said = scene.wait_policy("moved", "Fresh=False/StoreNotFound").await?;
    ensure!(said.contains(missing), "{said}");
    scene.wait_policy("moved", "Ready=True/ServingLastKnown").await?;
    // A deleted store leaves what came from it.
    scene.api::<RemoteStore>().delete("own", &DeleteParams::default()).await?;
    let said = scene.wait_policy("lost", "Fresh=False/StoreNotFound").await?;
    ensure!(said.contains("RemoteStore/own does not exist in this namespace"), "{said}");
    scene.wait_policy("lost", "Ready=True/ServingLastKnown").await?;
    ensure!((version(&scene, "moved").await?, version(&scene, "lost").await?) == before, "a Secret was written");
    world.bao.put(&key, &json!({"password": "two"})).await?;
    scene.store("own", "ReadOnly", provider(&scene)).await?;
    scene.wait_data("lost", &[("password", "two")]).await?;
    scene.wait_synced("lost").await.map(drop)
}

pub async fn an_immutable_secret_of_somebody_else_is_left_alone(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "immutable").await?;
    let _operator = scene.operator()?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "immutable": true, "stringData": {"theirs": "untouched"},
        "metadata": {"name": "shared", "annotations": {rekey_api::names::ADOPT_BY: "db"}},
    });
    scene.apply(theirs).await?;
    let before = version(&scene, "shared").await?;
    let merge = json!({"target": {"name": "shared", "ownership": "Merge"}});
    scene.policy("db", "vault", &[("password", &key, "password")], merge).await?;
    stalls(&scene, "db", "LockedAndChanged", "Secret \"shared\" is immutable").await?;
    stays("the Secret of another owner", before, Duration::from_secs(2), || version(&scene, "shared")).await?;
    // Its maker deletes and creates it again, without the lock.
    scene.api::<Secret>().delete("shared", &DeleteParams::default()).await?;
    scene.wait_policy("db", "Ready=False/SecretNotFound").await?;
    scene.secret("shared", &[("theirs", "untouched")]).await?;
    scene.annotate::<Secret>("shared", rekey_api::names::ADOPT_BY, "db").await?;
    scene.wait_data("shared", &[("theirs", "untouched"), ("password", "one")]).await?;
    let status = scene.wait_synced("db").await?.status.unwrap_or_default();
    ensure!(scene.api::<SecretPolicy>().get("db").await?.status == Some(status), "it does not rest");
    Ok(())
}
