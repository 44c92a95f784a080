//! The server that the cases share, with roles of their own for each.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipnet::IpNet;
use postgres_protocol::escape::{escape_identifier, escape_literal};
use rekey_api::reference::TlsMode;
use rekey_core::{
    SecretBytes,
    rotator::database::{Alteration, Changed, Databases as _, Fence, Login, Role, RoleChange, Server, ServerTls},
    store::{Network, StoreError, StoreErrorKind},
};
use rekey_providers::rotators::postgres::PostgresServers;
use rekey_testkit::postgres::{NAME, Postgres, SUPERUSER};
use tokio_postgres::{Client, Config, NoTls};

/// The user who alters roles. It is no superuser.
pub const ADMIN: &str = "rekey_admin";

/// A second database, whose owner is not trusted: functions of its schema `evil` come before the server's.
pub const OTHER: &str = "other";

/// Part of every password; must never appear in an error, a log, or what the server logs.
const CANARY: &str = "canary-password-7c2b";

/// How what checks a password starts. It does not give the password away, and is no business of our logs either.
pub const VERIFIER: &str = "SCRAM-SHA-256$";

/// See the [module documentation](self).
pub struct Ground {
    pub postgres: Postgres,
    pub servers: PostgresServers,
    pub admin: Login,
    number: AtomicU32,
    passwords: Mutex<Vec<String>>,
    rules: Mutex<()>,
}

/// Loopback is allowed, for the tests.
pub fn allowed() -> Network {
    let addresses = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(Ipv6Addr::LOCALHOST)];
    Network { allow: addresses.into_iter().map(IpNet::from).collect(), ..Network::default() }
}

impl Ground {
    pub fn start() -> Result<Self> {
        let postgres =
            Postgres::start_secure(&["log_statement=all", "log_disconnections=on", "max_prepared_transactions=10"])?;
        let ground = Self {
            postgres,
            servers: PostgresServers::new(allowed()),
            admin: Login { user: ADMIN.to_owned(), password: "".into() },
            number: AtomicU32::new(0),
            passwords: Mutex::default(),
            rules: Mutex::default(),
        };
        let admin = ground.admin(ADMIN)?;
        ground.sql(&format!("grant pg_read_all_stats, pg_signal_backend to {ADMIN}"))?;
        ground.sql(&format!("create database {OTHER}"))?;
        Ok(Self { admin, ..ground })
    }

    /// A user with `CREATEROLE` and nothing more.
    pub fn admin(&self, name: &str) -> Result<Login> {
        let password = self.password("admin");
        let text = escape_literal(password.expose_text().unwrap_or_default());
        self.sql(&format!("create role {} login createrole password {text}", escape_identifier(name)))?;
        Ok(Login { user: name.to_owned(), password })
    }

    pub fn sql(&self, statement: &str) -> Result<String> {
        self.postgres.sql(statement)
    }

    /// Lets a user in by this method; one case at a time, as they share the file.
    pub fn rule(&self, user: &str, method: &str) -> Result<()> {
        let _one = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        self.postgres.rule(&format!("host all {user} all {method}"))
    }

    /// By TLS, and with all of it checked.
    pub fn server(&self) -> Server {
        let roots = self.postgres.ca_pem().map(|pem| pem.as_bytes().to_vec());
        let tls = ServerTls { mode: TlsMode::VerifyFull, roots };
        Server { host: NAME.to_owned(), port: self.postgres.port(), database: SUPERUSER.to_owned(), tls }
    }

    /// Without TLS, for [`Ground::insecure`].
    pub fn plain(port: u16) -> Server {
        let tls = ServerTls { mode: TlsMode::Disable, roots: None };
        Server { host: "127.0.0.1".to_owned(), port, database: SUPERUSER.to_owned(), tls }
    }

    pub fn insecure() -> PostgresServers {
        PostgresServers::new(Network { insecure: true, ..Network::default() })
    }

    pub fn unique(&self, start: &str) -> String {
        format!("{start}_{}", self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// A password that is searched for at the end. It ends with `end`.
    pub fn password(&self, end: &str) -> SecretBytes {
        let password = format!("{CANARY}-{}-{end}", self.unique("p"));
        self.passwords.lock().unwrap_or_else(PoisonError::into_inner).push(password.clone());
        password.into()
    }

    /// What must never appear: passwords, and what checks them.
    pub fn secrets(&self) -> Vec<String> {
        let passwords = self.passwords.lock().unwrap_or_else(PoisonError::into_inner);
        passwords.iter().cloned().chain([VERIFIER.to_owned(), CANARY.to_owned()]).collect()
    }

    /// A user and the owner of its objects, in names with this start.
    pub fn slot(&self, start: &str) -> Result<Slot> {
        let slot = Slot { name: self.unique(start), owner: self.unique(&format!("{start}_owner")) };
        self.create(&slot.name, &slot.owner)?;
        Ok(slot)
    }

    pub fn create(&self, name: &str, owner: &str) -> Result<()> {
        let (name, owner) = (escape_identifier(name), escape_identifier(owner));
        self.sql(&format!("create role {owner} nologin; create role {name} nologin; grant {owner} to {name}"))?;
        self.sql(&format!("grant {name} to {ADMIN} with admin option; grant {owner} to {ADMIN}")).map(drop)
    }

    /// One role, by the admin.
    pub async fn role(&self, name: &str) -> Result<Role> {
        let mut found = self.servers.roles(&self.server(), &self.admin, &[name]).await?;
        ensure!(found.len() == 1, "{found:?}");
        found.pop().with_context(|| format!("there is no role {name:?}"))
    }

    pub async fn change(&self, change: &RoleChange) -> Result<Changed, StoreError> {
        self.servers.change(&self.server(), &self.admin, change).await
    }

    pub async fn done(&self, change: &RoleChange) -> Result<()> {
        let changed = self.change(change).await?;
        ensure!(changed == Changed::Done, "{changed:?}");
        Ok(())
    }

    /// Logs in by the code that is tested.
    pub async fn login(&self, user: &str, password: &SecretBytes, acts_as: Option<&str>) -> Result<(), StoreError> {
        let login = Login { user: user.to_owned(), password: password.clone() };
        self.servers.login(&self.server(), &login, acts_as).await
    }

    /// Opens a session as a user, by another client.
    pub async fn session(&self, user: &str, password: &SecretBytes) -> Result<Client> {
        open(self.client(user, password)).await
    }

    /// How another client connects as a user.
    pub fn client(&self, user: &str, password: &SecretBytes) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.postgres.port()).dbname(SUPERUSER).user(user).password(password.expose());
        config
    }

    pub fn comment(&self, role: &str) -> Result<String> {
        let role = escape_literal(role);
        self.sql(&format!("select shobj_description(oid, 'pg_authid') from pg_authid where rolname = {role}"))
    }

    pub fn write_comment(&self, role: &str, text: &str) -> Result<()> {
        self.sql(&format!("comment on role {} is {}", escape_identifier(role), escape_literal(text))).map(drop)
    }

    /// How many lines of the server's log hold all of these.
    pub fn noted(&self, parts: &[&str]) -> Result<usize> {
        let log = self.postgres.log()?;
        Ok(log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count())
    }
}

/// A user and the owner of its objects.
pub struct Slot {
    pub name: String,
    pub owner: String,
}

impl Slot {
    pub fn grant(&self, expected: Option<&Fence>, id: &str, password: &SecretBytes) -> RoleChange {
        let what = Alteration::Grant { password: password.clone(), owner: Some(self.owner.clone()) };
        RoleChange { role: self.name.clone(), expected: expected.cloned(), fence: fence(id), what }
    }

    pub fn revoke(&self, expected: Option<&Fence>, id: &str) -> RoleChange {
        let what = Alteration::Revoke { owner: self.owner.clone() };
        RoleChange { role: self.name.clone(), expected: expected.cloned(), fence: fence(id), what }
    }

    /// What follows on the end of its login by the rotation with this id.
    pub fn forget(&self, id: &str) -> RoleChange {
        let what = Alteration::Forget;
        RoleChange { role: self.name.clone(), expected: Some(fence(id)), fence: fence(id).ended(), what }
    }
}

/// Opens a session.
pub async fn open(config: Config) -> Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub fn fence(id: &str) -> Fence {
    Fence { cluster: "cluster-1".to_owned(), schedule: "schedule-1".to_owned(), rotation: id.to_owned() }
}

/// It failed for this reason.
pub fn told<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind, part: &str) -> Result<()> {
    let Err(error) = result else { bail!("it succeeded: {result:?}, and not {part}") };
    ensure!(error.kind == kind && error.text.contains(part), "{error:?}, and not {part}");
    ensure!(!error.text.contains(CANARY) && !error.text.contains(VERIFIER), "{error:?}");
    Ok(())
}

/// Waits until it holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds()? {
        ensure!(Instant::now() < end, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
