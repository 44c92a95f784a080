//! JSON Web Keys (RFC 7517) as PEM: RSA, the curves P-256, P-384 and P-521, and Ed25519.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use yasna::{DERWriterSeq, Tag, models::ObjectIdentifier};

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

/// `rsaEncryption`.
pub const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
/// `id-ecPublicKey`.
pub const EC: &[u64] = &[1, 2, 840, 10045, 2, 1];
const ED25519: &[u64] = &[1, 3, 101, 112];

/// A DER sequence.
pub fn sequence(write: impl FnOnce(&mut DERWriterSeq<'_>)) -> Vec<u8> {
    yasna::construct_der(|writer| writer.write_sequence(write))
}

/// A private key in PKCS#8. Without a curve the parameters of the algorithm are null, as RSA has them.
pub fn pkcs8(algorithm: &[u64], curve: Option<&ObjectIdentifier>, key: &[u8]) -> Vec<u8> {
    sequence(|writer| {
        writer.next().write_u8(0);
        writer.next().write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(algorithm));
            match curve {
                Some(curve) => writer.next().write_oid(curve),
                None => writer.next().write_null(),
            }
        });
        writer.next().write_bytes(key);
    })
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

fn public(algorithm: &[u64], parameters: impl FnOnce(&mut DERWriterSeq<'_>), key: &[u8]) -> Vec<u8> {
    sequence(|writer| {
        writer.next().write_sequence(|writer| {
            writer.next().write_oid(&ObjectIdentifier::from_slice(algorithm));
            parameters(writer);
        });
        writer.next().write_bitvec_bytes(key, key.len() * 8);
    })
}

fn rsa_public(key: &Key<'_>) -> Result<Vec<u8>, Failure> {
    let (modulus, exponent) = (key.bytes("n")?, key.bytes("e")?);
    let numbers = sequence(|writer| {
        writer.next().write_bigint_bytes(&modulus, true);
        writer.next().write_bigint_bytes(&exponent, true);
    });
    Ok(public(RSA, |writer| writer.next().write_null(), &numbers))
}

fn rsa_private(key: &Key<'_>) -> Result<Vec<u8>, Failure> {
    let numbers: Vec<Vec<u8>> =
        ["n", "e", "d", "p", "q", "dp", "dq", "qi"].iter().map(|name| key.bytes(name)).collect::<Result<_, _>>()?;
    let inner = sequence(|writer| {
        writer.next().write_u8(0);
        for number in &numbers {
            writer.next().write_bigint_bytes(number, true);
        }
    });
    Ok(pkcs8(RSA, None, &inner))
}

fn elliptic(key: &Key<'_>, private: bool) -> Result<Vec<u8>, Failure> {
    let (curve, length): (&[u64], usize) = match key.text("crv") {
        "P-256" => (&[1, 2, 840, 10045, 3, 1, 7], 32),
        "P-384" => (&[1, 3, 132, 0, 34], 48),
        "P-521" => (&[1, 3, 132, 0, 35], 66),
        _ => return key.call.fail("the member \"crv\" must be P-256, P-384 or P-521"),
    };
    let curve = ObjectIdentifier::from_slice(curve);
    let point = [vec![4], key.sized("x", length)?, key.sized("y", length)?].concat();
    if !private {
        return Ok(public(EC, |writer| writer.next().write_oid(&curve), &point));
    }
    let number = key.sized("d", length)?;
    let inner = sequence(|writer| {
        writer.next().write_u8(1);
        writer.next().write_bytes(&number);
        writer.next().write_tagged(Tag::context(1), |writer| writer.write_bitvec_bytes(&point, point.len() * 8));
    });
    Ok(pkcs8(EC, Some(&curve), &inner))
}

fn edwards(key: &Key<'_>, private: bool) -> Result<Vec<u8>, Failure> {
    if key.text("crv") != "Ed25519" {
        return key.call.fail("the member \"crv\" must be Ed25519");
    }
    if !private {
        return Ok(public(ED25519, |_| (), &key.sized("x", 32)?));
    }
    let seed = key.sized("d", 32)?;
    let inner = yasna::construct_der(|writer| writer.write_bytes(&seed));
    Ok(sequence(|writer| {
        writer.next().write_u8(0);
        writer.next().write_sequence(|writer| writer.next().write_oid(&ObjectIdentifier::from_slice(ED25519)));
        writer.next().write_bytes(&inner);
    }))
}
