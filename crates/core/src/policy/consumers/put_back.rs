//! Consumers whose references another tool puts back: they stay on the plain Secret.

use rekey_api::{
    SecretPolicyStatus,
    policy::{ConsumerReason, ConsumerState, ConsumerStatus},
};

use super::{super::PolicySpec, is_of};
use crate::{summary::listed, workload::Workload};

/// What the status says of such a workload, with the tools that write its template.
pub(super) fn text(workload: &Workload) -> String {
    let managers = match workload.managers.as_slice() {
        [] => String::new(),
        managers => format!(" ({})", listed(managers, ", ")),
    };
    format!(
        "another tool put its references to the Secret back twice{managers}, so it stays on the plain name, and Rekey restarts it when that has another value; make the \
         tool leave the names of the Secret alone, and then change the policy's spec, so that Rekey tries again"
    )
}

/// Whether the status says of this consumer that its references are put back.
#[must_use]
pub fn is_put_back(item: &ConsumerStatus) -> bool {
    item.state == ConsumerState::Held && item.reason == Some(ConsumerReason::MarkerReverted)
}

impl PolicySpec {
    /// Whether the status says of a workload that its references were put back, to the plain name that it still has. It is
    /// not tried again with each value and each start of the operator: two moves and two ways back are four rollouts.
    /// Another spec is.
    #[must_use]
    pub fn was_put_back(&self, status: &SecretPolicyStatus, workload: &Workload) -> bool {
        let id = &workload.id;
        let mut items = status.consumers.iter().flat_map(|consumers| &consumers.items);
        let is_as_it_was = self.is_seen_by(status) && workload.uses.contains_key(self.names.base());
        self.moves_references() && is_as_it_was && items.any(|item| is_of(item, id) && is_put_back(item))
    }

    /// Whether the status is about this spec.
    #[must_use]
    pub fn is_seen_by(&self, status: &SecretPolicyStatus) -> bool {
        status.observed_generation == Some(self.generation)
    }
}
