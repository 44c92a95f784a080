//! Packets of the transport (RFC 4253), plain until the key exchange and sealed from then on.

use std::time::Duration;

use aws_lc_rs::{
    aead::{
        AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey,
        chacha20_poly1305_openssh::{KEY_LEN, OpeningKey, SealingKey},
    },
    rand,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::{Instant, timeout, timeout_at},
};
use zeroize::Zeroizing;

use super::{
    failure::{Failure, Stage},
    wire::{Message, kind},
};

/// Our name. It has no version, which would only help to choose an attack.
const NAME: &str = "SSH-2.0-rekey";

/// The longest packet: every implementation takes 35,000 bytes (RFC 4253, section 6.1), and none of those that come before
/// the end of a login needs more.
const LONGEST: usize = 35_000;

/// So many lines may come before the one with the server's name, and so long may each be. OpenSSH sends none.
const LINES: usize = 32;
const LINE: u64 = 1024;

/// So many messages that mean nothing may come in a row. A server sends a few at most.
const IDLE: usize = 16;

/// Length of the code at the end of a sealed packet, of all ciphers here.
const TAG: usize = 16;

/// What OpenSSH says instead of its name when it accepts no connection.
const BUSY: [&[u8]; 2] = [b"Exceeded MaxStartups", b"Not allowed at this time"];

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// The ciphers, the preferred one first. Each authenticates what it seals, so there is no other code.
pub(super) const CIPHERS: [&str; 3] =
    ["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com"];

/// Keys of one direction.
pub(super) enum Cipher {
    Gcm { key: LessSafeKey, nonce: [u8; 12] },
    ChaCha { seal: SealingKey, open: OpeningKey },
}

impl Cipher {
    /// The cipher of this name; `derive` makes key material of a length: the vector for `true`.
    pub(super) fn new(name: &str, derive: impl Fn(bool, usize) -> Zeroizing<Vec<u8>>) -> Option<Self> {
        let gcm = |algorithm: &'static Algorithm| {
            let key = LessSafeKey::new(UnboundKey::new(algorithm, &derive(false, algorithm.key_len())).ok()?);
            Some(Self::Gcm { key, nonce: derive(true, 12).as_slice().try_into().ok()? })
        };
        match name {
            "aes256-gcm@openssh.com" => gcm(&AES_256_GCM),
            "aes128-gcm@openssh.com" => gcm(&AES_128_GCM),
            "chacha20-poly1305@openssh.com" => {
                let material = derive(false, KEY_LEN);
                let key = material.first_chunk::<KEY_LEN>()?;
                Some(Self::ChaCha { seal: SealingKey::new(key), open: OpeningKey::new(key) })
            }
            _ => None,
        }
    }

    /// The length of a packet, without its length field, is a multiple of this.
    fn block(&self) -> usize {
        match self {
            Self::Gcm { .. } => 16,
            Self::ChaCha { .. } => 8,
        }
    }

    /// Seals a packet, which starts with its length.
    fn seal(&mut self, sequence: u32, packet: &mut [u8]) -> Option<[u8; TAG]> {
        match self {
            Self::Gcm { key, nonce } => {
                let (length, rest) = packet.split_at_mut(4);
                let tag = key.seal_in_place_separate_tag(next(nonce), Aad::from(&*length), rest).ok()?;
                tag.as_ref().try_into().ok()
            }
            Self::ChaCha { seal, .. } => {
                let mut tag = [0; TAG];
                seal.seal_in_place(sequence, packet, &mut tag);
                Some(tag)
            }
        }
    }

    fn length(&self, sequence: u32, sealed: [u8; 4]) -> u32 {
        u32::from_be_bytes(match self {
            Self::Gcm { .. } => sealed, // it is not sealed, only authenticated
            Self::ChaCha { open, .. } => open.decrypt_packet_length(sequence, sealed),
        })
    }

    /// Opens a packet, which starts with its length and ends with its tag.
    fn open(&mut self, sequence: u32, packet: &mut [u8]) -> Option<()> {
        match self {
            Self::Gcm { key, nonce } => {
                let (length, rest) = packet.split_at_mut(4);
                key.open_in_place(next(nonce), Aad::from(&*length), rest).ok()?;
            }
            Self::ChaCha { open, .. } => {
                let (sealed, tag) = packet.split_last_chunk_mut::<TAG>()?;
                open.open_in_place(sequence, sealed, tag).ok()?;
            }
        }
        Some(())
    }
}

/// The nonce of a packet: four bytes that stay, and a count (RFC 5647, section 7.1).
fn next(nonce: &mut [u8; 12]) -> Nonce {
    let now = Nonce::assume_unique_for_key(*nonce);
    if let Some(count) = nonce.last_chunk_mut::<8>() {
        *count = u64::from_be_bytes(*count).wrapping_add(1).to_be_bytes();
    }
    now
}

#[derive(Default)]
struct Direction {
    sequence: u32,
    cipher: Option<Cipher>,
}

/// A connection to something that has named itself an SSH server.
pub(super) struct Transport<S> {
    stream: BufReader<S>,
    sent: Direction,
    received: Direction,
    /// The server's line, without its end.
    pub(super) server: Vec<u8>,
    /// Whether messages that mean nothing are refused.
    pub(super) strict: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport<S> {
    /// Exchanges names, until `end` at the latest.
    pub(super) async fn open(stream: S, end: Instant) -> Result<Self, Failure> {
        let mut stream = BufReader::new(stream);
        // A server that has closed already may have sent a line before.
        stream.write_all(format!("{NAME}\r\n").as_bytes()).await.ok();
        let server = greeting(&mut stream, end).await?;
        Ok(Self { stream, sent: Direction::default(), received: Direction::default(), server, strict: false })
    }

    /// Our line, without its end.
    pub(super) fn client() -> &'static [u8] {
        NAME.as_bytes()
    }

    pub(super) async fn send(&mut self, message: &Message) -> Result<(), Failure> {
        let payload = message.bytes();
        let cipher = self.sent.cipher.as_mut();
        // Only a sealed packet has its length outside of what is aligned.
        let (block, aligned) = cipher.as_ref().map_or((8, 5), |cipher| (cipher.block(), 1));
        let padding = 4 + (block - (aligned + payload.len() + 4) % block) % block;
        let failed = || Failure::Protocol("a packet cannot be sealed");
        let length = u32::try_from(1 + payload.len() + padding).map_err(|_| failed())?;
        let mut packet = Zeroizing::new(length.to_be_bytes().to_vec());
        packet.push(u8::try_from(padding).map_err(|_| failed())?);
        packet.extend_from_slice(payload);
        let start = packet.len();
        packet.resize(start + padding, 0);
        rand::fill(&mut packet[start..]).map_err(|_| failed())?;
        if let Some(cipher) = cipher {
            let tag = cipher.seal(self.sent.sequence, &mut packet).ok_or_else(failed)?;
            packet.extend_from_slice(&tag);
        }
        self.sent.sequence = self.sent.sequence.wrapping_add(1);
        self.stream.write_all(&packet).await.map_err(|_| Failure::Closed)?;
        self.stream.flush().await.map_err(|_| Failure::Closed)
    }

    /// The next message that means something; never empty.
    pub(super) async fn receive(&mut self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        for _ in 0..IDLE {
            let message = self.packet().await?;
            match message.first() {
                None => return Err(Failure::Protocol("it sends an empty message")),
                Some(&kind::DISCONNECT) => return Err(Failure::Disconnected),
                Some(&(kind::IGNORE | kind::DEBUG)) if !self.strict => {}
                Some(_) => return Ok(message),
            }
        }
        Err(Failure::Protocol("it sends nothing but messages that mean nothing"))
    }

    async fn packet(&mut self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut start = [0; 4];
        self.fill(&mut start).await?;
        let Direction { sequence, cipher } = &self.received;
        let length = cipher.as_ref().map_or(u32::from_be_bytes(start), |cipher| cipher.length(*sequence, start));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if !(5..=LONGEST).contains(&length) {
            return Err(Failure::Protocol("a packet has an impossible length"));
        }
        let tag = if cipher.is_some() { TAG } else { 0 };
        let mut packet = Zeroizing::new(vec![0; 4 + length + tag]);
        packet[..4].copy_from_slice(&start);
        self.fill(&mut packet[4..]).await?;
        let Direction { sequence, cipher } = &mut self.received;
        if let Some(cipher) = cipher {
            cipher.open(*sequence, &mut packet).ok_or(Failure::Protocol("a packet is not authentic"))?;
        }
        *sequence = sequence.wrapping_add(1);
        let padding = usize::from(packet[4]);
        let payload = 5..(4 + length).saturating_sub(padding);
        packet
            .get(payload)
            .map(|payload| Zeroizing::new(payload.to_vec()))
            .ok_or(Failure::Protocol("a packet is all padding"))
    }

    async fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Failure> {
        self.stream.read_exact(bytes).await.map(drop).map_err(|_| Failure::Closed)
    }

    /// Seals what we send from now on.
    pub(super) fn seal(&mut self, cipher: Cipher, restart: bool) {
        let sequence = if restart { 0 } else { self.sent.sequence };
        self.sent = Direction { sequence, cipher: Some(cipher) };
    }

    /// Opens what we receive from now on.
    pub(super) fn unseal(&mut self, cipher: Cipher, restart: bool) {
        let sequence = if restart { 0 } else { self.received.sequence };
        self.received = Direction { sequence, cipher: Some(cipher) };
    }

    /// Tells the server that nothing more comes.
    pub(super) async fn leave(&mut self) {
        const BY_APPLICATION: u32 = 11;
        let message = Message::new(kind::DISCONNECT).number(BY_APPLICATION).string(b"done").string(b"");
        let farewell = async {
            self.send(&message).await.ok();
            self.stream.shutdown().await.ok();
        };
        timeout(FAREWELL, farewell).await.ok();
    }
}

/// The line with the server's name. Others may come before it (RFC 4253, section 4.2).
async fn greeting<S: AsyncRead + Unpin>(stream: &mut BufReader<S>, end: Instant) -> Result<Vec<u8>, Failure> {
    for position in 0..LINES {
        let mut line = Vec::new();
        let read = timeout_at(end, (&mut *stream).take(LINE).read_until(b'\n', &mut line)).await;
        let silent = position == 0 && line.is_empty();
        match read {
            Err(_) if silent => return Err(Failure::TooSlow(Stage::Greeting)),
            Ok(Err(_) | Ok(0)) if silent => return Err(Failure::Closed),
            Err(_) | Ok(Err(_) | Ok(0)) => return Err(Failure::NotSsh),
            Ok(Ok(_)) => {}
        }
        // Nothing else is cut off: the line goes into the hash of the exchange.
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if BUSY.iter().any(|busy| line.starts_with(busy)) {
            return Err(Failure::Busy);
        }
        if line.starts_with(b"HTTP/") {
            return Err(Failure::NotSsh);
        }
        if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
            return Ok(line.to_vec());
        }
        if line.starts_with(b"SSH-") {
            return Err(Failure::Nothing("version of the protocol"));
        }
    }
    Err(Failure::NotSsh)
}
