//! The HTTP client of all stores: one TLS stack, no redirects, no proxies but the operator's, deadlines, checked
//! addresses, bounded answers.

use std::{error::Error, fmt, io, time::Duration};

use rekey_core::{
    SecretBytes,
    store::{Network, StoreError, StoreErrorKind},
};
use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Proxy, Request, header::HeaderMap, redirect, retry};

use crate::address::{Guard, Refused};

/// How long a call may take, from the login it needs to the last byte of the answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer: a value of 1 MiB and what is around it.
const LARGEST: usize = 1024 * 1024 + 64 * 1024;
/// The shortest wait that a store's wish is taken for: `Retry-After: 0` would have it asked without end.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait a store may ask for.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// A client for stores; with `roots` (PEM) it trusts those certificates only, else those of the system.
///
/// # Errors
/// `Invalid` for certificates or a proxy that cannot be read.
pub(crate) fn client(network: &Network, roots: Option<&str>) -> Result<Client, StoreError> {
    let mut builder = builder().https_only(!network.insecure).dns_resolver(Guard::new(network));
    if let Some(address) = &network.proxy {
        builder = builder.proxy(proxy(address)?);
    }
    if let Some(pem) = roots {
        let certificates = Certificate::from_pem_bundle(pem.as_bytes())
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| invalid("the CA bundle holds no readable PEM certificate"))?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|_| invalid("no HTTP client could be made: a certificate of the CA bundle is not usable, or the system has no CA certificates (set caBundle)"))
}

/// A client for the operator's own AWS credentials, and nothing else. The machine hands them out at addresses that stores
/// may not have, over plain http, and not to a proxy.
///
/// # Errors
/// `Invalid` for a proxy that cannot be read.
pub(crate) fn own_client(network: &Network) -> Result<Client, StoreError> {
    let mut builder = builder();
    if let Some(address) = &network.proxy {
        let direct = NoProxy::from_string("localhost,127.0.0.0/8,::1,169.254.0.0/16,fd00:ec2::/32");
        builder = builder.proxy(proxy(address)?.no_proxy(direct));
    }
    builder.build().map_err(|_| invalid("no HTTP client could be made: the system has no CA certificates"))
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("rekey/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(DEADLINE)
}

fn proxy(address: &str) -> Result<Proxy, StoreError> {
    Proxy::all(address).map_err(|_| invalid("the operator's --store-proxy is not a URL"))
}

fn invalid(text: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text)
}

/// What a server answered.
pub(crate) struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; it may hold values, so nothing of it goes into a text.
    pub body: SecretBytes,
}

impl Answer {
    /// How long the server asks us to wait. Only the form in seconds is understood.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers.get("retry-after")?.to_str().ok()?)
    }
}

/// Reads a `Retry-After` header.
pub(crate) fn retry_after(text: &str) -> Option<Duration> {
    let digits = Some(text.trim()).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty())?;
    // Digits that are no number of this size are too many.
    let seconds = digits.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(seconds).clamp(SHORTEST_WAIT, LONGEST_WAIT))
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Not in time.
    Timeout,
    /// No connection.
    Connect,
    /// The name resolves to an address that is refused.
    Address,
    /// The handshake failed.
    Tls,
    /// More than [`LARGEST`] bytes.
    TooLarge,
    /// The connection broke, or it was not HTTP.
    Broken,
}

impl Failure {
    fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        if find::<Refused>(error).is_some() {
            return Self::Address;
        }
        if causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>()).any(is_handshake) {
            return Self::Tls;
        }
        if error.is_connect() { Self::Connect } else { Self::Broken }
    }

    /// The failure in the words of the port.
    pub(crate) fn error(self, place: &str) -> StoreError {
        let (kind, text) = match self {
            Self::Timeout => (StoreErrorKind::Unavailable, format!("{place} did not answer in time")),
            Self::Connect => (
                StoreErrorKind::Unavailable,
                format!("no connection to {place}: check the address, that it is up, and network policies"),
            ),
            Self::Address => (StoreErrorKind::Unavailable, format!("the name of {place} {Refused}")),
            Self::Tls => (
                StoreErrorKind::Unavailable,
                format!(
                    "TLS with {place} failed: check that it speaks TLS, that its certificate names this host and is \
                     signed by caBundle (without one: by a public CA)"
                ),
            ),
            Self::TooLarge => (StoreErrorKind::Malformed, format!("{place} answered with more than 1 MiB")),
            Self::Broken => (StoreErrorKind::Unavailable, format!("the connection to {place} broke")),
        };
        StoreError::new(kind, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.error("the store").text)
    }
}

impl Error for Failure {}

/// Whether rustls made this error.
fn is_handshake(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// The error and all that caused it; an I/O error's `source` passes over the error in it.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inside) => Some(inside),
            None => error.source(),
        };
        Some(error)
    })
}

/// The first error of type `E` among the causes of an error.
pub(crate) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Sends a request and reads the answer, never more of it than is allowed.
pub(crate) async fn send(client: &Client, request: Request) -> Result<Answer, Failure> {
    let mut response = client.execute(request).await.map_err(|error| Failure::of(&error))?;
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if announced > LARGEST {
        return Err(Failure::TooLarge);
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        if body.len() + chunk.len() > LARGEST {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body: SecretBytes::new(body) })
}

/// Bounds a whole call of the port.
pub(crate) async fn within<T>(place: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(Failure::Timeout.error(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        let table = [
            ("7", Some(Duration::from_secs(7))),
            (" 7 ", Some(Duration::from_secs(7))),
            ("0", Some(SHORTEST_WAIT)),
            ("86400", Some(LONGEST_WAIT)),
            ("9000000000000000", Some(LONGEST_WAIT)),
            ("99999999999999999999999", Some(LONGEST_WAIT)),
            ("-1", None),
            ("+7", None),
            ("7.5", None),
            ("1e300", None),
            ("NaN", None),
            ("", None),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ];
        for (text, wait) in table {
            assert_eq!(retry_after(text), wait, "{text}");
        }
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let proxy = Network { proxy: Some("::".into()), ..Network::default() };
        assert_eq!(client(&proxy, None).unwrap_err().kind, StoreErrorKind::Invalid);
        assert_eq!(client(&Network::default(), Some("no certificate")).unwrap_err().kind, StoreErrorKind::Invalid);
    }

    #[tokio::test]
    async fn names_that_resolve_to_loopback_are_not_connected_to() {
        let client = client(&Network::default(), None).unwrap();
        let request = client.get("https://localhost:1/").build().unwrap();
        assert_eq!(send(&client, request).await.err(), Some(Failure::Address));
    }
}
