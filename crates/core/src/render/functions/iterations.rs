//! How many iterations of key derivations a PKCS#12 file asks for, told before they are done: the file says it, and who
//! wrote the file may be an enemy. Wherever RFC 7292 and RFC 8018 name a number of iterations, it stands in a sequence
//! behind the salt; what is encrypted is decrypted here to look further.

use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _, block_padding::Pkcs7};
use pkcs5::{der::Decode as _, pbes2};
use pkcs12::kdf::{Pkcs12KeyType, derive_key_utf8};
use sha1::Sha1;
use zeroize::Zeroizing;

/// Parts inside parts.
const MAX_DEPTH: usize = 24;
/// Encrypted parts in which others are looked for: usually it is one.
const MAX_ENCRYPTED: usize = 16;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
/// Encrypted content: `[0] IMPLICIT OCTET STRING`.
const CONTENT: u8 = 0x80;
/// This bit: other values stand inside.
const CONSTRUCTED: u8 = 0x20;

/// PBES2.
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
/// scrypt, which takes memory too.
const SCRYPT: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];
/// `pbeWithSHAAnd3-KeyTripleDES-CBC`.
const TRIPLE_DES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x03];
/// `pbeWithSHAAnd40BitRC2-CBC`.
const RC2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01, 0x06];

/// A value in DER.
#[derive(Clone, Copy)]
struct Part<'a> {
    tag: u8,
    /// With its tag and length.
    whole: &'a [u8],
    content: &'a [u8],
}

/// The values that stand one behind the other.
fn parts(mut bytes: &[u8]) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    while let Some(part) = Part::first(bytes) {
        bytes = &bytes[part.whole.len()..];
        found.push(part);
    }
    found
}

impl<'a> Part<'a> {
    fn first(bytes: &'a [u8]) -> Option<Self> {
        let (tag, first) = (*bytes.first()?, *bytes.get(1)?);
        let long = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let length = match long {
            0 => usize::from(first),
            1..=4 => bytes.get(2..2 + long)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            _ => return None,
        };
        let (start, end) = (2 + long, (2 + long).checked_add(length)?);
        Some(Self { tag, whole: bytes.get(..end)?, content: &bytes[start..end] })
    }

    /// Whether it holds a sequence and nothing else: not what is encrypted and only looks so at its start.
    fn wraps_sequence(self) -> bool {
        let inner = Self::first(self.content);
        inner.is_some_and(|inner| inner.tag == SEQUENCE && inner.whole.len() == self.content.len())
    }

    /// A number of iterations: not below 0, and `usize::MAX` when it is too large for that.
    fn number(self) -> usize {
        match self.content {
            [first, ..] if *first >= 0x80 => 0,
            bytes => bytes
                .iter()
                .try_fold(0_usize, |number, byte| {
                    number.checked_mul(256).and_then(|number| number.checked_add(usize::from(*byte)))
                })
                .unwrap_or(usize::MAX),
        }
    }
}

/// Looks through a file.
pub struct Survey<'a, E> {
    password: &'a str,
    /// Asked with a number of iterations before they are done.
    spend: &'a dyn Fn(usize) -> Result<(), E>,
    encrypted: usize,
}

/// What cannot be used, beside what `spend` refuses.
pub enum Refused<E> {
    /// By `spend`.
    Iterations(E),
    /// It is nested too deeply, has too many encrypted parts, or asks for scrypt.
    Form,
}

impl<'a, E> Survey<'a, E> {
    pub fn new(password: &'a str, spend: &'a dyn Fn(usize) -> Result<(), E>) -> Self {
        Self { password, spend, encrypted: 0 }
    }

    /// Accounts for all iterations that opening `file` takes.
    pub fn file(mut self, file: &[u8]) -> Result<(), Refused<E>> {
        self.look(file, 0)
    }

    fn look(&mut self, bytes: &[u8], depth: usize) -> Result<(), Refused<E>> {
        if depth > MAX_DEPTH {
            return Err(Refused::Form);
        }
        let parts = parts(bytes);
        for pair in parts.windows(2) {
            if (pair[0].tag, pair[1].tag) == (OCTETS, INTEGER) {
                (self.spend)(pair[1].number()).map_err(Refused::Iterations)?;
            }
        }
        for part in &parts {
            let inside = part.tag & CONSTRUCTED != 0 || (part.tag == OCTETS && part.wraps_sequence());
            match part.tag {
                OBJECT if part.content == SCRYPT => return Err(Refused::Form),
                _ if inside => self.look(part.content, depth + 1)?,
                _ => {}
            }
        }
        for three in parts.windows(3) {
            if let [
                Part { tag: OBJECT, .. },
                algorithm @ Part { tag: SEQUENCE, .. },
                data @ Part { tag: CONTENT, .. },
            ] = three
            {
                self.decrypted(*algorithm, data.content, depth)?;
            }
        }
        Ok(())
    }

    /// Looks into what is encrypted. What cannot be decrypted, nobody opens.
    fn decrypted(&mut self, algorithm: Part<'_>, data: &[u8], depth: usize) -> Result<(), Refused<E>> {
        self.encrypted += 1;
        if self.encrypted > MAX_ENCRYPTED {
            return Err(Refused::Form);
        }
        let [Part { tag: OBJECT, content: kind, .. }, parameters] = parts(algorithm.content)[..] else {
            return Ok(());
        };
        let plain = match kind {
            PBES2 => {
                let Ok(parameters) = pbes2::Parameters::from_der(parameters.whole) else { return Ok(()) };
                let iterations = match &parameters.kdf {
                    pbes2::Kdf::Pbkdf2(pbkdf2) => usize::try_from(pbkdf2.iteration_count).unwrap_or(usize::MAX),
                    _ => return Err(Refused::Form),
                };
                (self.spend)(iterations).map_err(Refused::Iterations)?;
                parameters.decrypt(self.password.as_bytes(), data).ok()
            }
            TRIPLE_DES | RC2 => {
                let iterations = parts(parameters.content).get(1).map_or(1, |part| part.number());
                (self.spend)(iterations).map_err(Refused::Iterations)?;
                if kind == RC2 {
                    self.older::<rc2::Rc2>(parameters, 5, data)
                } else {
                    self.older::<des::TdesEde3>(parameters, 24, data)
                }
            }
            _ => None,
        };
        match plain {
            Some(plain) => self.look(crate::SecretBytes::new(plain).expose(), depth + 1),
            None => Ok(()),
        }
    }

    /// Decrypts as PBES1 in PKCS#12 does, with a key of `size` bytes.
    fn older<C: KeyInit + BlockCipherDecrypt>(
        &self,
        parameters: Part<'_>,
        size: usize,
        data: &[u8],
    ) -> Option<Vec<u8>> {
        let [salt, iterations] = parts(parameters.content)[..] else { return None };
        let rounds = i32::try_from(iterations.number()).ok()?;
        let derive = |kind, size| {
            let derived = derive_key_utf8::<Sha1>(self.password, salt.content, kind, rounds, size);
            derived.ok().map(Zeroizing::new)
        };
        let (key, vector) = (derive(Pkcs12KeyType::EncryptionKey, size)?, derive(Pkcs12KeyType::Iv, 8)?);
        let cipher = cbc::Decryptor::<C>::new_from_slices(&key, &vector).ok()?;
        cipher.decrypt_padded_vec::<Pkcs7>(data).ok()
    }
}
