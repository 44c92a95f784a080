//! What Rekey knows about a schedule and its rotations.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{field, is_unseen};

/// What Rekey saw of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationScheduleStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::generation")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Reconciling`, `Stalled` and `Rotated`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "field::conditions")]
    pub conditions: Vec<Condition>,
    /// The rotator in a word, for example `postgres`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub rotator: Option<String>,
    /// The schedule in a word, for example `0 2 * * 0 Europe/Berlin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub schedule: Option<String>,
    /// When the last rotation completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation_time: Option<Time>,
    /// When the next rotation is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::future_time")]
    pub next_rotation_time: Option<String>,
    /// Value of `rekey.dev/rotate-requested` that Rekey handled last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub last_handled_rotate: Option<String>,
    /// The open rotation; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationProgress>,
    /// Past rotations, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::STATUS_HISTORY))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["id".to_owned()]))]
    pub history: Vec<RotationHistory>,
}

impl RotationScheduleStatus {
    /// Whether the operator has not looked at the object yet: a request on it may come from an earlier object of this name.
    #[must_use]
    pub fn is_unseen(&self) -> bool {
        is_unseen(self.observed_generation)
    }
}

/// The open rotation. A copy for people and for the policy: Rekey reads again what a step relies on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationProgress {
    /// Id of the rotation (`UUIDv7`).
    #[schemars(schema_with = "field::token")]
    pub id: String,
    /// The step in progress.
    pub step: RotationStep,
    /// When the rotation started.
    pub started_at: Time,
    /// When the step in progress started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_started_at: Option<Time>,
    /// How often Rekey has tried the step in progress.
    #[serde(default)]
    #[schemars(schema_with = "field::count")]
    pub attempts: u32,
    /// When Rekey retries the step, after a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::future_time")]
    pub next_attempt_time: Option<String>,
    /// Why the rotation started.
    pub reason: RotationReason,
    /// Who requested it: the field manager that set the annotation. Absent when the schedule started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub requested_by: Option<String>,
    /// What the step does or waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::message")]
    pub message: Option<String>,
    /// Key in the store that gets the new value. When `version` is set, the policy reads it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = crate::bounds::REMOTE_KEY))]
    pub key: Option<String>,
    /// Version of the key that holds the new value, set when it is the store's current version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub version: Option<String>,
    /// Properties of the key that get new values, set with `version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::PROPERTIES), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub properties: Vec<String>,
    /// Keyed digest of the new values, set with `version`: the policy records it on its Secret when it has published them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub digest: Option<String>,
    /// Revision with the old credential. Before Rekey retires the credential, the policy acknowledges that in `deadRevisions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub retiring_revision: Option<String>,
    /// Steps so far, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ROTATION_STEPS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub steps: Vec<RotationStepRecord>,
}

/// A step of a rotation. It is complete only when Rekey has seen its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RotationStep {
    /// Rekey makes the new value and records it; nothing uses it yet.
    Preparing,
    /// Rekey gives the new value to the target system.
    Applying,
    /// Rekey logs in with it.
    Verifying,
    /// Rekey writes it to the store, and the policy publishes it.
    Publishing,
    /// Consumers move to it.
    RollingOut,
    /// Rekey checks that no pod uses the old value any more, and waits `retireAfter` where there is something to retire.
    Settling,
    /// Rekey retires the old value.
    Retiring,
    /// Waits for an approval.
    AwaitingApproval,
    /// Waits for a window.
    AwaitingWindow,
    /// Waits for you: Rekey does not know that the next step is safe.
    Held,
    /// The old value is back in consumers, Secret and store.
    RolledBack,
    /// A newer rotation took over.
    Superseded,
    /// Retries are used up.
    Failed,
}

impl RotationStep {
    /// The name as it stands in status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Applying => "Applying",
            Self::Verifying => "Verifying",
            Self::Publishing => "Publishing",
            Self::RollingOut => "RollingOut",
            Self::Settling => "Settling",
            Self::Retiring => "Retiring",
            Self::AwaitingApproval => "AwaitingApproval",
            Self::AwaitingWindow => "AwaitingWindow",
            Self::Held => "Held",
            Self::RolledBack => "RolledBack",
            Self::Superseded => "Superseded",
            Self::Failed => "Failed",
        }
    }
}

/// A step and when it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationStepRecord {
    /// The step.
    pub step: RotationStep,
    /// When it started.
    pub started_at: Time,
}

/// Why a rotation started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RotationReason {
    /// It was due.
    Schedule,
    /// It was due while the operator was not running.
    CatchUp,
    /// The schedule was created with `rotateOnCreate`.
    Created,
    /// A user requested it.
    Requested,
    /// A user requested it because the value leaked.
    Leaked,
    /// The value was about to expire.
    Expiry,
    /// The store or another tool rotated the value.
    Followed,
}

/// A past rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationHistory {
    /// Id of the rotation (`UUIDv7`).
    #[schemars(schema_with = "field::token")]
    pub id: String,
    /// Why it started.
    pub reason: RotationReason,
    /// Who requested it: the field manager that set the annotation. Absent when the schedule started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::token")]
    pub requested_by: Option<String>,
    /// When it started.
    pub started_at: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How it ended.
    pub outcome: RotationOutcome,
    /// More about the outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "field::message")]
    pub message: Option<String>,
    /// Its steps, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::ROTATION_STEPS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub steps: Vec<RotationStepRecord>,
}

/// How a rotation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RotationOutcome {
    /// The new value is in use and the old one is retired.
    Completed,
    /// The old value is back.
    RolledBack,
    /// A newer rotation took over.
    Superseded,
    /// Rekey gave it up before it changed anything.
    Abandoned,
    /// Retries are used up.
    Failed,
}
