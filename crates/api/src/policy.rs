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
    ChangeReason, ConsumeForm, ConsumerState, ConsumerStatus, ConsumersStatus, Held, HeldReason, LastHandled,
    PodCounts, PolicyHistory, PublishedRotation, SecretPolicyStatus, SourceVersion,
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
    validation = Rule::new("!has(self.source.existing) || !has(self.target.onPolicyDelete)")
        .message("target.onPolicyDelete: remove it; with source.existing Rekey never deletes the Secret"),
    validation = Rule::new("self.immutability != 'Versioned' || (has(self.versions) && has(self.versions.references))")
        .message("versions.references: set Publish or Move; immutability Versioned gives each value a new name"),
    validation = Rule::new("!has(self.rollout.canary) || self.immutability == 'Versioned'")
        .message("rollout.canary: set immutability to Versioned, or remove the canary; otherwise any pod that starts takes the new value before the verdict")
)]
pub struct SecretPolicySpec {
    /// Where the value comes from. Exactly one of `remote`, `existing`, `generated`, `vaultEngine`.
    pub source: Source,
    /// The Secret it becomes.
    #[serde(default)]
    pub target: Target,
    /// `None` (default): the Secret changes in place, and Rekey repairs it when another tool changed it. `Locked`: Rekey makes the Secret
    /// immutable, and reports a new value at the source instead of publishing it (`rekey.dev/unlock` and a change to another mode are
    /// refused in this version). `Versioned`: each value is a new immutable Secret, and `versions.references` says how consumers learn its
    /// name. Not supported yet: `Versioned`.
    #[serde(default)]
    pub immutability: Immutability,
    /// How many earlier values Rekey keeps, and how consumers learn the name of a version. Not supported yet.
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
    /// How many earlier values stay readable, as private immutable Secrets. Default 3 with `Versioned`, else 0. Rekey always keeps a
    /// version that a pod still needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub keep: Option<u32>,
    /// Required with `Versioned`. `Publish`: the current name is in `status.secretName` only, and you or another tool put it into
    /// workloads. `Move`: the operator rewrites the references of consumers.
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
