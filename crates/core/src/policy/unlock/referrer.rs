//! A pod that refers to a locked Secret, and whether its node may serve the old content because of it.

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use crate::{
    time,
    workload::{Reader, is_live, maker, readers, uses},
};

/// How far our clock and that of the API server may differ, and the second to which it cuts times.
const EDGE: TimeDelta = TimeDelta::seconds(2);

/// Characters of a maker in a text.
const NAME: usize = 80;

/// What has made a pod that stands in the way of a replacement: kind and name, or those of the pod itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer(pub String);

/// How far the replacement is.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The Secret is there: all that refers to it stands in the way.
    There,
    /// It is gone: only what may have read it does.
    Gone {
        /// A time at which it was known to be gone; `None`: it is not known when it went.
        since: Option<DateTime<Utc>>,
    },
}

impl Referrer {
    /// What a pod is to the Secret of this name; `None`: it does not stand in the way.
    #[must_use]
    pub fn of(pod: &Pod, secret: &str, stage: Stage) -> Option<Self> {
        let refers = pod.spec.as_ref().is_some_and(|spec| uses(spec).contains_key(secret));
        let stands = || match stage {
            Stage::There => true,
            Stage::Gone { since } => may_hold(pod, secret, since),
        };
        if !refers || !is_live(pod) || !stands() {
            return None;
        }
        let maker = match maker(pod) {
            Some((kind, name)) => format!("{kind} {name}"),
            None => format!("Pod {}", pod.name_any()),
        };
        Some(Self(maker.chars().take(NAME).collect()))
    }
}

/// Whether a pod may have what a Secret held that is gone. Not one that no node has taken up; not one whose kubelet says that
/// there is no such Secret, where nothing that reads it has started; and not one that was created after the Secret was gone
/// and has nothing yet. One that has started may have got the old content from its node, whenever it was created.
fn may_hold(pod: &Pod, secret: &str, gone: Option<DateTime<Utc>>) -> bool {
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty()) {
        return false;
    }
    let status = pod.status.as_ref();
    let main =
        || status.into_iter().flat_map(|at| at.container_statuses.iter().chain(&at.ephemeral_container_statuses));
    let init = || status.into_iter().flat_map(|at| &at.init_container_statuses).flatten();
    let all = || main().flatten().chain(init());
    if all().any(|container| is_missed(container, secret)) {
        let all_readers = readers(pod);
        let mut readers = all_readers.get(secret).into_iter().flat_map(|readers| &readers.all);
        return readers.any(|reader| match reader {
            Reader::Pod => init().any(has_started),
            Reader::Container(name) => all().any(|at| at.name == *name && has_started(at)),
        });
    }
    let conditions = status.into_iter().flat_map(|at| at.conditions.iter().flatten());
    // Volumes are mounted before that.
    let mut is_up = conditions.filter(|at| at.type_ == "PodReadyToStartContainers" && at.status == "True");
    if all().any(has_started) || is_up.next().is_some() {
        return true;
    }
    let created = pod.creation_timestamp().map(|created| time::chrono(&created));
    created.zip(gone).is_none_or(|(created, gone)| created < gone + EDGE)
}

fn has_started(container: &ContainerStatus) -> bool {
    let now = container.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
    let before = container.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    now || before || container.restart_count > 0
}

/// Whether kubelet says that it waits for the Secret.
fn is_missed(container: &ContainerStatus, secret: &str) -> bool {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let named = format!("{secret:?} not found");
    waiting.is_some_and(|waiting| {
        waiting.reason.as_deref() == Some("CreateContainerConfigError")
            && waiting.message.as_ref().is_some_and(|message| message.contains(&named))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn pod(spec: &Value, status: &Value, created: i64) -> Pod {
        let mut object = json!({
            "metadata": {"name": "p", "creationTimestamp": at(created)},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "db"}}]}]},
            "status": {"phase": "Pending"},
        });
        for (part, more) in [("spec", spec), ("status", status)] {
            for (name, value) in more.as_object().unwrap() {
                object[part][name] = value.clone();
            }
        }
        serde_json::from_value(object).unwrap()
    }

    fn container(name: &str, state: &Value) -> Value {
        json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
    }

    fn misses(secret: &str) -> Value {
        let message = format!("secret {secret:?} not found");
        json!({"waiting": {"reason": "CreateContainerConfigError", "message": message}})
    }

    #[test]
    fn a_pod_that_may_have_read_the_secret_counts_and_one_that_waits_for_it_does_not() {
        let running = || json!({"running": {"startedAt": at(5)}});
        let ended = || json!({"terminated": {"exitCode": 0}});
        let creating = || json!({"waiting": {"reason": "ContainerCreating"}});
        let up = json!([{"type": "PodReadyToStartContainers", "status": "True"}]);
        let statuses = |all: Value| json!({"containerStatuses": all});
        let two = json!({"containers": [
            {"name": "c", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]},
            {"name": "d", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]},
        ]});
        let none = json!({});
        for (what, spec, status, created, gone, counts) in [
            ("not on a node", json!({"nodeName": null}), none.clone(), 0, None, false),
            ("on a node", none.clone(), none.clone(), 0, None, true),
            ("on a node, from before", none.clone(), none.clone(), 0, Some(10), true),
            ("on a node, of that moment", none.clone(), none.clone(), 11, Some(10), true),
            ("on a node, from after", none.clone(), none.clone(), 12, Some(10), false),
            ("from after, volumes mounted", none.clone(), json!({"conditions": up}), 20, Some(10), true),
            ("from after, started", none.clone(), statuses(json!([container("c", &running())])), 20, Some(10), true),
            ("from after, ended", none.clone(), statuses(json!([container("c", &ended())])), 20, Some(10), true),
            ("from after, pulls", none.clone(), statuses(json!([container("c", &creating())])), 20, Some(10), false),
            ("waits for it", none.clone(), statuses(json!([container("c", &misses("db"))])), 0, None, false),
            ("waits for another", none.clone(), statuses(json!([container("c", &misses("db2"))])), 0, None, true),
            (
                "waits for it, after another container",
                none.clone(),
                json!({"containerStatuses": [container("c", &misses("db"))], "initContainerStatuses": [container("i", &ended())]}),
                0,
                None,
                false,
            ),
            (
                "waits for it with one container and holds it with another",
                two,
                statuses(json!([container("c", &misses("db")), container("d", &running())])),
                0,
                None,
                true,
            ),
        ] {
            let pod = pod(&spec, &status, created);
            let of = |stage| Referrer::of(&pod, "db", stage);
            let named = Some(Referrer("Pod p".to_owned()));
            assert_eq!(of(Stage::Gone { since: gone.map(at) }), named.clone().filter(|_| counts), "{what}");
            assert_eq!(of(Stage::There), named, "{what}");
        }
        assert_eq!(Referrer::of(&pod(&none, &none, 0), "other", Stage::There), None);
        assert_eq!(Referrer::of(&pod(&none, &json!({"phase": "Succeeded"}), 0), "db", Stage::There), None);
    }

    #[test]
    fn a_pod_is_called_after_what_has_made_it() {
        let called = |kind: &str, name: &str, labels: Value| {
            let mut pod = pod(&json!({}), &json!({}), 0);
            let owner = json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true}]);
            pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
            pod.metadata.labels = serde_json::from_value(labels).unwrap();
            Referrer::of(&pod, "db", Stage::There).unwrap().0
        };
        let none = json!({});
        assert_eq!(called("StatefulSet", "store", none.clone()), "StatefulSet store");
        assert_eq!(called("Job", "once", json!({"pod-template-hash": "x"})), "Job once");
        assert_eq!(called("ReplicaSet", "web-5f", json!({"pod-template-hash": "5f"})), "Deployment web");
        assert_eq!(called("ReplicaSet", "web-5f", json!({"rollouts-pod-template-hash": "5f"})), "Rollout web");
        assert_eq!(called("ReplicaSet", "own", none), "ReplicaSet own");
    }
}
