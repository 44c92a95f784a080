//! Secrets of several policies that changed together in one rollout of a workload.

use std::sync::Arc;

use rekey_api::policy::OnFailure;
use rekey_core::{policy::PolicySpec, rollout::Settled, workload::Workload};

use super::{Policies, observe::published};
use crate::cluster::{policy_name, versions_of};

/// Another policy whose value the workload was brought onto by a rollout that is not settled, and that would stay on it if
/// that fails. Asked only where the policy itself would go back.
pub fn held_by(ctx: &Policies, policy: &PolicySpec, workload: &Workload) -> Option<String> {
    if policy.rollout.on_failure == OnFailure::Hold {
        return None;
    }
    let rows = workload.uses.keys().flat_map(|secret| ctx.cluster.policies_of(&policy.namespace, secret));
    let others = rows
        .chain(ctx.cluster.policies_naming(&workload.id))
        .filter_map(|(_, row)| row.policy())
        .filter(|other| other.name != policy.name && !other.suspended);
    let mut staying = others.filter(|other| other.rollout.on_failure == OnFailure::Hold);
    staying.find(|other| is_open(ctx, other, workload)).map(|other| other.name.clone())
}

/// Whether the workload is on what the policy publishes, by our doing, and has not run steadily on it yet.
fn is_open(ctx: &Policies, policy: &Arc<PolicySpec>, workload: &Workload) -> bool {
    let Some(input) = published(&ctx.cluster, policy)
        .and_then(|published| policy.input(&published, workload, &versions_of(&ctx.cluster, policy)))
    else {
        return false;
    };
    let row = ctx.cluster.policies.get(&policy_name(policy));
    let status = row.as_ref().and_then(|row| row.readable()?.status.as_ref());
    let settled = ctx.memory.workloads.settled_on(workload, &input, status);
    input.edge().is_some() && input.is_brought(workload) && settled == Settled::NotYet
}
