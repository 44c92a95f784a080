//! The operator does everything that it can do, as the shipped roles let it. The audit log names the role that has
//! allowed each request; a right that no request needed is too much.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use regex::Regex;
use rekey_api::{RotationSchedule, SecretPolicy, names};
use rekey_e2e::{
    Scene, World, foreign, shipped,
    wait::{until, until_equal},
    workloads::{Form, workload},
    world::OPERATOR,
};
use rekey_testkit::plane::{Asked, Audit, Mark};
use serde_json::{Value, json};

const SYSTEM: &str = "rekey-system";
/// Roles that the operator does not have.
const OF_PEOPLE: [&str; 3] = ["rekey-view", "rekey-edit", "rekey-approve"];
/// Roles for parts that are not built yet. No binding refers to them, so a request that needs one of their rights is a
/// 403 here.
const NOT_BUILT: [&str; 1] = ["rekey-namespace-jobs"];

/// A verb on a resource that a role grants, as a line to compare and to print.
fn line(role: &str, verb: &str, group: &str, resource: &str, name: Option<&str>) -> String {
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{role}: {verb} {group}/{resource}{name}")
}

/// What the shipped roles grant, one line for each verb, resource and name.
fn granted() -> Result<BTreeSet<String>> {
    let mut roles = shipped::objects()?;
    for file in ["open-namespace.yaml", "cluster-store-credentials.yaml"] {
        roles.extend(shipped::documents(&shipped::file(file)?)?);
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut lines = BTreeSet::new();
    let is_ours = |role: &Value| !OF_PEOPLE.iter().chain(&NOT_BUILT).any(|name| role["metadata"]["name"] == *name);
    let is_role = |object: &&Value| object["kind"] == "ClusterRole" || object["kind"] == "Role";
    for role in roles.iter().filter(is_role).filter(|role| is_ours(role)) {
        let title = format!("{} {}", role["kind"].as_str().context("kind")?, role["metadata"]["name"]);
        for rule in role["rules"].as_array().context("a role without rules")? {
            let (groups, resources, verbs) = (&rule["apiGroups"], &rule["resources"], &rule["verbs"]);
            let names = texts(&rule["resourceNames"]);
            let names =
                if names.is_empty() { vec![None] } else { names.iter().map(|name| Some(name.as_str())).collect() };
            for (group, resource) in
                texts(groups).iter().flat_map(|group| texts(resources).into_iter().map(move |of| (group.clone(), of)))
            {
                for verb in texts(verbs) {
                    lines.extend(names.iter().map(|name| line(&title, &verb, &group, &resource, *name)));
                }
            }
        }
    }
    Ok(lines)
}

/// The line of the right that has allowed a request; `None` when everybody has it.
fn used(asked: &Asked, granted: &BTreeSet<String>) -> Result<Option<String>> {
    let pattern = Regex::new(r#"^RBAC: allowed by \S+ "[^"]+" of (ClusterRole|Role) ("[^"]+") to "#)?;
    let found = pattern.captures(&asked.reason).with_context(|| format!("allowed by no role: {asked:?}"))?;
    let role = format!("{} {}", &found[1], &found[2]);
    if role.starts_with("ClusterRole \"system:") {
        return Ok(None);
    }
    let named = line(&role, &asked.verb, &asked.group, &asked.subject, asked.name.as_deref());
    let any = line(&role, &asked.verb, &asked.group, &asked.subject, None);
    Ok(Some(if granted.contains(&named) { named } else { any }))
}

/// The refused requests, and the unused rights.
async fn differences(audit: &Audit, mark: &Mark) -> Result<(Vec<String>, BTreeSet<String>)> {
    let mut unused = granted()?;
    let all = unused.clone();
    let mut refused = Vec::new();
    for asked in audit.asked_since(mark, OPERATOR).await? {
        if asked.status == 403 {
            refused.push(format!("{} {} {:?}: {}", asked.verb, asked.subject, asked.name, asked.reason));
        } else if let Some(line) = used(&asked, &all)? {
            ensure!(all.contains(&line), "granted by none of the shipped roles: {line}");
            unused.remove(&line);
            // Lists are for an API server that cannot stream lists, which this one can.
            unused.remove(&line.replace(": watch ", ": list "));
        }
    }
    Ok((refused, unused))
}

/// A namespace that is opened as the shipped file says, with a cluster store that a grant opens by its label.
async fn opened(world: &Arc<World>) -> Result<Scene> {
    let scene = Scene::closed(world, "rights").await?;
    let text = shipped::file("open-namespace.yaml")?;
    world.apply_all(&text.replace("namespace: shop", &format!("namespace: {}", scene.namespace))).await?;
    world.apply_all(&shipped::file("cluster-store-credentials.yaml")?).await?;
    let label = Patch::Merge(json!({"metadata": {"labels": {"team": "orders"}}}));
    Api::<Namespace>::all(world.client.clone()).patch(&scene.namespace, &PatchParams::default(), &label).await?;
    scene.vault_store("ReadWrite").await?;
    let token = json!({"token": world.bao.token()});
    let at = |name: &str| json!({"name": name, "namespace": SYSTEM});
    for object in [
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": at("vault-token"), "stringData": token}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": at("vault-ca"), "data": {"ca.crt": world.plane.ca_pem()}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": at("vault-reader")}),
    ] {
        world.apply(object).await?;
    }
    scene.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop-reader"}})).await?;
    stores(&scene).await?;
    Ok(scene)
}

/// Stores of each way to log in that needs a right. `OpenBao` does not know the accounts: the operator gets their
/// tokens, and `OpenBao` refuses them.
async fn stores(scene: &Scene) -> Result<()> {
    let vault = |auth: Value| json!({"server": scene.world.bao.address(), "mount": "secret", "auth": auth});
    let account = |name: &str| {
        vault(json!({"kubernetes": {"role": "r", "serviceAccountRef": {"name": name, "audiences": ["vault"]}}}))
    };
    scene.store("account", "ReadOnly", json!({"vault": account("shop-reader")})).await?;
    let mut shared = vault(json!({"token": {"secretRef": {"name": "vault-token", "key": "token"}}}));
    shared["caBundleRef"] = json!({"kind": "ConfigMap", "name": "vault-ca", "key": "ca.crt"});
    let grant = json!({
        "namespaces": {"selector": {"matchLabels": {"team": "orders"}}}, "keys": ["*"], "operations": ["Read"],
    });
    for (name, provider) in [("shared", shared), ("shared-account", account("vault-reader"))] {
        let spec = json!({"provider": {"vault": provider}, "grants": [grant]});
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "ClusterRemoteStore", "metadata": {"name": name}, "spec": spec,
        });
        scene.world.apply(object).await?;
    }
    Ok(())
}

async fn policy(scene: &Scene, name: &str, spec: Value) -> Result<()> {
    let metadata = json!({"name": name});
    let object = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy", "metadata": metadata, "spec": spec,
    });
    scene.apply(object).await
}

/// Policies of each source, and each fate of their Secrets.
async fn policies(scene: &Scene) -> Result<()> {
    for key in ["db", "argo", "goes"] {
        scene.world.bao.put(&scene.key(key), &json!({"password": "one"})).await?;
    }
    let items = |key: &str| vec![("password", scene.key(key), "password")];
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"conf": "p={{ .password }}"}});
    scene.apply(config).await?;
    let from = json!([{"configMapRef": {"name": "app", "key": "conf"}, "as": "conf"}]);
    for (name, key, store, more) in [
        ("db", "db", "vault", json!({"rollout": {"concurrency": 3}})),
        ("argo", "argo", "vault", json!({})),
        ("goes", "goes", "vault", json!({"source": {"remote": {"onMissing": "Delete"}}})),
        ("templated", "db", "vault", json!({"target": {"template": {"from": from}}})),
        ("shared", "db", "shared", json!({"source": {"remote": {"storeRef": {"kind": "ClusterRemoteStore"}}}})),
        // The rotation makes an earlier version of it that is not kept.
        (
            "versions",
            "db",
            "vault",
            json!({
            "immutability": "Versioned", "versions": {"references": "Publish", "keep": 0}}),
        ),
    ] {
        let owned = items(key);
        let borrowed: Vec<_> = owned.iter().map(|(key, remote, property)| (*key, remote.as_str(), *property)).collect();
        scene.policy(name, store, &borrowed, more).await?;
    }
    scene.secret("web-tls", &[("tls.crt", "one")]).await?;
    policy(scene, "governed", json!({"source": {"existing": {}}, "target": {"name": "web-tls"}})).await?;
    scene.secret("theirs", &[("theirs", "one")]).await?;
    scene.annotate::<Secret>("theirs", names::ADOPT_BY, "merged").await?;
    let fields = json!({"generated": {"fields": [{"key": "token", "password": {}}]}});
    policy(scene, "merged", json!({"source": fields, "target": {"name": "theirs", "ownership": "Merge"}})).await?;
    for name in ["db", "argo", "goes", "templated", "shared", "versions", "governed", "merged"] {
        scene.wait_synced(name).await?;
    }
    scene.world.bao.delete(&scene.key("goes")).await?;
    until_equal("the Secret of a value that is gone", None, || scene.data("goes")).await
}

/// A rotation that restarts one consumer of each kind that Kubernetes has.
async fn rotation(scene: &Scene) -> Result<()> {
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let name = kind.to_lowercase();
        scene.world.apply(workload(kind, &scene.namespace, &name, "db", Form::Env)).await?;
    }
    for name in ["deployment", "statefulset", "daemonset"] {
        scene.wait_pod(name).await?;
    }
    let fields = json!([{"property": "password", "password": {"length": 32}}]);
    let object = json!({
        "apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "db"},
        "spec": {
            "policyRef": {"name": "db"},
            "writeTo": {"storeRef": {"name": "vault"}, "key": scene.key("db")},
            "rotator": {"generate": {"fields": fields}},
        },
    });
    scene.apply(object).await?;
    scene.wait_seen("db").await?;
    scene.annotate::<RotationSchedule>("db", names::ROTATE_REQUESTED, "one").await?;
    until("the rotation has ended", || async {
        let status = scene.schedule("db").await?.status.unwrap_or_default();
        Ok((!status.history.is_empty()).then_some(()))
    })
    .await
}

/// A Rollout, and this test in the place of its controller until the marker is there.
async fn argo(scene: &Scene) -> Result<()> {
    let mut manifest = workload("Deployment", &scene.namespace, "rollout", "argo", Form::Env);
    manifest["apiVersion"] = json!("argoproj.io/v1alpha1");
    manifest["kind"] = json!("Rollout");
    let mut template = manifest["spec"]["template"].clone();
    scene.apply(manifest).await?;
    let hash = json!({"rollouts-pod-template-hash": "1", "app": "rollout"});
    template["metadata"]["labels"] = hash.clone();
    let spec = json!({"replicas": 1, "selector": {"matchLabels": hash}, "template": template});
    let metadata = json!({"name": "rollout-1"});
    scene.apply(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata, "spec": spec})).await?;
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"), "rollouts");
    let api: Api<DynamicObject> = Api::namespaced_with(scene.world.client.clone(), &scene.namespace, &resource);
    let status = json!({"status": {"observedGeneration": "1", "phase": "Healthy"}});
    api.patch_status("rollout", &PatchParams::default(), &Patch::Merge(&status)).await?;
    scene.wait_pod("rollout").await?;
    scene.world.bao.put(&scene.key("argo"), &json!({"password": "two"})).await?;
    scene.sync("argo").await?;
    until("the marker is written", || async {
        Ok((api.get("rollout").await?.metadata.generation > Some(1)).then_some(()))
    })
    .await
}

/// References that move, of each kind that has nothing to roll.
async fn moved(scene: &Scene) -> Result<()> {
    let object = |version: &str, kind: &str, fields: &Value| {
        let mut object = fields.clone();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({"name": "moved"});
        scene.apply(object)
    };
    let template = workload("Deployment", &scene.namespace, "job", "moved", Form::Env);
    let mut template = template["spec"]["template"].clone();
    template["spec"]["restartPolicy"] = json!("Never");
    let job = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}});
    object("batch/v1", "CronJob", &json!({"spec": job})).await?;
    object("v1", "ServiceAccount", &json!({"imagePullSecrets": [{"name": "moved"}]})).await?;
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = json!({"defaultBackend": backend, "tls": [{"hosts": ["a.example"], "secretName": "moved"}]});
    object("networking.k8s.io/v1", "Ingress", &json!({"spec": ingress})).await?;
    let listener = json!({"name": "a", "tls": {"certificateRefs": [{"name": "moved"}]}});
    object("gateway.networking.k8s.io/v1", "Gateway", &json!({"spec": {"listeners": [listener]}})).await?;
    let key = scene.key("db");
    let spec = json!({"immutability": "Versioned", "versions": {"references": "Move"}});
    scene.policy("moved", "vault", &[("password", key.as_str(), "password")], spec).await?;
    until("all references have moved", || async {
        let status = scene.api::<SecretPolicy>().get("moved").await?.status.unwrap_or_default();
        Ok(status.consumers.filter(|consumers| consumers.summary == "4/4"))
    })
    .await
    .map(drop)
}

pub async fn every_right_is_used_and_every_request_is_granted(world: Arc<World>) -> Result<()> {
    let probe = world.plane.namespace("probe").await?;
    for (kind, api_version, name) in [
        (foreign::rollouts(), "argoproj.io/v1alpha1", "Rollout"),
        (foreign::gateways(), "gateway.networking.k8s.io/v1", "Gateway"),
    ] {
        let metadata = json!({"name": "probe", "namespace": probe});
        let first = json!({"apiVersion": api_version, "kind": name, "metadata": metadata, "spec": {}});
        world.serve(kind, first).await?;
    }
    let audit = world.plane.audit()?;
    let mark = audit.mark().await?;
    let scene = opened(&world).await?;
    let mut first = world.operator("rights-first", &[])?;
    policies(&scene).await?;
    rotation(&scene).await?;
    argo(&scene).await?;
    moved(&scene).await?;
    first.stop()?;
    let mut second = world.operator("rights-second", &[])?;
    scene.world.bao.put(&scene.key("argo"), &json!({"password": "three"})).await?;
    scene.sync("argo").await?;
    // A request or two may still be on the way.
    let none = (Vec::new(), BTreeSet::new());
    until_equal("(what was refused, what is granted and not needed)", none, || differences(&audit, &mark)).await?;
    second.stop()
}
