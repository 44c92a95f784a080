//! Whether the containers of a pod go on running.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as KubePod};

use super::statuses;
use crate::time;

/// Characters of a reason that Kubernetes gives.
const REASON: usize = 64;

/// Whether a pod runs, and since when nothing of it has started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Steady {
    /// All of its containers run, the youngest since this time. `trouble`: what happened to one of them before.
    Since {
        /// When the youngest of its containers started.
        at: DateTime<Utc>,
        /// How a container has ended before, if one has started again.
        trouble: Option<Box<str>>,
    },
    /// A container does not run, or is not ready to: why, as far as Kubernetes says.
    Not(Option<Box<str>>),
}

impl Steady {
    /// From the status of a pod.
    pub fn of(pod: &KubePod) -> Self {
        let troubles = || statuses(pod).filter(|at| at.restart_count > 0).find_map(ended);
        let Some(youngest) = youngest(pod) else {
            return Self::Not(statuses(pod).find_map(stuck).or_else(troubles).or_else(|| unscheduled(pod)));
        };
        Self::Since { at: youngest, trouble: troubles() }
    }
}

/// When the youngest of the containers started; `None`: one of them does not run.
fn youngest(pod: &KubePod) -> Option<DateTime<Utc>> {
    let wanted = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let main = pod.status.as_ref()?.container_statuses.as_deref().unwrap_or_default();
    if main.len() < wanted {
        return None;
    }
    let started = |at: &ContainerStatus| Some(time::chrono(at.state.as_ref()?.running.as_ref()?.started_at.as_ref()?));
    let mains: Option<Vec<DateTime<Utc>>> = main.iter().map(started).collect();
    let spec = pod.spec.as_ref();
    let is_sidecar = |name: &str| {
        let init = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
        init.filter(|at| at.restart_policy.as_deref() == Some("Always")).any(|at| at.name == name)
    };
    let init = pod.status.as_ref()?.init_container_statuses.iter().flatten();
    let sidecars: Option<Vec<DateTime<Utc>>> = init.filter(|at| is_sidecar(&at.name)).map(started).collect();
    mains?.into_iter().chain(sidecars?).max()
}

/// Why a container does not run: what it waits for, unless that is nothing unusual. One that ends again and again is
/// said to do so whether it runs at the moment, waits or has just ended, so that the text stays.
fn stuck(container: &ContainerStatus) -> Option<Box<str>> {
    let state = container.state.as_ref()?;
    if container.restart_count > 0 || state.terminated.as_ref().is_some_and(|ended| ended.exit_code != 0) {
        return ended(container);
    }
    let reason = state.waiting.as_ref()?.reason.as_deref()?;
    let is_usual = matches!(reason, "ContainerCreating" | "PodInitializing");
    (!is_usual).then(|| format!("container {}: {}", container.name, word(reason)).into())
}

/// How a container has ended last. The message is its own to write, so it is not shown.
fn ended(container: &ContainerStatus) -> Option<Box<str>> {
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = now.or(last)?;
    let how = match ended.reason.as_deref() {
        Some("OOMKilled") => "OOMKilled".to_owned(),
        Some(_) | None => format!("exit code {}", ended.exit_code),
    };
    Some(format!("container {} ends again and again ({how}): see kubectl logs --previous", container.name).into())
}

fn unscheduled(pod: &KubePod) -> Option<Box<str>> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut scheduled = conditions.filter(|at| at.type_ == "PodScheduled" && at.status == "False");
    let reason = scheduled.find_map(|at| at.reason.as_deref())?;
    Some(format!("no node takes its pod ({})", word(reason)).into())
}

/// A reason as Kubernetes writes it: one word.
fn word(reason: &str) -> String {
    reason.chars().filter(char::is_ascii_alphanumeric).take(REASON).collect()
}
