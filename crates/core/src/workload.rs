//! What a workload consumes and how far its rollout is: a projection small enough to keep for every workload of an
//! opened namespace.

mod argo_rollout;
mod cron_job;
mod daemon_set;
mod deployment;
mod gateway;
mod ingress;
mod kind;
mod place;
mod pod;
mod pod_spec;
mod progress;
mod readers;
mod references;
mod service_account;
mod stateful_set;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use chrono::{DateTime, Utc};
use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use rekey_api::{names, policy::ConsumeForm};

pub use argo_rollout::argo_rollout;
pub use gateway::gateway;
pub use kind::Kind;
pub use place::{ContainerList, Driver, MOST as MOST_PLACES, Place, Places};
pub use pod::{Makers, Pod, ROLLOUT_HASH, Reading, Since, Steady, is_live, maker};
pub use pod_spec::uses;
pub use progress::{Progress, Replaced, Scale, Waiting};
pub use readers::{Reader, readers};
use references::References;
pub use service_account::Mountable;

use crate::time;

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
    /// Where the object has the name of the Secret.
    pub places: Places,
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
                | ConsumeForm::MountCredential
                | ConsumeForm::ImagePull
                | ConsumeForm::Tls
                | ConsumeForm::Named => false,
            })
    }

    /// Whether a change needs no restart: a pull secret is used once, when the image is pulled, and the controllers of
    /// Ingresses and Gateways load certificates again by themselves.
    #[must_use]
    pub fn needs_no_restart(&self) -> bool {
        self.forms.iter().all(|form| match form {
            ConsumeForm::ImagePull | ConsumeForm::Tls => true,
            ConsumeForm::Env
            | ConsumeForm::EnvFrom
            | ConsumeForm::Volume
            | ConsumeForm::SubPath
            | ConsumeForm::Projected
            | ConsumeForm::MountCredential
            | ConsumeForm::Named => false,
        })
    }

    /// Both uses. Where they stand is a matter of each.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.forms.extend(other.forms);
        self.keys.add(other.keys);
        self
    }

    /// How a workload consumes a Secret that it refers to in the way of `reference`, and that a policy may name it for.
    #[must_use]
    pub fn of(reference: Option<&Self>, named: bool) -> Option<Self> {
        if !named {
            return reference.cloned();
        }
        let nothing = || Self { forms: BTreeSet::new(), keys: Keys::All, places: Places::default() };
        let mut how = reference.cloned().unwrap_or_else(nothing);
        how.forms.insert(ConsumeForm::Named);
        how.keys = Keys::All;
        Some(how)
    }
}

/// Secrets in one restart marker.
const SECRETS: usize = 256;
/// Bytes of a Secret's name.
const NAME: usize = 253;
/// Bytes of a digest in a marker, which has fewer.
const DIGEST: usize = 128;

/// The restart marker of a pod template: digest by Secret, as the pods were started with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker(pub BTreeMap<String, String>);

impl Marker {
    /// Reads the annotation `rekey.dev/consumed`; what is not of its form is dropped, and what is more than a workload
    /// has Secrets: anybody can write 256 KiB there, which take twenty times as much room once they are read.
    #[must_use]
    pub fn parse(annotation: Option<&str>) -> Self {
        let entries = annotation.unwrap_or_default().split(',').filter_map(|entry| {
            let (secret, digest) = entry.trim().split_once('=')?;
            (secret.len() <= NAME && digest.len() <= DIGEST).then(|| (secret.to_owned(), digest.to_owned()))
        });
        Self(entries.take(SECRETS).collect())
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
    /// Whether its pod template has annotations.
    pub has_annotations: bool,
    /// How far its rollout is.
    pub progress: Progress,
    /// Since when it has had too few available pods, as its own controller says; `None`: it has enough, or its kind does not
    /// say.
    pub unavailable: Option<DateTime<Utc>>,
    /// Whether it wants pods.
    pub scale: Scale,
    /// When its restart marker was written last, as its managed fields show.
    pub marked: Option<DateTime<Utc>>,
    /// Who else writes its pod template, as its managed fields show: a tool that removes the marker is usually among
    /// them.
    pub managers: Vec<String>,
    /// Why there is no pod template of its own that a marker could be written on, and what to do about it; `None`:
    /// there is one, or nothing of it ever rolls.
    pub without_template: Option<String>,
    /// Label selector of its pods, in the form of the API's `labelSelector` parameter.
    pub selector: String,
    /// Jobs that have not ended: those of a `CronJob`.
    pub jobs: Vec<Job>,
    /// The `ServiceAccount` that its pods run as, if that is not `default`.
    pub account: Option<Box<str>>,
    /// Of a `ServiceAccount`: the Secrets that its pods may refer to, if they may refer to no others.
    pub mountable: Option<Box<[Mountable]>>,
    /// `rekey.dev/live-reload: "true"`
    pub live_reload: bool,
    /// `rekey.dev/restart: Never`
    pub never_restart: bool,
}

impl Workload {
    /// The account of pods that name none.
    pub const DEFAULT_ACCOUNT: &str = "default";

    /// Where its pods get their rights from, and which Secrets they may refer to.
    #[must_use]
    pub fn account(&self) -> WorkloadId {
        let name = self.account.as_deref().unwrap_or(Self::DEFAULT_ACCOUNT).to_owned();
        WorkloadId { kind: Kind::ServiceAccount, namespace: self.id.namespace.clone(), name }
    }
}

/// A Job that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A kind of object that consumes Secrets and can be projected.
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
    let annotations = parts.template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref());
    let marker = annotations.and_then(|annotations| annotations.get(names::CONSUMED));
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
        has_annotations: annotations.is_some(),
        progress: parts.progress,
        unavailable: None,
        scale: Scale::default(),
        marked: marked(metadata),
        managers: managers(metadata),
        without_template: None,
        selector: parts.selector.map(selector).unwrap_or_default(),
        jobs: Vec::new(),
        account: parts.template.and_then(account),
        mountable: None,
        live_reload: own(names::LIVE_RELOAD) == Some("true"),
        never_restart: own(names::RESTART) == Some("Never"),
    }
}

fn account(template: &PodTemplateSpec) -> Option<Box<str>> {
    let named = template.spec.as_ref()?.service_account_name.as_deref()?;
    (!named.is_empty() && named != Workload::DEFAULT_ACCOUNT).then(|| named.into())
}

/// What has no pods of its own: it refers to these Secrets, and there is nothing to roll.
fn without_pods(kind: Kind, metadata: &ObjectMeta, references: References<'_>) -> Workload {
    let assembled = assemble(Parts { kind, metadata, template: None, selector: None, progress: Progress::Complete });
    Workload { uses: references.into_uses(), ..assembled }
}

/// The API server notes when a field manager last changed what it owns
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).
fn marked(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    let entries = metadata.managed_fields.iter().flatten();
    let ours = entries.filter(|entry| entry.manager.as_deref() == Some(names::MANAGER_RESTART));
    ours.filter_map(|entry| entry.time.as_ref()).map(time::chrono).max()
}

fn managers(metadata: &ObjectMeta) -> Vec<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let of_template = entries.filter(|entry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:template").is_some())
    });
    let names = of_template.filter_map(|entry| entry.manager.clone());
    let mut names: Vec<String> = names.filter(|name| name != names::MANAGER_RESTART).collect();
    names.sort();
    names.dedup();
    names
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
        let long = format!("{}=ab,db={}", "n".repeat(NAME + 1), "d".repeat(DIGEST + 1));
        assert_eq!(Marker::parse(Some(&long)), Marker::default(), "no Secret's name, no digest");
        let many: Vec<String> = (0..50_000).map(|at| format!("{at}=a")).collect();
        assert_eq!(Marker::parse(Some(&many.join(","))).0.len(), SECRETS);
    }

    #[test]
    fn managed_fields_tell_when_the_marker_was_written_and_whose_the_template_is() {
        let entry = |manager: &str, time: &str, fields: serde_json::Value| serde_json::json!({"manager": manager, "operation": "Apply", "time": time, "fieldsV1": fields});
        let template = || serde_json::json!({"f:spec": {"f:template": {"f:spec": {}}}});
        let metadata: ObjectMeta = serde_json::from_value(serde_json::json!({"managedFields": [
            entry("argocd", "2026-01-01T00:00:00Z", template()),
            entry("rekey-restart", "2026-01-02T00:00:00Z", template()),
            entry("kube-controller-manager", "2026-01-03T00:00:00Z", serde_json::json!({"f:status": {}})),
        ]}))
        .unwrap();
        assert_eq!(marked(&metadata), time::parse("2026-01-02T00:00:00Z"));
        assert_eq!(managers(&metadata), ["argocd"]);
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
