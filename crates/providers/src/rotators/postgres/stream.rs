//! What a server may send: so many bytes, and a question for the password in a form that does not give it away.
//!
//! The library below answers every question, also one for the password in cleartext or as an MD5 hash, and takes a login
//! without one for a success. This stream reads along up to the end of the login and breaks off before such an answer
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

/// All that a server may send on one connection. Our largest answer lists the roles that two users are members of, 64 bytes
/// each.
const MOST: usize = 4 * 1024 * 1024;

/// All that it may send before the login is decided: a few hundred bytes in practice.
const MOST_BEFORE: usize = 64 * 1024;

/// The kinds of messages before the login is decided: authentication, error, notice, version. Another protocol would let us
/// wait for the rest of a message that is as long as its text looks.
const FIRST: &[u8] = b"RENv";

/// What a server does that it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// It asks for the password itself.
    Cleartext,
    /// It asks for a hash from which the password can be guessed.
    Md5,
    /// It lets anybody in, so a login proves nothing.
    NoPassword,
    /// It sends more than any answer to us has.
    TooMuch,
    /// It sends what no such server starts with.
    Strange,
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl Error for Breach {}

/// Where the breach of a connection is kept: what the library reports has lost it.
pub(super) type Noted = Arc<OnceLock<Breach>>;

/// A connection whose server is watched.
pub(super) struct Watched<S> {
    inner: S,
    watch: Watch,
    noted: Noted,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, noted: Noted) -> Self {
        Self { inner, watch: Watch::default(), noted }
    }
}

/// How far the server is.
#[derive(Default)]
struct Watch {
    received: usize,
    /// It has asked for a proof of the password.
    has_asked: bool,
    is_decided: bool,
    /// What is not a whole message yet.
    rest: Vec<u8>,
}

impl Watch {
    fn see(&mut self, bytes: &[u8]) -> Result<(), Breach> {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > MOST || (!self.is_decided && self.received > MOST_BEFORE) {
            return Err(Breach::TooMuch);
        }
        if self.is_decided {
            return Ok(());
        }
        self.rest.extend_from_slice(bytes);
        while let Some(kind) = self.rest.first().copied() {
            if !FIRST.contains(&kind) {
                return Err(Breach::Strange);
            }
            let Some((body, length)) = message(&self.rest) else { break };
            if kind == b'R' {
                let code = body.first_chunk().map(|code| u32::from_be_bytes(*code));
                self.authentication(code)?;
            }
            self.rest.drain(..length);
            if self.is_decided {
                self.rest = Vec::new();
            }
        }
        Ok(())
    }

    /// The codes of an authentication request; those that are not here, the library refuses.
    fn authentication(&mut self, code: Option<u32>) -> Result<(), Breach> {
        match code {
            Some(3) => return Err(Breach::Cleartext),
            // What servers before 14 store, if nobody changed that.
            Some(5) => return Err(Breach::Md5),
            // SCRAM (RFC 5802, RFC 7677).
            Some(10) => self.has_asked = true,
            Some(0) if self.has_asked => self.is_decided = true,
            Some(0) => return Err(Breach::NoPassword),
            _ => {}
        }
        Ok(())
    }
}

/// Body and length of the message at the start.
fn message(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (_, rest) = bytes.split_first()?;
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
    // A length below its own size never gets past the library.
    let body = rest.get(4..length)?;
    Some((body, length + 1))
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if let Err(breach) = this.watch.see(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            this.noted.set(breach).ok();
            return Poll::Ready(Err(io::Error::other(breach)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Watched<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(code: u32) -> Vec<u8> {
        [b"R\0\0\0\x08".as_slice(), &code.to_be_bytes()].concat()
    }

    fn seen(bytes: &[u8], chunk: usize) -> Result<bool, Breach> {
        let mut watch = Watch::default();
        bytes.chunks(chunk).try_for_each(|part| watch.see(part))?;
        Ok(watch.is_decided)
    }

    #[test]
    fn the_questions_of_a_server_are_told_apart_however_they_arrive() {
        let notice = b"N\0\0\0\x06\0\0".to_vec();
        let cases = [
            (vec![request(10), request(11), request(12), request(0)], Ok(true)),
            (vec![request(5), request(0)], Err(Breach::Md5)),
            (vec![notice.clone(), request(10)], Ok(false)),
            (vec![request(3)], Err(Breach::Cleartext)),
            (vec![notice, request(10), request(3)], Err(Breach::Cleartext)),
            (vec![request(0)], Err(Breach::NoPassword)),
            (vec![b"R\0\0\0\x04".to_vec(), b"R\0\0\0\0".to_vec()], Ok(false)),
            (vec![b"HTTP/1.1 400 Bad Request".to_vec()], Err(Breach::Strange)),
            (vec![request(10), request(0), b"Z anything from here".to_vec()], Ok(true)),
        ];
        for (messages, expected) in cases {
            let bytes = messages.concat();
            for chunk in [1, 3, bytes.len()] {
                assert_eq!(seen(&bytes, chunk), expected, "{bytes:?} in parts of {chunk}");
            }
        }
    }

    #[test]
    fn more_than_any_answer_has_is_too_much() {
        assert_eq!(seen(&vec![b'N'; MOST_BEFORE], 1000), Ok(false));
        assert_eq!(seen(&vec![b'N'; MOST_BEFORE + 1], 1000), Err(Breach::TooMuch));
        let login = [request(10), request(0)].concat();
        let rest = MOST - login.len();
        assert_eq!(seen(&[login.clone(), vec![0; rest]].concat(), 4096), Ok(true));
        assert_eq!(seen(&[login, vec![0; rest + 1]].concat(), 4096), Err(Breach::TooMuch));
    }
}
