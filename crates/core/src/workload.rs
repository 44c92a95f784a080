//! What a workload consumes and how far its rollout is: a projection small enough to keep for every workload of an
//! opened namespace.

mod daemon_set;
mod deployment;
mod pod_spec;
mod stateful_set;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use rekey_api::{names, policy::ConsumeForm};

pub use pod_spec::uses;

/// Kinds of workloads whose pods Rekey rolls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `apps/v1` `Deployment`
    Deployment,
    /// `apps/v1` `StatefulSet`
    StatefulSet,
    /// `apps/v1` `DaemonSet`
    DaemonSet,
}

impl Kind {
    /// The kind as manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
        }
    }
}

/// A workload's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// Which keys of a Secret are consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Every key, present and future.
    All,
    /// These.
    Some(BTreeSet<String>),
}

impl Keys {
    /// Whether `key` is consumed.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(keys) => keys.contains(key),
        }
    }

    fn add(&mut self, more: Self) {
        match (&mut *self, more) {
            (Self::All, _) => {}
            (_, Self::All) => *self = Self::All,
            (Self::Some(keys), Self::Some(more)) => keys.extend(more),
        }
    }
}

/// How a workload consumes one Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// In which forms.
    pub forms: BTreeSet<ConsumeForm>,
    /// Which keys.
    pub keys: Keys,
}

impl Use {
    /// Whether running pods get to see a change without a restart: all references are mounts that kubelet refreshes,
    /// and the workload says that it reads them again.
    /// See <https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically>.
    #[must_use]
    pub fn refreshes(&self, live_reload: bool) -> bool {
        live_reload
            && self.forms.iter().all(|form| match form {
                ConsumeForm::Volume | ConsumeForm::Projected => true,
                ConsumeForm::Env
                | ConsumeForm::EnvFrom
                | ConsumeForm::SubPath
                | ConsumeForm::ImagePull
                | ConsumeForm::Tls
                | ConsumeForm::Named => false,
            })
    }
}

/// How far a workload's pods follow its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Every wanted pod is of the current template and available.
    Complete,
    /// Not yet.
    Underway(String),
    /// It will not go on by itself: paused, or pods are only replaced by hand.
    Waiting(String),
}

/// The restart marker of a pod template: digest by Secret, as the pods were started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker(pub BTreeMap<String, String>);

impl Marker {
    /// Reads the annotation `rekey.dev/consumed`; what is not of its form is dropped.
    #[must_use]
    pub fn parse(annotation: Option<&str>) -> Self {
        let entries = annotation.unwrap_or_default().split(',').filter_map(|entry| {
            let (secret, digest) = entry.trim().split_once('=')?;
            Some((secret.to_owned(), digest.to_owned()))
        });
        Self(entries.collect())
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries: Vec<String> = self.0.iter().map(|(secret, digest)| format!("{secret}={digest}")).collect();
        formatter.write_str(&entries.join(","))
    }
}

/// What is kept of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub id: WorkloadId,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// Its generation.
    pub generation: i64,
    /// The Secrets it refers to.
    pub uses: BTreeMap<String, Use>,
    /// Its restart marker.
    pub marker: Marker,
    /// How far its rollout is.
    pub progress: Progress,
    /// Label selector of its pods, in the form of the API's `labelSelector` parameter.
    pub selector: String,
    /// `rekey.dev/live-reload: "true"`
    pub live_reload: bool,
    /// `rekey.dev/restart: Never`
    pub never_restart: bool,
}

/// A kind of object that has pods and can be projected.
pub trait Project {
    /// The projection.
    fn project(&self) -> Workload;
}

struct Parts<'a> {
    kind: Kind,
    metadata: &'a ObjectMeta,
    template: Option<&'a PodTemplateSpec>,
    selector: Option<&'a LabelSelector>,
    progress: Progress,
}

fn assemble(parts: Parts<'_>) -> Workload {
    let metadata = parts.metadata;
    let own = |name: &str| metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    let marker =
        parts.template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref()?.get(names::CONSUMED));
    Workload {
        id: WorkloadId {
            kind: parts.kind,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        },
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        generation: metadata.generation.unwrap_or_default(),
        uses: parts.template.and_then(|template| template.spec.as_ref()).map(pod_spec::uses).unwrap_or_default(),
        marker: Marker::parse(marker.map(String::as_str)),
        progress: parts.progress,
        selector: parts.selector.map(selector).unwrap_or_default(),
        live_reload: own(names::LIVE_RELOAD) == Some("true"),
        never_restart: own(names::RESTART) == Some("Never"),
    }
}

fn selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.clone().unwrap_or_default().join(",");
        match expression.operator.as_str() {
            "In" => format!("{} in ({values})", expression.key),
            "NotIn" => format!("{} notin ({values})", expression.key),
            "DoesNotExist" => format!("!{}", expression.key),
            _ => expression.key.clone(),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marker_reads_back() {
        let marker = Marker::parse(Some("db=ab.12, cache=ab.34,broken"));
        assert_eq!(marker.to_string(), "cache=ab.34,db=ab.12");
        assert_eq!(Marker::parse(Some(&marker.to_string())), marker);
        assert_eq!(Marker::parse(None), Marker::default());
    }

    #[test]
    fn a_selector_with_expressions_keeps_its_meaning() {
        let value = serde_json::json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "canary", "operator": "DoesNotExist"}]});
        let parsed: LabelSelector = serde_json::from_value(value).unwrap();
        assert_eq!(selector(&parsed), "app=web,tier in (a,b),!canary");
    }
}
