//! What a user can do with a demo that is left running, as commands to copy.

use std::process::{Command, Stdio};

use anyhow::Result;
use rekey_testkit::python;

use super::{
    output::Output,
    settings::Keep,
    stage::{Ground, NAMESPACE, Stage},
};

/// Says how to look around, and how to end it.
///
/// # Errors
/// When a program that it names does not exist.
pub fn tell(stage: &Stage, keep: &Keep, out: &Output) -> Result<()> {
    let place = if *keep == Keep::Foreground { " In another terminal:" } else { "" };
    out.heading(&format!("Everything is left running; {} so far.{place}", out.counted()));
    let tools = python::tools()?;
    match &stage.ground {
        Ground::Own(world) => out.block(&format!("export KUBECONFIG={}", world.plane.kubeconfig().display())),
        Ground::Current(current) => out.block(&format!("kubectl config use-context {}", current.cluster.context)),
    }
    if !runs("kubectl", &["version", "--client"]) {
        out.block(&format!("alias kubectl={}", tools.kubectl.display()));
    }
    out.block(&format!("kubectl get secretpolicies,rotationschedules,remotestores,pods -n {NAMESPACE}"));
    out.pause();
    out.say("Change the password in OpenBao; the Secret follows within 10 s, and the pod is restarted:");
    out.block(&format!("export BAO_ADDR={} BAO_TOKEN={}", stage.bao().address(), stage.token()?));
    if !runs("bao", &["version"]) {
        out.block(&format!("alias bao={}", tools.bao.display()));
    }
    out.block(&format!(
        "bao kv put secret/{NAMESPACE}/db username=orders password=changed
kubectl get secret db -n {NAMESPACE} -o jsonpath='{{.data.url}}' | base64 -d"
    ));
    out.pause();
    out.say("Rotate it once more, look again at the pods, and read what the operator says about it:");
    out.block(&format!(
        "kubectl annotate rotationschedule db -n {NAMESPACE} --overwrite rekey.dev/rotate-requested=again
kubectl describe rotationschedule db -n {NAMESPACE}"
    ));
    out.pause();
    out.say("Open a namespace of your own, and bring the same value into it: the operator serves all that are opened.");
    out.block(&format!(
        "kubectl create namespace mine
kubectl create rolebinding rekey -n mine --clusterrole=rekey-namespace \\
  --serviceaccount=rekey-system:rekey
kubectl get secret/bao-token remotestore/bao secretpolicy/db -n {NAMESPACE} -o yaml |
  sed -e '/resourceVersion:\\|uid:/d' -e 's/namespace: {NAMESPACE}/namespace: mine/' | kubectl create -f -
kubectl get secretpolicies,secrets -n mine"
    ));
    out.pause();
    match keep {
        Keep::Background(log) => {
            out.say("It runs in the background. This stops everything, removes it, and shows how that goes:");
            let id = std::process::id();
            out.block(&format!("kill {id} && tail -n 0 -f --pid={id} {}", log.display()));
        }
        Keep::Not | Keep::Foreground | Keep::InBackground => {
            out.say("It runs in the foreground here, until you press Ctrl-C: that stops everything and removes it.");
        }
    }
    Ok(())
}

/// Whether there is such a program.
fn runs(program: &str, arguments: &[&str]) -> bool {
    let quiet =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}
