//! Which addresses a store may have (rule X5 of `docs/security.md`): checked on the URL when a store is opened and at
//! each request, and on every address its name resolves to when a connection is made, so that neither a changed DNS
//! answer nor an API server that moves gains anything.

mod ranges;

use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rekey_api::condition::Reason;
use rekey_core::store::{Network, StoreError, StoreErrorKind};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use self::ranges::{REFUSED, is_allowed};

/// A store's address that has passed the check.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// The URL, without query and fragment.
    pub url: Url,
    /// `host:port`, for texts.
    pub place: String,
}

/// Checks the address in `field` of a store's spec.
///
/// # Errors
/// `Invalid`, naming the field and what to write instead.
pub(crate) fn check(field: &str, text: &str, network: &Network) -> Result<Address, StoreError> {
    let refuse = |why: &str| StoreError::new(StoreErrorKind::Invalid, format!("{field} {why}"));
    let url = Url::parse(text).map_err(|_| refuse("is not a URL; write https://host:port"))?;
    let refuse_place = |why: &str| refuse(why).because(Reason::AddressNotAllowed);
    match url.scheme() {
        "https" => {}
        "http" if network.insecure => {}
        "http" => {
            return Err(refuse_place("must be https:// (http:// needs the operator flag --allow-insecure-stores)"));
        }
        _ => return Err(refuse_place("must be https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not hold a user or password; credentials belong in auth"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must not have a query or fragment"));
    }
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(refuse("has no host; write https://host:port"));
    }
    if let Some(address) = literal(host).filter(|address| !is_allowed(*address, network)) {
        return Err(refuse_place(&format!("is the address {address}: {REFUSED}")));
    }
    let place = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(Address { url, place })
}

/// The address that a host is, if it is no name.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_matches(['[', ']']).parse().ok()
}

/// Names that mean the machine, its metadata or the API server wherever they are resolved. They matter only through a
/// proxy: elsewhere the addresses count.
const NAMES: [&str; 7] = [
    "ip6-localhost",
    "ip6-loopback",
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
];

fn is_refused_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below = |domain: &str| name == domain || name.ends_with(&format!(".{domain}"));
    let is_api_server = name == "kubernetes" || name == "kubernetes.default" || name.starts_with("kubernetes.default.");
    NAMES.contains(&name.as_str()) || is_below("localhost") || is_api_server
}

/// How long resolving a name may take that a proxy resolves, too.
const LOOK: Duration = Duration::from_secs(5);

/// The address is one that is refused, or the name resolves to such addresses only.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("is or resolves to a refused address: ")?;
        formatter.write_str(REFUSED)
    }
}

impl Error for Refused {}

/// Resolves names, and leaves out the addresses a store may not have.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    network: Network,
    /// The host of the operator's own proxy, which may be anywhere.
    proxy: Option<String>,
}

impl Guard {
    /// The resolver that these settings ask for.
    pub(crate) fn new(network: &Network) -> Self {
        let host = |proxy: &String| Url::parse(proxy).ok()?.host_str().map(str::to_owned);
        Self { network: network.clone(), proxy: network.proxy.as_ref().and_then(host) }
    }

    /// Checks what never reaches our resolver: an address, which may be refused only since the store was opened, and a
    /// name that a proxy resolves. The proxy may find other addresses than we do, or some where we find none: its own
    /// rules decide what it lets through.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn look(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        if let Some(address) = literal(host) {
            return if is_allowed(address, &self.network) { Ok(()) } else { Err(Refused) };
        }
        if self.network.proxy.is_none() || self.network.insecure {
            return Ok(());
        }
        if is_refused_name(host) {
            return Err(Refused);
        }
        let found = tokio::time::timeout(LOOK, tokio::net::lookup_host((host, 0))).await;
        let Ok(Ok(mut found)) = found else { return Ok(()) };
        // It may take any of them.
        if found.all(|address| is_allowed(address.ip(), &self.network)) { Ok(()) } else { Err(Refused) }
    }

    fn pass(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        if self.proxy.as_deref() == Some(name) {
            return Ok(found);
        }
        let allowed: Vec<SocketAddr> =
            found.into_iter().filter(|address| is_allowed(address.ip(), &self.network)).collect();
        if allowed.is_empty() { Err(Refused) } else { Ok(allowed) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let passed: Addrs = Box::new(guard.pass(name.as_str(), found)?.into_iter());
            Ok(passed)
        })
    }
}

#[cfg(test)]
mod tests;
