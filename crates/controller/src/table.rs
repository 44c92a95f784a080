//! What is known of the cluster's objects: one row per object, by namespace, kept up to date by watches. Rows are
//! projections; whole objects are kept of our own kinds only, and never the data of a Secret.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// An object's name; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectName {
    /// A name.
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

impl crate::queue::Key for ObjectName {
    fn tenant(&self) -> &str {
        &self.namespace
    }
}

/// What a row must tell.
pub trait Row: Send + Sync + 'static {
    /// The object's resourceVersion.
    fn resource_version(&self) -> &str;
}

/// A row that came, changed or went.
#[derive(Debug)]
pub struct Change<T> {
    /// Whose.
    pub name: ObjectName,
    /// The row before.
    pub before: Option<Arc<T>>,
    /// The row now; `None`: the object is gone.
    pub now: Option<Arc<T>>,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct Table<T> {
    rows: RwLock<HashMap<String, BTreeMap<String, Arc<T>>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: RwLock::new(HashMap::new()) }
    }
}

impl<T: Row> Table<T> {
    /// One row.
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<Arc<T>> {
        self.read().get(&name.namespace)?.get(&name.name).cloned()
    }

    /// All rows of a namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<(String, Arc<T>)> {
        let rows = self.read();
        rows.get(namespace).into_iter().flatten().map(|(name, row)| (name.clone(), Arc::clone(row))).collect()
    }

    /// All rows.
    #[must_use]
    pub fn all(&self) -> Vec<(ObjectName, Arc<T>)> {
        let rows = self.read();
        rows.iter()
            .flat_map(|(namespace, rows)| {
                rows.iter()
                    .map(move |(name, row)| (ObjectName::new(namespace.as_str(), name.as_str()), Arc::clone(row)))
            })
            .collect()
    }

    /// Namespaces that have rows.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.read().keys().cloned().collect()
    }

    /// Sets a row. `None` when it was there in this version, or in a newer one, already: our own writes come back by
    /// the watch and must not count as news.
    pub fn set(&self, name: &ObjectName, row: T) -> Option<Change<T>> {
        let mut rows = self.write();
        let rows = rows.entry(name.namespace.clone()).or_default();
        if rows.get(&name.name).is_some_and(|present| !older(present.resource_version(), row.resource_version())) {
            return None;
        }
        let now = Arc::new(row);
        let before = rows.insert(name.name.clone(), Arc::clone(&now));
        Some(Change { name: name.clone(), before, now: Some(now) })
    }

    /// As [`Table::set`], for the answer of a write of ours: an object that the watch has meanwhile seen go stays gone.
    pub fn update(&self, name: &ObjectName, row: T) -> Option<Change<T>> {
        self.get(name)?;
        self.set(name, row)
    }

    /// Removes a row.
    pub fn remove(&self, name: &ObjectName) -> Option<Change<T>> {
        let mut rows = self.write();
        let of_namespace = rows.get_mut(&name.namespace)?;
        let before = of_namespace.remove(&name.name)?;
        if of_namespace.is_empty() {
            rows.remove(&name.namespace);
        }
        Some(Change { name: name.clone(), before: Some(before), now: None })
    }

    /// Removes every row of `namespace` (of all, if `None`) that is not in `present`: what a new list no longer has.
    pub fn retain(&self, namespace: Option<&str>, present: &BTreeSet<ObjectName>) -> Vec<Change<T>> {
        let gone: Vec<ObjectName> = self
            .all()
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| namespace.is_none_or(|wanted| wanted == name.namespace) && !present.contains(name))
            .collect();
        gone.iter().filter_map(|name| self.remove(name)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, BTreeMap<String, Arc<T>>>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, BTreeMap<String, Arc<T>>>> {
        self.rows.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `present` is older than `other`. Resource versions of one kind are numbers that grow
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>); others always count as news.
fn older(present: &str, other: &str) -> bool {
    match (present.parse::<u128>(), other.parse::<u128>()) {
        (Ok(present), Ok(other)) => present < other,
        _ => present != other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Versioned(&'static str);

    impl Row for Versioned {
        fn resource_version(&self) -> &str {
            self.0
        }
    }

    #[test]
    fn what_is_not_newer_is_no_news() {
        let table = Table::default();
        let name = ObjectName::new("shop", "db");
        assert!(table.set(&name, Versioned("9")).is_some());
        assert!(table.set(&name, Versioned("9")).is_none());
        assert!(table.set(&name, Versioned("8")).is_none());
        let change = table.set(&name, Versioned("10"));
        assert_eq!(change.and_then(|change| change.before).map(|row| row.0), Some("9"));
    }

    #[test]
    fn a_new_list_removes_what_it_lacks_within_its_namespace() {
        let table = Table::default();
        for (namespace, name) in [("a", "x"), ("a", "y"), ("b", "x")] {
            table.set(&ObjectName::new(namespace, name), Versioned("1"));
        }
        let gone = table.retain(Some("a"), &[ObjectName::new("a", "y")].into());
        assert_eq!(gone.into_iter().map(|change| change.name.to_string()).collect::<Vec<_>>(), ["a/x"]);
        assert_eq!(table.all().len(), 2);
        assert_eq!(table.retain(None, &BTreeSet::new()).len(), 2);
        assert!(table.namespaces().is_empty());
    }
}
