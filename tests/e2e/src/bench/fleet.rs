//! Many namespaces with a few policies and consumers each, opened one by one and all at once: what they cost at the start, and
//! while nothing happens.

use std::{fmt::Debug, time::Duration};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        batch::v1::CronJob,
        core::v1::{Secret, ServiceAccount},
        networking::v1::Ingress,
        rbac::v1::ClusterRoleBinding,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams},
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use rekey_api::{RemoteStore, SecretPolicy};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    bare::Bodies,
    crowd,
    ground::{Ground, Space},
    put,
    report::{Report, ratio},
    settings::Settings,
    traffic::{Traffic, seconds},
    usage,
};
use crate::{Operator, shipped};

/// In each namespace.
const POLICIES: usize = 5;
/// In each namespace; each refers to the Secret of a policy. They have no pods: those would be work of the control plane.
const DEPLOYMENTS: usize = 2;
/// A moment without requests: all work is done.
const REST: Duration = Duration::from_secs(3);

/// How namespaces are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By a `RoleBinding` in each.
    OneByOne,
    /// By one `ClusterRoleBinding`.
    AllAtOnce,
}

impl Way {
    fn scenario(self) -> &'static str {
        match self {
            Self::OneByOne => "one by one",
            Self::AllAtOnce => "all at once",
        }
    }
}

/// Measures both ways.
///
/// # Errors
/// When an object is refused, or the operator does not come to rest.
pub async fn measure(ground: &Ground, settings: &Settings, report: &mut Report, bodies: &Bodies) -> Result<()> {
    for way in [Way::OneByOne, Way::AllAtOnce] {
        let bare = bare(ground, settings, bodies, way).await?;
        let spaces = make(ground, settings, way).await?;
        bound(ground, way).await?;
        first(ground, settings, report, way, bare).await?;
        if way == Way::AllAtOnce {
            let bindings: Api<ClusterRoleBinding> = Api::all(ground.client.clone());
            bindings.delete("rekey-namespace", &DeleteParams::default()).await?;
        }
        clear(&spaces).await?;
    }
    Ok(())
}

/// The namespaces with everything in them. Nothing keeps them yet.
async fn make(ground: &Ground, settings: &Settings, way: Way) -> Result<Vec<Space>> {
    put(&format!("making {} namespaces, opened {}", settings.namespaces, way.scenario()));
    let interval = format!("{}s", settings.interval);
    crowd::each(settings.namespaces, |_| {
        let interval = &interval;
        async move {
            let space = match way {
                Way::OneByOne => ground.space("fleet").await?,
                Way::AllAtOnce => ground.closed("fleet").await?,
            };
            for number in 0..POLICIES {
                ground.put_one(&space, number, "one").await?;
            }
            space.policies(POLICIES, interval, |number| space.key(number)).await?;
            for number in 0..DEPLOYMENTS {
                space.apply(deployment(number)).await?;
            }
            Ok(space)
        }
    })
    .await
}

fn deployment(number: usize) -> serde_json::Value {
    let name = format!("p{number}");
    let labels = json!({"app": name});
    let password = json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": name, "key": "password"}}});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "registry.example.com/app", "env": [password]}]},
            },
        },
    })
}

async fn bound(ground: &Ground, way: Way) -> Result<()> {
    if way == Way::AllAtOnce {
        let mut binding = shipped::binding("", ("rekey-namespace", "rekey-namespace"));
        binding["kind"] = json!("ClusterRoleBinding");
        binding["metadata"] = json!({"name": "rekey-namespace"});
        ground.apply(binding).await?;
    }
    Ok(())
}

/// Removes what the operator would look at.
async fn clear(spaces: &[Space]) -> Result<()> {
    crowd::each(spaces.len(), |number| async move {
        let (all, any) = (DeleteParams::default(), ListParams::default());
        // Before the policies: otherwise Kubernetes would delete them one by one, for minutes.
        spaces[number].api::<Secret>().delete_collection(&all, &any).await?;
        spaces[number].api::<SecretPolicy>().delete_collection(&all, &any).await?;
        spaces[number].api::<RemoteStore>().delete_collection(&all, &any).await?;
        spaces[number].api::<Deployment>().delete_collection(&all, &any).await?;
        Ok(())
    })
    .await
    .map(drop)
}

/// The same lists, watches and writes by a bare client, in seconds. Its watches end when they have listed what there
/// is.
async fn bare(ground: &Ground, settings: &Settings, bodies: &Bodies, way: Way) -> Result<f64> {
    let spaces = make(ground, settings, way).await?;
    put("the same lists, watches and writes by a bare client");
    let began = Instant::now();
    match way {
        Way::OneByOne => {
            let spaces = &spaces;
            crowd::each(spaces.len(), |number| watches(ground, Some(&spaces[number].name))).await?;
        }
        Way::AllAtOnce => watches(ground, None).await?,
    }
    let watched = began.elapsed();
    crowd::each(spaces.len(), |number| bodies.store(ground, &spaces[number])).await?;
    for space in &spaces {
        bodies.sync(ground, space, POLICIES).await?;
    }
    let took = began.elapsed();
    put(&format!("    {:.2} s, of that {:.2} s for watches", took.as_secs_f64(), watched.as_secs_f64()));
    clear(&spaces).await?;
    Ok(took.as_secs_f64())
}

/// What the operator watches of a namespace, or of all.
async fn watches(ground: &Ground, namespace: Option<&str>) -> Result<()> {
    watch::<PartialObjectMeta<Secret>>(ground, namespace).await?;
    watch::<Deployment>(ground, namespace).await?;
    watch::<StatefulSet>(ground, namespace).await?;
    watch::<DaemonSet>(ground, namespace).await?;
    watch::<CronJob>(ground, namespace).await?;
    watch::<Ingress>(ground, namespace).await?;
    watch::<ServiceAccount>(ground, namespace).await
}

async fn watch<K>(ground: &Ground, namespace: Option<&str>) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let client = ground.bare.clone();
    let api: Api<K> = namespace.map_or_else(|| Api::all(client.clone()), |of| Api::namespaced(client.clone(), of));
    let mut events = watcher(api, watcher::Config::default().streaming_lists()).boxed();
    while !matches!(events.next().await.context("a watch does not end")??, Event::InitDone) {}
    Ok(())
}

/// The first sync of all, and a while in which nothing is new.
async fn first(ground: &Ground, settings: &Settings, report: &mut Report, way: Way, bare: f64) -> Result<()> {
    let (name, count) = (way.scenario(), settings.namespaces * POLICIES);
    put(&format!("first sync of {count} policies in {} namespaces, opened {name}", settings.namespaces));
    let mut traffic = Traffic::from_now(ground).await?;
    let began = Timestamp::now();
    let mut operator = ground.operator(&name.replace(' ', "-"), &[])?;
    let wanted = [("patch", "secrets", count), ("patch", "secretpolicies/status", count), ("create", "events", count)];
    traffic.until(&mut operator, &wanted).await?;
    let took = seconds(began, traffic.last_write().context("nothing was written")?);
    traffic.until_rest(&mut operator, REST).await?;
    report.requests(name, &traffic.counts(), settings.namespaces);
    report.tell(name, "time from the start of the process", "s", took);
    report.tell(name, "the same lists, watches and writes by a bare client", "s", bare);
    report.row(name, "time against the bare client", "times", 1.3, took / bare);
    report.tell(name, "CPU of the operator", "s", usage::cpu(operator.id())?);
    weight(ground, report, name, &operator, "after the first sync")?;

    put(&format!("{} s in which nothing is new", settings.interval));
    let mut traffic = Traffic::from_now(ground).await?;
    let cpu = usage::cpu(operator.id())?;
    sleep(Duration::from_secs(settings.interval)).await;
    operator.alive()?;
    let used = usage::cpu(operator.id())? - cpu;
    traffic.read()?;
    let counts = traffic.counts();
    report.requests(if way == Way::OneByOne { "one by one, idle" } else { "all at once, idle" }, &counts, 1);
    let other = ratio(counts.besides_watches(), 1);
    report.row(name, "idle: API requests in all (without watches that are renewed)", "", 0.0, other);
    report.tell(name, "idle: CPU of the operator", "s", used);
    weight(ground, report, name, &operator, "after an idle round")?;
    operator.stop()
}

fn weight(ground: &Ground, report: &mut Report, name: &'static str, operator: &Operator, when: &str) -> Result<()> {
    let connections = usage::connections(operator.id(), ground.plane.url())?;
    report.row(name, format!("connections to the API server, {when}"), "", 30.0, ratio(connections, 1));
    report.row(name, format!("resident memory, {when}"), "MiB", 60.0, usage::memory(operator.id())?.now);
    Ok(())
}
