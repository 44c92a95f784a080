//! Requests to engines: static roles of databases, PKI, and whatever else answers without a lease.

use std::{collections::BTreeMap, time::Duration};

use chrono::DateTime;
use rekey_core::{
    SecretBytes,
    store::{Answer, Call, CallMethod, RemoteValue, StoreError, StoreErrorKind},
};
use rustify::{
    endpoint::Endpoint,
    enums::{RequestMethod, RequestType, ResponseType},
    errors::ClientError,
};

use super::{Vault, wire::engine as wire};
use crate::{http, number};

/// The shortest life of an answer to count with: Rekey does not ask again sooner.
const SHORTEST_LIFE: Duration = Duration::from_secs(10);

/// A request that vaultrs has no type for.
struct Ask {
    path: String,
    method: CallMethod,
    parameters: BTreeMap<String, String>,
}

impl Endpoint for Ask {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        match self.method {
            CallMethod::Get => RequestMethod::GET,
            CallMethod::Post => RequestMethod::POST,
        }
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        match self.method {
            CallMethod::Get => rustify::http::build_query(&self.parameters).map(Some),
            CallMethod::Post => Ok(None),
        }
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        match self.method {
            CallMethod::Get => Ok(None),
            CallMethod::Post => rustify::http::build_body(&self.parameters, RequestType::JSON).map(Some),
        }
    }
}

impl Vault {
    /// Asks an engine; `path` is that of the call, checked.
    pub(super) async fn call_with(&self, token: &SecretBytes, path: &str, call: &Call) -> Result<Answer, StoreError> {
        let asked = Ask { path: path.to_owned(), method: call.method, parameters: call.parameters.clone() };
        let answer = self.server.call(Some(token), asked).await?;
        let what = format!("{} of {path} at {}", method(call.method), self.place());
        if answer.status != 200 {
            return Err(self.no_answer(&answer, &what, path, call.method));
        }
        let said = wire::answer(answer.body.expose())
            .map_err(|malformed| StoreError::new(malformed.kind(), format!("{what}: {malformed}")))?;
        if let Some(lease) = said.lease {
            return Err(self.leased(token, path, lease).await);
        }
        let value = RemoteValue { bytes: said.data, version: said.version, created: None };
        let lifetime = match said.lifetime {
            wire::Lifetime::Unknown => None,
            wire::Lifetime::For(lifetime) => Some(lifetime),
            wire::Lifetime::Until(end) => Some(until(end, &answer).ok_or_else(|| {
                let text = format!("{what}: the answer expires, but does not give the server's time (Date)");
                StoreError::new(StoreErrorKind::Malformed, text)
            })?),
        };
        if !said.is_stable && lifetime.is_some_and(|lifetime| lifetime.is_zero()) {
            let text = format!("{what}: the answer has expired already (ttl or expiration); check the ttl of the role");
            return Err(StoreError::new(StoreErrorKind::Malformed, text));
        }
        let lifetime = lifetime.map(|lifetime| lifetime.max(SHORTEST_LIFE));
        Ok(Answer { value, lifetime, is_stable: said.is_stable })
    }

    fn no_answer(&self, answer: &http::Answer, what: &str, path: &str, method: CallMethod) -> StoreError {
        let status = answer.status;
        let (kind, fix) = match status {
            204 => (StoreErrorKind::Invalid, "the answer has no data, so there is nothing to publish"),
            400 => (StoreErrorKind::Invalid, "check the name of the role in the path, and parameters"),
            404 => (StoreErrorKind::NotFound, "there is no such path: check the mount and the name of the role"),
            405 => (StoreErrorKind::Invalid, "the path does not support this method: check path and method"),
            _ => {
                let right = match method {
                    CallMethod::Get => "read",
                    CallMethod::Post => "create and update",
                };
                return self.server.refusal(answer, what, &self.hint(right, path));
            }
        };
        StoreError::new(kind, format!("spec.source.vaultEngine: {what} failed ({status}): {fix}"))
    }

    /// Gives back what came with a lease, since Rekey would not renew or revoke it.
    async fn leased(&self, token: &SecretBytes, path: &str, lease: String) -> StoreError {
        let parameters = BTreeMap::from([("lease_id".to_owned(), lease)]);
        let revoke = Ask { path: "sys/leases/revoke".to_owned(), method: CallMethod::Post, parameters };
        let revoked = self.server.call(Some(token), revoke).await;
        let fate = match revoked {
            Ok(answer) if matches!(answer.status, 200 | 204) => "was revoked at once".to_owned(),
            Ok(_) | Err(_) => {
                let hint = self.hint("update", "sys/leases/revoke");
                format!("could not be revoked and lives until its ttl ends ({hint})")
            }
        };
        let field = "spec.source.vaultEngine.path (dynamic credentials with a lease)";
        let fix = format!(
            "use a path that answers without a lease, like a static role or PKI (the lease that came from {path} {fate})"
        );
        StoreError::new(StoreErrorKind::NotSupported { field }, fix)
    }
}

fn method(method: CallMethod) -> &'static str {
    match method {
        CallMethod::Get => "Get",
        CallMethod::Post => "Post",
    }
}

/// How long it is from the answer until `end` (Unix time), by the clock of the server that set it.
fn until(end: u64, answer: &http::Answer) -> Option<Duration> {
    let date = DateTime::parse_from_rfc2822(answer.headers.get("date")?.to_str().ok()?).ok()?;
    let now = u64::try_from(date.timestamp()).ok()?; // no server is older than 1970
    Some(number::seconds(end.saturating_sub(now)))
}
