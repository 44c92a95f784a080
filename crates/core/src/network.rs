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
    /// Ranges that stores may be in although they are refused otherwise, also by `refuse` (`--allow-addresses`).
    pub allow: Vec<IpNet>,
    /// Addresses that no store may have: those of the API server.
    pub refuse: Addresses,
    /// Proxy for all stores (`--store-proxy`); the environment's proxies are never used.
    pub proxy: Option<String>,
    /// How requests name us (`User-Agent`). Empty: by the program's name alone.
    pub agent: String,
}

/// Addresses that may change at any time; every copy shows those of now.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<RwLock<Vec<IpAddr>>>);

impl Addresses {
    /// From now on they are these.
    pub fn set(&self, addresses: Vec<IpAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// Whether one of those of now is such.
    pub fn any(&self, is_such: impl Fn(IpAddr) -> bool) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|address| is_such(*address))
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        Self(Arc::new(RwLock::new(addresses.into_iter().collect())))
    }
}
