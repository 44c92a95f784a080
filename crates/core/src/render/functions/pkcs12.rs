//! PKCS#12 (RFC 7292), as in External Secrets: AES-256, PBKDF2 and HMAC with SHA-256. Salts follow from the seed of the
//! execution, so that equal keys and certificates give equal files.

use std::slice;

use der::{
    Any, Decode as _, Encode as _, Sequence, Tag,
    asn1::{ObjectIdentifier, OctetString, SetOfVec},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p12_keystore::{CertificateBag, Pkcs12Archive};
use pkcs5::{EncryptionScheme, pbes2};
use pkcs8::spki::AlgorithmIdentifierOwned;
use pkcs12::{
    CertBag, DigestInfo, MacData, PKCS_12_CERT_BAG_OID, PKCS_12_PKCS8_KEY_BAG_OID, PKCS_12_X509_CERT_OID, Pfx,
    cms::{
        content_info::{CmsVersion, ContentInfo},
        encrypted_data::EncryptedData,
        enveloped_data::EncryptedContentInfo,
    },
    pbe_params::EncryptedPrivateKeyInfo,
    pfx::Version,
};
use sha1::Digest as _;
use sha2::Sha256;
use x509_cert::attr::Attribute;

use super::{
    Entry,
    call::{Call, Failure, MAX_RESULT, Outcome},
    iterations::{Refused, Survey},
    jwk::{self, written},
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
/// The most bytes of a file to read.
const MAX_FILE: usize = MAX_RESULT / 4;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const FRIENDLY_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.20");
const LOCAL_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.21");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// How Java marks a certificate as trusted, and that it is for all uses.
const TRUSTED: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113894.746875.1.1");
const ANY_USE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

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
            return call.fail("this form of PKCS#12 is not supported: the file uses scrypt, or has too many parts");
        }
    }
    Pkcs12Archive::from_pkcs12(bytes, &password)
        .map_or_else(|_| call.fail("the file is not PKCS#12, or the password is wrong"), Ok)
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
    let id = written(call, local_key_id(&sha1::Sha1::digest(&chain[0])))?;
    let certificates = chain.iter().enumerate().map(|(position, der)| {
        let attributes = if position == 0 { slice::from_ref(&id) } else { &[] };
        Bag::of_certificate(der, attributes)
    });
    let certificates = written(call, certificates.collect())?;
    let key = encrypt(call, "key", &password, &key)?;
    let shrouded = written(call, Bag::of_key(key, slice::from_ref(&id)))?;
    finish(call, &password, &certificates, Some(vec![shrouded]))
}

fn trust_store(call: &Call<'_>, with_password: bool) -> Outcome {
    let Some(trusted) = certificate::certificates(call.bytes(0)?) else {
        return call.fail("its first argument holds no certificates in PEM");
    };
    let password = if with_password { call.text(1)? } else { "".into() };
    let certificates = trusted.iter().map(|der| {
        let name = certificate::parse(der).map(|parsed| parsed.subject().to_string()).unwrap_or_default();
        // Not `BmpString`, which has no characters beyond the first 65,536.
        let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let attributes =
            [attribute(FRIENDLY_NAME, Any::new(Tag::BmpString, name)?)?, attribute(TRUSTED, ANY_USE.into())?];
        Bag::of_certificate(der, &attributes)
    });
    let certificates = written(call, certificates.collect())?;
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
    let made = match block.tag() {
        "RSA PRIVATE KEY" => jwk::of_rsa(block.contents()),
        "EC PRIVATE KEY" => ObjectIdentifier::new(&curve)
            .map_err(der::Error::from)
            .and_then(|curve| jwk::of_curve(&curve, block.contents())),
        _ => Ok(block.into_contents()),
    };
    written(call, made)
}

/// Encrypted content, and its algorithm.
struct Encrypted {
    algorithm: AlgorithmIdentifierOwned,
    bytes: OctetString,
}

fn encrypt(call: &Call<'_>, purpose: &str, password: &str, data: &[u8]) -> Result<Encrypted, Failure> {
    let salt: [u8; 16] = call.salt(&format!("{purpose} salt"))?;
    let vector: [u8; 16] = call.salt(&format!("{purpose} vector"))?;
    let parameters = pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS.into(), &salt, vector);
    let done = parameters.ok().and_then(|parameters| {
        let bytes = OctetString::new(parameters.encrypt(password.as_bytes(), data).ok()?).ok()?;
        let algorithm = EncryptionScheme::Pbes2(parameters).to_der().ok()?;
        Some(Encrypted { algorithm: AlgorithmIdentifierOwned::from_der(&algorithm).ok()?, bytes })
    });
    done.map_or_else(|| call.fail("it cannot be encrypted"), Ok)
}

/// Puts the parts together: certificates encrypted, the key as it is, a code of authenticity over both.
fn finish(call: &Call<'_>, password: &str, certificates: &Vec<Bag>, keys: Option<Vec<Bag>>) -> Outcome {
    // Two keys and a code.
    call.slow(3 * usize::from(ROUNDS))?;
    let certificates = written(call, certificates.to_der())?;
    let encrypted = encrypt(call, "certificates", password, &certificates)?;
    let safe = written(call, safe(encrypted, keys))?;
    let salt: [u8; 16] = call.salt("code salt")?;
    let mac_key =
        pkcs12::kdf::derive_key_utf8::<Sha256>(password, &salt, pkcs12::kdf::Pkcs12KeyType::Mac, ROUNDS.into(), 32);
    let Some(mut mac) = mac_key.ok().and_then(|key| Hmac::<Sha256>::new_from_slice(&key).ok()) else {
        return call.fail("the password cannot be used");
    };
    mac.update(&safe);
    let file = written(call, file(&safe, &mac.finalize().into_bytes(), &salt))?;
    Ok(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, file).into())
}

fn safe(certificates: Encrypted, keys: Option<Vec<Bag>>) -> der::Result<Vec<u8>> {
    let encrypted = EncryptedData {
        version: CmsVersion::V0,
        enc_content_info: EncryptedContentInfo {
            content_type: DATA,
            content_enc_alg: certificates.algorithm,
            encrypted_content: Some(certificates.bytes),
        },
        unprotected_attrs: None,
    };
    let mut contents = vec![ContentInfo { content_type: ENCRYPTED_DATA, content: Any::encode_from(&encrypted)? }];
    if let Some(keys) = keys {
        contents.push(data(&keys.to_der()?)?);
    }
    contents.to_der()
}

fn file(safe: &[u8], code: &[u8], salt: &[u8]) -> der::Result<Vec<u8>> {
    let algorithm = AlgorithmIdentifierOwned { oid: SHA256, parameters: Some(Any::null()) };
    let mac = MacData {
        mac: DigestInfo { algorithm, digest: OctetString::new(code)? },
        mac_salt: OctetString::new(salt)?,
        iterations: ROUNDS.into(),
    };
    Pfx { version: Version::V3, auth_safe: data(safe)?, mac_data: Some(mac) }.to_der()
}

fn data(bytes: &[u8]) -> der::Result<ContentInfo> {
    Ok(ContentInfo { content_type: DATA, content: Any::encode_from(&OctetString::new(bytes)?)? })
}

/// A `SafeBag`. Its attributes keep the given order, not that of DER as in `pkcs12::SafeBag`: readers accept it, and
/// files of earlier versions stay the same.
#[derive(Sequence)]
struct Bag {
    id: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: Any,
    attributes: Option<Any>,
}

impl Bag {
    fn of_certificate(der: &[u8], attributes: &[Attribute]) -> der::Result<Self> {
        let bag = CertBag { cert_id: PKCS_12_X509_CERT_OID, cert_value: OctetString::new(der)? };
        Self::new(PKCS_12_CERT_BAG_OID, Any::encode_from(&bag)?, attributes)
    }

    fn of_key(key: Encrypted, attributes: &[Attribute]) -> der::Result<Self> {
        let key = EncryptedPrivateKeyInfo { encryption_algorithm: key.algorithm, encrypted_data: key.bytes };
        Self::new(PKCS_12_PKCS8_KEY_BAG_OID, Any::encode_from(&key)?, attributes)
    }

    fn new(id: ObjectIdentifier, value: Any, attributes: &[Attribute]) -> der::Result<Self> {
        let mut set = Vec::new();
        for attribute in attributes {
            attribute.encode_to_vec(&mut set)?;
        }
        let attributes = if set.is_empty() { None } else { Some(Any::new(Tag::Set, set)?) };
        Ok(Self { id, value, attributes })
    }
}

fn local_key_id(id: &[u8]) -> der::Result<Attribute> {
    attribute(LOCAL_KEY_ID, Any::encode_from(&OctetString::new(id)?)?)
}

fn attribute(oid: ObjectIdentifier, value: Any) -> der::Result<Attribute> {
    Ok(Attribute { oid, values: SetOfVec::try_from([value])? })
}

#[cfg(test)]
mod tests;
