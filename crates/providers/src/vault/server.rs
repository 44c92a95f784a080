//! Requests to a server, and what its statuses mean.
//!
//! The endpoints (method, path, query, body) are those of [`vaultrs::api`], sent through [`Caller`], which is rustify's
//! client over our own transport. We use nothing of vaultrs' own client: it logs what servers answer, reads the
//! environment, buffers answers of any size, and has no place for `Retry-After`.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response, Uri};
use rekey_api::condition::Reason;
use rekey_core::{
    SecretBytes,
    store::{StoreError, StoreErrorKind, Taken},
};
use reqwest::{
    Url,
    header::{CONTENT_TYPE, HeaderValue},
};
use rustify::{
    client::Client as _,
    endpoint::{Endpoint, MiddleWare},
    errors::ClientError,
};

use super::{paths, wire};
use crate::http::{Answer, Client, Failure, send};

/// A server, and the namespace we speak to on it.
pub(super) struct Server {
    client: Client,
    base: Url,
    /// The scheme, host and port of `base`.
    origin: String,
    namespace: Option<HeaderValue>,
    /// `host:port`, for texts.
    pub place: String,
}

impl Server {
    /// The server at `address`.
    ///
    /// # Errors
    /// `Invalid` for a namespace that cannot be one.
    pub(super) fn new(
        client: Client,
        address: crate::address::Address,
        namespace: Option<&str>,
    ) -> Result<Self, StoreError> {
        let namespace = namespace.map(header).transpose()?.flatten();
        let origin = address.url.origin().ascii_serialization();
        Ok(Self { client, base: address.url, origin, namespace, place: address.place })
    }

    /// Calls an endpoint; an answer of any status is `Ok`.
    ///
    /// This is `Endpoint::exec` in its two steps: as one, it logs each failure as an error, and we report failures in
    /// one place.
    pub(super) async fn call(
        &self,
        token: Option<&SecretBytes>,
        endpoint: impl Endpoint,
    ) -> Result<Answer, StoreError> {
        let caller = Caller { server: self, token };
        let request = endpoint.request(caller.base()).map_err(|_| self.unbuilt())?;
        let (head, body) = caller.execute(request).await.map_err(|error| self.unsent(error))?.into_parts();
        let (status, size) = (head.status.as_u16(), head.extensions.get::<Arc<Taken>>().cloned());
        Ok(Answer { status, headers: head.headers, body: SecretBytes::new(body), taken: size })
    }

    /// The URL of what `asked` names by its path and query. vaultrs has no API version and no address with a path, so
    /// we put both before it.
    fn url(&self, asked: &Uri) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/v1{}", self.base.path().trim_end_matches('/'), asked.path()));
        url.set_query(asked.query().filter(|query| !query.is_empty()));
        url
    }

    fn outgoing(&self, request: Request<Vec<u8>>, token: Option<&SecretBytes>) -> Result<reqwest::Request, StoreError> {
        let (asked, body) = request.into_parts();
        let mut request = reqwest::Request::new(asked.method, self.url(&asked.uri));
        let headers = request.headers_mut();
        headers.insert("x-vault-request", HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert("x-vault-namespace", namespace.clone());
        }
        if let Some(token) = token {
            let mut value = HeaderValue::from_bytes(token.expose()).map_err(|_| {
                let text = format!("the token for {} has characters that no token may have", self.place);
                StoreError::new(StoreErrorKind::Invalid, text).because(Reason::InvalidCredentials)
            })?;
            value.set_sensitive(true);
            headers.insert("x-vault-token", value);
        }
        if !body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.into());
        }
        Ok(request)
    }

    fn unbuilt(&self) -> StoreError {
        let text = format!("a key or mount at {} is too long for a URL", self.place);
        StoreError::new(StoreErrorKind::Invalid, text)
    }

    /// The error that [`Caller`] packed; the other variants come from parts of rustify that we do not use.
    fn unsent(&self, error: ClientError) -> StoreError {
        let ours = match error {
            ClientError::GenericError { source } => source.downcast().ok(),
            _ => None,
        };
        ours.unwrap_or_else(|| Failure::Broken.error(&self.place))
    }

    /// The error for a status that is not a success; `what` was tried, and `hint` helps with a refusal.
    pub(super) fn refusal(&self, answer: &Answer, what: &str, hint: &str) -> StoreError {
        let status = answer.status;
        let kind = match kind(status) {
            StoreErrorKind::Invalid if wire::is_starting(answer.body.expose()) => StoreErrorKind::Unavailable,
            kind => kind,
        };
        let text = match kind {
            StoreErrorKind::Denied => format!("{what} was refused ({status}): {hint}"),
            StoreErrorKind::Throttled => format!("{} asks us to slow down ({status}), {what}", self.place),
            StoreErrorKind::Unavailable => unavailable(status, what),
            StoreErrorKind::Invalid if status == 404 => {
                format!("{what}: the server has no such path (404): check mount, kvVersion and namespace of the store")
            }
            StoreErrorKind::NotFound
            | StoreErrorKind::Conflict
            | StoreErrorKind::Invalid
            | StoreErrorKind::InvalidKey
            | StoreErrorKind::NotSupported { .. }
            | StoreErrorKind::Malformed
            | StoreErrorKind::TooMuch => {
                format!("{what} failed ({status}): check that the server is Vault or OpenBao, and the mount")
            }
        };
        let error = StoreError::new(kind, text).retry_after(answer.retry_after());
        // The server at this address does not fit, and may still be set up.
        if kind == StoreErrorKind::Invalid { error.because(Reason::StoreNotReady) } else { error }
    }
}

/// The namespace as a header, without slashes around it; `None` for the root namespace.
fn header(namespace: &str) -> Result<Option<HeaderValue>, StoreError> {
    let refuse = |why: &str| {
        let text = format!("spec.provider.vault.namespace is {namespace:?}: {why}, like teams/shop");
        StoreError::new(StoreErrorKind::Invalid, text)
    };
    let path = namespace.trim_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    if !paths::stays(path) || path.contains(char::is_whitespace) {
        return Err(refuse("write the path of a namespace"));
    }
    HeaderValue::from_str(path).map(Some).map_err(|_| refuse("it must be printable ASCII"))
}

/// What a call shows a server: rustify's client.
struct Caller<'c> {
    server: &'c Server,
    token: Option<&'c SecretBytes>,
}

#[async_trait]
impl rustify::client::Client for Caller<'_> {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        let request = self.server.outgoing(request, self.token).map_err(packed)?;
        let answer = send(&self.server.client, request).await;
        let answer = answer.map_err(|failure| packed(failure.error(&self.server.place)))?;
        let mut response = Response::builder().status(answer.status).body(answer.body.expose().to_vec());
        if let Ok(response) = &mut response {
            *response.headers_mut() = answer.headers;
            if let Some(taken) = answer.taken {
                response.extensions_mut().insert(taken);
            }
        }
        response.map_err(|_| packed(Failure::Broken.error(&self.server.place)))
    }

    fn base(&self) -> &str {
        &self.server.origin
    }

    /// Gives any answer as it is: rustify's own method would put the body of a refusal into the error, and drop the
    /// headers.
    async fn execute(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        self.send(request).await
    }
}

fn packed(error: StoreError) -> ClientError {
    ClientError::GenericError { source: error.into() }
}

/// Sends this body instead of the one that the endpoint makes.
pub(super) struct Verbatim<'b>(pub(super) &'b SecretBytes);

impl MiddleWare for Verbatim<'_> {
    fn request<E: Endpoint>(&self, _: &E, request: &mut Request<Vec<u8>>) -> Result<(), ClientError> {
        *request.body_mut() = self.0.expose().to_vec();
        Ok(())
    }

    fn response<E: Endpoint>(&self, _: &E, _: &mut Response<Vec<u8>>) -> Result<(), ClientError> {
        Ok(())
    }
}

fn unavailable(status: u16, what: &str) -> String {
    let why = match status {
        400 => "the mount is new and not ready yet",
        300..400 => "the server redirects, and Rekey follows no redirect; name the active server",
        472 | 473 => "the server is a standby that does not serve reads",
        503 => "the server is sealed, or down for maintenance",
        _ => "the server failed",
    };
    format!("{what} failed ({status}): {why}")
}

/// The kind of failure that a status means. A status alone never says that a key does not exist.
pub(super) fn kind(status: u16) -> StoreErrorKind {
    match status {
        400 | 404 | 405 | 413 | 415 => StoreErrorKind::Invalid,
        401 | 403 => StoreErrorKind::Denied,
        412 | 429 => StoreErrorKind::Throttled,
        300..400 | 408 | 472 | 473 | 500..600 => StoreErrorKind::Unavailable,
        _ => StoreErrorKind::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use rekey_core::store::Network;
    use vaultrs::api::{
        auth::kubernetes::requests::LoginWithKubernetesRequest,
        kv2::requests::ReadSecretRequest,
        token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest},
    };

    use super::*;
    use crate::{address, http::client};

    /// Where a call of `endpoint` goes on the server at `address`.
    fn url(address: &str, endpoint: &impl Endpoint) -> String {
        let network = Network::default();
        let address = address::check("server", address, &network).unwrap();
        let server = Server::new(client(&network, None).unwrap(), address, None).unwrap();
        let request = endpoint.request(&server.origin).unwrap();
        server.outgoing(request, None).unwrap().url().to_string()
    }

    fn read(mount: &str, path: &str, version: Option<u64>) -> ReadSecretRequest {
        ReadSecretRequest { mount: mount.to_owned(), path: path.to_owned(), version }
    }

    #[test]
    fn paths_stay_inside() {
        let table = [
            ("https://bao:8200", read("secret", "a", None), "https://bao:8200/v1/secret/data/a"),
            ("https://bao/", read("a/b", "c/d", Some(7)), "https://bao/v1/a/b/data/c/d?version=7"),
            ("https://bao/prefix/", read("m", "a", None), "https://bao/prefix/v1/m/data/a"),
            ("https://[2001:db8::1]/p/q", read("m", "a", None), "https://[2001:db8::1]/p/q/v1/m/data/a"),
            ("https://bao", read("m", "c?d#e/%2e%2e/f", None), "https://bao/v1/m/data/c%3Fd%23e/%252e%252e/f"),
        ];
        for (base, endpoint, expected) in table {
            assert_eq!(url(base, &endpoint), expected);
        }
    }

    #[test]
    fn every_letter_of_a_key_arrives() {
        let base = Url::parse("https://bao/v1/m/data").unwrap();
        for letter in (' '..='~').chain(['\u{a0}', 'ü', '\u{1f511}']).filter(|letter| *letter != '/') {
            let key = format!("a{letter}b");
            let mut expected = base.clone();
            expected.path_segments_mut().unwrap().push(&key);
            assert_eq!(url("https://bao", &read("m", &key, None)), expected.as_str(), "{letter:?}");
        }
    }

    #[test]
    fn paths_of_the_library() {
        let login = LoginWithKubernetesRequest { mount: "k8s/a".into(), role: "shop".into(), jwt: "a".into() };
        assert_eq!(url("https://bao/p", &login), "https://bao/p/v1/auth/k8s/a/login");
        assert_eq!(url("https://bao", &LookupTokenSelfRequest {}), "https://bao/v1/auth/token/lookup-self");
        let renew = RenewTokenSelfRequest { increment: None };
        assert_eq!(url("https://bao", &renew), "https://bao/v1/auth/token/renew-self");
    }

    #[test]
    fn keys_that_are_too_long_are_refused() {
        assert!(read("m", &"a".repeat(70_000), None).request("https://bao").is_err());
    }

    #[test]
    fn statuses() {
        use StoreErrorKind::{Denied, Invalid, Malformed, Throttled, Unavailable};
        let table = [
            (307, Unavailable),
            (400, Invalid),
            (403, Denied),
            (404, Invalid),
            (412, Throttled),
            (418, Malformed),
            (429, Throttled),
            (473, Unavailable),
            (500, Unavailable),
            (503, Unavailable),
        ];
        for (status, expected) in table {
            assert_eq!(kind(status), expected, "{status}");
        }
    }
}
