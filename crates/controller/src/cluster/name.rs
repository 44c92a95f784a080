//! How objects and rows are named.

use rekey_core::workload::{Kind, WorkloadId};

/// An object's name; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: String,
    pub name: String,
}

impl ObjectName {
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.namespace.is_empty() {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, "{}/{}", self.namespace, self.name)
        }
    }
}

/// The name of a workload's row: tables have one name per object, and kinds share theirs.
#[must_use]
pub fn workload_name(id: &WorkloadId) -> ObjectName {
    ObjectName::new(id.namespace.as_str(), row_name(id.kind, &id.name))
}

/// The same within its namespace.
#[must_use]
pub fn row_name(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.as_str())
}
