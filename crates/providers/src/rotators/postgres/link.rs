//! Why there is no connection to a server, in our words.

use std::{borrow::Cow, error::Error as _, io};

use postgres_protocol::escape::escape_identifier;
use rekey_core::store::StoreErrorKind;
use rustls::CertificateError;
use tokio_postgres::Error;

use super::stream::Breach;
use crate::address::Refused;

/// See the [module documentation](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// No such name, no server there, or no packet comes back.
    NotResponding,
    /// The address is refused.
    Address,
    /// The time is over.
    TooSlow,
    /// The connection ended.
    Closed,
    /// No TLS is asked for, and the operator does not allow that.
    Unprotected,
    /// The PEM holds no certificate, or something else.
    Roots,
    /// There are no certificates of the system.
    NoSystemRoots,
    /// The server has no TLS.
    NoTls,
    /// Its certificate is not trusted, and why.
    Certificate(&'static str),
    /// No version or algorithm of TLS in common, or it is none.
    Handshake,
    /// See [`Breach`].
    Breach(Breach),
    /// Something else listens there.
    Protocol,
}

impl Link {
    /// For an error that is not the answer of a server.
    pub(super) fn of(error: &Error) -> Self {
        if error.is_closed() {
            return Self::Closed;
        }
        let Some(source) = error.source() else { return Self::Protocol };
        match source.downcast_ref::<io::Error>() {
            Some(failure) => Self::of_io(failure),
            // The library has no other way to say this one.
            None if source.to_string() == "server does not support TLS" => Self::NoTls,
            None => Self::Protocol,
        }
    }

    fn of_io(error: &io::Error) -> Self {
        let fault = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match fault {
            Some(rustls::Error::InvalidCertificate(fault)) => Self::Certificate(why(fault)),
            Some(_) => Self::Handshake,
            None if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Self::Protocol,
            None => Self::Closed,
        }
    }

    /// What to say of the server, when this user logs in.
    pub(super) fn words(self, user: &str) -> (StoreErrorKind, Cow<'static, str>) {
        use StoreErrorKind::{Invalid, Malformed, Unavailable};
        let (kind, text) = match self {
            Self::NotResponding => (
                Unavailable,
                "is not responding: is the name right, is the server up, and does a firewall or network policy let the \
                 operator reach it?",
            ),
            Self::Address => return (Invalid, Refused.to_string().into()),
            Self::TooSlow => (Unavailable, "did not complete the request within 10 seconds"),
            Self::Closed => (Unavailable, "closed the connection before it answered"),
            Self::Unprotected => (
                Invalid,
                "is not used without TLS: set tls.mode to VerifyFull or VerifyCa (Disable needs the operator flag \
                 --allow-insecure-stores)",
            ),
            Self::Roots => (
                Invalid,
                "has a CA bundle (tls.caBundle or tls.caBundleRef) that is not PEM, or holds a certificate that is not \
                 usable: correct it",
            ),
            Self::NoSystemRoots => (Invalid, "cannot be checked: the system has no CA certificates; set tls.caBundle"),
            Self::NoTls => (
                Invalid,
                "offers no TLS, so no login was sent to it: set ssl = on in its postgresql.conf, or correct host and port",
            ),
            Self::Certificate(why) => return (Invalid, format!("has a certificate {why}").into()),
            Self::Handshake => (
                Invalid,
                "has no TLS version or algorithm in common with the operator: let it use TLS 1.2 or 1.3 \
                 (ssl_min_protocol_version, ssl_ciphers)",
            ),
            Self::Breach(Breach::Cleartext) => (
                Invalid,
                "asks for the password in cleartext, which Rekey sends to nobody: use scram-sha-256 in its pg_hba.conf",
            ),
            Self::Breach(Breach::Md5) => return (Invalid, md5(user).into()),
            Self::Breach(Breach::NoPassword) => (
                Invalid,
                "lets users in without a password, so a login proves nothing: use scram-sha-256 in its pg_hba.conf for the \
                 operator's address",
            ),
            Self::Breach(Breach::TooMuch) => (Malformed, "sends more than any answer to the operator has"),
            Self::Protocol | Self::Breach(Breach::Strange) => {
                (Malformed, "is no PostgreSQL server, or does not keep to the protocol: correct host and port")
            }
        };
        (kind, text.into())
    }
}

fn md5(user: &str) -> String {
    format!(
        "holds the password of user {user:?} as MD5, and asks for a hash from which it can be guessed, so nothing was sent: run \
         SET password_encryption = 'scram-sha-256'; and then set it again in the same session: ALTER ROLE {} PASSWORD '…';",
        escape_identifier(user)
    )
}

fn why(fault: &CertificateError) -> &'static str {
    use CertificateError as Fault;
    match fault {
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "for another name: correct the host, or set tls.mode to VerifyCa to trust every server of this CA"
        }
        Fault::UnknownIssuer => "of a CA that is not trusted: put this CA into tls.caBundle",
        Fault::Expired | Fault::ExpiredContext { .. } => "that is expired: renew it",
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => "that is not valid yet: compare the clocks",
        _ => "that cannot be trusted: it is malformed, revoked, or not for servers",
    }
}
