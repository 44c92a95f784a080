//! `RotationSchedule`: when Rekey replaces a credential, and how.

pub mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::field;
use crate::reference::{LocalRef, StoreRef};
use crate::rotator::Rotator;
use crate::schedule::{Window, utc};
pub use status::{
    RotationHistory, RotationOutcome, RotationProgress, RotationReason, RotationScheduleStatus, RotationStep,
    RotationStepRecord,
};

/// When and how the credential of a policy is rotated.
#[expect(clippy::duplicated_attributes, reason = "printer columns have types in common")]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rekey.dev",
    version = "v1alpha1",
    kind = "RotationSchedule",
    plural = "rotationschedules",
    namespaced,
    shortname = "rotsched",
    category = "rekey",
    doc = "RotationSchedule says when Rekey replaces the credential of a SecretPolicy, how it makes and proves the new one, and how it retires the old one.",
    status = "RotationScheduleStatus",
    derive = "PartialEq",
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policyRef.name"),
    printcolumn(name = "Rotator", type_ = "string", json_path = ".status.rotator"),
    printcolumn(name = "Schedule", type_ = "string", json_path = ".status.schedule"),
    printcolumn(name = "Last", type_ = "date", json_path = ".status.lastRotationTime"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.nextRotationTime"),
    printcolumn(name = "Step", type_ = "string", json_path = ".status.rotation.step"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#
    ),
    printcolumn(name = "Age", type_ = "date", priority = 1, json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.writeTo) || !(has(self.rotator.awsRotation) || has(self.rotator.vaultStaticRole))")
        .message("writeTo: remove it; awsRotation and vaultStaticRole change the value in the store themselves"),
    validation = Rule::new("!has(self.writeTo) || !has(self.rotator.generate) || has(self.rotator.generate.fields)")
        .message("rotator.generate.fields: name the properties to write to writeTo, or remove writeTo if the policy's source is generated"),
    validation = Rule::new("!has(self.schedule) || !has(self.rotator.awsRotation) || self.rotator.awsRotation.mode != 'Follow'")
        .message("schedule: remove it, or set awsRotation.mode to Request; with Follow Secrets Manager decides when"),
    validation = Rule::new(
        "!has(self.schedule) || !has(self.rotator.vaultStaticRole) || self.rotator.vaultStaticRole.mode != 'Follow'"
    )
    .message("schedule: remove it, or set vaultStaticRole.mode to Request; with Follow Vault decides when")
)]
pub struct RotationScheduleSpec {
    /// The policy whose value is rotated. A policy has at most one schedule.
    pub policy_ref: LocalRef,
    /// When Rekey rotates. Absent: only on request, by the annotation `rekey.dev/rotate-requested`. Refused for rotators with `mode: Follow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// A rotation starts only inside one of these windows; one that has leaked does not wait. Default at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::WINDOWS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub windows: Vec<Window>,
    /// Where the new value goes. The store needs `access: ReadWrite`, and a `ClusterRemoteStore` a grant with `Write`. Default the
    /// policy's store and key, if it reads exactly one. Refused for `awsRotation`, `vaultStaticRole`, and `generate` without fields (the
    /// policy's source is `generated`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_to: Option<WriteTo>,
    /// How Rekey makes the new value and retires the old one. Exactly one member.
    pub rotator: Rotator,
    /// How long Rekey waits after the last consumer is current before it retires the old credential. Default 10m.
    #[serde(default = "ten_minutes")]
    pub retire_after: GoDuration,
    /// If a rotation has not started or not ended after this time, `Ready` turns False with reason `RotationOverdue`. Default 24h.
    #[serde(default = "a_day")]
    pub overdue_after: GoDuration,
    /// `Automatic` (default), or `Manual`: each rotation waits for the annotation `rekey.dev/rotation-approved` with its id, before it
    /// makes anything; one that has leaked does not wait.
    #[serde(default)]
    pub approval: Approval,
    /// True: Rekey starts no rotation. An open rotation goes on to its end. Default false.
    #[serde(default)]
    pub suspend: bool,
}

/// How long to wait before retirement if the schedule does not say.
fn ten_minutes() -> GoDuration {
    GoDuration::minutes(10)
}

/// The delay that counts as overdue if the schedule does not say.
fn a_day() -> GoDuration {
    GoDuration::hours(24)
}

/// When a rotation is due. Exactly one of `cron`, `every`, `renewBefore` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.cron), has(self.every), has(self.renewBefore)].exists_one(set, set)")
    .message("schedule: set exactly one of cron, every, renewBefore"))]
pub struct Schedule {
    /// Five cron fields (minute, hour, day of month, month, day of week), for example `0 2 * * 0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::cron")]
    pub cron: Option<String>,
    /// Time since the last rotation, for example `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<GoDuration>,
    /// Time before the current value expires, for certificates and other values with an end, for example `240h`. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<GoDuration>,
    /// Time zone of `cron`, a name such as `Europe/Berlin`. Default `UTC`.
    #[serde(default = "utc")]
    #[schemars(schema_with = "field::time_zone")]
    pub time_zone: String,
    /// Rekey puts each rotation off by up to this time, so that schedules spread; the delay is fixed for a schedule object. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<GoDuration>,
    /// True: Rekey rotates once as soon as the schedule exists. Default false: the first rotation starts when it is due.
    #[serde(default)]
    pub rotate_on_create: bool,
}

/// Where Rekey writes a new value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WriteTo {
    /// The store.
    pub store_ref: StoreRef,
    /// Key in the store, for example `shop/orders-db`. Other properties of the stored object stay.
    #[schemars(schema_with = "field::remote_key")]
    pub key: String,
}

/// Whether a rotation waits for an approval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// It does not.
    #[default]
    Automatic,
    /// It waits for the annotation `rekey.dev/rotation-approved`.
    Manual,
}
