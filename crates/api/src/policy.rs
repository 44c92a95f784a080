//! `SecretPolicy`: what a Secret holds, how it may change and which workloads are restarted.

pub mod data_from;
pub mod rollout;
pub mod source;
pub mod staleness;
pub mod status;
pub mod target;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use data_from::{
    DataFrom, Extract, Find, KeyConversion, MergeConflictPolicy, MergePriorityPolicy, MergeRewrite, MergeStrategy,
    RegexpRewrite, Rewrite, TransformRewrite,
};
pub use rollout::{OnFailure, ReadyWhen, Restart, Rollout};
pub use source::{
    Decoding, EngineMethod, Existing, Generated, GeneratedField, MetadataPolicy, OnMissing, OnReplace, RefreshPolicy,
    RemoteData, RemoteRef, RemoteSource, Source, VaultEngineSource,
};
pub use staleness::MaxStaleness;
pub use status::{
    ChangeReason, ConsumeForm, ConsumerReason, ConsumerState, ConsumerStatus, ConsumersStatus, Held, HeldReason,
    LastHandled, PodCounts, PolicyHistory, PublishedRotation, SecretPolicyStatus, SourceVersion,
};
pub use target::{
    Include, MergePolicy, OnPolicyDelete, Ownership, Target, Template, TemplateFrom, TemplateInto, TemplateMetadata,
    TemplateYields,
};

/// Kubernetes cannot change the type of a Secret. Where each value is a new Secret, and where another tool makes the Secret, the type is
/// not fixed.
const TYPE_STAYS: &str = "self.spec.immutability == 'Versioned' || has(self.spec.source.existing) || has(oldSelf.spec.source.existing) \
    || self.spec.target.ownership == 'Merge' || oldSelf.spec.target.ownership == 'Merge' \
    || (has(self.spec.target.type) ? self.spec.target.type : 'Opaque') == (has(oldSelf.spec.target.type) ? oldSelf.spec.target.type : 'Opaque')";

/// The name of a version is the plain name, a hyphen and a revision.
const ROOM_FOR_A_REVISION: &str = "self.spec.immutability != 'Versioned' && !(has(self.spec.versions) && has(self.spec.versions.references)) \
    || size(has(self.spec.target.name) ? self.spec.target.name : self.metadata.name) <= 242";

/// Where a value comes from, which Secret it becomes and how consumers get it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rekey.dev",
    version = "v1alpha1",
    kind = "SecretPolicy",
    plural = "secretpolicies",
    namespaced,
    shortname = "secpol",
    category = "rekey",
    doc = "SecretPolicy says where a value comes from, which Secret it becomes, how it may change and which workloads Rekey restarts when it does.",
    status = "SecretPolicyStatus",
    derive = "PartialEq",
    validation = Rule::new(
        "(has(self.spec.target.name) ? self.spec.target.name : self.metadata.name) == (has(oldSelf.spec.target.name) ? oldSelf.spec.target.name : oldSelf.metadata.name)"
    )
    .message("spec.target.name: the name of the Secret cannot change (default metadata.name); make a new SecretPolicy for another Secret"),
    validation = Rule::new(ROOM_FOR_A_REVISION)
        .message("spec.target.name: write at most 242 characters (default metadata.name); with immutability Versioned a hyphen and a revision of 10 follow"),
    validation = Rule::new(TYPE_STAYS)
        .message("spec.target.type: the type of a Secret cannot change (default Opaque); make a new SecretPolicy with another spec.target.name"),
    printcolumn(name = "Source", type_ = "string", json_path = ".status.source"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Consumers", type_ = "string", json_path = ".status.consumers.summary"),
    printcolumn(name = "Next Rotation", type_ = "string", json_path = ".status.nextRotationTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Revision", type_ = "string", priority = 1, json_path = ".status.revision"),
    printcolumn(name = "Immutability", type_ = "string", priority = 1, json_path = ".spec.immutability"),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.source.existing) || !has(self.target.type)")
        .message("target.type: remove it; with source.existing another tool makes the Secret"),
    validation = Rule::new("!has(self.source.existing) || !has(self.target.template)")
        .message("target.template: remove it; with source.existing another tool makes the Secret"),
    validation = Rule::new("!has(self.source.existing) || !has(self.target.onPolicyDelete) || self.immutability == 'Versioned'")
        .message("target.onPolicyDelete: remove it; with source.existing Rekey never deletes the Secret"),
    validation = Rule::new("self.immutability != 'Versioned' || (has(self.versions) && has(self.versions.references))")
        .message("versions.references: set Publish or Move; immutability Versioned gives each value a new name"),
    validation = Rule::new("duration(self.rollout.stableFor) < duration(self.rollout.progressDeadline)")
        .message("rollout.stableFor: make it shorter than rollout.progressDeadline, or no restart can become healthy in time"),
    validation = Rule::new("!has(self.versions) || !has(self.versions.references) || self.immutability == 'Versioned' || self.immutability == 'Locked' && self.versions.references == 'Move'")
        .message("versions.references: remove it, or set immutability to Versioned, or to Locked with Move; otherwise the Secret keeps its name"),
    validation = Rule::new("self.rollout.onFailure != 'RollBack' || self.immutability != 'Locked'")
        .message("rollout.onFailure: write Hold; a locked Secret does not change"),
    validation = Rule::new("self.rollout.onFailure != 'RollBack' || self.immutability != 'Versioned' || !has(self.versions) || !has(self.versions.references) || self.versions.references == 'Move'")
        .message("rollout.onFailure: write Hold, or set versions.references to Move; with Publish Rekey moves no workload"),
    validation = Rule::new("self.rollout.onFailure != 'RollBack' || self.immutability != 'None' || !has(self.versions) || !has(self.versions.keep) || self.versions.keep > 0")
        .message("rollout.onFailure: write Hold, or set versions.keep to 1 or more; there would be no earlier value to go back to"),
    validation = Rule::new("!has(self.rollout.canary) || has(self.versions) && has(self.versions.references)")
        .message("rollout.canary: set immutability to Versioned and versions.references to Move, or remove the canary; otherwise any pod that starts takes the new value before the verdict"),
    validation = Rule::new("!has(self.rollout.canary) || !has(self.versions) || !has(self.versions.references) || self.versions.references == 'Move'")
        .message("rollout.canary: set versions.references to Move, or remove the canary; with Publish Rekey moves no workload")
)]
pub struct SecretPolicySpec {
    /// Where the value comes from. Exactly one of `remote`, `existing`, `generated`, `vaultEngine`.
    pub source: Source,
    /// The Secret it becomes.
    #[serde(default)]
    pub target: Target,
    /// `None` (default): the Secret changes in place, and Rekey repairs it when another tool changed it. `Locked`: Rekey makes the Secret
    /// immutable, and reports a new value at the source instead of publishing it. With a new token in the annotation `rekey.dev/unlock`
    /// Rekey replaces the Secret once, when no pod refers to it; so it goes to `None`, too. With `versions.references: Move` the token
    /// publishes the value as a new Secret `<name>-<revision>` instead, and moves consumers there. `Versioned`: each value is a new immutable Secret `<name>-<revision>`, and
    /// `versions.references` says how consumers learn its name; the name before the hyphen has at most 242 characters.
    #[serde(default)]
    pub immutability: Immutability,
    /// How many earlier values Rekey keeps, and how consumers learn the name of a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versions: Option<Versions>,
    /// How Rekey brings consumers onto a new value.
    #[serde(default)]
    pub rollout: Rollout,
    /// True: Rekey stops reading the source, writing the Secret and restarting consumers. What is published stays. Default false.
    #[serde(default)]
    pub suspend: bool,
}

/// How a published Secret may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Immutability {
    /// Changed in place.
    #[default]
    None,
    /// Immutable; Rekey publishes another value on request only.
    Locked,
    /// Each value is a new immutable Secret.
    Versioned,
}

/// Earlier values and references to versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// How many earlier values stay readable, as immutable Secrets `<name>-<revision>` beside the current one. Default 3 with
    /// `Versioned`, 1 with `None` and `rollout.onFailure: RollBack`, else 0. Rekey always keeps one that a pod, a workload or another
    /// object still refers to. The annotation `rekey.dev/rollback-to: <revision>` publishes one of them again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub keep: Option<u32>,
    /// Required with `Versioned`; with `Locked` only `Move`. `Publish`: the current name is in `status.secretName` only, and you or another tool put it into
    /// workloads; Rekey changes and restarts none of those that refer to a version. `Move`: Rekey moves the references of workloads
    /// to each new version, which is their rollout; a mutable Secret with the plain name follows when all have moved (not with
    /// `source.existing`, where that name is another tool's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "VersionReferences")] // keeps the description of the field
    pub references: Option<VersionReferences>,
}

/// Who puts the name of the current version into workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum VersionReferences {
    /// You or another tool, from `status.secretName`.
    Publish,
    /// The operator.
    Move,
}
