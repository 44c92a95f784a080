//! What the grants of a `ClusterRemoteStore` say at this moment: they are looked up at each use.

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::store::GrantOperation;
use rekey_core::{
    StoreSpec,
    grant::{Consumer, Target, Verdict, Wish, refusal, refusal_of_search},
    store::{Search, StoreError, StoreErrorKind},
};

use crate::{
    cluster::{
        Cluster, NamespaceRow, ObjectName,
        listings::{CLUSTER_STORES, Listing, NAMESPACES},
    },
    error::Error,
};

/// The grants of one store, seen by one namespace.
pub struct Granted<'a> {
    store: Arc<StoreSpec>,
    label: &'a str,
    namespace: &'a str,
    row: Option<Arc<NamespaceRow>>,
    labels: Listing,
}

impl<'a> Granted<'a> {
    /// Looks them up.
    ///
    /// # Errors
    /// When the store is gone, malformed, or its spec is refused.
    pub fn look(cluster: &Cluster, name: &ObjectName, label: &'a str, namespace: &'a str) -> Result<Self, Error> {
        let row = cluster.cluster_stores.get(name).ok_or_else(|| missing(cluster, label))?;
        let store = Arc::clone(row.spec().map_err(|error| Error::unusable_store(label, error))?);
        let row = cluster.labels.get(&ObjectName::new("", namespace));
        Ok(Self { store, label, namespace, row, labels: cluster.listings.get(NAMESPACES) })
    }

    /// Whether the namespace may do this.
    ///
    /// # Errors
    /// `StoreNotAllowed` when it may not.
    pub fn check(&self, wish: Wish<'_>) -> Result<(), Error> {
        let wish = match wish.target {
            Target::Key(key) => Wish { target: Target::Key(self.plain(key)), ..wish },
            Target::Engine(_) => wish,
        };
        self.answer(self.store.grants.judge(self.consumer(), wish), || refusal(self.consumer(), wish))
    }

    /// The parts of a search that may find something to read: it looks nowhere else.
    ///
    /// # Errors
    /// `StoreNotAllowed` when there is none.
    pub fn parts(&self, search: &Search) -> Result<Vec<Search>, Error> {
        let path = search.path.as_deref().map(|path| self.plain(path));
        let refused = || refusal_of_search(self.consumer(), path);
        self.answer(self.store.grants.judge_any(self.consumer(), GrantOperation::Read), refused)?;
        let paths = self.store.grants.search_paths(self.consumer(), path);
        if paths.is_empty() {
            return Err(Error::not_allowed(self.label, refused()));
        }
        let part = |path: String| Search { path: (!path.is_empty()).then_some(path), ..search.clone() };
        Ok(paths.into_iter().map(part).collect())
    }

    /// Those of the keys that may be read.
    ///
    /// # Errors
    /// When labels that are not known would decide.
    pub fn readable(&self, keys: Vec<String>) -> Result<Vec<String>, Error> {
        let readable = self.store.grants.readable(self.consumer(), keys);
        readable.map_or_else(|| self.answer(Verdict::Depends, String::new).map(|()| Vec::new()), Ok)
    }

    /// A key or path in the form that globs are written for.
    fn plain<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix('/').filter(|_| self.store.is_slash_dropped()).unwrap_or(key)
    }

    fn consumer(&self) -> Consumer<'_> {
        Consumer { namespace: self.namespace, labels: self.labels() }
    }

    /// Its labels, while a watch keeps them up to date.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.row.as_ref().filter(|_| self.labels == Listing::Done).map(|row| &row.labels)
    }

    fn answer(&self, verdict: Verdict, refused: impl FnOnce() -> String) -> Result<(), Error> {
        match (verdict, self.labels) {
            (Verdict::Granted, _) => Ok(()),
            (Verdict::Refused, _) => Err(Error::not_allowed(self.label, refused())),
            (Verdict::Depends, Listing::Refused) => Err(Error::not_allowed(
                self.label,
                "a grant selects namespaces by their labels, which Rekey may not see; let the ClusterRole rekey list \
                 and watch namespaces, or name the namespaces in the grant",
            )),
            (Verdict::Depends, Listing::Pending | Listing::Done) => Err(Error::NotKnownYet {
                what: format!("the labels of namespace {:?}, which {} grants by", self.namespace, self.label),
            }),
        }
    }
}

/// The failure of a search through grants, without what it says of the place where it met it: that may be another
/// tenant's folder.
pub fn without_place(error: &StoreError, search: &Search) -> StoreError {
    let why = match error.kind {
        StoreErrorKind::NotFound => "nothing is there",
        StoreErrorKind::Denied => "the login of the store may not list or look at all of it",
        StoreErrorKind::Throttled => "rate-limited by the store, or by its spec.limits",
        StoreErrorKind::Unavailable => "the store is not responding",
        StoreErrorKind::Conflict => "another tool changed it",
        StoreErrorKind::Invalid => {
            "the store cannot be searched like this: search below a longer find.path; check mount and kvVersion of the \
             store"
        }
        StoreErrorKind::NotSupported { .. } => "this version cannot search the store like this",
        StoreErrorKind::InvalidKey => {
            "the store cannot be searched like this: check how the path is written, and that the store has tags where \
             find.tags asks for them"
        }
        StoreErrorKind::Malformed => "the answer is not in the documented form",
        StoreErrorKind::TooMuch => "the lists are larger than one round of reading may take",
    };
    let path = search.path.as_deref().unwrap_or_default();
    StoreError::new(error.kind, format!("find.path {path:?}: {why}")).retry_after(error.retry_after)
}

/// There is no such store, or none is known yet.
pub fn missing(cluster: &Cluster, label: &str) -> Error {
    match cluster.listings.get(CLUSTER_STORES) {
        Listing::Done | Listing::Refused => Error::StoreNotFound { store: label.to_owned() },
        Listing::Pending => Error::NotKnownYet { what: label.to_owned() },
    }
}
