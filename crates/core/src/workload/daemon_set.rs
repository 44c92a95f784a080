//! `apps/v1` `DaemonSet`.

use k8s_openapi::api::apps::v1::DaemonSet;

use super::{Kind, Parts, Progress, Project, Replaced, Scale, Waiting, Workload, assemble};

impl Project for DaemonSet {
    fn project(&self) -> Workload {
        let scale = Scale::of(self.status.as_ref().map(|status| status.desired_number_scheduled.into()));
        let assembled = assemble(Parts {
            kind: Kind::DaemonSet,
            metadata: &self.metadata,
            template: self.spec.as_ref().map(|spec| &spec.template),
            selector: self.spec.as_ref().map(|spec| &spec.selector),
            progress: progress(self),
        });
        Workload { scale, ..assembled }
    }
}

fn progress(set: &DaemonSet) -> Progress {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.type_.as_deref());
    let Some(status) = &set.status else {
        return Progress::Underway("its controller has not seen it yet".to_owned());
    };
    let wanted = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or_default();
    let available = status.number_available.unwrap_or_default();
    if status.observed_generation.unwrap_or_default() < set.metadata.generation.unwrap_or_default() {
        return Progress::Underway("its controller has not seen the change yet".to_owned());
    }
    if updated < wanted && strategy == Some("OnDelete") {
        return Progress::Waiting(Waiting::ByHand(Replaced { new: updated, wanted }));
    }
    if updated < wanted {
        return Progress::Underway(format!("{updated} of {wanted} pods are new"));
    }
    if available < wanted || status.number_unavailable.unwrap_or_default() > 0 {
        return Progress::Underway(format!("{available} of {wanted} pods are available"));
    }
    Progress::Complete
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_must_run_the_new_pod() {
        for (seen, updated, available, complete) in
            [(2, 3, 3, true), (1, 3, 3, false), (2, 2, 3, false), (2, 3, 2, false)]
        {
            let set: DaemonSet = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "agent", "namespace": "shop", "generation": 2},
                "spec": {"selector": {}, "template": {}},
                "status": {"observedGeneration": seen, "currentNumberScheduled": 3, "desiredNumberScheduled": 3,
                           "numberMisscheduled": 0, "numberReady": available, "updatedNumberScheduled": updated,
                           "numberAvailable": available},
            }))
            .unwrap();
            assert_eq!(set.project().progress == Progress::Complete, complete, "{seen} {updated} {available}");
        }
    }
}
