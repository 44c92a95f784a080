//! A login by SSH, to prove that a server accepts a new key (RFC 4251 to 4254).
//!
//! A client of our own (`docs/adr/010-an-ssh-client-of-our-own.md`): the part of the protocol that such a proof needs and
//! no more. There is one key exchange, one authentication and no channel, so no shell and no command. All cryptography is
//! that of aws-lc-rs. Whoever may write a schedule chooses the server, so what comes from it is bounded: in bytes, in
//! messages and in time.
//!
//! # What it does not prove
//! The API has no field for the server's host key, so it is not checked: any server at the address can claim that it
//! accepts the key. It gets only a signature that is good for this connection alone (RFC 4252, section 7).

mod exchange;
mod failure;
mod signer;
mod transport;
mod wire;

use std::{net::SocketAddr, time::Duration};

use rekey_api::rotator::SshEndpoint;
use rekey_core::{
    SecretBytes,
    store::{Network, StoreError},
};
use reqwest::dns::Resolve as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use self::{
    failure::{Failure, Stage},
    signer::Signer,
    transport::Transport,
    wire::{Message, Parts, kind},
};
use crate::address::{Guard, Refused};

/// The whole login. A server that is up answers in well under a second, and one that waits for a DNS server of its own
/// first mostly in five.
const DEADLINE: Duration = Duration::from_secs(10);

/// Logs in to `endpoint` with a private key in OpenSSH's format, and leaves at once. There is one attempt, so that a key
/// that is not accepted yet locks nobody out; the caller waits before the next one.
///
/// The addresses that stores may not have are refused here as well. A proxy for stores is not used.
///
/// # Errors
/// `Unavailable`: the server does not respond, now or in time: retry. `Denied`: it does not accept the key for the user, or
/// not the key alone. `Malformed`: what responds is no SSH server, or breaks the protocol. `Invalid`: the address is
/// refused, the server has no algorithm in common with us, or the key is none.
pub async fn login(key: &SecretBytes, endpoint: &SshEndpoint, network: &Network) -> Result<(), StoreError> {
    let end = Instant::now() + DEADLINE;
    attempt(key, endpoint, network, end).await.map_err(|failure| failure.told(endpoint))
}

async fn attempt(key: &SecretBytes, endpoint: &SshEndpoint, network: &Network, end: Instant) -> Result<(), Failure> {
    let signer = Signer::read(key)?;
    let connected = timeout_at(end, connect(endpoint, network)).await;
    let stream = connected.unwrap_or(Err(Failure::NoConnection))?;
    let transport = Transport::open(stream, end).await?;
    let talk = authenticate(transport, &signer, &endpoint.user);
    timeout_at(end, talk).await.unwrap_or(Err(Failure::TooSlow(Stage::Login)))
}

async fn connect(endpoint: &SshEndpoint, network: &Network) -> Result<TcpStream, Failure> {
    // The host of the proxy for stores may be anywhere; that is no reason to let an SSH server be there.
    let guard = Guard::new(&Network { proxy: None, ..network.clone() });
    let name = endpoint.host.parse().map_err(|_| Failure::NoSuchName)?;
    let found = guard.resolve(name).await;
    let found = found.map_err(|error| if error.is::<Refused>() { Failure::Address } else { Failure::NoSuchName })?;
    let addresses: Vec<SocketAddr> = found.map(|address| SocketAddr::new(address.ip(), endpoint.port)).collect();
    TcpStream::connect(addresses.as_slice()).await.map_err(|_| Failure::NoConnection)
}

async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
    mut transport: Transport<S>,
    signer: &Signer,
    user: &str,
) -> Result<(), Failure> {
    let session = exchange::exchange(&mut transport).await?;
    transport.send(&Message::new(kind::SERVICE_REQUEST).string(b"ssh-userauth")).await?;
    let accepted = transport.receive().await?;
    if accepted.first() != Some(&kind::SERVICE_ACCEPT) {
        return Err(Failure::Protocol("it does not offer to log in"));
    }
    let request = |message: Message| {
        let message = message.string(user.as_bytes()).string(b"ssh-connection").string(b"publickey").boolean(true);
        message.string(signer.algorithm().as_bytes()).string(signer.public())
    };
    let proof = request(Message::empty().string(&session).byte(kind::USERAUTH_REQUEST));
    let signature = signer.sign(proof.bytes())?;
    // With the signature at once: a question before it would count as an attempt of its own.
    transport.send(&request(Message::new(kind::USERAUTH_REQUEST)).string(&signature)).await?;
    let verdict = verdict(&mut transport).await;
    // We say goodbye whatever the outcome, and ignore whether that arrives.
    transport.leave().await;
    verdict
}

async fn verdict<S: AsyncRead + AsyncWrite + Unpin>(transport: &mut Transport<S>) -> Result<(), Failure> {
    loop {
        let message = match transport.receive().await {
            // With `MaxAuthTries 1`, sshd refuses in this way.
            Err(Failure::Disconnected) => return Err(Failure::Refused),
            received => received?,
        };
        let mut parts = Parts::of(&message);
        match parts.byte()? {
            kind::USERAUTH_SUCCESS => return Ok(()),
            kind::USERAUTH_FAILURE => {
                parts.string()?;
                return Err(if parts.boolean()? { Failure::MoreWanted } else { Failure::Refused });
            }
            kind::USERAUTH_BANNER | kind::EXT_INFO => {}
            _ => return Err(Failure::Protocol("it answers a login with something else")),
        }
    }
}
