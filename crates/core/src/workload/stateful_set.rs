//! `apps/v1` `StatefulSet`.

use k8s_openapi::api::apps::v1::StatefulSet;

use super::{Kind, Parts, Progress, Project, Replaced, Scale, Waiting, Workload, assemble};

impl Project for StatefulSet {
    fn project(&self) -> Workload {
        let scale = Scale::of(self.spec.as_ref().and_then(|spec| spec.replicas).map(i64::from));
        let assembled = assemble(Parts {
            kind: Kind::StatefulSet,
            metadata: &self.metadata,
            template: self.spec.as_ref().map(|spec| &spec.template),
            selector: self.spec.as_ref().map(|spec| &spec.selector),
            progress: progress(self),
        });
        Workload { scale, ..assembled }
    }
}

fn progress(set: &StatefulSet) -> Progress {
    let spec = set.spec.as_ref();
    let strategy = spec.and_then(|spec| spec.update_strategy.as_ref());
    let status = set.status.clone().unwrap_or_default();
    let wanted = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let updated = status.updated_replicas.unwrap_or_default();
    let available = status.available_replicas.unwrap_or_default();
    if status.observed_generation.unwrap_or_default() < set.metadata.generation.unwrap_or_default() {
        return Progress::Underway("its controller has not seen the change yet".to_owned());
    }
    if updated < wanted && strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return Progress::Waiting(Waiting::ByHand(Replaced { new: updated, wanted }));
    }
    let partition =
        strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).filter(|partition| *partition > 0);
    if let (true, Some(partition)) = (updated < wanted, partition) {
        return Progress::Waiting(Waiting::Partition(partition, Replaced { new: updated, wanted }));
    }
    if updated < wanted {
        return Progress::Underway(format!("{updated} of {wanted} pods are new"));
    }
    if available < wanted {
        return Progress::Underway(format!("{available} of {wanted} pods are available"));
    }
    Progress::Complete
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(updated: i32, available: i32, strategy: &serde_json::Value) -> StatefulSet {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "db", "namespace": "shop", "generation": 3},
            "spec": {"replicas": 2, "selector": {}, "serviceName": "db", "template": {}, "updateStrategy": strategy},
            "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": updated, "availableReplicas": available},
        }))
        .unwrap()
    }

    #[test]
    fn waits_by_hand_are_told_from_progress() {
        let rolling = serde_json::json!({"type": "RollingUpdate"});
        let parted = serde_json::json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        let by_hand = serde_json::json!({"type": "OnDelete"});
        assert_eq!(set(2, 2, &rolling).project().progress, Progress::Complete);
        assert!(matches!(set(1, 2, &rolling).project().progress, Progress::Underway(_)));
        assert!(matches!(set(2, 1, &rolling).project().progress, Progress::Underway(_)));
        assert!(matches!(set(1, 2, &parted).project().progress, Progress::Waiting(_)));
        assert!(matches!(set(1, 2, &by_hand).project().progress, Progress::Waiting(_)));
    }
}
