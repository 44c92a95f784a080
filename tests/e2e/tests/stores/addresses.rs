//! The rules about addresses as they are without `--allow-insecure-stores`, which every other test runs with.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{ByteString, api::discovery::v1::EndpointSlice};
use kube::{Api, api::DeleteParams};
use rekey_api::RemoteStore;
use rekey_e2e::{Scene, World, operator::Setting, wait::until, world::OPERATOR};
use serde_json::{Value, json};

const SECURE: Setting<'static> = Setting { variables: &[], insecure: false };

/// A store of Vault with the token of the scene.
pub fn vault(server: &str, certificate: Option<&str>) -> Result<Value> {
    let mut vault = json!({
        "server": server,
        "mount": "secret",
        "auth": {"token": {"secretRef": {"name": "vault-token", "key": "token"}}},
    });
    if let Some(certificate) = certificate {
        vault["caBundle"] = serde_json::to_value(ByteString(certificate.as_bytes().to_vec()))?;
    }
    Ok(json!({ "vault": vault }))
}

/// Waits until the status of a store says this.
pub async fn says(scene: &Scene, name: &str, text: &str) -> Result<()> {
    until(&format!("RemoteStore {name} says {text:?}"), || async {
        let conditions = scene.api::<RemoteStore>().get(name).await?.status.unwrap_or_default().conditions;
        let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
        Ok(ready.is_some_and(|ready| ready.status == "False" && ready.message.contains(text)).then_some(()))
    })
    .await
}

/// TLS with a bundle of certificates works where loopback is allowed; what is not allowed is refused and says why.
pub async fn without_insecure_stores_tls_works_and_addresses_are_refused(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "secure").await?;
    let audit = world.plane.audit()?;
    let mark = audit.mark().await?;
    let only = format!("--namespaces={}", scene.namespace);
    let arguments = [only.as_str(), "--leader-elect=false", "--allow-addresses=127.0.0.1/32"];
    let operator = world.operator_in(&SECURE, "secure", &arguments)?;

    let (secure, plain) = (world.bao.secure(), world.bao.address());
    scene.store("tls", "ReadOnly", vault(&secure.address, Some(&secure.certificate))?).await?;
    let key = scene.key("db");
    world.bao.put(&key, &json!({"password": "one"})).await?;
    scene.policy("db", "tls", &[("password", &key, "password")], json!({})).await?;
    scene.wait_data("db", &[("password", "one")]).await?;

    let port = secure.address.rsplit(':').next().context("a port")?;
    scene.store("untrusted", "ReadOnly", vault(&secure.address, None)?).await?;
    scene.store("plain", "ReadOnly", vault(plain, None)?).await?;
    scene.store("unlisted", "ReadOnly", vault(&format!("https://127.0.0.2:{port}"), None)?).await?;
    scene.store("spelt", "ReadOnly", vault(&format!("https://[::ffff:7f00:2]:{port}"), None)?).await?;
    scene.store("closed", "ReadOnly", vault("https://127.0.0.1:1", None)?).await?;
    scene.store("nameless", "ReadOnly", vault("https://a-name-that-is-not-there.invalid", None)?).await?;
    for (name, text) in [
        ("plain", "--allow-insecure-stores"),
        ("unlisted", "is the address 127.0.0.2: loopback"),
        ("spelt", "is the address ::ffff:127.0.0.2: loopback"),
        ("untrusted", " is not responding: check the address and the port"),
        ("closed", " is not responding: check the address and the port"),
        ("nameless", " is not responding: check the address and the port"),
    ] {
        says(&scene, name, text).await?;
    }
    // Waiting helps with none of the refused addresses, but with a server that is not responding.
    for (name, shown) in [
        ("plain", "Stalled=True/AddressNotAllowed"),
        ("unlisted", "Stalled=True/AddressNotAllowed"),
        ("spelt", "Stalled=True/AddressNotAllowed"),
        ("closed", "Reconciling=True/ProgressingWithRetry"),
    ] {
        scene.wait_store(name, shown).await?;
    }
    // The store stays open, and the log says at debug what the status does not.
    let log = operator.log()?;
    for failure in ["Tls", "Connect"] {
        ensure!(log.contains(&format!("failure={failure}")), "the log does not tell {failure}");
    }
    let asked = audit.asked_since(&mark, OPERATOR).await?;
    let ours = asked.iter().filter(|request| request.name.as_deref() != Some("rekey-leader"));
    let agents: Vec<&str> = ours.map(|request| request.agent.as_str()).collect();
    ensure!(!agents.is_empty() && agents.iter().all(|agent| named(agent)), "{agents:?}");
    Ok(())
}

/// `rekey/VERSION (COMMIT)`
pub fn named(agent: &str) -> bool {
    let parts = agent.strip_prefix("rekey/").and_then(|rest| rest.strip_suffix(')')?.split_once(" ("));
    parts.is_some_and(|(version, commit)| version.starts_with(char::is_numeric) && !commit.is_empty())
}

/// A store at the address of an API server is refused also when the API server has moved there since the operator
/// started.
pub async fn an_api_server_that_moves_is_no_store(world: Arc<World>) -> Result<()> {
    let scene = Scene::new(&world, "moved").await?;
    let only = format!("--namespaces={}", scene.namespace);
    let arguments = [only.as_str(), "--leader-elect=false", "--allow-addresses=127.0.0.1/32"];
    let _operator = world.operator_in(&SECURE, "moved", &arguments)?;
    scene.store("there", "ReadOnly", vault("https://198.51.100.7:6443", None)?).await?;
    scene.store("else", "ReadOnly", vault("https://198.51.100.8:6443", None)?).await?;
    for name in ["there", "else"] {
        says(&scene, name, "is not responding").await?;
    }
    // The API server of this world listens on loopback, and its own endpoints cannot be that: they are missing.
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["198.51.100.7"]}],
        "ports": [{"name": "https", "port": 6443}],
    });
    world.apply(slice).await?;
    says(&scene, "there", "is or resolves to a refused address").await?;
    scene.store("later", "ReadOnly", vault("https://198.51.100.7", None)?).await?;
    says(&scene, "later", "API server addresses are refused").await?;
    says(&scene, "else", "is not responding").await?;
    let slices: Api<EndpointSlice> = Api::namespaced(world.client.clone(), "default");
    slices.delete("kubernetes", &DeleteParams::default()).await?;
    says(&scene, "there", "is not responding").await
}
