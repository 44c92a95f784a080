//! What is known of the cluster's objects: one row per object, by namespace, kept up to date by watches. Rows are
//! projections; whole objects are kept of our own kinds only, and never the data of a Secret.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    index::{Index, References, Referent},
    rows::Version,
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
    fn version(&self) -> Version;

    /// What it refers to: by this it is [found](Table::referring).
    fn references(&self) -> References {
        References::new()
    }

    /// Keeps what the row before has told and this one does not tell again.
    fn follow(&mut self, _before: &Self) {}
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
    namespaces: RwLock<HashMap<String, Namespace<T>>>,
}

#[derive(Debug)]
struct Namespace<T> {
    rows: BTreeMap<Box<str>, Arc<T>>,
    index: Index,
}

impl<T> Default for Namespace<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), index: Index::default() }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { namespaces: RwLock::new(HashMap::new()) }
    }
}

impl<T: Row> Table<T> {
    /// One row.
    #[must_use]
    pub fn get(&self, name: &ObjectName) -> Option<Arc<T>> {
        self.read().get(&name.namespace)?.rows.get(name.name.as_str()).cloned()
    }

    /// All rows of a namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<(String, Arc<T>)> {
        let namespaces = self.read();
        let rows = namespaces.get(namespace).into_iter().flat_map(|of_namespace| &of_namespace.rows);
        rows.map(|(name, row)| (name.to_string(), Arc::clone(row))).collect()
    }

    /// The rows of a namespace that refer to an object of it.
    #[must_use]
    pub fn referring(&self, namespace: &str, to: Referent, name: &str) -> Vec<(String, Arc<T>)> {
        let namespaces = self.read();
        let Some(Namespace { rows, index }) = namespaces.get(namespace) else {
            return Vec::new();
        };
        let found = index.referring(to, name).filter_map(|name| rows.get_key_value(name));
        found.map(|(name, row)| (name.to_string(), Arc::clone(row))).collect()
    }

    /// All rows.
    #[must_use]
    pub fn all(&self) -> Vec<(ObjectName, Arc<T>)> {
        let namespaces = self.read();
        namespaces
            .iter()
            .flat_map(|(namespace, of_namespace)| {
                let rows = of_namespace.rows.iter();
                rows.map(move |(name, row)| (ObjectName::new(namespace.as_str(), name.as_ref()), Arc::clone(row)))
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
    pub fn set(&self, name: &ObjectName, mut row: T) -> Option<Change<T>> {
        let mut namespaces = self.write();
        let Namespace { rows, index } = namespaces.entry(name.namespace.clone()).or_default();
        if let Some(present) = rows.get(name.name.as_str()) {
            if !present.version().is_before(&row.version()) {
                return None;
            }
            row.follow(present);
        }
        let now = Arc::new(row);
        let before = rows.insert(name.name.as_str().into(), Arc::clone(&now));
        let referred = before.as_deref().map(Row::references).unwrap_or_default();
        index.update(&name.name, &referred, &now.references());
        Some(Change { name: name.clone(), before, now: Some(now) })
    }

    /// As [`Table::set`], for the answer of a write of ours: an object that the watch has meanwhile seen go stays gone.
    pub fn update(&self, name: &ObjectName, row: T) -> Option<Change<T>> {
        self.get(name)?;
        self.set(name, row)
    }

    /// Removes a row.
    pub fn remove(&self, name: &ObjectName) -> Option<Change<T>> {
        let mut namespaces = self.write();
        let Namespace { rows, index } = namespaces.get_mut(&name.namespace)?;
        let before = rows.remove(name.name.as_str())?;
        index.update(&name.name, &before.references(), &References::new());
        if rows.is_empty() {
            namespaces.remove(&name.namespace);
        }
        Some(Change { name: name.clone(), before: Some(before), now: None })
    }

    /// Removes every row of `namespace` (of all, if `None`) that is not wanted: what a new list no longer has.
    pub fn retain(&self, namespace: Option<&str>, wanted: impl Fn(&ObjectName) -> bool) -> Vec<Change<T>> {
        let mut gone = Vec::new();
        for (of, Namespace { rows, .. }) in self.read().iter() {
            if namespace.is_none_or(|only| only == of) {
                let names = rows.keys().map(|name| ObjectName::new(of.as_str(), name.as_ref()));
                gone.extend(names.filter(|name| !wanted(name)));
            }
        }
        gone.iter().filter_map(|name| self.remove(name)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Namespace<T>>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Namespace<T>>> {
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Versioned(&'static str);

    impl Row for Versioned {
        fn version(&self) -> Version {
            Version::new(self.0)
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

    struct Refers(&'static str, &'static str);

    impl Row for Refers {
        fn version(&self) -> Version {
            Version::new(self.0)
        }

        fn references(&self) -> References {
            [(Referent::Secret, self.1.to_owned())].into()
        }
    }

    #[test]
    fn rows_are_found_by_what_they_refer_to() {
        let table = Table::default();
        let found = |secret: &str| {
            let rows = table.referring("shop", Referent::Secret, secret).into_iter();
            rows.map(|(name, _)| name).collect::<Vec<_>>()
        };
        table.set(&ObjectName::new("shop", "x"), Refers("1", "db"));
        table.set(&ObjectName::new("shop", "y"), Refers("1", "db"));
        table.set(&ObjectName::new("other", "z"), Refers("1", "db"));
        assert_eq!(found("db"), ["x", "y"]);
        table.set(&ObjectName::new("shop", "x"), Refers("2", "cache"));
        table.remove(&ObjectName::new("shop", "y"));
        assert_eq!((found("db"), found("cache")), (vec![], vec!["x".to_owned()]));
    }

    #[test]
    fn a_new_list_removes_what_it_lacks_within_its_namespace() {
        let table = Table::default();
        for (namespace, name) in [("a", "x"), ("a", "y"), ("b", "x")] {
            table.set(&ObjectName::new(namespace, name), Versioned("1"));
        }
        let gone = table.retain(Some("a"), |name| name.name == "y");
        assert_eq!(gone.into_iter().map(|change| change.name.to_string()).collect::<Vec<_>>(), ["a/x"]);
        assert_eq!(table.all().len(), 2);
        assert_eq!(table.retain(None, |_| false).len(), 2);
        assert!(table.namespaces().is_empty());
    }
}
