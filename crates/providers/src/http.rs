//! The HTTP client of all stores: one TLS stack, no redirects, no proxies but the operator's, deadlines, checked
//! addresses, bounded answers.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use rekey_api::condition::Reason;
use rekey_core::{
    SecretBytes,
    store::{Allowance, Network, StoreError, StoreErrorKind, Taken},
};
use reqwest::{
    Certificate, ClientBuilder, NoProxy, Proxy, Request,
    header::{HeaderMap, HeaderValue},
    redirect, retry,
};

use crate::address::{Guard, Refused};

/// How long a call may take, from the login it needs to the last byte of the answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(15);
/// How long making a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// The largest answer: a value of 1 MiB and what is around it.
const LARGEST: usize = 1024 * 1024 + 64 * 1024;
/// The shortest wait after a `Retry-After`: with 0, Rekey would ask without a pause.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a `Retry-After`, however long a store asks for.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

tokio::task_local! {
    /// The allowance of the call of the port that requests are made for. It is no argument, since the AWS SDK and
    /// rustify are between the call and [`send`], and pass nothing on.
    static ALLOWANCE: Allowance;
}

/// Makes the requests of one call of the port within an allowance: bytes count as they arrive, so that answers that
/// arrive side by side never exceed it together.
pub(crate) fn with_allowance<F: Future>(allowance: &Allowance, call: F) -> impl Future<Output = F::Output> {
    // Futures of the AWS SDK are large.
    ALLOWANCE.scope(allowance.clone(), Box::pin(call))
}

/// Sends requests. Copies share their connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: reqwest::Client,
    /// Checks every request; `None` for the operator's own credentials.
    guard: Option<Guard>,
    /// The user agent.
    agent: HeaderValue,
}

impl Client {
    /// The user agent of our requests, before what a library adds to it.
    pub(crate) fn agent(&self) -> &HeaderValue {
        &self.agent
    }
}

/// A client for stores; with `roots` (PEM) it trusts those certificates only, else those of the system.
///
/// # Errors
/// `Invalid` for certificates or a proxy that cannot be read.
pub(crate) fn client(network: &Network, roots: Option<&str>) -> Result<Client, StoreError> {
    let agent = agent(network)?;
    let guard = Guard::new(network);
    let mut builder = builder(&agent).https_only(!network.insecure).dns_resolver(guard.clone());
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
    let inner = builder.build().map_err(|_| {
        invalid(
            "the HTTP client cannot be created: a certificate of the CA bundle is not usable, or the system has no CA \
             certificates (set caBundle)",
        )
    })?;
    Ok(Client { inner, guard: Some(guard), agent })
}

/// A client for the operator's own AWS credentials, and nothing else. The machine hands them out at addresses that stores
/// may not have, over plain http, and not to a proxy.
///
/// # Errors
/// `Invalid` for a proxy that cannot be read.
pub(crate) fn own_client(network: &Network) -> Result<Client, StoreError> {
    let agent = agent(network)?;
    let mut builder = builder(&agent);
    if let Some(address) = &network.proxy {
        let direct = NoProxy::from_string("localhost,127.0.0.0/8,::1,169.254.0.0/16,fd00:ec2::/32");
        builder = builder.proxy(proxy(address)?.no_proxy(direct));
    }
    let inner =
        builder.build().map_err(|_| invalid("the HTTP client cannot be created: the system has no CA certificates"))?;
    Ok(Client { inner, guard: None, agent })
}

fn agent(network: &Network) -> Result<HeaderValue, StoreError> {
    let agent = if network.agent.is_empty() { "rekey" } else { &network.agent };
    HeaderValue::from_str(agent).map_err(|_| invalid("the name of this build is not printable ASCII"))
}

fn builder(agent: &HeaderValue) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(agent.clone())
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(DEADLINE)
}

fn proxy(address: &str) -> Result<Proxy, StoreError> {
    Proxy::all(address).map_err(|_| invalid("the operator flag --store-proxy is not a URL"))
}

fn invalid(text: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, text)
}

/// What a server answered.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body; it may hold values, so nothing of it goes into a text.
    pub body: SecretBytes,
    /// What the body takes of an allowance, for as long as it is held.
    pub taken: Option<Arc<Taken>>,
}

impl Answer {
    /// How long the server asks us to wait. Only the form in seconds counts.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        retry_after(self.headers.get("retry-after")?.to_str().ok()?)
    }
}

/// Reads a `Retry-After` header.
pub(crate) fn retry_after(text: &str) -> Option<Duration> {
    let digits = Some(text.trim()).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty())?;
    // More digits than this type holds: a very long wait.
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
    /// More than the allowance holds.
    TooMuch,
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

    /// The failure in the words of the port. A port that is closed, filtered, silent or without TLS, and a name that
    /// does not exist, all give the same text, so that nobody can scan the operator's network with a store. The
    /// operator's log tells them apart at debug.
    pub(crate) fn error(self, place: &str) -> StoreError {
        let (kind, text) = match self {
            Self::Timeout | Self::Connect | Self::Tls | Self::Broken => (
                StoreErrorKind::Unavailable,
                format!(
                    "{place} is not responding: check the address and the port, that the server is up, network \
                     policies, and TLS: its certificate must name this host and be signed by caBundle (without one: by \
                     a public CA)"
                ),
            ),
            Self::Address => (StoreErrorKind::Unavailable, format!("{place} {Refused}")),
            Self::TooLarge => (StoreErrorKind::Malformed, format!("{place} answered with more than 1 MiB")),
            Self::TooMuch => (StoreErrorKind::TooMuch, format!("{place} answered with more than one round may read")),
        };
        let error = StoreError::new(kind, text);
        if self == Self::Address { error.because(Reason::AddressNotAllowed) } else { error }
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
    let host = request.url().host_str().unwrap_or_default().to_owned();
    let answer = exchange(client, request).await;
    if let Err(failure) = &answer {
        tracing::debug!(host, ?failure, "a store did not respond to a request");
    }
    answer
}

async fn exchange(client: &Client, request: Request) -> Result<Answer, Failure> {
    let allowance = ALLOWANCE.try_with(Allowance::clone).ok();
    if let Some(allowance) = &allowance {
        allowance.check().map_err(|_| Failure::TooMuch)?;
        allowance.count_request();
    }
    let mut taken = allowance.map(|allowance| allowance.taken());
    let mut take = |bytes| taken.as_mut().map_or(Ok(()), |taken| taken.add(bytes).map_err(|_| Failure::TooMuch));
    if let Some(guard) = &client.guard {
        guard.look(request.url()).await.map_err(|Refused| Failure::Address)?;
    }
    let mut response = client.inner.execute(request).await.map_err(|error| Failure::of(&error))?;
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    if announced > LARGEST {
        return Err(Failure::TooLarge);
    }
    take(announced)?;
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::of(&error))? {
        let length = body.len() + chunk.len();
        if length > LARGEST {
            return Err(Failure::TooLarge);
        }
        take(length.saturating_sub(announced.max(body.len())))?;
        body.extend_from_slice(&chunk);
    }
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, body: SecretBytes::new(body), taken: taken.map(Arc::new) })
}

/// Bounds a whole call of the port.
pub(crate) async fn within<T>(place: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(Failure::Timeout.error(place)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use reqwest::Method;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn get(url: &str) -> Request {
        Request::new(Method::GET, url.parse().unwrap())
    }

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
        let network = Network::default();
        for refused in [client(&proxy, None), own_client(&proxy), client(&network, Some("no certificate"))] {
            assert_eq!(refused.err().unwrap().kind, StoreErrorKind::Invalid);
        }
    }

    #[tokio::test]
    async fn names_that_resolve_to_loopback_are_not_connected_to() {
        let client = client(&Network::default(), None).unwrap();
        assert_eq!(send(&client, get("https://localhost:1/")).await.err(), Some(Failure::Address));
        assert_eq!(send(&client, get("https://127.0.0.1:1/")).await.err(), Some(Failure::Address));
    }

    #[tokio::test]
    async fn every_request_names_us() {
        let network = Network { insecure: true, agent: "rekey/1.2.3 (abc)".to_owned(), ..Network::default() };
        for client in [client(&network, None).unwrap(), own_client(&network).unwrap()] {
            let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", open.local_addr().unwrap());
            let asked = tokio::spawn(async move {
                let mut head = [0; 1024];
                let (mut stream, _) = open.accept().await.unwrap();
                let length = stream.read(&mut head).await.unwrap();
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                String::from_utf8_lossy(&head[..length]).into_owned()
            });
            assert_eq!(send(&client, get(&url)).await.ok().map(|answer| answer.status), Some(204));
            let head = asked.await.unwrap();
            assert!(head.contains("user-agent: rekey/1.2.3 (abc)\r\n"), "{head}");
        }
        let odd = Network { agent: "a\nb".to_owned(), ..Network::default() };
        assert_eq!(client(&odd, None).err().map(|error| error.kind), Some(StoreErrorKind::Invalid));
    }

    /// The texts of a store do not distinguish ports.
    #[tokio::test]
    async fn every_way_to_get_no_answer_has_one_text() {
        let network = Network { insecure: true, ..Network::default() };
        let client = client(&network, None).unwrap();
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = open.local_addr().unwrap().port();
        let plain = tokio::spawn(async move {
            while let Ok((mut stream, _)) = open.accept().await {
                stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.ok();
            }
        });
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut texts = BTreeSet::new();
        for url in [
            format!("https://127.0.0.1:{closed}/"),
            format!("https://127.0.0.1:{port}/"),
            format!("http://127.0.0.1:{port}/"),
            "https://a-name-that-is-not-there.invalid/".to_owned(),
        ] {
            let failure = send(&client, get(&url)).await.err().unwrap();
            assert!(matches!(failure, Failure::Connect | Failure::Tls | Failure::Broken), "{url}: {failure:?}");
            texts.insert(failure.error("the store").text);
        }
        texts.insert(Failure::Timeout.error("the store").text);
        plain.abort();
        assert_eq!(texts.len(), 1, "{texts:?}");
        let text = texts.first().unwrap();
        for cause in ["port", "network policies", "caBundle"] {
            assert!(text.contains(cause), "{text}");
        }
    }
}
