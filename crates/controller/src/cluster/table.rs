//! What is known of the cluster's objects: one row per object, by namespace, kept up to date by watches. Rows are
//! projections; whole objects are kept of our own kinds only, and never the data of a Secret.

mod late;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

pub use self::late::Writing;
use self::late::{Gone, Writes};
use super::{ObjectName, References, Referent, Version, index::Index};

/// What every row has.
pub trait Row: Send + Sync + 'static {
    /// The object's resourceVersion.
    fn version(&self) -> Version;

    /// What it refers to: by this it is [found](Table::referring).
    fn references(&self) -> References {
        References::new()
    }

    /// Keeps what the row before has shown and this one does not show.
    fn follow(&mut self, _before: &Self) {}
}

/// A row that came, changed or went.
#[derive(Debug)]
pub struct Change<T> {
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
    writes: Writes,
}

/// What the answer to a write of ours has brought.
#[derive(Debug)]
pub enum Answer<T> {
    /// Something new.
    News(Change<T>),
    /// What the watch has brought before.
    Known,
    /// Of an object that has gone since.
    Late,
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
        Self { namespaces: RwLock::new(HashMap::new()), writes: Writes::default() }
    }
}

impl<T: Row> Table<T> {
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

    /// The rows of a namespace whose names start with `prefix` and that are wanted, in the order of their names. Only those
    /// with the prefix are looked at.
    #[must_use]
    pub fn starting(
        &self,
        namespace: &str,
        prefix: &str,
        is_wanted: impl Fn(&str, &T) -> bool,
    ) -> Vec<(String, Arc<T>)> {
        let namespaces = self.read();
        let rows = namespaces.get(namespace).map(|of_namespace| &of_namespace.rows);
        let from_there = rows.map(|rows| rows.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)));
        let found = from_there.into_iter().flatten().take_while(|(name, _)| name.starts_with(prefix));
        let wanted = found.filter(|(name, row)| is_wanted(name, row));
        wanted.map(|(name, row)| (name.to_string(), Arc::clone(row))).collect()
    }

    /// The rows of a namespace that refer to an object whose name starts with `prefix` and is meant, each once.
    #[must_use]
    pub fn referring_to_any(
        &self,
        namespace: &str,
        to: Referent,
        prefix: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Vec<(String, Arc<T>)> {
        let namespaces = self.read();
        let Some(Namespace { rows, index }) = namespaces.get(namespace) else {
            return Vec::new();
        };
        let found = index.referring_to_any(to, prefix, is_meant).into_iter();
        let found = found.filter_map(|name| rows.get_key_value(name));
        found.map(|(name, row)| (name.to_string(), Arc::clone(row))).collect()
    }

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
    pub fn set(&self, name: &ObjectName, row: T) -> Option<Change<T>> {
        self.write().entry(name.namespace.clone()).or_default().set(name, row)
    }

    /// As [`Table::set`], for the answer of a write of ours to an object that was there: one that the watch has
    /// meanwhile seen go stays gone.
    pub fn update(&self, name: &ObjectName, row: T) -> Option<Change<T>> {
        let mut namespaces = self.write();
        let namespace = namespaces.get_mut(&name.namespace)?;
        namespace.rows.get(name.name.as_str())?;
        namespace.set(name, row)
    }

    /// Starts a write that may make its object.
    pub fn writing(&self, name: &ObjectName) -> Writing<'_> {
        self.writes.start(name)
    }

    /// As [`Table::update`], for the answer of such a write.
    pub fn answer(&self, writing: &Writing<'_>, row: T) -> Answer<T> {
        let mut namespaces = self.write();
        if writing.is_late(&row.version()) {
            return Answer::Late;
        }
        let news = namespaces.entry(writing.name.namespace.clone()).or_default().set(&writing.name, row);
        news.map_or(Answer::Known, Answer::News)
    }

    /// Removes a row, whose object has gone in this version. A row of a later one is another object, made since: two
    /// watches may report one object, and one of them late.
    pub fn remove(&self, name: &ObjectName, version: Version) -> Option<Change<T>> {
        self.go(name, Gone::At(version))
    }

    fn go(&self, name: &ObjectName, gone: Gone) -> Option<Change<T>> {
        let mut namespaces = self.write();
        let at = match &gone {
            Gone::At(version) => Some(version.clone()),
            Gone::Unlisted => None,
        };
        self.writes.mark(name, gone);
        let Namespace { rows, index } = namespaces.get_mut(&name.namespace)?;
        if let Some(at) = at
            && rows.get(name.name.as_str()).is_some_and(|row| at.is_before(&row.version()))
        {
            return None;
        }
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
        let is_elsewhere = |name: &ObjectName| namespace.is_some_and(|only| only != name.namespace);
        self.writes.mark_all(|name| is_elsewhere(name) || wanted(name));
        gone.iter().filter_map(|name| self.go(name, Gone::Unlisted)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Namespace<T>>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Namespace<T>>> {
        self.namespaces.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Row> Namespace<T> {
    fn set(&mut self, name: &ObjectName, mut row: T) -> Option<Change<T>> {
        if let Some(present) = self.rows.get(name.name.as_str()) {
            if !present.version().is_before(&row.version()) {
                return None;
            }
            row.follow(present);
        }
        let now = Arc::new(row);
        let before = self.rows.insert(name.name.as_str().into(), Arc::clone(&now));
        let referred = before.as_deref().map(Row::references).unwrap_or_default();
        self.index.update(&name.name, &referred, &now.references());
        Some(Change { name: name.clone(), before, now: Some(now) })
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

    #[test]
    fn an_answer_that_comes_late_brings_nothing_back() {
        let name = ObjectName::new("shop", "db");
        let told = |before: &[&'static str], gone: &dyn Fn(&Table<Versioned>), answer: &'static str| {
            let table = Table::default();
            let writing = table.writing(&name);
            for version in before {
                table.set(&name, Versioned(version));
            }
            gone(&table);
            let told = table.answer(&writing, Versioned(answer));
            drop(writing);
            assert!(table.writes.is_idle(), "what nobody waits for is forgotten");
            let shown = match told {
                Answer::News(_) => "news",
                Answer::Known => "known",
                Answer::Late => "late",
            };
            (shown, table.get(&name).is_some())
        };
        let deleted = |table: &Table<Versioned>| drop(table.remove(&ObjectName::new("shop", "db"), Version::new("7")));
        let unlisted = |table: &Table<Versioned>| drop(table.retain(Some("shop"), |_| false));
        let nothing = |_: &Table<Versioned>| {};
        assert_eq!(told(&[], &nothing, "6"), ("news", true));
        assert_eq!(told(&["6"], &nothing, "6"), ("known", true), "the watch was faster");
        assert_eq!(told(&["6"], &deleted, "6"), ("late", false), "it was made, seen and deleted before the answer");
        assert_eq!(told(&["5"], &deleted, "6"), ("late", false));
        assert_eq!(told(&["5"], &deleted, "8"), ("news", true), "another object, made after the old one went");
        assert_eq!(told(&["6"], &unlisted, "6"), ("late", false));
        assert_eq!(told(&[], &unlisted, "6"), ("late", false), "it came and went while no watch ran");
        let elsewhere = |table: &Table<Versioned>| drop(table.retain(Some("other"), |_| false));
        assert_eq!(told(&["5"], &elsewhere, "6"), ("news", true));
        let again = |table: &Table<Versioned>| {
            deleted(table);
            drop(table.set(&ObjectName::new("shop", "db"), Versioned("9")));
        };
        assert_eq!(told(&["5"], &again, "6"), ("late", true), "what is there now stays");
    }

    #[test]
    fn a_late_word_of_another_watch_removes_nothing_that_was_made_since() {
        let (table, name) = (Table::default(), ObjectName::new("shop", "db"));
        table.set(&name, Versioned("12"));
        assert!(table.remove(&name, Version::new("10")).is_none() && table.get(&name).is_some());
        assert!(table.remove(&name, Version::new("12")).is_some() && table.get(&name).is_none());
    }

    #[test]
    fn the_answer_to_a_change_of_what_has_gone_is_no_news() {
        let (table, name) = (Table::default(), ObjectName::new("shop", "db"));
        table.set(&name, Versioned("5"));
        assert!(table.update(&name, Versioned("6")).is_some());
        table.remove(&name, Version::new("8"));
        assert!(table.update(&name, Versioned("7")).is_none() && table.get(&name).is_none());
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
        table.remove(&ObjectName::new("shop", "y"), Version::new("2"));
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
