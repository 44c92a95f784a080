//! Asks whether to use the cluster of the current kubeconfig. It makes nothing in it before its owner agrees.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result, bail, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use super::inventory::{self, Inventory};
use crate::demo::{
    output::{Output, put},
    settings::Settings,
    stage::NAMESPACE,
};

/// See the [module documentation](self).
pub struct Cluster {
    /// A client with the rights of the kubeconfig.
    pub client: Client,
    /// The context of the kubeconfig.
    pub context: String,
    /// The kubeconfig.
    pub kubeconfig: Kubeconfig,
    /// What there was before.
    pub before: Inventory,
}

impl Cluster {
    /// Looks at the cluster and asks; `None` when the answer is no.
    ///
    /// # Errors
    /// When the cluster cannot be reached, or Rekey is there already.
    pub async fn agreed(settings: &Settings, out: &Output) -> Result<Option<Self>> {
        let kubeconfig = Kubeconfig::read().context("read the kubeconfig (KUBECONFIG, else ~/.kube/config)")?;
        let context = kubeconfig.current_context.clone().context("the kubeconfig has no current context")?;
        let config = Config::from_custom_kubeconfig(kubeconfig.clone(), &KubeConfigOptions::default()).await?;
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config)?;
        let version = client.apiserver_version().await.with_context(|| format!("reach the cluster at {server}"))?;
        let before = inventory::take(&client).await?;
        let ours = inventory::ours()?;
        refuse(&before, &ours, &context)?;
        out.heading("Your cluster");
        out.say(&format!("The current context of your kubeconfig is {context}: {server} ({}).", version.git_version));
        announce(out, &ours, &settings.image);
        if !settings.yes && !yes(&context).await? {
            return Ok(None);
        }
        Ok(Some(Self { client, context, kubeconfig, before }))
    }
}

fn refuse(before: &Inventory, ours: &[Value], context: &str) -> Result<()> {
    let there: Vec<String> = ours.iter().map(inventory::called).filter(|name| before.contains(name)).collect();
    ensure!(
        there.is_empty(),
        "Rekey, or a part of it, is already in the cluster of context {context}, and the demo would remove it at its \
         end: {}. Nothing was changed.",
        there.join(", ")
    );
    Ok(())
}

fn announce(out: &Output, ours: &[Value], image: &str) {
    out.say("These will be made there, and removed again at the end:");
    let mut kinds: Vec<&str> = ours.iter().filter_map(|object| object["kind"].as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let names: Vec<&str> = ours
            .iter()
            .filter(|object| object["kind"] == kind)
            .filter_map(|it| it["metadata"]["name"].as_str())
            .collect();
        out.say(&format!("- {kind}: {}", names.join(", ")));
    }
    out.say(&format!(
        "In {NAMESPACE} one pod will run {image} (IMAGE=… names another). The operator, OpenBao and an AWS \
         emulator run as processes on this machine, reachable from this machine only."
    ));
}

async fn yes(context: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask in: run it in a terminal, or run `make demo CLUSTER=current YES=1`");
    }
    put("");
    put(&format!(
        "Rekey's CRDs, a namespace {NAMESPACE} and the above will be made in context {context} and removed again."
    ));
    put("Go on? [y/N]");
    // On a thread of its own, so that Ctrl-C is an answer, too.
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    })
    .await??;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
