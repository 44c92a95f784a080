//! Why a login did not succeed, in our words: nothing that a server sent is quoted.

use rekey_api::{condition::Reason, rotator::SshEndpoint};
use rekey_core::store::{StoreError, StoreErrorKind};

use crate::address::Refused;

/// How far a server got that was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It said nothing at all.
    Greeting,
    /// It is an SSH server.
    Login,
}

/// See the [module documentation](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The name cannot be resolved.
    NoSuchName,
    /// The address is refused.
    Address,
    /// No server listens there, or no packet comes back.
    NoConnection,
    /// The time is over.
    TooSlow(Stage),
    /// The connection ended.
    Closed,
    /// The server said that it ends the connection.
    Disconnected,
    /// An SSH server that accepts no connections from us now.
    Busy,
    /// Something else listens there.
    NotSsh,
    /// What it sends is not in the form that SSH has.
    Protocol(&'static str),
    /// The two sides have no such algorithm in common.
    Nothing(&'static str),
    /// The key is not accepted for this user.
    Refused,
    /// The key is accepted, but not enough.
    MoreWanted,
    /// The private key cannot be read.
    Key,
}

impl Failure {
    pub(super) fn told(self, endpoint: &SshEndpoint) -> StoreError {
        let SshEndpoint { host, port, user } = endpoint;
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let error = |kind: StoreErrorKind, text: String| StoreError::new(kind, format!("SSH server {place} {text}"));
        let unavailable = |text: &str| error(StoreErrorKind::Unavailable, text.to_owned());
        match self {
            Self::NoSuchName => unavailable("is not found: its name cannot be resolved"),
            Self::Address => error(StoreErrorKind::Invalid, Refused.to_string()).because(Reason::AddressNotAllowed),
            Self::NoConnection => unavailable(
                "is not responding: no connection can be made; is it up, and does a firewall or network policy let the operator reach it?",
            ),
            Self::TooSlow(Stage::Greeting) => unavailable("accepts connections and sends nothing"),
            Self::TooSlow(Stage::Login) => unavailable("did not complete a login within 10 seconds"),
            Self::Closed | Self::Disconnected => unavailable("closed the connection before the login was decided"),
            Self::Busy => unavailable(
                "accepts no connections from the operator now (MaxStartups or PerSourcePenalties of its sshd_config)",
            ),
            Self::NotSsh => error(
                StoreErrorKind::Malformed,
                "is no SSH server: another protocol responds there; correct host and port of the endpoint".to_owned(),
            ),
            Self::Protocol(what) => {
                error(StoreErrorKind::Malformed, format!("does not keep to the SSH protocol: {what}"))
            }
            Self::Nothing(what) => error(StoreErrorKind::Invalid, format!("has no {what} in common with the operator")),
            Self::Refused => error(
                StoreErrorKind::Denied,
                format!(
                    "does not accept the new key for user {user:?}: is the stored authorized_keys property installed there, and may this user log in by key?"
                ),
            ),
            Self::MoreWanted => error(
                StoreErrorKind::Denied,
                format!(
                    "accepts the new key for user {user:?}, but asks for a second method as well (AuthenticationMethods of its sshd_config): let this user log in by key alone, or remove the endpoint"
                ),
            ),
            Self::Key => StoreError::new(
                StoreErrorKind::Invalid,
                "the new private key cannot be read: it is no Ed25519 or RSA key in OpenSSH format without a passphrase",
            ),
        }
    }
}
