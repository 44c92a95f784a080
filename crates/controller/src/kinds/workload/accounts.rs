//! The list of Secrets that pods of a `ServiceAccount` may refer to: it follows the versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rekey_core::{
    policy::PolicySpec,
    rollout::{self, Before, Moves, TemplateChange, listing},
    workload::Workload,
};

use super::{Workloads, reference};
use crate::{
    cluster::{ObjectName, policy_name, workload_name},
    error::Error,
    memory::MARKS,
};

impl Workloads {
    /// Lets pods of the workload refer to what it is about to be moved to.
    pub(super) async fn admit(&self, workload: &Workload, change: &TemplateChange) -> Result<(), Error> {
        let account =
            self.cluster.workloads.get(&workload_name(&workload.account())).filter(|_| !change.moves.is_empty());
        match account {
            Some(account) => self.follow_list(&account).await.map(drop),
            None => Ok(()),
        }
    }

    /// Brings the list of an account to the versions that there are. Whether it was changed.
    pub(super) async fn follow_list(&self, account: &Workload) -> Result<bool, Error> {
        let namespace = account.id.namespace.as_str();
        let is_there = |name: &str| self.cluster.secrets.get(&ObjectName::new(namespace, name)).is_some();
        let Some(wanted) = listing(account, &self.current_of(account), is_there) else { return Ok(false) };
        // Who takes an entry off is counted as one who puts a reference back.
        let added: Moves = wanted.added.iter().map(|name| (name.clone(), name.clone())).collect();
        let change = TemplateChange { marker: None, moves: added };
        if !wanted.added.is_empty() && self.memory.workloads.marks(&account.uid, &change) >= MARKS {
            if self.memory.workloads.tell_reverted(&account.uid, &change) {
                self.write.event_about(&reference(account), &rollout::unlisted(&wanted.added)).await;
            }
            return Ok(false);
        }
        if let Some(change) = self.write.listing(account, &wanted).await? {
            self.notify.workload(&change);
        }
        if !wanted.added.is_empty() {
            self.memory.workloads.count_mark(&account.uid, &change, Before::default());
        }
        tracing::info!(account = %account.id, "the list of mountable Secrets follows the versions");
        Ok(true)
    }

    /// The current versions of the Secrets that an account lists.
    fn current_of(&self, account: &Workload) -> BTreeSet<String> {
        let of = |name: &str| self.cluster.policies_of(&account.id.namespace, name);
        let entries = account.mountable.iter().flatten();
        let policies: BTreeMap<String, Arc<PolicySpec>> =
            entries.flat_map(|at| of(&at.name)).filter_map(|(name, row)| Some((name, row.policy()?))).collect();
        let moving = policies.values().filter(|policy| policy.moves_references() && !policy.suspended);
        let current = moving.filter_map(|policy| {
            let published = self.cluster.published(&policy_name(policy), &policy.names)?;
            Some(policy.names.of_revision(&published.revision))
        });
        current.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::TimeDelta;
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::ServiceAccount};
    use rekey_api::SecretPolicy;
    use rekey_core::workload::Project;
    use serde_json::json;

    use super::*;
    use crate::{
        in_memory::{Ground, SHOP},
        queue::Reconcile as _,
    };

    const DEPLOYMENT: &str = "PATCH /apis/apps/v1/namespaces/shop/deployments/web";
    const ACCOUNT: &str = "PATCH /api/v1/namespaces/shop/serviceaccounts/strict";

    /// As the API server has it and the watch brings it.
    fn seen<K: Project + serde::de::DeserializeOwned>(
        ground: &Ground,
        path: &str,
        object: serde_json::Value,
    ) -> Workload {
        ground.server.put(path, object.clone());
        let row = serde_json::from_value::<K>(object).unwrap().project();
        ground.context.cluster.workloads.set(&workload_name(&row.id), row.clone());
        row
    }

    #[tokio::test(start_paused = true)]
    async fn no_workload_moves_before_its_pods_are_let_refer_to_the_version() {
        for account in [Some("strict"), None] {
            let ground = Ground::new();
            ground.values.put("k", r#"{"password": "first"}"#);
            let remote = json!({"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]});
            ground.apply::<SecretPolicy>(&json!({
                "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
                "metadata": {"name": "db", "namespace": SHOP, "uid": "u", "generation": 1, "resourceVersion": "1"},
                "spec": {"source": {"remote": remote}, "immutability": "Versioned", "versions": {"references": "Move"}},
            }));
            ground.context.policies().ensure(&ObjectName::new(SHOP, "db")).await.unwrap();
            ground.clock.pass(TimeDelta::seconds(30));
            tokio::time::advance(Duration::from_secs(30)).await;
            let metadata = json!({"name": "strict", "namespace": SHOP, "uid": "a", "resourceVersion": "1",
                                  "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}});
            let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "secrets": [{"name": "db"}]});
            seen::<ServiceAccount>(&ground, ACCOUNT.trim_start_matches("PATCH "), object);
            let container = json!({"name": "app", "envFrom": [{"secretRef": {"name": "db"}}]});
            let pod = json!({"containers": [container], "serviceAccountName": account});
            let object = json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": SHOP, "uid": "w", "generation": 1, "resourceVersion": "1"},
                "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {"spec": pod}},
                "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
            });
            let web = seen::<Deployment>(&ground, DEPLOYMENT.trim_start_matches("PATCH "), object);
            let (workloads, asked) = (ground.context.workloads(), |what: &str| ground.server.asked(what));
            ground.server.refuse(ACCOUNT, 500);
            let moved = workloads.ensure(&web.id).await;
            if account.is_some() {
                moved.unwrap_err();
                assert_eq!((asked(ACCOUNT), asked(DEPLOYMENT)), (1, 0));
                ground.server.allow();
                workloads.ensure(&web.id).await.unwrap();
                assert_eq!((asked(ACCOUNT), asked(DEPLOYMENT)), (2, 1));
            } else {
                moved.unwrap();
                assert_eq!((asked(ACCOUNT), asked(DEPLOYMENT)), (0, 1), "another account is no matter of its");
            }
        }
    }
}
