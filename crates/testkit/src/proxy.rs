//! A reverse proxy that breaks the connection between the operator and a server at a chosen call.
//!
//! # Flow
//! The operator gets [`Proxy::address`] (and [`Proxy::ca_pem`] when the server speaks TLS) in place of the server's.
//! Every call that the filter picks, by default each one that changes something, gets a number, from 1 in the order of
//! arrival. [`Proxy::arm`] breaks the call of one number.
//!
//! # Guarantees
//! - A call whose fault comes before it never reaches the server; for the other faults the server's whole answer is
//!   here before the fault happens.
//! - From the moment when a call to be killed at is numbered, no later call is forwarded until the kill is done, and then
//!   all open connections are cut: nothing of the killed process arrives later.
//! - Answers stream through as they come, so that watches work.
//!
//! [`PostgresProxy`] does the same for a database.
//!
//! # Caveats
//! Clients get HTTP/1.1 and no upgrades, so `kubectl exec` does not work through it.

mod accept;
mod call;
pub mod filter;
mod gate;
mod postgres;
mod serve;
mod state;
mod tcp;
mod tls;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Context, Result, ensure};
use http::{Uri, request::Parts, uri::Scheme};

pub use call::{Call, Fault, Moment};
pub use gate::Gate;
pub use postgres::{PostgresProxy, Statement};
pub use tcp::TcpProxy;

use crate::proxy::{accept::Port, serve::Upstream, state::Shared};

/// A reverse proxy in front of one server, on a free loopback port, until it is dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    address: String,
    ca_pem: Option<String>,
    _port: Port,
}

impl Proxy {
    /// In front of a server without TLS.
    ///
    /// # Errors
    /// When `upstream` is no `http://` URL or no port is free.
    pub fn http(upstream: &str) -> Result<Self> {
        let (origin, scheme) = origin(upstream)?;
        ensure!(scheme == Scheme::HTTP, "{upstream} is no http:// URL; use Proxy::https or Proxy::kubernetes");
        Self::start(Upstream::new(origin, tls::client("", None)?), None)
    }

    /// In front of a server with TLS whose certificate `ca_pem` signed; clients authenticate with what they send.
    ///
    /// # Errors
    /// When `upstream` is no `https://` URL, the certificates cannot be read or no port is free.
    pub fn https(upstream: &str, ca_pem: &str) -> Result<Self> {
        Self::secure(upstream, tls::client(ca_pem, None)?)
    }

    /// In front of an API server, as the client of this certificate: a client certificate cannot pass a proxy, so the
    /// proxy has it, and all who come through the proxy are that client. It counts by [`filter::kubernetes`].
    ///
    /// # Errors
    /// When `upstream` is no `https://` URL, the certificates cannot be read or no port is free.
    pub fn kubernetes(upstream: &str, ca_pem: &str, client_cert_pem: &str, client_key_pem: &str) -> Result<Self> {
        let proxy = Self::secure(upstream, tls::client(ca_pem, Some((client_cert_pem, client_key_pem)))?)?;
        proxy.count(filter::kubernetes);
        Ok(proxy)
    }

    /// The URL to use in place of the server's.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The authority that signed the proxy's own certificate; nothing without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// The faults, kills and cuts, as the proxies of all protocols have them.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// Which calls get a number from now on; see [`filter`].
    pub fn count(&self, filter: impl Fn(&Parts) -> bool + Send + Sync + 'static) {
        self.shared.state().filter = Arc::new(filter);
    }

    /// The numbered calls up to now.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.state().calls.clone()
    }

    /// How many calls got no number.
    #[must_use]
    pub fn others(&self) -> u64 {
        self.shared.others.load(Ordering::SeqCst)
    }

    /// Does `fault` at the call of this number (the first is 1), once.
    pub fn arm(&self, number: u64, fault: Fault) {
        self.shared.gate.arm(number, fault);
    }

    /// Does `fault` at every call from this number on.
    pub fn arm_from(&self, number: u64, fault: Fault) {
        self.shared.gate.arm_from(number, fault);
    }

    /// Does `fault` at the next watch of each path, once a path, however watches are [counted](Proxy::count). Watches
    /// that are open go on: [`Proxy::cut`] makes the client start them again.
    pub fn arm_watches(&self, fault: Fault) {
        self.shared.state().watches = Some((fault, BTreeSet::new()));
    }

    /// The paths whose watches have had their fault.
    #[must_use]
    pub fn broken_watches(&self) -> BTreeSet<String> {
        self.shared.state().watches.as_ref().map(|(_, broken)| broken.clone()).unwrap_or_default()
    }

    /// Cancels every fault that has not happened yet.
    pub fn disarm(&self) {
        self.shared.gate.disarm();
        self.shared.state().watches = None;
    }

    /// What a kill does; it runs on a thread of its own and the call waits for its end.
    pub fn on_kill(&self, action: Box<dyn Fn() + Send + Sync>) {
        self.shared.gate.on_kill(action);
    }

    /// How many kills are over. Until then, what the client sends after [`Fault::KillAfterAnswer`] is lost.
    #[must_use]
    pub fn kills(&self) -> u64 {
        self.shared.gate.kills()
    }

    /// Cuts all connections and resets each new one at once.
    pub fn down(&self) {
        self.shared.gate.down();
    }

    /// Ends [`Proxy::down`].
    pub fn up(&self) {
        self.shared.gate.up();
    }

    /// Cuts all connections; accepts new ones.
    pub fn cut(&self) {
        self.shared.gate.cut();
    }

    fn secure(upstream: &str, client: tls::Client) -> Result<Self> {
        let (origin, scheme) = origin(upstream)?;
        ensure!(scheme == Scheme::HTTPS, "{upstream} is no https:// URL; use Proxy::http");
        Self::start(Upstream::new(origin, client), Some(tls::server()?))
    }

    fn start(upstream: Upstream, server: Option<tls::Server>) -> Result<Self> {
        let scheme = if server.is_some() { "https" } else { "http" };
        let (acceptor, ca_pem) = server.map(|server| (server.acceptor, server.ca_pem)).unzip();
        let shared = Arc::new(Shared::new(upstream));
        let port = Port::open(|listener| serve::accept(listener, acceptor, Arc::clone(&shared)))?;
        let address = format!("{scheme}://{}", port.address());
        Ok(Self { shared, address, ca_pem, _port: port })
    }
}

/// Scheme and authority of a URL.
fn origin(url: &str) -> Result<(Uri, Scheme)> {
    let parts = url.parse::<Uri>().with_context(|| format!("{url} is no URL"))?.into_parts();
    let (scheme, authority) = parts.scheme.zip(parts.authority).with_context(|| format!("{url} is no full URL"))?;
    let origin = Uri::builder().scheme(scheme.clone()).authority(authority).path_and_query("/").build()?;
    Ok((origin, scheme))
}
