//! What the proxy saw, and what it can break.

use std::time::Duration;

use http::{Method, request::Parts};

/// A numbered call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The place in the order of arrival, from 1.
    pub number: u64,
    /// The method.
    pub method: Method,
    /// The path without the query.
    pub path: String,
    /// The query, such as `fieldManager=rekey&force=true`.
    pub query: Option<String>,
    /// The operation of AWS' JSON protocols, such as `secretsmanager.PutSecretValue`.
    pub operation: Option<String>,
    /// The server's answer, even if the client never got it; nothing when the call was not forwarded or has no
    /// answer yet.
    pub status: Option<u16>,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Kill; the call does not reach the server.
    KillBefore,
    /// The server handles it, then kill; no answer reaches the client.
    KillAfterBeforeAnswer,
    /// The server handles it, the client has the answer, then kill.
    KillAfterAnswer,
    /// The connection is cut; the call does not reach the server.
    Drop,
    /// The server handles it; the connection is cut instead of an answer.
    DropAnswer,
    /// The connection is cut after the answer.
    DropAfterAnswer,
    /// The call waits before it goes to the server.
    Delay(Duration),
    /// The server handles it; the answer waits.
    DelayAnswer(Duration),
    /// The call does not reach the server; the answer is this status.
    Status(u16),
    /// The server handles it; the answer is this status all the same.
    StatusAnswer(u16),
    /// A watch of Kubernetes does not reach the server; it opens, reports an error with this code, and ends.
    WatchError(u16),
    /// At this moment all connections are cut, that of the call too, and new ones are reset for this time.
    CutOff(Moment, Duration),
    /// From this moment nothing passes on any connection, old or new, for this time; then everything arrives that was sent,
    /// also what its sender has given up.
    Hold(Moment, Duration),
}

/// When in a call something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The call has not reached the server.
    BeforeCall,
    /// The server has handled the call, and the client has no answer.
    BeforeAnswer,
}

impl Fault {
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::KillBefore | Self::KillAfterBeforeAnswer | Self::KillAfterAnswer)
    }
}

impl Call {
    pub(super) fn new(number: u64, parts: &Parts) -> Self {
        Self {
            number,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            operation: operation(parts).map(str::to_owned),
            status: None,
        }
    }
}

/// The operation of AWS' JSON protocols.
pub(super) fn operation(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-amz-target")?.to_str().ok()
}
