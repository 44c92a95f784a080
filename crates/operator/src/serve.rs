//! A small HTTP/1 server that clients cannot exhaust: for health and metrics, where every pod may connect.
//!
//! - Each port has a thread and a runtime of its own: nothing that keeps the operator or the other port busy delays it.
//! - A connection is for one request, and is closed after a time whatever it does.
//! - Only so many are open at a time. One more takes the place of the oldest of the address that holds the most of them:
//!   a kubelet or a Prometheus holds one or two, so that a flood from elsewhere takes only its own places. Of one
//!   address the oldest goes, since a client that needs an answer asks as soon as it has connected, and gets it at
//!   once.
//! - It does not read bodies of requests.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::errno::Errno;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// An answer, whole.
pub type Reply = Response<Full<Bytes>>;

/// The most bytes of a request in a buffer. hyper accepts no less than half of it.
const BUFFER: usize = 16 * 1024;
/// The pause after it could not accept a connection: the cause, mostly a lack of file handles, does not pass at once.
const PAUSE: Duration = Duration::from_millis(100);

/// The limits of one port.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Connections that are open at the same time.
    pub connections: usize,
    /// How long the head of a request may take.
    pub head: Duration,
    /// How long a connection may live in all, with its answer.
    pub connection: Duration,
}

/// Some 60 of 1,024 file handles, which is a common limit, and more time than a well-behaved prober needs.
pub const BOUNDS: Bounds =
    Bounds { connections: 64, head: Duration::from_secs(5), connection: Duration::from_secs(10) };

/// A server that runs until this is dropped.
pub struct Server {
    /// Where it listens.
    #[cfg(test)]
    address: SocketAddr,
    _end: DropGuard,
}

/// Serves GET and HEAD with what `answer` returns for a path.
///
/// # Errors
/// When it cannot listen on the address or start a thread.
pub fn start<A>(name: &str, address: SocketAddr, bounds: Bounds, answer: A) -> Result<Server>
where
    A: Fn(&str) -> Reply + Send + Sync + 'static,
{
    let listener = bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let stop = CancellationToken::new();
    let server = Server {
        #[cfg(test)]
        address: listener.local_addr()?,
        _end: stop.clone().drop_guard(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(move || runtime.block_on(stop.run_until_cancelled(listen(listener, bounds, answer)))).map(drop)?;
    Ok(server)
}

/// Listens. On `[::]` Linux accepts connections of both families (`net.ipv6.bindv6only` is 0 by default); on a kernel
/// without IPv6 it listens on IPv4 alone.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address) {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && has_no_ipv6(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        }
        bound => bound,
    }
}

/// The address family is not supported, or its addresses are switched off (socket(2), ip6(7)).
fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

async fn listen<A>(listener: TcpListener, bounds: Bounds, answer: A)
where
    A: Fn(&str) -> Reply + Send + Sync + 'static,
{
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("cannot listen for health or metrics: {error}"),
    };
    let answer = Arc::new(answer);
    let mut open = VecDeque::new();
    loop {
        let accepted = listener.accept().await;
        open.retain(|(_, connection): &Connection| !connection.is_finished());
        match accepted {
            Ok((stream, peer)) => {
                if open.len() >= bounds.connections {
                    close_one(&mut open).await;
                }
                open.push_back((host(peer.ip()), tokio::spawn(serve(stream, bounds, Arc::clone(&answer)))));
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::debug!("cannot accept a connection to health or metrics: {error}");
                close_one(&mut open).await;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the error concerns only this one connection, which is gone.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// An open connection, and from where it came.
type Connection = (IpAddr, JoinHandle<()>);

/// The host behind an address: in IPv6 a host chooses its addresses from a whole network of 64 bits (RFC 4291).
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// Which connection goes when there is no room: the oldest of the host with the most. `hosts`: those of all
/// connections, the oldest first.
fn superfluous(hosts: &[IpAddr]) -> Option<usize> {
    let mut counts = BTreeMap::<IpAddr, usize>::new();
    for host in hosts {
        *counts.entry(*host).or_default() += 1;
    }
    let most = counts.values().max()?;
    hosts.iter().position(|host| counts.get(host) == Some(most))
}

/// Returns when its file handle is free.
async fn close_one(open: &mut VecDeque<Connection>) {
    let hosts: Vec<IpAddr> = open.iter().map(|(host, _)| *host).collect();
    if let Some((_, connection)) = superfluous(&hosts).and_then(|index| open.remove(index)) {
        connection.abort();
        connection.await.ok();
    }
}

async fn serve<A>(stream: TcpStream, bounds: Bounds, answer: Arc<A>)
where
    A: Fn(&str) -> Reply + Send + Sync + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let reply = match *request.method() {
            Method::GET | Method::HEAD => answer(request.uri().path()),
            _ => text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n"),
        };
        std::future::ready(Ok::<_, Infallible>(reply))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(bounds.head).keep_alive(false).max_buf_size(BUFFER);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    // How it ended matters only to the client.
    tokio::time::timeout(bounds.connection, connection).await.ok();
}

/// A reply in plain text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpStream,
    };

    use super::*;

    const REQUEST: &str = "GET /there HTTP/1.1\r\nhost: a\r\n\r\n";
    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_mins(10);

    fn server(bounds: Bounds) -> Server {
        server_at("127.0.0.1:0", bounds)
    }

    fn server_at(address: &str, bounds: Bounds) -> Server {
        start("test", address.parse().unwrap(), bounds, |path| match path {
            "/there" => text(StatusCode::OK, "it is\n"),
            _ => text(StatusCode::NOT_FOUND, "it is not\n"),
        })
        .unwrap()
    }

    fn connect(server: &Server, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Everything that comes until the server closes; a connection that is reset is closed, too.
    fn answer(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it is not closed"),
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_address_is_that_of_ipv4_too() {
        let mut server = server_at("[::]:0", BOUNDS);
        server.address.set_ip(Ipv4Addr::LOCALHOST.into());
        let mut answer = String::new();
        connect(&server, REQUEST).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(has_no_ipv6(&io::Error::from_raw_os_error(Errno::EAFNOSUPPORT as i32)));
        assert!(!has_no_ipv6(&io::Error::from_raw_os_error(Errno::EADDRINUSE as i32)), "another address would be free");
    }

    #[test]
    fn each_connection_gets_one_answer() {
        let server = server(BOUNDS);
        let table = [
            (REQUEST, "HTTP/1.1 200", "it is\n"),
            ("GET /else HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 404", "it is not\n"),
            ("HEAD /there HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200", "\r\n\r\n"),
            ("POST /there HTTP/1.1\r\nhost: a\r\ncontent-length: 9999999999\r\n\r\n", "HTTP/1.1 405", "HEAD\n"),
            ("nonsense\r\n\r\n", "HTTP/1.1 400", ""),
        ];
        for (request, begin, end) in table {
            let answer = answer(connect(&server, request));
            assert!(answer.starts_with(begin) && answer.ends_with(end), "{request}: {answer}");
        }
        let twice = answer(connect(&server, &REQUEST.repeat(2)));
        assert_eq!(twice.matches("HTTP/1.1").count(), 1, "{twice}");
        let long = format!("GET /there HTTP/1.1\r\nhost: a\r\na: {}\r\n\r\n", "a".repeat(4 * BUFFER));
        assert!(!answer(connect(&server, &long)).contains("200 OK"), "a head of any size is read");
    }

    #[test]
    fn who_does_not_finish_the_head_of_a_request_is_closed() {
        let server = server(Bounds { head: SHORT, connection: LONG, ..BOUNDS });
        for begun in ["", "GET /there HTTP/1.1\r\nhost:"] {
            assert!(!answer(connect(&server, begun)).contains("200 OK"));
        }
        assert!(answer(connect(&server, REQUEST)).contains("200 OK"));
    }

    #[test]
    fn no_connection_is_kept_longer_than_allowed() {
        let server = server(Bounds { head: LONG, connection: SHORT, ..BOUNDS });
        assert_eq!(answer(connect(&server, "GET /there HTTP/1.1\r\nhost:")), "");
    }

    #[test]
    fn one_more_than_allowed_takes_the_place_of_the_oldest() {
        let server = server(Bounds { connections: 2, head: LONG, connection: LONG });
        let mut held: VecDeque<TcpStream> = (0..2).map(|_| connect(&server, "GET /there")).collect();
        for _ in 0..3 {
            held.push_back(connect(&server, "GET /there"));
            assert_eq!(answer(held.pop_front().unwrap()), "", "the oldest");
        }
        assert!(answer(connect(&server, REQUEST)).contains("200 OK"), "a client that asks gets an answer");
        let mut youngest = held.pop_back().unwrap();
        youngest.write_all(&REQUEST.as_bytes()["GET /there".len()..]).unwrap();
        assert!(answer(youngest).contains("200 OK"), "the newest is still there");
    }

    #[test]
    fn a_flood_from_one_host_takes_no_place_of_another() {
        let goes = |hosts: &str| {
            let hosts: Vec<IpAddr> = hosts.split(' ').map(|text| host(text.parse().unwrap())).collect();
            superfluous(&hosts).unwrap()
        };
        assert_eq!(goes("10.0.0.1 10.0.0.2 10.0.0.2"), 1, "the oldest of the host with the most");
        assert_eq!(goes("10.0.0.2 10.0.0.1 10.0.0.2 10.0.0.2"), 0);
        assert_eq!(goes("10.0.0.1 10.0.0.2"), 0, "the oldest of all, where all have as many");
        assert_eq!(goes("fd00::1 2001:db8::1 2001:db8::2 2001:db8::ffff:1"), 1, "a host has a network of addresses");
        assert_eq!(goes("10.0.0.1 ::ffff:10.0.0.2 10.0.0.2"), 1, "both are one address");
        assert_eq!(superfluous(&[]), None);
    }

    #[test]
    fn a_server_ends_when_it_is_dropped() {
        let server = server(BOUNDS);
        let address = server.address;
        let held = connect(&server, "GET /there");
        drop(server);
        assert_eq!(answer(held), "");
        assert!(TcpStream::connect(address).is_err(), "it does not listen any more");
    }
}
