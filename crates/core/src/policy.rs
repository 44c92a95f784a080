//! What a `SecretPolicy` asks for, parsed once at the door, and the decisions about it.

mod adopt;
mod claims;
mod consumers;
mod copies;
mod dress;
mod fetch;
mod history;
pub mod in_use;
mod kept;
mod line;
mod locked;
mod open_rotation;
mod original;
mod ownership;
mod plain;
mod proof;
mod publish;
mod rebase;
mod record;
mod recreated;
mod refuse;
mod roll_back;
mod rollback_to;
mod salts;
mod secret;
mod seen;
mod source;
mod status;
mod stripped;
mod tags;
mod templates;
#[cfg(test)]
mod tests;
mod unlock;
mod values;
mod versioned;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource as _;
use rekey_api::{
    SecretPolicy, SecretPolicySpec, names,
    policy::{Immutability, OnFailure, OnPolicyDelete, Ownership, Target, VersionReferences},
};

pub use claims::Claims;
pub use consumers::{Consumer, Consumers, Found, consumers, counted, is_stray, next_look, settled};
pub use copies::Copied;
pub use fetch::{
    EngineCall, Fetch, Fetched, LastRead, Lookup, Request, Wanted, all_reads, fetch, is_settled, next_round,
};
pub use history::{Earlier, History, Mark, Reread};
pub use kept::{Fate, Kept, Now};
pub use open_rotation::OpenRotation;
pub use original::Original;
pub use ownership::admit;
#[cfg(test)]
pub(crate) use refuse::UNBUILT;
pub use roll_back::{Back, back_without_source};
pub use secret::{Desired, Made, Plan, Step, Surplus, make, secret};
pub use seen::{Content, ObjectVersion, Seen, SeenSecret};
pub use source::{Engine, Item, Refresh, Remote, Set, SetFrom, Source, shown};

pub use plain::{Following, LastPlain, Plain, PlainSeen, Trouble, plain};
pub use status::{Known, failed, refused, suspended};
pub use tags::{Tags, mark, value_mark};
pub use templates::{Entry, EntryText, TemplateKind, TemplateRef};
pub use unlock::{Look, Referrer, Stage, UnlockSeen};
pub use values::Tools;
pub use versioned::{Reference, Version, superfluous, unused};

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
    /// Whether the Secret is immutable for good.
    pub locked: bool,
    /// How workloads come to a new name of the Secret; `None`: it keeps its name.
    pub references: Option<VersionReferences>,
    /// How many earlier values stay beside the current one, whether something refers to them or not.
    pub keep: usize,
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
    /// The revision that is held: that of `rekey.dev/rollback-to`.
    pub rollback_to: Option<String>,
    /// The token of `rekey.dev/unlock`.
    pub unlock: Option<String>,
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
    /// Whether the Secret goes with the policy by itself. A version has no owner: a pod may need it for longer.
    #[must_use]
    pub fn owns(&self) -> bool {
        self.on_policy_delete == OnPolicyDelete::Delete && !self.names.is_versioned()
    }

    /// Whether references of workloads move from name to name.
    #[must_use]
    pub fn moves_references(&self) -> bool {
        self.references == Some(VersionReferences::Move)
    }

    /// The owner that deletes the Secret with the policy; `None`: the Secret stays.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerReference> {
        self.owns().then(|| self.itself())
    }

    /// The policy as an owner.
    pub(crate) fn itself(&self) -> OwnerReference {
        OwnerReference {
            api_version: SecretPolicy::api_version(&()).into_owned(),
            kind: SecretPolicy::kind(&()).into_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            ..OwnerReference::default()
        }
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
        let (name, names) = (object.metadata.name.clone().unwrap_or_default(), SecretNames::of(object));
        let policy = Self {
            references: spec
                .versions
                .as_ref()
                .and_then(|versions| versions.references)
                .filter(|_| names.is_versioned()),
            names,
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
            keep: kept(spec),
            on_policy_delete: match scope {
                Scope::Whole => spec.target.on_policy_delete.unwrap_or_default(),
                Scope::Keys | Scope::Record => OnPolicyDelete::Retain,
            },
            uid: object.metadata.uid.clone().unwrap_or_default(),
            rollout: RolloutSpec::try_from(&spec.rollout)?,
            named: consumers::named(&spec.rollout.consumers)?,
            suspended: spec.suspend,
            sync_requested: request::token(&object.metadata, names::SYNC_REQUESTED)?,
            rollback_to: rollback_to::parse(&object.metadata)?,
            unlock: request::token(&object.metadata, names::UNLOCK)?,
        };
        rollback_to::check(&policy)?;
        Ok(policy)
    }
}

/// Versions that stay beside the current one, if `spec.versions.keep` does not say how many.
const KEEP: u32 = 3;

fn kept(spec: &SecretPolicySpec) -> usize {
    let keep = spec.versions.as_ref().and_then(|versions| versions.keep);
    let unsaid = match spec.immutability {
        // What consumers go back to.
        Immutability::None => u32::from(spec.rollout.on_failure == OnFailure::RollBack),
        Immutability::Locked => 0,
        Immutability::Versioned => KEEP,
    };
    usize::try_from(keep.unwrap_or(unsaid)).unwrap_or_default()
}

/// Whose the Secret is. What only its owner may decide is refused for others.
fn scope(source: &Source, target: &Target, immutability: Immutability) -> Result<Scope, SpecError> {
    let scope = match (source, target.ownership) {
        // What is written are versions of our own.
        (Source::Existing, Ownership::Owner) if immutability == Immutability::Versioned => Scope::Whole,
        (Source::Existing, _) => Scope::Record,
        (Source::Remote(_) | Source::Generated(_) | Source::Engine(_), Ownership::Merge) => Scope::Keys,
        (Source::Remote(_) | Source::Generated(_) | Source::Engine(_), Ownership::Owner) => return Ok(Scope::Whole),
    };
    let maker = "; whoever makes the Secret decides that";
    if target.secret_type.is_some() {
        return Err(SpecError::field("spec.target.type", format!("remove it{maker}")));
    }
    if scope == Scope::Whole {
        return Ok(scope);
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
