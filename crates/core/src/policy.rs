//! What a `SecretPolicy` asks for, parsed once at the door, and the decisions about it.

mod adopt;
mod claims;
mod consumers;
mod dress;
mod fetch;
mod line;
mod open_rotation;
mod ownership;
mod proof;
mod publish;
mod record;
mod recreated;
mod refuse;
mod salts;
mod secret;
mod source;
mod status;
mod tags;
mod templates;
#[cfg(test)]
mod tests;
mod values;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use rekey_api::{
    SecretPolicy, names,
    policy::{Immutability, OnPolicyDelete, Ownership, Target},
};

pub use claims::Claims;
pub use consumers::{Consumer, Look, consumers};
pub use fetch::{EngineCall, Fetch, Fetched, LastRead, Lookup, Request, Wanted, fetch, is_settled, next_round};
pub use open_rotation::OpenRotation;
pub use ownership::admit;
#[cfg(test)]
pub(crate) use refuse::UNBUILT;
pub use secret::{Content, Desired, Made, ObjectVersion, Plan, Seen, SeenSecret, Step, Surplus, make, secret};
pub use source::{Engine, Item, Refresh, Remote, Set, SetFrom, Source, shown};

pub use status::{Known, failed, suspended};
pub use tags::{Tags, mark, value_mark};
pub use templates::{Entry, EntryText, TemplateKind, TemplateRef};
pub use values::Tools;

use self::templates::Templates;
use crate::{SecretNames, SpecError, request, rollout::RolloutSpec, workload::Kind};

/// A parsed policy. Once its expressions are [proven](PolicySpec::prove) too, only data can be refused.
#[derive(Clone, Debug)]
pub struct PolicySpec {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its generation.
    pub generation: i64,
    /// Names of its Secrets.
    pub names: SecretNames,
    /// Whose the Secret is.
    pub scope: Scope,
    /// Type of the Secret.
    pub kind: String,
    /// Where the value comes from.
    pub source: Source,
    /// Templates by key.
    pub templates: BTreeMap<String, String>,
    /// Further templates, in their order.
    pub entries: Vec<Entry>,
    /// Whether only templated keys are published.
    pub replace: bool,
    /// Labels of the Secret, beside those that templates make.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret, beside those that templates make.
    pub annotations: BTreeMap<String, String>,
    /// Templates that make labels and annotations.
    pub tags: Tags,
    /// Whether the Secret is immutable.
    pub locked: bool,
    /// Whether the Secret goes with the policy: [`owner`](Self::owner).
    pub on_policy_delete: OnPolicyDelete,
    /// Uid of the policy.
    pub uid: String,
    /// How consumers are restarted.
    pub rollout: RolloutSpec,
    /// Workloads that consume the Secret without referring to it.
    pub named: BTreeSet<(Kind, String)>,
    /// Whether everything rests.
    pub suspended: bool,
    /// The token of `rekey.dev/sync-requested`.
    pub sync_requested: Option<String>,
}

/// Whose keys the Secret holds, and so what of it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The policy's: all of it.
    Whole,
    /// Another owner's, who consents: our keys.
    Keys,
    /// Another tool's: the record of what it holds, in annotations, and nothing of its data.
    Record,
}

impl PolicySpec {
    /// The owner that deletes the Secret with the policy; `None`: the Secret stays.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerReference> {
        (self.on_policy_delete == OnPolicyDelete::Delete).then(|| OwnerReference {
            api_version: SecretPolicy::api_version(&()).into_owned(),
            kind: SecretPolicy::kind(&()).into_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            ..OwnerReference::default()
        })
    }
}

impl TryFrom<&SecretPolicy> for PolicySpec {
    type Error = SpecError;

    fn try_from(object: &SecretPolicy) -> Result<Self, SpecError> {
        refuse::unsupported(object)?;
        let spec = &object.spec;
        let source = Source::parse(object)?;
        let scope = scope(&source, &spec.target, spec.immutability)?;
        refuse::contradictions(object, &source, scope)?;
        let templates = Templates::parse(spec.target.template.as_ref(), &source)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        Ok(Self {
            names: SecretNames::of(object),
            name,
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            scope,
            kind: secret_type(spec.target.secret_type.as_deref())?,
            source,
            templates: templates.data,
            entries: templates.entries,
            replace: templates.replace,
            labels: templates.fixed.labels,
            annotations: templates.fixed.annotations,
            tags: templates.tags,
            locked: spec.immutability == Immutability::Locked,
            on_policy_delete: match scope {
                Scope::Whole => spec.target.on_policy_delete.unwrap_or_default(),
                Scope::Keys | Scope::Record => OnPolicyDelete::Retain,
            },
            uid: object.metadata.uid.clone().unwrap_or_default(),
            rollout: RolloutSpec::from(&spec.rollout),
            named: consumers::named(&spec.rollout.consumers)?,
            suspended: spec.suspend,
            sync_requested: request::token(&object.metadata, names::SYNC_REQUESTED)?,
        })
    }
}

/// Whose the Secret is. What only its owner may decide is refused for others.
fn scope(source: &Source, target: &Target, immutability: Immutability) -> Result<Scope, SpecError> {
    let scope = match (source, target.ownership) {
        (Source::Existing, _) => Scope::Record,
        (Source::Remote(_) | Source::Generated(_) | Source::Engine(_), Ownership::Merge) => Scope::Keys,
        (Source::Remote(_) | Source::Generated(_) | Source::Engine(_), Ownership::Owner) => return Ok(Scope::Whole),
    };
    let maker = "; whoever makes the Secret decides that";
    if target.secret_type.is_some() {
        return Err(SpecError::field("spec.target.type", format!("remove it{maker}")));
    }
    let fix = match (scope, target.on_policy_delete) {
        (Scope::Record, Some(OnPolicyDelete::Delete | OnPolicyDelete::Retain)) => Some("remove it"),
        (Scope::Keys | Scope::Whole, Some(OnPolicyDelete::Delete)) => Some("write Retain, or remove it"),
        (Scope::Keys | Scope::Whole, Some(OnPolicyDelete::Retain)) | (_, None) => None,
    };
    if let Some(fix) = fix {
        return Err(SpecError::field("spec.target.onPolicyDelete", format!("{fix}{maker}")));
    }
    match immutability {
        Immutability::None => Ok(scope),
        Immutability::Locked | Immutability::Versioned => {
            Err(SpecError::field("spec.immutability", format!("write None{maker}")))
        }
    }
}

/// The types under kubernetes.io, beside the default, that give no rights in the cluster.
const BUILT_IN: [&str; 6] = [
    "Opaque",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/basic-auth",
    "kubernetes.io/ssh-auth",
    "kubernetes.io/tls",
];

fn secret_type(named: Option<&str>) -> Result<String, SpecError> {
    let kind = named.unwrap_or("Opaque");
    if is_reserved(kind) {
        let fix = format!("{kind:?} is refused; use one of {} or a type outside kubernetes.io", BUILT_IN.join(", "));
        return Err(SpecError::field("spec.target.type", fix));
    }
    Ok(kind.to_owned())
}

/// Whether a Secret of this type is a credential of the cluster itself, or may become one: such a Secret is never
/// written, neither made, nor taken over, nor written into, nor governed.
#[must_use]
pub fn is_reserved(kind: &str) -> bool {
    (kind.starts_with("kubernetes.io/") || kind.contains(".kubernetes.io/")) && !BUILT_IN.contains(&kind)
}
