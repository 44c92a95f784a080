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

/// What a transaction starts with. The limits are below the deadline of a request, so that the server says what it waits
/// for, and gives up its locks when we are gone. They hold for the transaction alone, as a pooler may hand the connection
/// on. The path of the database's owner could put other functions in place of the server's.
const LIMITS: &str = "SET LOCAL lock_timeout = '5s'; \
                      SET LOCAL statement_timeout = '8s'; \
                      SET LOCAL idle_in_transaction_session_timeout = '10s'; \
                      SET LOCAL search_path = pg_catalog, pg_temp";

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// A parameter of a statement.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection that is logged in. Dropping it breaks it off, and the server takes back what is not committed.
pub(super) struct Session {
    client: Client,
    driver: Driver,
    noted: Noted,
}

/// The task that reads and writes.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Connects and logs in, once.
    pub(super) async fn open(server: &Server, login: &Login, network: &Network, end: Instant) -> Result<Self, Failure> {
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
        Ok(Self { client, driver, noted })
    }

    /// Starts a transaction that sees what others commit meanwhile, whatever the database's default is.
    pub(super) async fn begin(&self, access: Access) -> Result<(), Failure> {
        let access = match access {
            Access::Read => "ONLY",
            Access::Write => "WRITE",
        };
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ {access}; {LIMITS}");
        self.client.batch_execute(&begin).await.map_err(|error| self.failure(&error))
    }

    /// Ends it, and keeps what was changed.
    pub(super) async fn commit(&self) -> Result<(), Failure> {
        self.execute("COMMIT").await
    }

    /// Ends it, and takes back what was changed.
    pub(super) async fn rollback(&self) -> Result<(), Failure> {
        self.execute("ROLLBACK").await
    }

    /// Runs a statement that has no parameters. The library logs those of its other calls, at debug.
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
