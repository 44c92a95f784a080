//! What the operator may do in a namespace.

/// Whether a namespace is opened to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceAccess {
    /// It has not been asked about yet, or its first lists are under way.
    Pending,
    /// The operator has no rights there.
    Closed,
    /// Its Secrets and workloads are known.
    Open,
}
