//! What the operator's settings allow for connections to stores.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

use ipnet::IpNet;

/// What the operator's settings allow for connections to stores, and how it names itself there.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Allow `http://` and all addresses (`--allow-insecure-stores`, for development).
    pub insecure: bool,
    /// Otherwise refused ranges that stores may be in, also those in `refuse` (`--allow-addresses`).
    pub allow: Vec<IpNet>,
    /// Addresses that no store may have: those of the API server.
    pub refuse: Addresses,
    /// Proxy for all stores (`--store-proxy`); Rekey never uses proxies from the environment.
    pub proxy: Option<String>,
    /// The `User-Agent` of requests. Empty: the program's name alone.
    pub agent: String,
}

/// Addresses that may change at any time; every clone shows the current ones.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<RwLock<Vec<IpAddr>>>);

impl Addresses {
    /// Replaces them.
    pub fn set(&self, addresses: Vec<IpAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Whether one of the current ones fits.
    pub fn any(&self, is_such: impl Fn(IpAddr) -> bool) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|address| is_such(*address))
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        Self(Arc::new(RwLock::new(addresses.into_iter().collect())))
    }
}
