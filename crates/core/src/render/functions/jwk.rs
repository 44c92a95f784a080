//! JSON Web Keys (RFC 7517) as PEM: RSA, the curves P-256, P-384 and P-521, and Ed25519.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use der::{
    Encode as _, Sequence,
    asn1::{AnyRef, BitStringRef, Null, ObjectIdentifier, OctetStringRef, UintRef},
};
use pkcs8::{
    PrivateKeyInfoRef,
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};

use super::{
    Entry,
    call::{Call, Failure, Outcome},
    pem::encoded,
    signature::{Type::Text, takes},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("jwkPublicKeyPem", takes(&[Text]), |call| pem(call, false)),
    ("jwkPrivateKeyPem", takes(&[Text]), |call| pem(call, true)),
];

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Of RFC 5915; the outer structure names the curve.
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    number: &'a OctetStringRef,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
    point: BitStringRef<'a>,
}

/// The bytes in DER; fails if they are too long.
pub fn written<T>(call: &Call<'_>, result: der::Result<T>) -> Result<T, Failure> {
    result.or_else(|_| call.fail("it cannot be written in DER"))
}

/// A private key of RSA in PKCS#8.
pub fn of_rsa(key: &[u8]) -> der::Result<Vec<u8>> {
    private(RSA, Some(Null.into()), key)
}

/// A private key on this curve in PKCS#8.
pub fn of_curve(curve: &ObjectIdentifier, key: &[u8]) -> der::Result<Vec<u8>> {
    private(EC, Some(curve.into()), key)
}

fn private(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> der::Result<Vec<u8>> {
    PrivateKeyInfoRef::new(AlgorithmIdentifierRef { oid, parameters }, OctetStringRef::new(key)?).to_der()
}

fn public(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> der::Result<Vec<u8>> {
    let subject_public_key = BitStringRef::from_bytes(key)?;
    SubjectPublicKeyInfoRef { algorithm: AlgorithmIdentifierRef { oid, parameters }, subject_public_key }.to_der()
}

/// The members of a key; numbers are base64url.
struct Key<'a> {
    call: &'a Call<'a>,
    members: BTreeMap<String, serde_json::Value>,
}

impl Key<'_> {
    fn text(&self, name: &str) -> &str {
        self.members.get(name).and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Failure> {
        match URL_SAFE_NO_PAD.decode(self.text(name).trim_end_matches('=')) {
            Ok(bytes) if !bytes.is_empty() => Ok(bytes),
            Ok(_) | Err(_) => self.call.fail(format!("the key has no member {name:?} in base64url")),
        }
    }

    fn sized(&self, name: &str, length: usize) -> Result<Vec<u8>, Failure> {
        let bytes = self.bytes(name)?;
        if bytes.len() == length {
            Ok(bytes)
        } else {
            self.call.fail(format!("the member {name:?} has a wrong length"))
        }
    }
}

fn pem(call: &Call<'_>, private: bool) -> Outcome {
    let Ok(members) = serde_json::from_slice(call.bytes(0)?) else {
        return call.fail("the text is not a JSON object");
    };
    let key = Key { call, members };
    let der = match (key.text("kty"), private) {
        ("RSA", false) => rsa_public(&key)?,
        ("RSA", true) => rsa_private(&key)?,
        ("EC", _) => elliptic(&key, private)?,
        ("OKP", _) => edwards(&key, private)?,
        _ => return call.fail("the member \"kty\" must be RSA, EC or OKP"),
    };
    Ok(encoded(if private { "PRIVATE KEY" } else { "PUBLIC KEY" }, [der.as_slice()]))
}

/// The members of these names as a sequence of numbers, after `version` if there is one: that is what keys of RSA are
/// (RFC 8017, with two primes).
fn rsa_numbers(key: &Key<'_>, version: Option<&[u8]>, names: &[&str]) -> Result<Vec<u8>, Failure> {
    let members: Vec<Vec<u8>> = names.iter().map(|name| key.bytes(name)).collect::<Result<_, _>>()?;
    let numbers = version.into_iter().chain(members.iter().map(Vec::as_slice)).map(UintRef::new);
    written(key.call, numbers.collect::<der::Result<Vec<_>>>().and_then(|numbers| numbers.to_der()))
}

fn rsa_public(key: &Key<'_>) -> Result<Vec<u8>, Failure> {
    let numbers = rsa_numbers(key, None, &["n", "e"])?;
    written(key.call, public(RSA, Some(Null.into()), &numbers))
}

fn rsa_private(key: &Key<'_>) -> Result<Vec<u8>, Failure> {
    let numbers = rsa_numbers(key, Some(&[0]), &["n", "e", "d", "p", "q", "dp", "dq", "qi"])?;
    written(key.call, of_rsa(&numbers))
}

fn elliptic(key: &Key<'_>, private: bool) -> Result<Vec<u8>, Failure> {
    let (curve, length) = match key.text("crv") {
        "P-256" => ("1.2.840.10045.3.1.7", 32),
        "P-384" => ("1.3.132.0.34", 48),
        "P-521" => ("1.3.132.0.35", 66),
        _ => return key.call.fail("the member \"crv\" must be P-256, P-384 or P-521"),
    };
    let curve = ObjectIdentifier::new_unwrap(curve);
    let point = [vec![4], key.sized("x", length)?, key.sized("y", length)?].concat();
    if !private {
        return written(key.call, public(EC, Some((&curve).into()), &point));
    }
    let number = key.sized("d", length)?;
    let write = || {
        let (number, point) = (OctetStringRef::new(&number)?, BitStringRef::from_bytes(&point)?);
        of_curve(&curve, &EcPrivateKey { version: 1, number, point }.to_der()?)
    };
    written(key.call, write())
}

fn edwards(key: &Key<'_>, is_private: bool) -> Result<Vec<u8>, Failure> {
    if key.text("crv") != "Ed25519" {
        return key.call.fail("the member \"crv\" must be Ed25519");
    }
    if !is_private {
        return written(key.call, public(ED25519, None, &key.sized("x", 32)?));
    }
    let seed = key.sized("d", 32)?;
    let write = || private(ED25519, None, &OctetStringRef::new(&seed)?.to_der()?);
    written(key.call, write())
}
