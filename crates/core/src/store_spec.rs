//! What a `RemoteStore` or a `ClusterRemoteStore` asks for.

use rekey_api::{
    reference::{NamespaceFrom, StoreKind},
    store::{Grant, RemoteStoreSpec},
};

use crate::{
    SpecError,
    grant::Grants,
    store::{
        place::Place,
        provider::{self, Parsed, Reference},
    },
};

/// A parsed store of either kind.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    kind: StoreKind,
    /// How to connect, as a store of one namespace says it.
    pub connection: RemoteStoreSpec,
    /// From whose namespace the `ServiceAccount`s are that it logs in as.
    pub accounts: NamespaceFrom,
    /// Every address that its credentials are sent to, in order, each once.
    pub places: Vec<Place>,
    /// Who may use it. A `RemoteStore` has none: it is its namespace's.
    pub grants: Grants,
}

impl StoreSpec {
    /// Parses the spec of a store of this kind.
    ///
    /// # Errors
    /// Names the field that cannot work.
    pub fn parse(kind: StoreKind, connection: RemoteStoreSpec, grants: &[Grant]) -> Result<Self, SpecError> {
        let grants = Grants::parse(grants)?;
        let Parsed { accounts, places } = provider::parse(kind, &connection.provider, &[])?;
        Ok(Self { kind, connection, accounts, places, grants })
    }

    /// Refuses tokens that the API server itself would take. `audiences`: those of the API server beside its usual
    /// ones, which only a running operator knows.
    ///
    /// # Errors
    /// Names the field with such an audience.
    pub fn refuse_audiences(&self, audiences: &[String]) -> Result<(), SpecError> {
        provider::accounts(self.kind, &self.connection.provider, audiences).map(drop)
    }

    /// Every object that it needs to be opened and to log in.
    #[must_use]
    pub fn references(&self) -> Vec<Reference<'_>> {
        provider::references(&self.connection.provider)
    }

    /// Whether a slash before a key counts for nothing.
    #[must_use]
    pub fn is_slash_dropped(&self) -> bool {
        provider::is_slash_dropped(&self.connection.provider)
    }
}
