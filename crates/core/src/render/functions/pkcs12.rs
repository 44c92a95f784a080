//! PKCS#12 (RFC 7292), as in External Secrets: AES-256, PBKDF2 and HMAC with SHA-256. Salts follow from the seed of the
//! execution, so that equal keys and certificates give equal files.

use hmac::{Hmac, KeyInit as _, Mac as _};
use p12_keystore::{CertificateBag, Pkcs12Archive};
use pkcs5::{EncryptionScheme, der::Encode as _, pbes2};
use sha1::Digest as _;
use sha2::Sha256;
use yasna::{DERWriter, Tag, models::ObjectIdentifier};

use super::{
    Entry,
    call::{Call, Failure, MAX_RESULT, Outcome},
    iterations::{Refused, Survey},
    jwk::{self, sequence},
    pem::encoded,
    signature::{Type::Text, takes},
};
use crate::render::certificate;

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("pkcs12key", takes(&[Text]), |call| key(call, None, 0)),
    ("pkcs12keyPass", takes(&[Text, Text]), |call| key(call, Some(0), 1)),
    ("pkcs12cert", takes(&[Text]), |call| certificates(call, None, 0)),
    ("pkcs12certPass", takes(&[Text, Text]), |call| certificates(call, Some(0), 1)),
    ("pemToPkcs12", takes(&[Text, Text]), |call| archive(call, false, false)),
    ("pemToPkcs12Pass", takes(&[Text, Text, Text]), |call| archive(call, false, true)),
    ("fullPemToPkcs12", takes(&[Text, Text]), |call| archive(call, true, false)),
    ("fullPemToPkcs12Pass", takes(&[Text, Text, Text]), |call| archive(call, true, true)),
    ("pemTruststoreToPKCS12", takes(&[Text]), |call| trust_store(call, false)),
    ("pemTruststoreToPKCS12Pass", takes(&[Text, Text]), |call| trust_store(call, true)),
];

/// Rounds of the key derivations, as in Java's default.
const ROUNDS: u16 = 10_000;
/// A file to read may have this many bytes.
const MAX_FILE: usize = MAX_RESULT / 4;

const DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 1];
const ENCRYPTED_DATA: &[u64] = &[1, 2, 840, 113_549, 1, 7, 6];
const KEY_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 2];
const CERTIFICATE_BAG: &[u64] = &[1, 2, 840, 113_549, 1, 12, 10, 1, 3];
const X509: &[u64] = &[1, 2, 840, 113_549, 1, 9, 22, 1];
const FRIENDLY_NAME: &[u64] = &[1, 2, 840, 113_549, 1, 9, 20];
const LOCAL_KEY_ID: &[u64] = &[1, 2, 840, 113_549, 1, 9, 21];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
/// How Java marks a certificate as trusted, and that it is for all uses.
const TRUSTED: &[u64] = &[2, 16, 840, 1, 113_894, 746_875, 1, 1];
const ANY_USE: &[u64] = &[2, 5, 29, 37, 0];

fn open(call: &Call<'_>, password: Option<usize>, file: usize) -> Result<Pkcs12Archive, Failure> {
    let bytes = call.bytes(file)?;
    if bytes.len() > MAX_FILE {
        return call.fail("the file is larger than 256 KiB");
    }
    let password = password.map(|position| call.text(position)).transpose()?.unwrap_or_default();
    match Survey::new(&password, &|iterations| call.slow(iterations)).file(bytes) {
        Ok(()) => {}
        Err(Refused::Iterations(failure)) => return Err(failure),
        Err(Refused::Form) => {
            return call.fail("the file is of a form that is not read: it uses scrypt, or has too many parts");
        }
    }
    Pkcs12Archive::from_pkcs12(bytes, &password)
        .map_or_else(|_| call.fail("the file is not PKCS#12, or the password is another one"), Ok)
}

fn key(call: &Call<'_>, password: Option<usize>, file: usize) -> Outcome {
    match open(call, password, file)?.keys.first() {
        Some(bag) => Ok(encoded("PRIVATE KEY", [bag.key.as_der()])),
        None => call.fail("the file holds no private key"),
    }
}

fn certificates(call: &Call<'_>, password: Option<usize>, file: usize) -> Outcome {
    let found = open(call, password, file)?;
    let of_key = found.keys.first().and_then(|bag| bag.local_key_id.as_ref()).map(|id| id.as_ref().to_vec());
    let (mut first, others): (Vec<CertificateBag>, Vec<CertificateBag>) =
        found.certs.into_iter().partition(|bag| of_key.is_some() && bag.local_key_id == of_key);
    first.extend(others);
    let ders: Vec<Vec<u8>> = first.iter().map(|bag| bag.cert.as_der().to_vec()).collect();
    if ders.is_empty() {
        return call.fail("the file holds no certificate");
    }
    let ordered = certificate::chain(&ders).unwrap_or(ders);
    Ok(encoded("CERTIFICATE", ordered.iter().map(Vec::as_slice)))
}

/// A certificate, with its chain when `full`, and its key.
fn archive(call: &Call<'_>, full: bool, with_password: bool) -> Outcome {
    let Some(mut chain) = certificate::certificates(call.bytes(0)?) else {
        return call.fail("its first argument holds no certificate in PEM");
    };
    if !full {
        chain.truncate(1);
    }
    let key = pkcs8(call, &chain[0], call.bytes(1)?)?;
    let password = if with_password { call.text(2)? } else { "".into() };
    let id = sha1::Sha1::digest(&chain[0]).to_vec();
    let certificates = sequence(|writer| {
        for (position, der) in chain.iter().enumerate() {
            let id = (position == 0).then_some(id.as_slice());
            bag(
                writer.next(),
                CERTIFICATE_BAG,
                |writer| certificate_value(writer, der),
                |writer| {
                    local_key_id(writer, id);
                },
            );
        }
    });
    let (algorithm, encrypted) = encrypt(call, "key", &password, &key)?;
    let shrouded = sequence(|writer| {
        let value = |writer: DERWriter<'_>| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&algorithm);
                writer.next().write_bytes(&encrypted);
            });
        };
        bag(writer.next(), KEY_BAG, value, |writer| local_key_id(writer, Some(&id)));
    });
    finish(call, &password, &certificates, Some(&shrouded))
}

fn trust_store(call: &Call<'_>, with_password: bool) -> Outcome {
    let Some(trusted) = certificate::certificates(call.bytes(0)?) else {
        return call.fail("its first argument holds no certificates in PEM");
    };
    let password = if with_password { call.text(1)? } else { "".into() };
    let certificates = sequence(|writer| {
        for der in &trusted {
            let name = certificate::parse(der).map(|parsed| parsed.subject().to_string()).unwrap_or_default();
            let attributes = |writer: DERWriter<'_>| {
                writer.write_set(|writer| {
                    attribute(writer.next(), FRIENDLY_NAME, |writer| writer.write_bmp_string(&name));
                    attribute(writer.next(), TRUSTED, |writer| writer.write_oid(&oid(ANY_USE)));
                });
            };
            bag(
                writer.next(),
                CERTIFICATE_BAG,
                |writer| certificate_value(writer, der),
                |writer| {
                    attributes(writer.next());
                },
            );
        }
    });
    finish(call, &password, &certificates, None)
}

/// A private key as PKCS#8, whatever form it came in.
fn pkcs8(call: &Call<'_>, certificate: &[u8], key: &[u8]) -> Result<Vec<u8>, Failure> {
    let Some(block) = certificate::private_key(key).filter(|block| !certificate::is_encrypted(block)) else {
        return call.fail("its second argument holds no private key in PEM without a passphrase");
    };
    let parsed = certificate::parse(certificate);
    if parsed.as_ref().is_some_and(|parsed| certificate::matches(parsed, block.contents()) == certificate::Match::No) {
        return call.fail("the private key is not that of the certificate");
    }
    let curve = parsed.and_then(|parsed| certificate::curve(&parsed)).unwrap_or_default();
    let curve: Vec<u64> = curve.split('.').filter_map(|part| part.parse().ok()).collect();
    Ok(match block.tag() {
        "RSA PRIVATE KEY" => jwk::pkcs8(jwk::RSA, None, block.contents()),
        "EC PRIVATE KEY" => jwk::pkcs8(jwk::EC, Some(&oid(&curve)), block.contents()),
        _ => block.into_contents(),
    })
}

fn encrypt(call: &Call<'_>, purpose: &str, password: &str, data: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Failure> {
    let salt: [u8; 16] = call.salt(&format!("{purpose} salt"))?;
    let vector: [u8; 16] = call.salt(&format!("{purpose} vector"))?;
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS.into(), &salt, vector);
    let done = parameters.ok().and_then(|parameters| {
        let encrypted = parameters.encrypt(password.as_bytes(), data).ok()?;
        Some((EncryptionScheme::Pbes2(parameters).to_der().ok()?, encrypted))
    });
    done.map_or_else(|| call.fail("it cannot be encrypted"), Ok)
}

/// Puts the parts together: certificates encrypted, the key as it is, a code of authenticity over both.
fn finish(call: &Call<'_>, password: &str, certificates: &[u8], key: Option<&[u8]>) -> Outcome {
    // Two keys and a code.
    call.slow(3 * usize::from(ROUNDS))?;
    let (algorithm, encrypted) = encrypt(call, "certificates", password, certificates)?;
    let safe = sequence(|writer| {
        content(writer.next(), ENCRYPTED_DATA, |writer| {
            writer.write_sequence(|writer| {
                writer.next().write_u8(0);
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(DATA));
                    writer.next().write_der(&algorithm);
                    writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(&encrypted));
                });
            });
        });
        if let Some(key) = key {
            content(writer.next(), DATA, |writer| writer.write_bytes(key));
        }
    });
    let salt: [u8; 16] = call.salt("code salt")?;
    let mac_key =
        pkcs12::kdf::derive_key_utf8::<Sha256>(password, &salt, pkcs12::kdf::Pkcs12KeyType::Mac, ROUNDS.into(), 32);
    let Some(mut mac) = mac_key.ok().and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok()) else {
        return call.fail("the password cannot be used");
    };
    mac.update(&safe);
    let code = mac.finalize().into_bytes();
    let file = sequence(|writer| {
        writer.next().write_u8(3);
        content(writer.next(), DATA, |writer| writer.write_bytes(&safe));
        writer.next().write_sequence(|writer| {
            writer.next().write_sequence(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&oid(SHA256));
                    writer.next().write_null();
                });
                writer.next().write_bytes(&code);
            });
            writer.next().write_bytes(&salt);
            writer.next().write_u16(ROUNDS);
        });
    });
    Ok(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, file).into())
}

fn content(writer: DERWriter<'_>, kind: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_tagged(Tag::context(0), value);
    });
}

fn bag(
    writer: DERWriter<'_>,
    kind: &[u64],
    value: impl FnOnce(DERWriter<'_>),
    attributes: impl FnOnce(&mut yasna::DERWriterSeq<'_>),
) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_tagged(Tag::context(0), value);
        attributes(writer);
    });
}

fn certificate_value(writer: DERWriter<'_>, der: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(X509));
        writer.next().write_tagged(Tag::context(0), |writer| writer.write_bytes(der));
    });
}

fn local_key_id(writer: &mut yasna::DERWriterSeq<'_>, id: Option<&[u8]>) {
    if let Some(id) = id {
        writer.next().write_set(|writer| attribute(writer.next(), LOCAL_KEY_ID, |writer| writer.write_bytes(id)));
    }
}

fn attribute(writer: DERWriter<'_>, kind: &[u64], value: impl FnOnce(DERWriter<'_>)) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&oid(kind));
        writer.next().write_set(|writer| value(writer.next()));
    });
}

fn oid(parts: &[u64]) -> ObjectIdentifier {
    ObjectIdentifier::from_slice(parts)
}
