//! `apps/v1` `Deployment`.

use k8s_openapi::api::apps::v1::Deployment;

use super::{Kind, Parts, Progress, Project, Workload, assemble};

impl Project for Deployment {
    fn project(&self) -> Workload {
        assemble(Parts {
            kind: Kind::Deployment,
            metadata: &self.metadata,
            template: self.spec.as_ref().map(|spec| &spec.template),
            selector: self.spec.as_ref().map(|spec| &spec.selector),
            progress: progress(self),
        })
    }
}

/// Complete in the sense of
/// <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment>.
fn progress(deployment: &Deployment) -> Progress {
    let spec = deployment.spec.as_ref();
    if spec.and_then(|spec| spec.paused) == Some(true) {
        return Progress::Waiting("it is paused".to_owned());
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
    if updated < wanted {
        return Progress::Underway(format!("{updated} of {wanted} pods are new"));
    }
    if all > updated {
        return Progress::Underway(format!("{} old pods still run", all - updated));
    }
    if available < updated {
        return Progress::Underway(format!("{available} of {updated} new pods are available"));
    }
    Progress::Complete
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
