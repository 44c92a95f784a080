//! Counts the iterations of key derivations that a PKCS#12 file asks for, before they run: the author of the file may
//! be an attacker. Wherever RFC 7292 and RFC 8018 name a number of iterations, it follows the salt in a sequence; this
//! code decrypts encrypted parts to look further.

use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _, block_padding::Pkcs7};
use der::Decode as _;
use pkcs5::pbes2;
use pkcs12::kdf::{Pkcs12KeyType, derive_key_utf8};
use sha1::Sha1;
use zeroize::Zeroizing;

/// The deepest nesting of parts.
const MAX_DEPTH: usize = 24;
/// The most encrypted parts to look into; usually there is one.
const MAX_ENCRYPTED: usize = 16;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
/// Encrypted content: `[0] IMPLICIT OCTET STRING`.
const CONTENT: u8 = 0x80;
/// This bit: other values are inside.
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

/// The values, one after the other.
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

    /// Whether it holds a sequence and nothing else, unlike encrypted bytes that only look so at their start.
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
    /// Called with a number of iterations before they run.
    spend: &'a dyn Fn(usize) -> Result<(), E>,
    encrypted: usize,
}

/// Why a file is refused.
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

    /// Accounts for all iterations that opening `file` needs.
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

    /// Looks into an encrypted part. What it cannot decrypt stays closed for the function, too.
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use cbc::cipher::{BlockCipherEncrypt, BlockModeEncrypt as _};
    use der::Encode as _;

    use super::*;

    const PASSWORD: &str = "changeit";
    /// `pkcs7-data`.
    const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84], length.as_slice(), &content].concat()
    }

    /// A salt and a number of iterations.
    fn parameters(iterations: u32) -> Vec<u8> {
        der(SEQUENCE, &[&der(OCTETS, &[b"saltsalt"]), &der(INTEGER, &[&[0], &iterations.to_be_bytes()])])
    }

    /// `data`, encrypted, as it is in a file.
    fn encrypted(algorithm: &[u8], data: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[&der(OBJECT, &[DATA]), algorithm, &der(CONTENT, &[data])])
    }

    fn by_pbes2(data: &[u8], iterations: u32) -> Vec<u8> {
        let scheme = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(iterations, b"saltsalt", [1; 16]).unwrap();
        let algorithm = der(SEQUENCE, &[&der(OBJECT, &[PBES2]), &scheme.to_der().unwrap()]);
        encrypted(&algorithm, &scheme.encrypt(PASSWORD.as_bytes(), data).unwrap())
    }

    fn by_pbes1<C: KeyInit + BlockCipherEncrypt>(kind: &[u8], size: usize, data: &[u8], iterations: u32) -> Vec<u8> {
        let derive = |kind, size| {
            derive_key_utf8::<Sha1>(PASSWORD, b"saltsalt", kind, i32::try_from(iterations).unwrap(), size).unwrap()
        };
        let (key, vector) = (derive(Pkcs12KeyType::EncryptionKey, size), derive(Pkcs12KeyType::Iv, 8));
        let cipher = cbc::Encryptor::<C>::new_from_slices(&key, &vector).unwrap();
        let algorithm = der(SEQUENCE, &[&der(OBJECT, &[kind]), &parameters(iterations)]);
        encrypted(&algorithm, &cipher.encrypt_padded_vec::<Pkcs7>(data))
    }

    /// The counted iterations, and whether the file may be opened.
    fn survey(file: &[u8]) -> (usize, bool) {
        let counted = Cell::new(0_usize);
        let spend = |iterations| {
            counted.set(counted.get().saturating_add(iterations));
            if counted.get() > 10_000_000 { Err(()) } else { Ok(()) }
        };
        let result = Survey::new(PASSWORD, &spend).file(file);
        (counted.get(), result.is_ok())
    }

    #[test]
    fn what_is_encrypted_is_looked_into() {
        let inner = der(SEQUENCE, &[&parameters(1_000_000), &parameters(2_000_000)]);
        for (name, file) in [
            ("plain", inner.clone()),
            ("in octets", der(SEQUENCE, &[&der(OCTETS, &[&inner])])),
            ("PBES2", by_pbes2(&inner, 1_000)),
            ("3DES", by_pbes1::<des::TdesEde3>(TRIPLE_DES, 24, &inner, 1_000)),
            ("RC2", by_pbes1::<rc2::Rc2>(RC2, 5, &inner, 1_000)),
            ("twice", by_pbes2(&by_pbes2(&inner, 1_000), 1_000)),
        ] {
            let (counted, opens) = survey(&file);
            assert!(opens && (3_000_000..3_010_000).contains(&counted), "{name}: {counted} {opens}");
        }
    }

    #[test]
    fn what_costs_too_much_is_refused_before_it_is_done() {
        assert!(!survey(&by_pbes2(&[0x30, 0], 1)[..].repeat(MAX_ENCRYPTED + 1)).1);
        let started = std::time::Instant::now();
        let costly = der(SEQUENCE, &[&der(OBJECT, &[TRIPLE_DES]), &parameters(2_000_000_000)]);
        assert!(!survey(&encrypted(&costly, &[0; 16])).1);
        assert!(started.elapsed().as_secs() < 5);
        assert!(!survey(&der(SEQUENCE, &[&der(OBJECT, &[SCRYPT])])).1);
        let deep = (0..1_000).fold(Vec::new(), |inner, _| der(SEQUENCE, &[&inner]));
        assert!(!survey(&deep).1);
    }

    #[test]
    fn broken_files_end() {
        for file in
            [&[][..], &[0x30], &[0x30, 0x84], &[0x30, 0x84, 255, 255, 255, 255], &[0x30, 0x89, 1], &[0x30, 5, 1]]
        {
            assert_eq!(survey(file), (0, true), "{file:?}");
        }
    }
}
