//! Whether a rotation may start: all that would keep it from its end is asked before.

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt as _;
use rekey_api::{
    SecretPolicy,
    condition::{ConditionType, Reason},
    policy::ConsumerState,
};

use super::{PolicyView, Task, Wait};
use crate::{
    policy::{PolicySpec, Refresh, Remote, Source, is_stray},
    time,
};

impl PolicyView {
    /// Of a policy that does not exist, or cannot be read.
    #[must_use]
    pub fn missing() -> Self {
        Self { unable: Some(no_policy()), ..Self::default() }
    }

    /// What a policy's status says of its consumers.
    #[must_use]
    pub fn of(policy: &SecretPolicy) -> Self {
        let status = policy.status.clone().unwrap_or_default();
        let is_current = status.observed_generation == policy.metadata.generation;
        let consumers = status.consumers.iter().flat_map(|consumers| &consumers.items);
        // Strays are listed afresh before anything is retired; here they may have gone long ago.
        let behind = consumers
            .filter(|item| !is_stray(item))
            .filter(|item| !matches!(item.state, ConsumerState::Current | ConsumerState::Assumed))
            .map(|item| format!("{} {} ({:?})", item.kind, item.name, item.state))
            .collect();
        Self { behind: is_current.then_some(behind), ..Self::default() }
    }
}

/// Whether a policy shows that each of its consumers runs on what it publishes. Nobody lists the pods of another policy afresh, so
/// what is only assumed of one does not count.
#[must_use]
pub fn is_all_current(policy: &SecretPolicy) -> bool {
    let Some(status) = policy.status.as_ref() else { return false };
    let mut consumers = status.consumers.iter().flat_map(|consumers| &consumers.items);
    status.observed_generation == policy.metadata.generation
        && consumers.all(|item| item.state == ConsumerState::Current && !is_stray(item))
}

/// The policy does not exist, or cannot be read.
#[must_use]
pub fn no_policy() -> Wait {
    Wait::new(Reason::PolicyNotReady, "the SecretPolicy of spec.policyRef does not exist, or cannot be read")
}

/// A schedule that is applied together with its policy may be seen first.
const TOGETHER: TimeDelta = TimeDelta::seconds(5);

/// Whether it is too early to say that the policy of a schedule does not exist.
#[must_use]
pub fn is_new(task: &Task, now: DateTime<Utc>) -> bool {
    now < time::later(task.spec.created, TOGETHER)
}

/// Whether a policy could publish a new value now, by its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is Ready.
    Ready,
    /// It has never published: it may wait for the very value that this rotation makes.
    Unpublished(Wait),
    /// It is not Ready.
    NotReady(Wait),
}

/// Whether the policy could publish a new value now, by its status.
#[must_use]
pub fn readiness(policy: &SecretPolicy) -> Readiness {
    let wait =
        Wait::new(Reason::PolicyNotReady, format!("SecretPolicy {} is not Ready; see its status", policy.name_any()));
    let Some(status) = &policy.status else { return Readiness::NotReady(wait) };
    let is = |kind: ConditionType| status.conditions.iter().any(|at| at.type_ == kind.as_str() && at.status == "True");
    if status.observed_generation != policy.metadata.generation {
        Readiness::NotReady(wait)
    } else if is(ConditionType::Ready) {
        Readiness::Ready
    } else if status.revision.is_none() && !is(ConditionType::Stalled) {
        Readiness::Unpublished(wait)
    } else {
        Readiness::NotReady(wait)
    }
}

/// What in the policy's spec keeps it from publishing a new value. `None`: the spec is refused.
#[must_use]
pub fn refusal(task: &Task, policy: Option<&PolicySpec>) -> Option<Wait> {
    let Some(policy) = policy else {
        return Some(because(task, "is not valid; see its status"));
    };
    if policy.suspended {
        return Some(because(task, "is suspended; set its spec.suspend to false"));
    }
    if policy.rollback_to.is_some() {
        return Some(because(task, &format!("is held by the annotation {}; remove it", rekey_api::names::ROLLBACK_TO)));
    }
    lasting(task, policy)
}

/// What in the policy's spec keeps every rotation from publishing: it is so whether one is due or not.
#[must_use]
pub fn lasting(task: &Task, policy: &PolicySpec) -> Option<Wait> {
    if policy.locked {
        return Some(because(task, "is Locked: a new value could not be published"));
    }
    let Source::Remote(remote) = &policy.source else {
        return Some(because(task, &format!("does not read a store: its source is {}", policy.source.text())));
    };
    if remote.refresh == Refresh::Once {
        return Some(because(task, "is CreatedOnce: a new value would not be read"));
    }
    match remote.follows(&task.to.store, &task.to.key) {
        None => Some(because(task, &format!("does not read key {:?} of {}", task.to.key, task.to.store.name))),
        Some(false) => Some(because(task, &format!("pins a version of key {:?}", task.to.key))),
        Some(true) => halves(task, remote),
    }
}

/// A login is no use in halves: who has the new password needs the user that it is of.
fn halves(task: &Task, remote: &Remote) -> Option<Wait> {
    task.spec.rotator.database()?;
    let reads = |name: &&String| remote.reads_property(&task.to.store, &task.to.key, name);
    let missing = task.spec.rotator.properties().into_iter().find(|name| !reads(name))?;
    Some(because(
        task,
        &format!("does not read property {missing:?} of key {:?}, and user and password change together", task.to.key),
    ))
}

fn because(task: &Task, what: &str) -> Wait {
    Wait::new(Reason::PolicyNotReady, format!("SecretPolicy {} {what}", task.spec.policy))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::{
        super::{PolicySource, ScheduleSpec},
        *,
    };

    fn policy(spec: &Value, status: &Value) -> SecretPolicy {
        let mut source = json!({"remote": {"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]}});
        if let Some(remote) = spec.get("remote") {
            source["remote"] = remote.clone();
        }
        let mut object = json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "SecretPolicy",
            "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 2},
            "spec": {"source": source}, "status": status,
        });
        for (name, value) in spec.as_object().unwrap().iter().filter(|(name, _)| *name != "remote") {
            object["spec"][name] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn task() -> Task {
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"policyRef": {"name": "db"}, "writeTo": {"storeRef": {"name": "vault"}, "key": "k"},
                     "rotator": {"generate": {"fields": [{"property": "p", "password": {}}]}}},
        });
        let spec = ScheduleSpec::try_from(&serde_json::from_value(object).unwrap()).unwrap();
        Arc::new(spec).task(PolicySource::Missing).unwrap()
    }

    #[test]
    fn a_policy_that_could_not_publish_a_new_value_is_named_with_the_reason() {
        let remote = |key: &str, more: Value| {
            let mut item = json!({"secretKey": "p", "remoteRef": {"key": key}});
            item["remoteRef"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"remote": {"storeRef": {"name": "vault"}, "data": [item]}})
        };
        for (spec, wanted) in [
            (json!({}), None),
            (json!({"suspend": true}), Some("is suspended")),
            (json!({"immutability": "Locked"}), Some("is Locked")),
            (remote("other", json!({})), Some("does not read key \"k\" of vault")),
            (remote("k", json!({"version": "3"})), Some("pins a version of key \"k\"")),
            (json!({"target": {"type": "kubernetes.io/service-account-token"}}), Some("is not valid")),
        ] {
            let said = refusal(&task(), PolicySpec::try_from(&policy(&spec, &json!(null))).ok().as_ref())
                .map(|wait| wait.text);
            assert_eq!(said.is_some(), wanted.is_some(), "{said:?}");
            assert!(said.unwrap_or_default().contains(wanted.unwrap_or_default()), "{wanted:?}");
        }
        let mut held = policy(&json!({"versions": {"keep": 1}}), &json!(null));
        held.metadata.annotations = Some([(rekey_api::names::ROLLBACK_TO.to_owned(), "k4v9x2m7qz".to_owned())].into());
        let said = refusal(&task(), PolicySpec::try_from(&held).ok().as_ref()).map(|wait| wait.text);
        assert!(said.unwrap_or_default().contains("is held by the annotation rekey.dev/rollback-to"));
    }

    #[test]
    fn a_login_in_halves_is_refused() {
        let object = json!({
            "apiVersion": "rekey.dev/v1alpha1", "kind": "RotationSchedule", "metadata": {"name": "db", "namespace": "shop"},
            "spec": {"policyRef": {"name": "db"}, "writeTo": {"storeRef": {"name": "vault"}, "key": "k"},
                     "rotator": {"postgres": {"host": "db", "database": "d", "adminSecretRef": {"name": "a"},
                         "users": {"alternating": {"first": "a", "second": "b", "owner": "o"}}}}},
        });
        let spec = ScheduleSpec::try_from(&serde_json::from_value(object).unwrap()).unwrap();
        let task = Arc::new(spec).task(PolicySource::Missing).unwrap();
        let item = |property: &str| json!({"secretKey": property, "remoteRef": {"key": "k", "property": property}});
        let said = |remote: Value| {
            let policy = policy(&json!({"remote": remote}), &json!(null));
            refusal(&task, PolicySpec::try_from(&policy).ok().as_ref()).map(|wait| wait.text)
        };
        let of = |data: Vec<Value>| json!({"storeRef": {"name": "vault"}, "data": data});
        assert_eq!(said(of(vec![item("username"), item("password")])), None);
        let text = said(of(vec![item("password")])).unwrap();
        assert!(text.contains("does not read property \"username\""), "{text}");
        let whole = json!({"storeRef": {"name": "vault"}, "dataFrom": [{"extract": {"key": "k"}}]});
        assert_eq!(said(whole), None);
    }

    #[test]
    fn a_status_of_another_generation_says_nothing() {
        let ready = |status: &str| json!([{"type": "Ready", "status": status, "reason": "Synced", "message": "", "lastTransitionTime": "2026-11-21T02:00:00Z"}]);
        let stalled = json!([{"type": "Stalled", "status": "True", "reason": "InvalidSpec", "message": "", "lastTransitionTime": "2026-11-21T02:00:00Z"}]);
        let of = |status: Value| match readiness(&policy(&json!({}), &status)) {
            Readiness::Ready => "ready",
            Readiness::Unpublished(_) => "unpublished",
            Readiness::NotReady(_) => "not ready",
        };
        assert_eq!(of(json!({"observedGeneration": 2, "conditions": ready("True")})), "ready");
        assert_eq!(of(json!({"observedGeneration": 1, "conditions": ready("True")})), "not ready");
        assert_eq!(of(json!({"observedGeneration": 2, "conditions": ready("False")})), "unpublished");
        assert_eq!(of(json!({"observedGeneration": 2, "revision": "r", "conditions": ready("False")})), "not ready");
        assert_eq!(of(json!({"observedGeneration": 2, "conditions": stalled})), "not ready");
        assert_eq!(of(json!(null)), "not ready");
    }
}
