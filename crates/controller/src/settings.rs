//! What the command line says, and what was found at the start.

use chrono::{DateTime, Utc};

use rekey_core::rollout::Limits;

/// Settings from the command line.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only these namespaces; empty: all.
    pub namespaces: Vec<String>,
    /// The operator's own namespace.
    pub operator_namespace: String,
    /// The flag of `kubectl create rolebinding` that names the operator, for messages.
    pub account: String,
    /// Reconciles of one kind at the same time.
    pub concurrency: usize,
    /// Rollouts at the same time.
    pub rollouts: Limits,
    /// Whether a credential Secret must carry `rekey.dev/usable-by`.
    pub require_consent: bool,
    /// Whether a `RemoteStore` without credentials may use the operator's own.
    pub allow_ambient_credentials: bool,
    /// Whether what is not yet proven safe may be used.
    pub allow_alpha: bool,
    /// Audiences of the API server beside its usual ones.
    pub api_audiences: Vec<String>,
    /// Name of this process, for Events.
    pub instance: String,
    /// When the leader before this one was alive last: what was there then, it has seen.
    pub predecessor: Option<DateTime<Utc>>,
}
