//! What the command line says.

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
    /// Whether a credential Secret must carry `rekey.dev/usable-by`.
    pub require_consent: bool,
    /// Whether a `RemoteStore` without credentials may use the operator's own.
    pub allow_ambient_credentials: bool,
    /// Audiences of the API server beside its usual ones.
    pub api_audiences: Vec<String>,
    /// Name of this process, for Events.
    pub instance: String,
}
