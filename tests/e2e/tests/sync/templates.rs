//! Names that templates make, and templates that make keys, labels and annotations.

use std::sync::Arc;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use rekey_e2e::{Scene, World, conditions, wait::until};
use serde_json::{Value, json};

pub async fn templates_make_names_keys_labels_and_annotations(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "templates").await?;
    let _operator = scene.operator()?;
    put(&world, &scene, "orders").await?;
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"},
            "data": {"conf": "user={{ .db_user }}", "tags": "tier: gold\nowner: nobody\n"},
        }))
        .await?;
    scene.secret("logins", &[("login", "{{ .db_user }}:{{ .db_pass }}")]).await?;
    scene.policy_of("db", spec(&scene, "logins")).await?;
    let wanted = [("URL", "db://orders"), ("app.conf", "user=orders"), ("login", "orders:p@ss"), ("port", "0123")];
    scene.wait_data("db", &wanted).await?;
    scene.wait_synced("db").await?;
    ensure!(dress(&scene).await? == ["gold", "orders", "repository", "db of orders"], "{:?}", dress(&scene).await?);
    let before = scene.api::<Secret>().get("db").await?;
    scene.sync("db").await?;
    let after = scene.api::<Secret>().get("db").await?;
    ensure!(before.resource_version() == after.resource_version(), "nothing has changed, and the Secret was written");
    // A label that another tool has changed is repaired.
    scene.annotate::<Secret>("db", "example.com/about", "edited").await?;
    until("the annotation is repaired", || async { Ok((dress(&scene).await?[3] == "db of orders").then_some(())) })
        .await?;
    // Labels follow the value.
    put(&world, &scene, "billing").await?;
    until("the label follows", || async { Ok((dress(&scene).await?[1] == "billing").then_some(())) }).await?;
    // The message names what renders to no label, and does not quote the value.
    put(&world, &scene, "hunter 2").await?;
    let said = scene.wait_policy("db", "Ready=False/InvalidData").await?;
    ensure!(said.contains("\"owner\"") && !said.contains("hunter"), "{said}");
    Ok(())
}

/// A Secret that says who may use it is no template for others.
pub async fn a_template_in_a_secret_needs_its_consent(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "consent").await?;
    let _operator = scene.operator()?;
    put(&world, &scene, "orders").await?;
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"},
            "data": {"conf": "user={{ .db_user }}", "tags": "tier: gold\n"},
        }))
        .await?;
    scene.secret("logins", &[("login", "{{ .db_user }}")]).await?;
    scene.annotate::<Secret>("logins", "rekey.dev/usable-by", "RemoteStore/vault@bao:8200").await?;
    scene.policy_of("db", spec(&scene, "logins")).await?;
    until("the policy says what is missing", || async {
        let said = conditions::message(&scene.policy_conditions("db").await?, "Ready");
        Ok((said.contains("may be used by others only") && said.contains("SecretPolicy/db")).then_some(()))
    })
    .await?;
    ensure!(scene.data("db").await?.is_none(), "a Secret was written");
    scene.annotate::<Secret>("logins", "rekey.dev/usable-by", "SecretPolicy/db").await?;
    scene.ask_sync("db").await?;
    scene.wait_synced("db").await?;
    Ok(())
}

async fn put(world: &World, scene: &Scene, user: &str) -> Result<()> {
    let (a, b) = (json!({ "user": user }), json!({"pass": "p@ss"}));
    world.bao.put(&scene.key("db"), &json!({"a": a.to_string(), "b": b.to_string()})).await?;
    Ok(())
}

fn spec(scene: &Scene, secret: &str) -> Value {
    json!({
        "source": {"remote": {
            "storeRef": {"name": "vault"},
            "refreshInterval": "10s",
            "dataFrom": [{
                "extract": {"key": scene.key("db")},
                "rewrite": [{"merge": {}}, {"transform": {"template": "db_{{ .value }}"}}],
            }],
        }},
        "target": {"template": {
            "metadata": {
                "labels": {"owner": "{{ .db_user }}", "argocd.argoproj.io/secret-type": "repository"},
                "annotations": {"example.com/about": "db of {{ .db_user }}"},
            },
            "data": {"URL": "db://{{ .db_user }}"},
            "from": [
                {"configMapRef": {"name": "app", "key": "conf"}, "as": "app.conf"},
                {"secretRef": {"name": secret, "key": "login"}, "as": "login"},
                {"literal": "URL: other\nport: 0123\n", "yields": "KeysAndValues"},
                {"configMapRef": {"name": "app", "key": "tags"}, "yields": "KeysAndValues", "into": "Labels"},
            ],
        }},
    })
}

/// What the templates have made of labels and annotations.
async fn dress(scene: &Scene) -> Result<[String; 4]> {
    let secret = scene.api::<Secret>().get("db").await?;
    let label = |name: &str| secret.labels().get(name).cloned().unwrap_or_default();
    let about = secret.annotations().get("example.com/about").cloned().unwrap_or_default();
    Ok([label("tier"), label("owner"), label("argocd.argoproj.io/secret-type"), about])
}
