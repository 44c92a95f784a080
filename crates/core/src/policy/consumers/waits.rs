//! What the status says of a consumer that waits for a window, or for other rollouts.

use chrono::{DateTime, Utc};

use super::Consumer;
use crate::{
    rollout::{self, Closed, Input, Urgency, Wait, Way},
    time,
    workload::WorkloadId,
};

/// The window that it waits for: one of the policy's own, or of another one whose change it is restarted for as well.
pub fn closed(consumer: &Consumer, input: &Input, now: DateTime<Utc>) -> Option<Closed> {
    let others = match (&consumer.waits, input.urgency) {
        (Some(Wait::Window(closed)), Urgency::Usual) => Some(closed),
        (Some(Wait::Window(_)), Urgency::Leaked) | (Some(Wait::Budget(_)) | None, _) => None,
    };
    let is_anothers = |closed: &&Closed| closed.policy != input.published.policy && closed.until > now;
    rollout::closed([input].into_iter(), now).or_else(|| others.filter(is_anothers).cloned())
}

/// What is said of it.
pub fn awaits(id: &WorkloadId, input: &Input, closed: &Closed) -> String {
    let (policy, until) = (closed.policy.as_str(), time::text(closed.until));
    let whose = if policy == input.published.policy { String::new() } else { format!(" of SecretPolicy {policy}") };
    // New pods of one whose references move would still refer to the value before.
    let how = match &input.way {
        Way::Restart | Way::Named | Way::NamedBack => {
            format!("to restart it now: {}", id.kind.restart_command(&id.name, &id.namespace))
        }
        Way::Move(_) => format!("to move it now, open one: kubectl edit secretpolicy {policy} -n {}", id.namespace),
    };
    format!("waits for the next window of spec.rollout.windows{whose}, which opens at {until}; {how}")
}

/// What a consumer is said to wait for, while none of the policy's is on its way: otherwise each that begins would be news.
pub fn budget(consumer: &Consumer) -> Option<String> {
    match &consumer.waits {
        Some(Wait::Budget(budget)) => Some(budget.text(&consumer.workload.id.namespace)),
        Some(Wait::Window(_)) | None => None,
    }
}
