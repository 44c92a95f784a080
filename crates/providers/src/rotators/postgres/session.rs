//! One connection to a server, for one request.

use std::{future::poll_fn, net::SocketAddr, sync::Arc, time::Duration};

use rekey_core::{
    rotator::database::{Login, Server},
    store::Network,
};
use reqwest::dns::Resolve as _;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};
use tokio_postgres::{
    Client, Config, Connection, NoTls, Row,
    config::SslMode,
    types::{ToSql, Type},
};

use super::{
    failure::Failure,
    link::Link,
    stream::{Noted, Watched},
    tls::{self, Connector},
};
use crate::address::{Guard, Refused};

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a transaction starts with: it gives up its locks when we are gone. This holds for the transaction alone, as a pooler
/// may hand the connection on. Settings of the database's owner, who is not trusted, could let us act as somebody else, or put
/// other functions in place of the server's.
const LIMITS: &str = "SET LOCAL idle_in_transaction_session_timeout = '10s'; \
                      SET LOCAL ROLE NONE; \
                      SET LOCAL search_path = pg_catalog, pg_temp";

/// A statement of a transaction that needs no lock of others. Below the deadline of a request, so that the server says what
/// was too slow.
const LONGEST: Duration = Duration::from_secs(8);

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    /// Each of its statements ends after this time, and after that time if it waits for a lock.
    Write {
        longest: Duration,
        lock: Duration,
    },
}

/// A parameter of a statement.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection that is logged in. Dropping it breaks it off, and the server takes back what is not committed.
pub(super) struct Session {
    client: Client,
    driver: Driver,
    noted: Noted,
    /// When the request ends.
    end: Instant,
}

/// The task that reads and writes.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Connects and logs in, once. With `acts_as`, the session acts as that role from its start.
    pub(super) async fn open(
        server: &Server,
        login: &Login,
        acts_as: Option<&str>,
        network: &Network,
        end: Instant,
    ) -> Result<Self, Failure> {
        let tls = tls::config(&server.tls).await?;
        if tls.is_none() && !network.insecure {
            return Err(Link::Unprotected.into());
        }
        if [&login.user, &server.database].into_iter().any(|name| name.contains('\0')) {
            return Err(Failure::Value("the name of a user or database holds a NUL character: correct it".to_owned()));
        }
        let stream = timeout_at(end, dial(server, network)).await.unwrap_or(Err(Link::NotResponding))?;
        let mut config = Config::new();
        config.user(&login.user).password(login.password.expose()).dbname(&server.database).application_name("rekey");
        if let Some(role) = acts_as {
            config.options(option("role", role));
        }
        let noted = Noted::default();
        let opened = if let Some(tls) = tls {
            config.ssl_mode(SslMode::Require);
            let connector = Connector::new(tls, &server.host, Arc::clone(&noted));
            config.connect_raw(stream, connector).await.map(|(client, connection)| (client, drive(connection)))
        } else {
            config.ssl_mode(SslMode::Disable);
            let stream = Watched::new(stream, Arc::clone(&noted));
            config.connect_raw(stream, NoTls).await.map(|(client, connection)| (client, drive(connection)))
        };
        let (client, driver) = opened.map_err(|error| failure(&noted, &error))?;
        Ok(Self { client, driver, noted, end })
    }

    /// When the request ends.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// How much time the request has left.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Starts a transaction that sees what others commit meanwhile, whatever the database's default is.
    pub(super) async fn begin(&self, access: Access) -> Result<(), Failure> {
        let (access, longest, lock) = match access {
            Access::Read => ("ONLY", LONGEST, LONGEST),
            Access::Write { longest, lock } => ("WRITE", longest, lock),
        };
        // 0 would be no limit.
        let (longest, lock) = (longest.as_millis().max(1), lock.as_millis().max(1));
        self.batch(&format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ {access}; SET LOCAL statement_timeout = '{longest}ms'; \
             SET LOCAL lock_timeout = '{lock}ms'; {LIMITS}"
        ))
        .await
    }

    /// Runs several statements, as one message. The library logs them at debug, so they hold no verifier.
    pub(super) async fn batch(&self, statements: &str) -> Result<(), Failure> {
        self.client.batch_execute(statements).await.map_err(|error| self.failure(&error))
    }

    /// Ends it, and keeps what was changed.
    pub(super) async fn commit(&self) -> Result<(), Failure> {
        self.execute("COMMIT").await
    }

    /// Ends it, and takes back what was changed.
    pub(super) async fn rollback(&self) -> Result<(), Failure> {
        self.execute("ROLLBACK").await
    }

    /// Runs a statement that has no parameters.
    pub(super) async fn execute(&self, statement: &str) -> Result<(), Failure> {
        let done = self.client.execute_typed(statement, &[]).await;
        done.map(drop).map_err(|error| self.failure(&error))
    }

    /// The rows that a question finds.
    pub(super) async fn rows(&self, question: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, Failure> {
        self.client.query_typed(question, parameters).await.map_err(|error| self.failure(&error))
    }

    /// Says goodbye, and ignores whether that arrives.
    pub(super) async fn leave(self) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        timeout(FAREWELL, &mut driver.0).await.ok();
    }

    fn failure(&self, error: &tokio_postgres::Error) -> Failure {
        failure(&self.noted, error)
    }
}

/// What the server did wrong, or else what the library says of it.
fn failure(noted: &Noted, error: &tokio_postgres::Error) -> Failure {
    noted.get().map_or_else(|| Failure::of(error), |breach| Link::Breach(*breach).into())
}

/// Drives a connection. Notices are dropped: they are the server's words, which the library would log.
fn drive<S, T>(mut connection: Connection<S, T>) -> Driver
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Driver(tokio::spawn(
        async move { while let Some(Ok(_)) = poll_fn(|context| connection.poll_message(context)).await {} },
    ))
}

/// A setting for the start of a session, whose value a backslash keeps together.
fn option(name: &str, value: &str) -> String {
    let escaped = value.chars().map(|sign| {
        if sign == '\\' || sign.is_ascii_whitespace() || sign == '\u{b}' {
            format!("\\{sign}")
        } else {
            sign.to_string()
        }
    });
    format!("-c {name}={}", escaped.collect::<String>())
}

async fn dial(server: &Server, network: &Network) -> Result<TcpStream, Link> {
    // The host of the proxy for stores may be anywhere; that is no reason to let a database be there.
    let guard = Guard::new(&Network { proxy: None, ..network.clone() });
    ServerName::try_from(server.host.as_str()).map_err(|_| Link::NotResponding)?;
    let name = server.host.parse().map_err(|_| Link::NotResponding)?;
    let found = guard.resolve(name).await;
    let found = found.map_err(|error| if error.is::<Refused>() { Link::Address } else { Link::NotResponding })?;
    let addresses: Vec<SocketAddr> = found.map(|address| SocketAddr::new(address.ip(), server.port)).collect();
    let stream = TcpStream::connect(addresses.as_slice()).await.map_err(|_| Link::NotResponding)?;
    stream.set_nodelay(true).ok();
    Ok(stream)
}
