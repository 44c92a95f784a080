//! A real `PostgreSQL` server, from the Debian package of this machine.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::Signal,
    unistd::{Uid, User},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use crate::{
    debian,
    process::{Process, free_port},
};

/// The name of the superuser, and of the first database.
pub const SUPERUSER: &str = "postgres";

/// The password of the superuser.
pub const PASSWORD: &str = "rekey test superuser";

/// It needs a second; the rest is for a machine that is compiling at the same time.
const PATIENCE: Duration = Duration::from_mins(1);

/// The name in the certificate of a server with TLS; its address is not in there.
pub const NAME: &str = "localhost";

/// A running server, gone with everything in it when dropped. Passwords are checked by SCRAM-SHA-256.
#[derive(Debug)]
pub struct Postgres {
    process: Process, // before the directory: fields are dropped in this order
    directory: TempDir,
    programs: PathBuf,
    account: Option<User>,
    port: u16,
    settings: Vec<String>,
    ca_pem: Option<String>,
}

impl Postgres {
    /// Starts a server on a free loopback port; when this process is root, under another account.
    ///
    /// # Errors
    /// When the package is missing or the server does not become ready.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same, with further settings (`name=value`) of its configuration.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        Self::launch(settings, None)
    }

    /// The same, with TLS for those who ask for it: a certificate for [`NAME`], from an authority made for it.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_secure(settings: &[&str]) -> Result<Self> {
        Self::launch(settings, Some(identity()?))
    }

    fn launch(settings: &[&str], identity: Option<Identity>) -> Result<Self> {
        debian::ensure(debian::DATABASE)?;
        let programs = debian::postgres_programs().context("no PostgreSQL under /usr/lib/postgresql")?;
        let directory = TempDir::with_prefix("rekey-postgres-").context("make a directory for PostgreSQL")?;
        let account = account()?;
        let port = free_port()?;
        initialize(&programs, directory.path(), account.as_ref())?;
        let mut settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        if let Some(identity) = &identity {
            for (file, pem) in [("server.crt", &identity.certificate), ("server.key", &identity.key)] {
                give(&directory.path().join("data").join(file), pem, account.as_ref())?;
            }
            settings.push("ssl=on".to_owned());
        }
        let ca_pem = identity.map(|identity| identity.ca);
        let process = launch(&programs, directory.path(), account.as_ref(), port, &settings)?;
        let mut postgres = Self { process, directory, programs, account, port, settings, ca_pem };
        postgres.ready()?;
        Ok(postgres)
    }

    /// The authority that signed its certificate; nothing without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// What it has logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> Result<String> {
        let bytes = fs::read(self.process.log()).context("read the log of PostgreSQL")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Puts a rule before those of `pg_hba.conf`, for logins from now on.
    ///
    /// # Errors
    /// When the file cannot be written or the server does not read it.
    pub fn rule(&self, rule: &str) -> Result<()> {
        let path = self.directory.path().join("data/pg_hba.conf");
        let rules = fs::read_to_string(&path).context("read pg_hba.conf")?;
        fs::write(&path, format!("{rule}\n{rules}")).context("write pg_hba.conf")?;
        let before = self.log()?.matches("reloading configuration files").count();
        self.sql("select pg_reload_conf()")?;
        let end = Instant::now() + PATIENCE;
        while self.log()?.matches("reloading configuration files").count() == before {
            ensure!(Instant::now() < end, "PostgreSQL does not read pg_hba.conf");
            thread::sleep(Duration::from_millis(20));
        }
        // The line comes before the reading, which is done before this login is.
        self.sql("select 1").map(drop)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, for a [`TcpProxy`](crate::proxy::TcpProxy).
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs SQL as the superuser; returns what it selects unaligned, one line a row, with `|` between columns. The server
    /// does not log it under `log_statement`.
    ///
    /// # Errors
    /// When the server refuses; the message is its own.
    pub fn sql(&self, statement: &str) -> Result<String> {
        self.sql_as(SUPERUSER, PASSWORD, statement)
    }

    /// Runs SQL as a user.
    ///
    /// # Errors
    /// When the login or the statement is refused; the message is the server's.
    pub fn sql_as(&self, user: &str, password: &str, statement: &str) -> Result<String> {
        let output = self.psql(user, password, statement)?;
        let message = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "SQL as {user} at {}: {message}", self.address());
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// Whether a user can log in with this password; also false for a user who may not log in at all.
    ///
    /// # Errors
    /// When the server is not responding.
    pub fn login(&self, user: &str, password: &str) -> Result<bool> {
        let output = self.psql(user, password, "select 1")?;
        if output.status.success() {
            return Ok(true);
        }
        let message = String::from_utf8_lossy(&output.stderr);
        let refusals = ["password authentication failed", "is not permitted to log in"];
        if refusals.iter().any(|refusal| message.contains(refusal)) {
            return Ok(false);
        }
        bail!("log in as {user} at {}: {message}", self.address())
    }

    /// A session of a user, which stays open until it is dropped.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn session(&self, user: &str, password: &str) -> Result<Session> {
        let mut command = self.client(user, password, "select pg_sleep(3600)");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("start psql")?;
        let session = Session(child);
        let open = format!("select count(*) from pg_stat_activity where usename = '{user}' and state = 'active'");
        let end = Instant::now() + PATIENCE;
        while self.sql(&open)? == "0" {
            ensure!(Instant::now() < end, "no session of {user} is open");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(session)
    }

    /// Ends the server; connections are refused from now on.
    ///
    /// # Errors
    /// When it could not be waited for.
    pub fn stop(&mut self) -> Result<()> {
        // This signal stops it without waiting for clients.
        self.process.signal(Signal::SIGINT).ok();
        let end = Instant::now() + PATIENCE;
        while self.process.exited()?.is_none() {
            ensure!(Instant::now() < end, "PostgreSQL does not stop:\n{}", self.process.tail(30));
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts the stopped server again at the same address, with all its data.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn restart(&mut self) -> Result<()> {
        self.process = launch(&self.programs, self.directory.path(), self.account.as_ref(), self.port, &self.settings)?;
        self.ready()
    }

    fn ready(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.process.alive()?;
            match self.sql("select 1") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > end => {
                    return Err(error.context("PostgreSQL is not ready"));
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn psql(&self, user: &str, password: &str, statement: &str) -> Result<Output> {
        let output = self.client(user, password, statement).output();
        output.with_context(|| format!("start {}", self.programs.join("psql").display()))
    }

    fn client(&self, user: &str, password: &str, statement: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-d", SUPERUSER]);
        command.args(["-p", &self.port.to_string(), "-U", user, "-c", statement]);
        command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10").env_remove("PGSSLMODE");
        if user == SUPERUSER {
            command.env("PGOPTIONS", "-c log_statement=none");
        }
        command
    }
}

/// An open session of a client.
#[derive(Debug)]
pub struct Session(Child);

impl Session {
    /// Whether nobody has ended it.
    ///
    /// # Errors
    /// When its client cannot be waited for.
    pub fn is_open(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // At once, but in order: a killed server leaves its shared memory behind.
        self.process.signal(Signal::SIGQUIT).ok();
    }
}

/// The account to use instead of root, which the server refuses.
fn account() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).with_context(|| format!("look up the account {name}"))? {
            return Ok(Some(user));
        }
    }
    bail!("PostgreSQL does not run as root, and this machine has no account postgres or nobody")
}

fn initialize(programs: &Path, directory: &Path, account: Option<&User>) -> Result<()> {
    let password = directory.join("password");
    own(directory, account)?;
    give(&password, PASSWORD, account)?;
    let mut command = under(account, &programs.join("initdb"));
    command.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "-U", SUPERUSER, "--pwfile"]);
    let output = command.arg(&password).arg("-D").arg(directory.join("data")).current_dir(directory).output();
    let output = output.context("start initdb")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "initdb in {} failed: {message}", directory.display());
    Ok(())
}

fn launch(programs: &Path, directory: &Path, account: Option<&User>, port: u16, more: &[String]) -> Result<Process> {
    let mut command = under(account, &programs.join("postgres"));
    command.arg("-D").arg(directory.join("data")).args(["-p", &port.to_string()]);
    // Nothing here outlives a test, so nothing needs to reach the disk.
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
        "shared_buffers=16MB",
        "password_encryption=scram-sha-256",
        "log_connections=on",
    ];
    for setting in settings.into_iter().chain(more.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    Process::spawn("postgres", command.current_dir(directory), directory)
}

/// Writes a file that the server's account alone may read, as it asks for keys.
fn give(path: &Path, text: &str, account: Option<&User>) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    own(path, account)
}

fn own(path: &Path, account: Option<&User>) -> Result<()> {
    let Some(account) = account else { return Ok(()) };
    let (user, group) = (Some(account.uid.as_raw()), Some(account.gid.as_raw()));
    chown(path, user, group).with_context(|| format!("give {} to {}", path.display(), account.name))
}

/// A certificate with its key and authority, in PEM.
struct Identity {
    ca: String,
    certificate: String,
    key: String,
}

fn identity() -> Result<Identity> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.distinguished_name.push(DnType::CommonName, "rekey test database CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![NAME.to_owned()])?.signed_by(&key, &authority)?;
    Ok(Identity { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn under(account: Option<&User>, program: &Path) -> Command {
    let Some(account) = account else {
        return Command::new(program);
    };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", account.uid)).arg(format!("--regid={}", account.gid));
    // A change of the account resets the death signal of the parent, so set it again.
    command.args(["--clear-groups", "--pdeathsig", "KILL", "--"]).arg(program);
    command
}
