//! Why something did not succeed, in our words: nothing that a server sent is quoted but the code of an error.

use std::borrow::Cow;

use rekey_api::condition::Reason;
use rekey_core::{
    rotator::database::Server,
    store::{StoreError, StoreErrorKind},
};
use tokio_postgres::Error;

use super::link::Link;

/// Whose login it is: the fix differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// The user who alters roles.
    Admin,
    /// A user who is rotated.
    User,
}

/// See the [module documentation](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no connection, or not any more.
    Link(Link),
    /// The login is not accepted.
    Login,
    /// There is no such database.
    NoDatabase,
    /// A right is missing; the SQL that grants it.
    Rights(String),
    /// The server has no room, or starts, stops or fails. With its SQLSTATE.
    Busy(String),
    /// It only reads.
    Standby,
    /// A lock is held for too long, and by whom, as far as that is known.
    Locked(String),
    /// Another tool altered the role at the same time.
    Raced,
    /// The server answers with this SQLSTATE, which nothing above explains.
    Code(String),
    /// A value cannot be used, and why.
    Value(String),
    /// The session does not act as this role.
    ActsAs(String),
    /// Its sessions do not end.
    Sessions,
    /// The change is made in part: what went wrong with the rest, and what that is.
    Left(Box<Self>, String),
}

impl From<Link> for Failure {
    fn from(link: Link) -> Self {
        Self::Link(link)
    }
}

impl Failure {
    /// What an error of the library means.
    pub(super) fn of(error: &Error) -> Self {
        error.code().map_or_else(|| Self::Link(Link::of(error)), |code| Self::of_code(code.code()))
    }

    /// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
    fn of_code(code: &str) -> Self {
        // The code is the server's word, too.
        let is_code = code.len() == 5 && code.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        let shown = || if is_code { code.to_owned() } else { "none".to_owned() };
        match code {
            "28P01" | "28000" => Self::Login,
            "3D000" => Self::NoDatabase,
            "42501" => Self::Rights(String::new()),
            "25006" => Self::Standby,
            "55P03" => Self::Locked(String::new()),
            // The role was dropped between our statements, or two transactions met.
            "42704" | "40001" | "40P01" => Self::Raced,
            _ => match code.get(..2) {
                Some("08" | "53" | "57" | "58" | "XX") => Self::Busy(shown()),
                _ => Self::Code(shown()),
            },
        }
    }

    pub(super) fn told(&self, server: &Server, user: &str, who: Who) -> StoreError {
        use StoreErrorKind::{Conflict, Denied, Invalid, Unavailable};
        let Server { host, port, database, .. } = server;
        let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let (kind, text): (_, Cow<'static, str>) = match self {
            Self::Left(why, left) => {
                let mut error = why.told(server, user, who);
                error.text = format!("{}; {left}", error.text);
                return error;
            }
            Self::Value(why) => return StoreError::new(Invalid, why),
            Self::Link(link) => link.words(user),
            Self::Login => (Denied, login(user, who).into()),
            Self::NoDatabase => {
                (Invalid, format!("has no database {database:?}: create it, or correct the name").into())
            }
            Self::Rights(fix) => (Denied, format!("refuses this to user {user:?}: {fix}").into()),
            Self::Busy(code) => (Unavailable, busy(code).into()),
            Self::Standby => (Unavailable, "only reads: it is a standby, or read-only; name the primary".into()),
            Self::Locked(by) => {
                let by = if by.is_empty() { "another session holds it (see pg_locks)" } else { by };
                (Unavailable, format!("did not get a lock in time: {by}").into())
            }
            Self::Raced => {
                (Conflict, "let another tool alter the role at the same time, and undid this attempt".into())
            }
            Self::Code(code) => (Invalid, refused(code).into()),
            Self::ActsAs(role) => (Denied, acts_as(user, role).into()),
            Self::Sessions => (Unavailable, "did not end the sessions of the role within 2 seconds".into()),
        };
        let error = StoreError::new(kind, format!("PostgreSQL server {place} {text}"));
        match self {
            Self::Link(Link::Address) => error.because(Reason::AddressNotAllowed),
            // Who is refused does not try it at each look: guards count failed logins.
            Self::Login => error.because(Reason::InvalidCredentials),
            _ => error,
        }
    }
}

fn login(user: &str, who: Who) -> String {
    let fix = match who {
        Who::Admin => {
            "correct username and password in the Secret of adminSecretRef, and let this user log in from the operator's \
             address (LOGIN, VALID UNTIL, pg_hba.conf)"
        }
        Who::User => {
            "its password is another one, it has no LOGIN, its time is over (VALID UNTIL), or pg_hba.conf does not let it \
             log in from the operator's address"
        }
    };
    format!("does not accept the login of user {user:?}: {fix}")
}

fn busy(code: &str) -> String {
    format!(
        "cannot do this now (SQLSTATE {code}): it is starting, stopping, failing, too slow or out of connections \
         (max_connections, CONNECTION LIMIT); its log says more"
    )
}

fn refused(code: &str) -> String {
    format!("refuses a statement (SQLSTATE {code}): its log says more; PostgreSQL 13 or newer is needed")
}

fn acts_as(user: &str, role: &str) -> String {
    format!(
        "lets user {user:?} log in, but the session does not act as {role:?}: make the user a member of it, and look for \
         another ALTER ROLE … SET role, or a pooler that drops this setting"
    )
}

#[cfg(test)]
mod tests {
    use rekey_api::reference::TlsMode;
    use rekey_core::rotator::database::ServerTls;

    use super::*;

    #[test]
    fn each_code_has_a_kind_and_a_fix() {
        use StoreErrorKind::{Conflict, Denied, Invalid, Unavailable};
        let tls = ServerTls { mode: TlsMode::VerifyFull, roots: None };
        let server = Server { host: "2001:db8::1".to_owned(), port: 5432, database: "orders".to_owned(), tls };
        let cases = [
            (
                "28P01",
                Denied,
                "does not accept the login of user \"admin\": correct username and password in the Secret",
            ),
            ("28000", Denied, "pg_hba.conf"),
            ("3D000", Invalid, "has no database \"orders\": create it"),
            ("42501", Denied, "refuses this to user \"admin\""),
            ("53300", Unavailable, "(SQLSTATE 53300)"),
            ("57P03", Unavailable, "it is starting"),
            ("57014", Unavailable, "too slow"),
            ("08006", Unavailable, "(SQLSTATE 08006)"),
            ("XX000", Unavailable, "(SQLSTATE XX000)"),
            ("25006", Unavailable, "name the primary"),
            ("55P03", Unavailable, "pg_locks"),
            ("40001", Conflict, "undid this attempt"),
            ("42883", Invalid, "(SQLSTATE 42883)"),
            ("hunte", Invalid, "(SQLSTATE none)"),
            ("ü", Invalid, "(SQLSTATE none)"),
        ];
        for (code, kind, part) in cases {
            let error = Failure::of_code(code).told(&server, "admin", Who::Admin);
            assert!(error.kind == kind && error.text.contains(part), "{code}: {error:?}");
            assert!(error.text.starts_with("PostgreSQL server [2001:db8::1]:5432 "), "{error}");
        }
    }
}
