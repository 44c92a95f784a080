//! What the grants of a `ClusterRemoteStore` say at this moment: they are looked up at each use.

use std::{collections::BTreeMap, sync::Arc};

use rekey_api::{ClusterRemoteStore, store::GrantOperation};
use rekey_core::grant::{Consumer, Grants, Verdict, Wish, refusal, refusal_of_search};

use crate::{
    context::Context,
    error::Error,
    listings::{CLUSTER_STORES, Listing, NAMESPACES},
    rows::NamespaceRow,
    table::ObjectName,
};

/// The grants of one store, seen by one namespace.
pub struct Granted<'a> {
    grants: Grants,
    label: &'a str,
    namespace: &'a str,
    row: Option<Arc<NamespaceRow>>,
    labels: Listing,
}

impl<'a> Granted<'a> {
    /// Looks them up.
    ///
    /// # Errors
    /// When the store is gone or malformed.
    pub fn look(ctx: &Context, name: &ObjectName, label: &'a str, namespace: &'a str) -> Result<Self, Error> {
        let row = ctx.known.cluster_stores.get(name).ok_or_else(|| missing(ctx, label))?;
        let store = row.parsed.as_ref().map_err(|text| Error::malformed_store(label, text))?;
        let grants = grants(store).map_err(|error| Error::not_allowed(label, error))?;
        let row = ctx.known.namespaces.get(&ObjectName::new("", namespace));
        Ok(Self { grants, label, namespace, row, labels: ctx.listings.get(NAMESPACES) })
    }

    /// Whether the namespace may do this with this key.
    ///
    /// # Errors
    /// `StoreNotAllowed` when it may not.
    pub fn check(&self, key: &str, operation: GrantOperation) -> Result<(), Error> {
        let wish = Wish { key, operation };
        self.answer(self.grants.judge(self.consumer(), wish), || refusal(self.consumer(), wish))
    }

    /// Whether the namespace may read anything.
    ///
    /// # Errors
    /// `StoreNotAllowed` when it may not.
    pub fn check_search(&self) -> Result<(), Error> {
        let verdict = self.grants.judge_any(self.consumer(), GrantOperation::Read);
        self.answer(verdict, || refusal_of_search(self.consumer()))
    }

    /// Those of the keys that may be read.
    ///
    /// # Errors
    /// When labels would tell that are not known.
    pub fn readable(&self, keys: Vec<String>) -> Result<Vec<String>, Error> {
        let readable = self.grants.readable(self.consumer(), keys);
        readable.map_or_else(|| self.answer(Verdict::Depends, String::new).map(|()| Vec::new()), Ok)
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
                "a grant selects namespaces by their labels, which Rekey may not see; let the ClusterRole rekey list and \
                 watch namespaces, or name the namespaces in the grant",
            )),
            (Verdict::Depends, Listing::Pending | Listing::Done) => Err(Error::NotKnownYet {
                what: format!("the labels of namespace {:?}, which {} grants by", self.namespace, self.label),
            }),
        }
    }
}

/// The parsed grants.
///
/// # Errors
/// When they cannot be meant.
pub fn grants(store: &ClusterRemoteStore) -> Result<Grants, rekey_core::SpecError> {
    Grants::parse(&store.spec.grants)
}

/// There is no such store, or none is known yet.
pub fn missing(ctx: &Context, label: &str) -> Error {
    match ctx.listings.get(CLUSTER_STORES) {
        Listing::Done | Listing::Refused => Error::StoreNotFound { store: label.to_owned() },
        Listing::Pending => Error::NotKnownYet { what: label.to_owned() },
    }
}
