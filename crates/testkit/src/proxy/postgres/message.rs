//! Messages (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::io;

use tokio::{io::AsyncReadExt as _, net::tcp::OwnedReadHalf};

/// A message as it came, with its head.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// Of the head: the length, and before it the type, which the first messages of a client do not have.
    head: usize,
}

/// What the client of a connection or its server sends.
pub(super) struct Messages {
    from: OwnedReadHalf,
    rest: Vec<u8>,
}

/// What a client sends before it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// It asks for encryption.
    Encryption,
    /// It asks to cancel what another connection does.
    Cancel,
    /// It starts to log in.
    Login,
}

impl Message {
    /// The type; zero for one without.
    pub(super) fn kind(&self) -> u8 {
        if self.head == 4 { 0 } else { self.bytes[0] }
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// The texts at the start of the body, each of which ends in a zero.
    pub(super) fn texts<const COUNT: usize>(&self) -> Option<[String; COUNT]> {
        let mut all = self.body().split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let texts: Vec<String> = all.by_ref().take(COUNT).collect();
        all.next()?; // the last one has ended, too
        texts.try_into().ok()
    }

    /// The code of a message without a type.
    pub(super) fn first(&self) -> First {
        match self.body().first_chunk().map(|code| i32::from_be_bytes(*code)) {
            Some(80_877_103 | 80_877_104) => First::Encryption,
            Some(80_877_102) => First::Cancel,
            _ => First::Login,
        }
    }
}

impl Messages {
    pub(super) fn new(from: OwnedReadHalf) -> Self {
        Self { from, rest: Vec::new() }
    }

    /// The next message; one that has come in part is kept when this is dropped.
    pub(super) async fn next(&mut self) -> io::Result<Message> {
        self.whole(5).await
    }

    /// As [`Messages::next`], of those without a type.
    pub(super) async fn next_untyped(&mut self) -> io::Result<Message> {
        self.whole(4).await
    }

    async fn whole(&mut self, head: usize) -> io::Result<Message> {
        loop {
            if let Some(length) = self.length(head)?
                && self.rest.len() >= length
            {
                let after = self.rest.split_off(length);
                return Ok(Message { bytes: std::mem::replace(&mut self.rest, after), head });
            }
            if self.from.read_buf(&mut self.rest).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Of the first message with its head, if that is here. The length in it counts itself.
    fn length(&self, head: usize) -> io::Result<Option<usize>> {
        let Some(length) = self.rest.get(head - 4..).and_then(|bytes| bytes.first_chunk()) else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length < 4 { Err(io::ErrorKind::InvalidData.into()) } else { Ok(Some(head - 4 + length)) }
    }
}
