//! Pods that no known workload has made, as the status shows them: those that may hold another value than the published
//! one. They come and go, so that those on the current value are not listed.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rekey_api::{
    SecretPolicyStatus, names,
    policy::{ConsumeForm, ConsumerState, ConsumerStatus},
};

use super::{super::versioned::behind, PolicySpec};
use crate::{
    published::Published,
    rollout::{self, Held, Outstanding, Stray, StrayId, Watched, are_current, count, held},
    workload::{Keys, Kind, Use},
};

/// What the pods of one owner hold.
#[derive(Default)]
struct Pods {
    held: Vec<Held>,
    how: BTreeSet<ConsumeForm>,
    /// One that may hold another value, the Secret, and the digest that would confirm that it does not.
    confirm: Option<(String, String, String)>,
    /// What to say of one that refers to another version.
    behind: Option<String>,
}

/// What a pod holds of one Secret of the policy; `None`: it does not matter, or nobody knows.
fn of(policy: &PolicySpec, stray: &Stray, (secret, how): (&str, &Use), published: &Published) -> Option<Held> {
    if how.needs_no_restart() {
        return None;
    }
    if policy.names.is_versioned() {
        let is_current = *secret == policy.names.of_revision(&published.revision);
        return Some(if is_current { Held::Current } else { Held::Other });
    }
    published.edge(&how.keys).map(|_| held(&stray.pod, secret, how, published))
}

/// What is said of a pod that refers to another version than the current one.
fn left(policy: &PolicySpec, other: &str, current: &str) -> String {
    if policy.moves_references() {
        return format!("refers to Secret {other}; Rekey moves no pod: end it, or make it anew with {current}");
    }
    behind(other, current)
}

/// The entries of the status.
pub fn items(policy: &PolicySpec, published: &Published, strays: &[Stray]) -> Vec<ConsumerStatus> {
    let mut by_owner: BTreeMap<&StrayId, Pods> = BTreeMap::new();
    let current = policy.names.of_revision(&published.revision);
    for stray in strays {
        for (secret, how) in policy.names.covered(&stray.uses) {
            if policy.names.is_versioned() {
                // Its name says what a pod holds, whenever that started.
                let pods = by_owner.entry(&stray.id).or_default();
                pods.held.push(if *secret == current { Held::Current } else { Held::Other });
                pods.how.extend(how.forms.iter().copied());
                if *secret != current && pods.behind.is_none() {
                    pods.behind = Some(format!("pod {} {}", stray.pod.name, left(policy, secret, &current)));
                }
                continue;
            }
            let Some(found) = of(policy, stray, (secret, how), published) else { continue };
            let pods = by_owner.entry(&stray.id).or_default();
            pods.held.push(found);
            pods.how.extend(how.forms.iter().copied());
            if found != Held::Current && pods.confirm.is_none() {
                pods.confirm = Some((stray.pod.name.clone(), secret.clone(), published.consumed(&how.keys)));
            }
        }
    }
    by_owner.into_iter().filter_map(|(id, pods)| item(policy, id, pods)).collect()
}

fn item(policy: &PolicySpec, id: &StrayId, pods: Pods) -> Option<ConsumerStatus> {
    let counts = count(pods.held.into_iter());
    let status = |message| ConsumerStatus {
        api_version: id.api_version.clone(),
        kind: id.kind.clone(),
        name: id.name.clone(),
        state: ConsumerState::Held,
        how: pods.how.iter().copied().collect(),
        pods: Some(counts),
        reason: None,
        message: Some(message),
    };
    if let Some(behind) = pods.behind {
        return Some(status(behind));
    }
    let (pod, secret, digest) = pods.confirm.filter(|_| !are_current(counts))?;
    let what = if counts.old > 0 { "holds another value than the published one" } else { "may hold another value" };
    let message = format!("pod {pod} {what}, and Rekey does not restart it; delete it, or wait for its end");
    let confirm = format!(
        ". If it has taken over the published value by itself, say so: kubectl annotate pod {pod} -n {} --overwrite \
         {}={secret}={digest}",
        policy.namespace,
        names::CONSUMED,
    );
    // A version holds one value for good.
    let message = if policy.names.is_versioned() { message } else { message + &confirm };
    Some(status(message))
}

/// Whether an entry of the status is of pods that no known workload has made.
#[must_use]
pub fn is_stray(item: &ConsumerStatus) -> bool {
    !Kind::ALL.iter().any(|kind| kind.as_str() == item.kind)
}

/// When to list the pods of the namespace next for the sake of a policy; `None`: when something changes. `looked`: when
/// they were last listed.
#[must_use]
pub fn next_look(
    status: &SecretPolicyStatus,
    published: &Published,
    looked: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let any = status.consumers.iter().flat_map(|consumers| &consumers.items).any(is_stray);
    let held = if any { Outstanding::Some } else { Outstanding::None };
    rollout::next_look(Watched { edge: published.edge(&Keys::All), looked, held }, now)
}
