//! How consumers are brought onto a new value.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::reference::WorkloadRef;
use crate::schedule::Window;

/// How consumers get a changed value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// `Published` (default): `Ready` is about the Secret, and its reason shows a workload that does not become healthy.
    /// `ConsumersHealthy`: `Ready` waits for the consumers, and is false when one of them does not become healthy.
    pub ready_when: ReadyWhen,
    /// How long the containers of a new pod must run without a restart before the workload counts as healthy; `minReadySeconds` wins if
    /// it is larger. Shorter than `progressDeadline`. Default 10s.
    pub stable_for: GoDuration,
    /// Which consumers Rekey restarts. `Auto` (default): those that would not see the change otherwise. `Always`: all. `Never`: none; the
    /// status shows them.
    pub restart: Restart,
    /// Workloads of the same namespace that use the Secret without referring to it. At most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = crate::bounds::NAMED_CONSUMERS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["apiVersion", "kind", "name"])
    )]
    pub consumers: Vec<WorkloadRef>,
    /// The workload that gets a new value first; the others follow when it runs steadily on it. It refers to the Secret; without such a
    /// workload nobody gets the value. Needs `immutability: Versioned` with `versions.references: Move`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<WorkloadRef>,
    /// How many workloads Rekey restarts at the same time. Default 1.
    #[schemars(range(min = 1, max = 100))]
    pub concurrency: u32,
    /// How long a restarted workload may take to become healthy. The time goes on while its containers end and start again. Default 10m.
    pub progress_deadline: GoDuration,
    /// After this time a consumer that reads mounted files again by itself counts as current. Default 2m.
    pub live_reload_grace: GoDuration,
    /// What to do when a consumer does not become healthy. `Hold` (default): stop and wait until you fix it. `RollBack`: bring all
    /// consumers back to the last value that worked, and do not try the bad one again. It needs `versions.references: Move`, or
    /// `immutability: None`, where the Secret gets the earlier value again from a kept copy.
    pub on_failure: OnFailure,
    /// Restarts start only inside one of these windows; one that has begun goes on after the window. A rotation whose reason is `Leaked`
    /// does not wait for them. Default at any time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = crate::bounds::WINDOWS), extend("x-kubernetes-list-type" = "atomic"))]
    pub windows: Vec<Window>,
}

/// How long a container must run without a restart, if the policy does not say.
pub const STABLE_FOR: GoDuration = GoDuration::seconds(10);

impl Default for Rollout {
    fn default() -> Self {
        Self {
            ready_when: ReadyWhen::Published,
            stable_for: STABLE_FOR,
            restart: Restart::Auto,
            consumers: Vec::new(),
            canary: None,
            concurrency: 1,
            progress_deadline: GoDuration::minutes(10),
            live_reload_grace: GoDuration::minutes(2),
            on_failure: OnFailure::Hold,
            windows: Vec::new(),
        }
    }
}

/// What `Ready` waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ReadyWhen {
    /// The Secret.
    #[default]
    Published,
    /// The Secret and its consumers.
    ConsumersHealthy,
}

/// Which consumers Rekey restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Restart {
    /// Those that would not see the change otherwise.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// What to do when a consumer does not become healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Stop and wait.
    #[default]
    Hold,
    /// Publish the previous value again.
    RollBack,
}
