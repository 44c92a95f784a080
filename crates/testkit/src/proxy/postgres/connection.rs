//! A client's connection, and the one to the server that belongs to it.

use std::{collections::HashMap, io, sync::Arc};

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::OwnedWriteHalf},
};

use super::{
    super::{
        call::Fault,
        gate::{Life, Ticket},
    },
    Shared,
    message::{First, Message, Messages},
    sql::Sql,
    transaction::Transaction,
};

pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>, life: Life) {
    let serving = async {
        let Ok(server) = TcpStream::connect(&shared.upstream).await else {
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        // A cut connection ends in an error by intent, so there is nothing to report.
        Connection::new(client, server, Arc::clone(&shared), life.clone()).run().await.ok();
    };
    shared.gate.until_cut(life.clone(), serving).await;
}

struct Connection {
    client: Client,
    server: Messages,
    to_client: OwnedWriteHalf,
    to_server: OwnedWriteHalf,
    transaction: Transaction,
    shared: Arc<Shared>,
    life: Life,
}

/// What a client asks.
struct Client {
    messages: Messages,
    /// Of a request that is not complete.
    open: Request,
    /// The texts of prepared statements and of portals, by their names.
    prepared: HashMap<String, String>,
    portals: HashMap<String, String>,
}

/// All that a client wants done before the server says that it is ready again.
#[derive(Default)]
struct Request {
    bytes: Vec<u8>,
    statements: Vec<Sql>,
    is_farewell: bool,
}

/// What the server says to a request.
struct Answer {
    bytes: Vec<u8>,
    /// In words.
    outcome: Option<String>,
    /// Of the transaction; `None`: the server has ended the session.
    status: Option<u8>,
}

impl Connection {
    fn new(client: TcpStream, server: TcpStream, shared: Arc<Shared>, life: Life) -> Self {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let client = Client {
            messages: Messages::new(from_client),
            open: Request::default(),
            prepared: HashMap::new(),
            portals: HashMap::new(),
        };
        let (server, transaction) = (Messages::new(from_server), Transaction::default());
        Self { client, server, to_client, to_server, transaction, shared, life }
    }

    async fn run(mut self) -> io::Result<()> {
        self.log_in().await?;
        loop {
            let request = tokio::select! {
                // A notice, or the end of the session.
                message = self.server.next() => {
                    self.to_client.write_all(&message?.bytes).await?;
                    continue;
                }
                request = self.client.request() => request?,
            };
            let lasting = self.transaction.follow(&request.statements);
            let Ticket { number, fault } = self.admitted(lasting).await;
            if let Some(fault) = fault {
                // The client's end takes this connection with it; the fault must go through all the same.
                tokio::spawn(self.broken(request, number, fault)).await.ok();
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let Some(answer) = self.ask(request, number).await? else { return Ok(()) };
            self.to_client.write_all(&answer.bytes).await?;
            self.transaction.is_now(answer.status.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
    }

    /// Passes on all that comes before the first request.
    async fn log_in(&mut self) -> io::Result<()> {
        loop {
            let message = self.client.messages.next_untyped().await?;
            let first = message.first();
            if first == First::Encryption {
                self.to_client.write_all(b"N").await?;
                continue;
            }
            self.admitted(None).await;
            self.to_server.write_all(&message.bytes).await?;
            if first == First::Cancel {
                return Err(io::ErrorKind::UnexpectedEof.into()); // that is all, in both directions
            }
            break;
        }
        loop {
            tokio::select! {
                message = self.server.next() => {
                    let message = message?;
                    self.to_client.write_all(&message.bytes).await?;
                    if message.kind() == b'Z' {
                        return Ok(());
                    }
                }
                message = self.client.messages.next() => {
                    let message = message?;
                    self.admitted(None).await;
                    self.to_server.write_all(&message.bytes).await?;
                }
            }
        }
    }

    /// What to do with what came; waits for the cut when it must go nowhere.
    async fn admitted(&self, lasting: Option<String>) -> Ticket {
        match self.shared.admit(&self.life, lasting) {
            Some(ticket) => ticket,
            None => std::future::pending().await,
        }
    }

    /// Passes a request on; returns the whole answer, or nothing to a client that says goodbye.
    async fn ask(&mut self, request: Request, number: Option<u64>) -> io::Result<Option<Answer>> {
        self.to_server.write_all(&request.bytes).await?;
        if request.is_farewell {
            return Ok(None);
        }
        let mut answer = Answer { bytes: Vec::new(), outcome: None, status: None };
        while answer.status.is_none() {
            let Ok(message) = self.server.next().await else { break };
            answer.bytes.extend_from_slice(&message.bytes);
            match message.kind() {
                b'C' => answer.outcome = message.texts().map(|[tag]| tag),
                b'E' => answer.outcome = Some(format!("ERROR {}", sqlstate(&message))),
                b'Z' => answer.status = message.body().first().copied(),
                b'G' | b'W' => return Err(io::ErrorKind::Unsupported.into()), // it waits for a COPY
                _ => {}
            }
        }
        self.shared.answered(number, answer.outcome.clone());
        Ok(Some(answer))
    }

    /// Breaks a request, and with it the connection.
    async fn broken(mut self, request: Request, number: Option<u64>, fault: Fault) {
        let (reaches_server, reaches_client) = match fault {
            Fault::KillAfterAnswer | Fault::DropAfterAnswer => (true, true),
            Fault::KillAfterBeforeAnswer | Fault::DropAnswer => (true, false),
            Fault::KillBefore
            | Fault::Drop
            | Fault::Delay(_)
            | Fault::DelayAnswer(_)
            | Fault::Status(_)
            | Fault::StatusAnswer(_)
            | Fault::WatchError(_)
            | Fault::CutOff(..)
            | Fault::Hold(..) => (false, false),
        };
        if reaches_server
            && let Ok(Some(answer)) = self.ask(request, number).await
            && reaches_client
        {
            self.to_client.write_all(&answer.bytes).await.ok();
        }
        if fault.kills() {
            self.shared.gate.kill().await;
        }
    }
}

impl Client {
    /// The next whole request; one that has come in part is kept when this is dropped.
    async fn request(&mut self) -> io::Result<Request> {
        loop {
            let message = self.messages.next().await?;
            let is_whole = self.read(&message)?;
            self.open.bytes.extend_from_slice(&message.bytes);
            if is_whole {
                return Ok(std::mem::take(&mut self.open));
            }
        }
    }

    /// Whether this is the last message of a request.
    fn read(&mut self, message: &Message) -> io::Result<bool> {
        let malformed = || io::Error::from(io::ErrorKind::InvalidData);
        match message.kind() {
            b'Q' => {
                let [text] = message.texts().ok_or_else(malformed)?;
                self.open.statements.extend(Sql::all(&text));
                return Ok(true);
            }
            b'P' => {
                let [name, text] = message.texts().ok_or_else(malformed)?;
                self.prepared.insert(name, text);
            }
            b'B' => {
                let [portal, name] = message.texts().ok_or_else(malformed)?;
                let text = self.prepared.get(&name).ok_or_else(malformed)?;
                self.portals.insert(portal, text.clone());
            }
            b'E' => {
                let [portal] = message.texts().ok_or_else(malformed)?;
                let text = self.portals.get(&portal).ok_or_else(malformed)?;
                self.open.statements.extend(Sql::all(text));
            }
            b'D' | b'C' => {}
            b'S' => return Ok(true),
            b'X' => {
                self.open.is_farewell = true;
                return Ok(true);
            }
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(false)
    }
}

/// The code of an error, which stands in a field of its own.
fn sqlstate(message: &Message) -> String {
    let mut fields = message.body().split(|byte| *byte == 0);
    let code = fields.find_map(|field| field.strip_prefix(b"C"));
    code.map(|code| String::from_utf8_lossy(code).into_owned()).unwrap_or_default()
}
