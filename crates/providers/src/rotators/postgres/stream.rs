//! What a server may send: so many bytes, a question for the password in a form that does not give it away, and columns of
//! types that every server has.
//!
//! The library below answers every question, also one for the password in cleartext or as an MD5 hash, and takes a login
//! without one for a success. It asks the server about each type that it does not know, and about the types in that answer,
//! one inside the other, until the stack is full. It makes room for a message when it has seen its length. This stream reads
//! along and breaks off before any of that (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    tls::{ChannelBinding, TlsStream},
    types::Type,
};

/// All that a server may send on one connection. Our largest answer lists the roles that four users are members of, some 30
/// bytes each; as rows without columns, it takes ten times as much memory.
const MOST: usize = 1024 * 1024;

/// All that it may send before the login is decided, and the longest description of columns: a few hundred bytes in practice.
const MOST_BEFORE: usize = 64 * 1024;

/// A kind and a length, which counts itself.
const HEADER: usize = 5;

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
    /// So much of a message is still to come and does not matter.
    skipped: usize,
    /// What is here of a message that matters, or of a header.
    part: Vec<u8>,
}

impl Watch {
    fn see(&mut self, mut bytes: &[u8]) -> Result<(), Breach> {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > MOST || (!self.is_decided && self.received > MOST_BEFORE) {
            return Err(Breach::TooMuch);
        }
        while !bytes.is_empty() {
            let wanted = if self.skipped > 0 { self.skipped } else { self.wanted()? };
            let (seen, more) = bytes.split_at(wanted.min(bytes.len()));
            bytes = more;
            if self.skipped > 0 {
                self.skipped -= seen.len();
            } else {
                self.part.extend_from_slice(seen);
                self.look()?;
            }
        }
        Ok(())
    }

    /// How much is missing of a header, or of a message that matters; never nothing.
    fn wanted(&self) -> Result<usize, Breach> {
        let all = match self.part.first_chunk() {
            None => HEADER,
            Some(header) => HEADER + length(*header, MOST)?,
        };
        Ok(all - self.part.len())
    }

    fn look(&mut self) -> Result<(), Breach> {
        if !self.is_decided && self.part.first().is_some_and(|kind| !FIRST.contains(kind)) {
            return Err(Breach::Strange);
        }
        let Some(header) = self.part.first_chunk::<HEADER>().copied() else { return Ok(()) };
        let matters = if self.is_decided { b'T' } else { b'R' };
        let is_bounded = !self.is_decided || header[0] == matters;
        let length = length(header, if is_bounded { MOST_BEFORE } else { MOST })?;
        if header[0] != matters {
            self.skipped = length;
            self.part.clear();
            return Ok(());
        }
        let Some(body) = self.part.get(HEADER..HEADER + length) else { return Ok(()) };
        if self.is_decided {
            columns(body).ok_or(Breach::Strange)?;
        } else {
            let code = body.first_chunk().map(|code| u32::from_be_bytes(*code));
            self.authentication(code)?;
        }
        self.part.clear();
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

/// Of the body.
fn length(header: [u8; HEADER], most: usize) -> Result<usize, Breach> {
    let [_, length @ ..] = header;
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| Breach::TooMuch)?;
    let length = length.checked_sub(4).ok_or(Breach::Strange)?;
    if length > most { Err(Breach::TooMuch) } else { Ok(length) }
}

/// Whether the type of each column is one that the library knows; `None`: not.
fn columns(body: &[u8]) -> Option<()> {
    let (count, mut rest) = body.split_first_chunk()?;
    for _ in 0..u16::from_be_bytes(*count) {
        let name = rest.iter().position(|byte| *byte == 0)?;
        // Table, column, type, size, modifier, format.
        let (fields, more) = rest.get(name + 1..)?.split_at_checked(4 + 2 + 4 + 2 + 4 + 2)?;
        Type::from_oid(u32::from_be_bytes(*fields.get(6..)?.first_chunk()?))?;
        rest = more;
    }
    rest.is_empty().then_some(())
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

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[kind], length.to_be_bytes().as_slice(), body].concat()
    }

    fn request(code: u32) -> Vec<u8> {
        message(b'R', &code.to_be_bytes())
    }

    /// Columns of these types.
    fn row(types: &[u32]) -> Vec<u8> {
        let count = u16::try_from(types.len()).unwrap();
        let field = |oid: &u32| [b"name\0\0\0\0\0\0\0".as_slice(), &oid.to_be_bytes(), &[0; 8]].concat();
        message(b'T', &[count.to_be_bytes().to_vec(), types.iter().flat_map(field).collect()].concat())
    }

    fn seen(bytes: &[u8], chunk: usize) -> Result<bool, Breach> {
        let mut watch = Watch::default();
        bytes.chunks(chunk).try_for_each(|part| watch.see(part))?;
        Ok(watch.is_decided)
    }

    #[test]
    fn what_a_server_says_is_told_apart_however_it_arrives() {
        let notice = message(b'N', b"\0\0");
        let login = [request(10), request(11), request(12), request(0)].concat();
        let after = |message: Vec<u8>| vec![login.clone(), message];
        let cases = [
            (vec![login.clone()], Ok(true)),
            (vec![request(5), request(0)], Err(Breach::Md5)),
            (vec![notice.clone(), request(10)], Ok(false)),
            (vec![request(3)], Err(Breach::Cleartext)),
            (vec![notice.clone(), request(10), request(3)], Err(Breach::Cleartext)),
            (vec![request(0)], Err(Breach::NoPassword)),
            (vec![b"R\0\0\0\x04".to_vec()], Ok(false)),
            (vec![b"R\0\0\0\x03".to_vec()], Err(Breach::Strange)),
            (vec![b"R\x7f\xff\xff\xff".to_vec()], Err(Breach::TooMuch)),
            (vec![b"HTTP/1.1 400 Bad Request".to_vec()], Err(Breach::Strange)),
            (
                after([notice, row(&[]), row(&[25, 16, 20, 23, 1184]), message(b'Z', b"I"), row(&[25])].concat()),
                Ok(true),
            ),
            (after(row(&[25, 99_999])), Err(Breach::Strange)),
            (after([message(b'D', &row(&[99_999])), row(&[99_999])].concat()), Err(Breach::Strange)),
            (after(message(b'T', b"\0\x01name\0\0")), Err(Breach::Strange)),
            (after(b"T\0\x02\0\0".to_vec()), Err(Breach::TooMuch)),
            (after(b"D\x7f\xff\xff\xff".to_vec()), Err(Breach::TooMuch)),
            (after(b"D\0\0\0\x01".to_vec()), Err(Breach::Strange)),
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
        let notices = |size: usize| message(b'N', &[0; 95]).repeat(size / 100 + 1)[..size].to_vec();
        assert_eq!(seen(&notices(MOST_BEFORE), 1000), Ok(false));
        assert_eq!(seen(&notices(MOST_BEFORE + 1), 1000), Err(Breach::TooMuch));
        let login = [request(10), request(0)].concat();
        let rest = MOST - login.len();
        assert_eq!(seen(&[login.clone(), notices(rest)].concat(), 4096), Ok(true));
        assert_eq!(seen(&[login, notices(rest + 1)].concat(), 4096), Err(Breach::TooMuch));
    }
}
