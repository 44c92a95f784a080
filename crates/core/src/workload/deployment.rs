//! `apps/v1` `Deployment`.

use k8s_openapi::api::apps::v1::Deployment;

use super::{Kind, Parts, Progress, Project, Waiting, Workload, assemble};

impl Project for Deployment {
    fn project(&self) -> Workload {
        assemble(Parts {
            kind: Kind::Deployment,
            metadata: &self.metadata,
            template: self.spec.as_ref().map(|spec| &spec.template),
            selector: self.spec.as_ref().map(|spec| &spec.selector),
            progress: progress(self),
            completed: progressing(self) == Some("NewReplicaSetAvailable"),
        })
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
    fn its_own_controller_says_when_it_is_stuck_or_was_complete_once() {
        for (reason, seen, stuck, completed) in [
            ("ReplicaSetUpdated", 2, false, false),
            ("ProgressDeadlineExceeded", 2, true, false),
            ("ProgressDeadlineExceeded", 1, false, false),
            ("NewReplicaSetAvailable", 2, false, true),
            ("NewReplicaSetAvailable", 1, false, false),
        ] {
            let mut case = deployment(2, seen, [2, 2, 1], false);
            let condition = serde_json::json!({"type": "Progressing", "status": "False", "reason": reason});
            let conditions = vec![serde_json::from_value(condition).unwrap()];
            case.status.as_mut().unwrap().conditions = Some(conditions);
            let found = case.project();
            assert_eq!(matches!(found.progress, Progress::Stuck(_)), stuck, "{reason} {seen}");
            assert_eq!(found.completed, completed, "{reason} {seen}");
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
