//! What may be asked of a database server whose users take turns: the port of the rotators of databases.
//!
//! # The fence
//! What stands on a role says which rotation has altered it last ([`Fence`]). A change is made only if the role still holds the
//! fence that was seen when the rotation was prepared, or the rotation's own, and it leaves its own: comparing and setting are one
//! transaction. So two operators, a restored backup or a second cluster never alter a role for different rotations unseen.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rekey_api::reference::TlsMode;
use serde::{Deserialize, Serialize};

use crate::{SecretBytes, store::StoreError};

/// A database server. All of it comes from the spec of a schedule, nothing from a stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// DNS name or IP address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database to connect to.
    pub database: String,
    /// How the connection is protected.
    pub tls: ServerTls,
}

/// Its address, as people know it.
impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

/// How the connection to a server is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// What is checked.
    pub mode: TlsMode,
    /// Certificates to trust, in PEM; `None`: the system's.
    pub roots: Option<Vec<u8>>,
}

/// Who logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// Its password.
    pub password: SecretBytes,
}

/// The last rotation that has altered a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Uid of the cluster.
    pub cluster: String,
    /// Uid of the schedule.
    pub schedule: String,
    /// Id of the rotation.
    pub rotation: String,
}

/// What stands behind the id of the rotation on a role that it has ended.
const ENDED: &str = ".ended";

impl Fence {
    /// How a role shows on which something of ours stands that cannot be read. No rotation is allowed to alter it, also not
    /// one that expects this: a person has to look.
    pub const UNREADABLE: Self = Self { cluster: String::new(), schedule: String::new(), rotation: String::new() };

    /// What stands on the role that this rotation has ended, once the password is forgotten too.
    #[must_use]
    pub fn ended(&self) -> Self {
        Self { rotation: format!("{}{ENDED}", self.rotation), ..self.clone() }
    }

    /// Whether a rotation has ended the role for good.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.rotation.ends_with(ENDED)
    }
}

/// What is known of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whether it may log in.
    pub can_login: bool,
    /// Roles that it is a member of, with the right to act as them.
    pub member_of: Vec<String>,
    /// The last rotation that has altered it; `None`: none has. [`Fence::UNREADABLE`]: what stands there cannot be read.
    pub fence: Option<Fence>,
    /// Its sessions, as far as the asking user may see them.
    pub sessions: Sessions,
    /// Whether it owns something in the database that is connected to, or something that all databases share.
    pub owns: bool,
}

/// Sessions of a role, in all databases of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// How many there are.
    pub count: u64,
    /// When the newest one was opened; `None`: there is none, or the asking user may not see that.
    pub newest: Option<DateTime<Utc>>,
}

/// A change of a role, in one transaction with the comparison of its fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// The role.
    pub role: String,
    /// The fence that was seen when the rotation was prepared.
    pub expected: Option<Fence>,
    /// The fence of this rotation, which the role holds afterwards.
    pub fence: Fence,
    /// What is changed.
    pub what: Alteration,
}

/// What is changed of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alteration {
    /// It may log in with this password, and each of its sessions acts as `owner` from its start, if one is named.
    Grant {
        /// The new password. The server gets only what checks it.
        password: SecretBytes,
        /// The role that owns the objects.
        owner: Option<String>,
    },
    /// It may no longer log in; then its sessions end; then what it owns in this database goes to `owner`. Each stands whatever
    /// becomes of the next, and a repetition does what is left.
    Revoke {
        /// The role that owns the objects.
        owner: String,
    },
    /// It has no password any more: who lets it log in again does not make an old copy of the password valid.
    Forget,
}

/// How a change went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The role is as the change asks for it, by this or an earlier attempt.
    Done,
    /// The role holds another fence, and nothing was changed.
    Fenced(Option<Fence>),
    /// There is no such role.
    NoRole,
}

/// Asks database servers, and alters roles there.
#[async_trait]
pub trait Databases: Send + Sync + 'static {
    /// The roles with these names that exist, in any order.
    ///
    /// # Errors
    /// `Unavailable` when the server is not responding, or cannot do it now; `Denied` when it refuses the login or the question;
    /// `Invalid` for a refused address, a certificate that is not trusted, or a database or setting of the server that has to
    /// change; `Malformed` when what responds there is no such server.
    async fn roles(&self, server: &Server, admin: &Login, names: &[&str]) -> Result<Vec<Role>, StoreError>;

    /// Makes the change, unless the role's fence forbids it. Repeating it with the same fence changes nothing more than the
    /// password's salt.
    ///
    /// # Errors
    /// As [`Databases::roles`], and `Conflict` when another tool altered the role at the same time. After any of them the change
    /// may have been made, of a revocation its first parts; a look at the roles shows what is left.
    async fn change(&self, server: &Server, admin: &Login, change: &RoleChange) -> Result<Changed, StoreError>;

    /// Logs in once and leaves at once. With `acts_as`, the session has to act as that role.
    ///
    /// # Errors
    /// `Denied` when the server does not accept the login, or the session acts as somebody else; else as [`Databases::roles`].
    async fn login(&self, server: &Server, login: &Login, acts_as: Option<&str>) -> Result<(), StoreError>;
}
