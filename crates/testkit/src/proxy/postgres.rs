//! A proxy for `PostgreSQL` that breaks the connection at a chosen statement.
//!
//! # Flow
//! It follows what each client asks, in both forms of the protocol
//! (<https://www.postgresql.org/docs/current/protocol-flow.html>): `Query`, and `Parse`, `Bind` and `Execute` up to a `Sync`.
//! A request that makes something last gets a number, from 1 in the order of arrival: the end of a transaction that has
//! written, a write without a transaction, and whatever ends sessions by `pg_terminate_backend`, which no transaction takes
//! back. Logins, and transactions that only read, get none.
//!
//! # Guarantees
//! - What [`Fault::KillBefore`] breaks never reaches the server; with the other faults the server's whole answer, up to its
//!   `ReadyForQuery`, is here before the fault happens.
//! - From the moment when a request to be killed at is numbered, nothing is forwarded until the kill is done, and then all
//!   connections are cut: nothing of the killed process arrives later.
//! - No value is kept: [`Statement::text`] ends where the first literal of a statement stands.
//!
//! # Caveats
//! - No TLS, as the proxy has to read: it says so to those who ask for it. No `COPY` from the client, no `Flush`, no function
//!   call of the protocol's own: a client that uses one is cut off, so that nothing goes past the numbers unseen.
//! - What functions change that a `SELECT` calls is not seen, but for `pg_terminate_backend`.
//! - Faults that make answers up, wait or last have no meaning here: such a call is [dropped](Fault::Drop).

mod connection;
mod message;
mod sql;
mod transaction;

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;

use super::{
    accept::{self, Port},
    gate::{Gate, Life, Ticket},
};

/// A proxy in front of one `PostgreSQL` server, on a free loopback port, until it is dropped.
pub struct PostgresProxy {
    shared: Arc<Shared>,
    port: Port,
}

/// What makes something last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The place in the order of arrival, from 1.
    pub number: u64,
    /// What lasts from here on, such as `COMMIT ALTER ROLE orders_b LOGIN PASSWORD …, COMMENT ON ROLE orders_b IS …`.
    pub text: String,
    /// The server's answer, even if the client never got it: the tag of the command, or `ERROR` and its SQLSTATE. Nothing
    /// when the statement was not forwarded or has no answer yet.
    pub answer: Option<String>,
}

struct Shared {
    upstream: String,
    gate: Gate,
    statements: Mutex<Vec<Statement>>,
}

impl PostgresProxy {
    /// In front of the server at `host:port`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(upstream: &str) -> Result<Self> {
        let shared =
            Arc::new(Shared { upstream: upstream.to_owned(), gate: Gate::new(), statements: Mutex::default() });
        let port = Port::open(|listener| accept(listener, Arc::clone(&shared)))?;
        Ok(Self { shared, port })
    }

    /// Where to connect in place of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The faults, kills and cuts.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The numbered statements up to now.
    #[must_use]
    pub fn calls(&self) -> Vec<Statement> {
        self.shared.statements().clone()
    }
}

impl Shared {
    /// As [`Gate::admit`]; `lasting` is what the request makes last.
    fn admit(&self, life: &Life, lasting: Option<String>) -> Option<Ticket> {
        self.gate.admit(life, |next| {
            let number = lasting.map(|text| {
                self.statements().push(Statement { number: next, text, answer: None });
                next
            });
            Ticket { number, fault: None }
        })
    }

    /// Notes what the server answered.
    fn answered(&self, number: Option<u64>, answer: Option<String>) {
        let mut statements = self.statements();
        if let Some(statement) = statements.iter_mut().find(|statement| Some(statement.number) == number) {
            statement.answer = answer;
        }
    }

    fn statements(&self) -> MutexGuard<'_, Vec<Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let serve = |stream, life| connection::serve(stream, Arc::clone(&shared), life);
    accept::connections(listener, &shared.gate, serve).await;
}
