//! Pods that no known workload has made: bare ones, those of Jobs that a user made, and those of other tools. Nobody
//! restarts them, and they may hold an old value all the same.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::ResourceExt as _;

use crate::workload::{Pod, Use, uses};

/// What a stray pod belongs to: the object that controls it, or itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StrayId {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// API version.
    pub api_version: String,
}

/// A pod that no known workload has made.
#[derive(Clone, Debug)]
pub struct Stray {
    /// What it belongs to.
    pub id: StrayId,
    /// The pod.
    pub pod: Pod,
    /// The Secrets that it refers to.
    pub uses: BTreeMap<String, Use>,
}

/// Bytes of an API version or a kind: longer ones are cut.
const WORD: usize = 63;

impl Stray {
    /// What matters of a pod, as far as it concerns Secrets of which this is true.
    #[must_use]
    pub fn of(pod: &KubePod, concerns: impl Fn(&str) -> bool) -> Option<Self> {
        let mut uses = pod.spec.as_ref().map(uses)?;
        uses.retain(|secret, _| concerns(secret));
        if uses.is_empty() {
            return None;
        }
        let mut known = Pod::of(pod);
        known.reads.retain(|secret, _| uses.contains_key(secret));
        known.marker.0.retain(|secret, _| uses.contains_key(secret));
        let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true));
        let word = |text: &str| text.chars().take(WORD).collect();
        let id = owner.map_or_else(
            || StrayId { kind: "Pod".to_owned(), name: pod.name_any(), api_version: "v1".to_owned() },
            |owner| StrayId {
                kind: word(&owner.kind),
                name: owner.name.clone(),
                api_version: word(&owner.api_version),
            },
        );
        Some(Self { id, pod: known, uses })
    }
}

/// When the pods of the namespace were last listed for strays, and when something changed that they may have missed.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// When pods could last read anything else than what is published; `None`: never.
    pub edge: Option<DateTime<Utc>>,
    /// The last look; `None`: this process has taken none.
    pub looked: Option<DateTime<Utc>>,
    /// Whether a stray of the policy was seen on another value.
    pub held: Outstanding,
}

/// Whether a stray was seen on another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outstanding {
    /// One was, and nothing reports when it goes.
    Some,
    /// None was.
    None,
}

/// A pod that started a moment before a change is seen by a list a moment after it.
const GATHER: TimeDelta = TimeDelta::seconds(3);
/// A stray on an old value is looked after this often at first, and ever more seldom.
const SOON: TimeDelta = TimeDelta::seconds(20);
const SELDOM: TimeDelta = TimeDelta::minutes(30);

/// When to list the pods of the namespace next; `None`: when something changes.
#[must_use]
pub fn next_look(watched: Watched, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let edge = watched.edge?;
    let gathered = edge.min(now) + GATHER;
    let Some(looked) = watched.looked.filter(|looked| *looked >= gathered) else {
        // One look serves all policies of the namespace that have changed by then.
        let again = watched.looked.map_or(gathered, |looked| looked.min(now) + GATHER);
        return Some(gathered.max(again));
    };
    let pause = ((looked - edge) / 4).clamp(SOON, SELDOM);
    (watched.held == Outstanding::Some).then(|| looked + pause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::at, *};

    #[test]
    fn a_stray_is_called_after_what_controls_it_and_keeps_what_concerns_us() {
        let pod = |owners: serde_json::Value| -> KubePod {
            let env = json!([{"secretRef": {"name": "db"}}, {"secretRef": {"name": "other"}}]);
            serde_json::from_value(json!({
                "metadata": {"name": "p", "ownerReferences": owners},
                "spec": {"containers": [{"name": "c", "envFrom": env}]},
            }))
            .unwrap()
        };
        let job = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "once", "uid": "u", "controller": true}]);
        let shown = |owners| {
            let stray = Stray::of(&pod(owners), |secret| secret == "db").unwrap();
            assert_eq!(stray.uses.keys().chain(stray.pod.reads.keys()).collect::<Vec<_>>(), ["db", "db"]);
            format!("{} {} {}", stray.id.api_version, stray.id.kind, stray.id.name)
        };
        assert_eq!(shown(json!([])), "v1 Pod p");
        assert_eq!(shown(job), "batch/v1 Job once");
        assert!(Stray::of(&pod(json!([])), |secret| secret == "cache").is_none());
    }

    #[test]
    fn pods_are_listed_after_a_change_and_again_while_one_is_old() {
        for (edge, looked, held, expected) in [
            (None, None, Outstanding::None, None),
            (Some(100), None, Outstanding::None, Some(103)),
            (Some(100), Some(99), Outstanding::None, Some(103)),
            (Some(100), Some(102), Outstanding::None, Some(105)),
            (Some(100), Some(103), Outstanding::None, None),
            (Some(100), Some(103), Outstanding::Some, Some(123)),
            (Some(100), Some(500), Outstanding::Some, Some(600)),
            (Some(100), Some(100_000), Outstanding::Some, Some(101_800)),
            (Some(900_000), None, Outstanding::None, Some(200_003)),
        ] {
            let watched = Watched { edge: edge.map(at), looked: looked.map(at), held };
            assert_eq!(next_look(watched, at(200_000)), expected.map(at), "{watched:?}");
        }
    }
}
