//! `apps/v1` `Deployment`.

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};

use super::{Kind, Parts, Progress, Project, Scale, Waiting, Workload, assemble};
use crate::time;

impl Project for Deployment {
    fn project(&self) -> Workload {
        let assembled = assemble(Parts {
            kind: Kind::Deployment,
            metadata: &self.metadata,
            template: self.spec.as_ref().map(|spec| &spec.template),
            selector: self.spec.as_ref().map(|spec| &spec.selector),
            progress: progress(self),
        });
        let scale = Scale::of(self.spec.as_ref().and_then(|spec| spec.replicas).map(i64::from));
        Workload { unavailable: unavailable(self), scale, ..assembled }
    }
}

/// The reason of its condition `Progressing`, if it is about the current template: it stays `NewReplicaSetAvailable`
/// when pods of a complete rollout fail later
/// (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#deployment-status>).
fn progressing(deployment: &Deployment) -> Option<&str> {
    let status = deployment.status.as_ref()?;
    if status.observed_generation < deployment.metadata.generation {
        return None;
    }
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing")?;
    condition.reason.as_deref()
}

/// Since when its condition `Available` is false. It is about pods of every template.
fn unavailable(deployment: &Deployment) -> Option<DateTime<Utc>> {
    let conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let is_short = |at: &&DeploymentCondition| at.type_ == "Available" && at.status == "False";
    conditions.into_iter().find(is_short)?.last_transition_time.as_ref().map(time::chrono)
}

/// Complete in the sense of
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment>.
fn progress(deployment: &Deployment) -> Progress {
    let spec = deployment.spec.as_ref();
    if spec.and_then(|spec| spec.paused) == Some(true) {
        return Progress::Waiting(Waiting::Paused);
    }
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let (updated, all, available) = (
        status.updated_replicas.unwrap_or_default(),
        status.replicas.unwrap_or_default(),
        status.available_replicas.unwrap_or_default(),
    );
    if status.observed_generation.unwrap_or_default() < deployment.metadata.generation.unwrap_or_default() {
        return Progress::Underway("its controller has not seen the change yet".to_owned());
    }
    let short = if updated < wanted {
        format!("{updated} of {wanted} pods are new")
    } else if all > updated {
        format!("{} old pods still run", all - updated)
    } else if available < updated {
        format!("{available} of {updated} new pods are available")
    } else {
        return Progress::Complete;
    };
    match progressing(deployment) {
        Some("ProgressDeadlineExceeded") => Progress::Stuck(format!("ProgressDeadlineExceeded: {short}")),
        _ => Progress::Underway(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(generation: i64, seen: i64, counts: [i32; 3], paused: bool) -> Deployment {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "generation": generation},
            "spec": {"replicas": 2, "paused": paused, "selector": {}, "template": {}},
            "status": {"observedGeneration": seen, "updatedReplicas": counts[0], "replicas": counts[1],
                       "availableReplicas": counts[2]},
        }))
        .unwrap()
    }

    #[test]
    fn its_own_controller_says_when_it_is_stuck() {
        for (reason, seen, stuck) in [
            ("ReplicaSetUpdated", 2, false),
            ("ProgressDeadlineExceeded", 2, true),
            ("ProgressDeadlineExceeded", 1, false),
            ("NewReplicaSetAvailable", 2, false),
        ] {
            let mut case = deployment(2, seen, [2, 2, 1], false);
            let condition = serde_json::json!({"type": "Progressing", "status": "False", "reason": reason});
            let conditions = vec![serde_json::from_value(condition).unwrap()];
            case.status.as_mut().unwrap().conditions = Some(conditions);
            assert_eq!(matches!(case.project().progress, Progress::Stuck(_)), stuck, "{reason} {seen}");
        }
    }

    #[test]
    fn its_own_controller_says_since_when_pods_are_missing() {
        for (kind, status, since) in [
            ("Available", "False", time::parse("2027-01-15T08:00:00Z")),
            ("Available", "True", None),
            ("Progressing", "False", None),
        ] {
            let mut case = deployment(2, 2, [2, 2, 1], false);
            let condition =
                serde_json::json!({"type": kind, "status": status, "lastTransitionTime": "2027-01-15T08:00:00Z"});
            case.status.as_mut().unwrap().conditions = Some(vec![serde_json::from_value(condition).unwrap()]);
            assert_eq!(case.project().unavailable, since, "{kind}={status}");
        }
    }

    #[test]
    fn complete_means_all_new_and_none_old() {
        for (case, complete) in [
            (deployment(2, 2, [2, 2, 2], false), true),
            (deployment(2, 1, [2, 2, 2], false), false),
            (deployment(2, 2, [1, 2, 2], false), false),
            (deployment(2, 2, [2, 3, 3], false), false),
            (deployment(2, 2, [2, 2, 1], false), false),
            (deployment(2, 2, [2, 2, 2], true), false),
        ] {
            assert_eq!(case.project().progress == Progress::Complete, complete, "{case:?}");
        }
    }
}
