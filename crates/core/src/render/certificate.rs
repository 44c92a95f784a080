//! Certificates and private keys in PEM.

use aws_lc_rs::{
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    },
};
use pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::SecretBytes;

const RSA: &str = "1.2.840.113549.1.1.1";
const EC: &str = "1.2.840.10045.2.1";
const ED25519: &str = "1.3.101.112";
/// Curves of keys that we can check.
const CURVES: [(&str, &EcdsaSigningAlgorithm); 3] = [
    ("1.2.840.10045.3.1.7", &ECDSA_P256_SHA256_ASN1_SIGNING),
    ("1.3.132.0.34", &ECDSA_P384_SHA384_ASN1_SIGNING),
    ("1.3.132.0.35", &ECDSA_P521_SHA512_ASN1_SIGNING),
];
/// Sizes of RSA keys that we can check, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Whether a private key belongs to a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It is.
    Yes,
    /// It is another one, or no key at all.
    No,
    /// We cannot check this algorithm.
    Unknown,
}

/// The blocks of a PEM text, without the text around them. `None`: a block is broken, or there is none.
pub fn blocks(text: &[u8]) -> Option<Vec<Pem>> {
    pem::parse_many(text).ok().filter(|blocks| !blocks.is_empty())
}

/// The certificates of a PEM text, in DER; `None`: it has none, or an invalid one.
pub fn certificates(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let found: Vec<Vec<u8>> =
        blocks(text)?.into_iter().filter(|block| block.tag() == "CERTIFICATE").map(Pem::into_contents).collect();
    (!found.is_empty() && found.iter().all(|der| parse(der).is_some())).then_some(found)
}

/// A certificate out of its DER, and nothing after it.
pub fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

/// The private key of a PEM text, which may also have parameters of curves.
pub fn private_key(text: &[u8]) -> Option<Pem> {
    blocks(text)?.into_iter().find(|block| block.tag().ends_with("PRIVATE KEY"))
}

/// Whether a block is protected by a passphrase.
pub fn is_encrypted(block: &Pem) -> bool {
    block.tag().starts_with("ENCRYPTED")
        || block.headers().get("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED"))
}

/// Compares a private key, in PKCS#8 or the older form of its kind, with the key of a certificate.
pub fn matches(certificate: &X509Certificate<'_>, key: &[u8]) -> Match {
    let public = certificate.public_key();
    let of_key = match public.algorithm.algorithm.to_id_string().as_str() {
        RSA => {
            let bits = public.parsed().ok().map(|key| key.key_size());
            if bits.is_none_or(|bits| !RSA_BITS.contains(&bits)) {
                return Match::Unknown;
            }
            rsa(key)
        }
        EC => {
            let curve = curve(certificate);
            let Some((_, algorithm)) = CURVES.iter().find(|(oid, _)| curve.as_deref() == Some(oid)) else {
                return Match::Unknown;
            };
            ec(algorithm, key)
        }
        ED25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).ok().map(|pair| pair.public_key().as_ref().to_vec()),
        _ => return Match::Unknown,
    };
    if of_key.as_deref() == Some(public.subject_public_key.data.as_ref()) { Match::Yes } else { Match::No }
}

/// The curve of a certificate's key, as an object identifier.
pub fn curve(certificate: &X509Certificate<'_>) -> Option<String> {
    let parameters = certificate.public_key().algorithm.parameters.as_ref()?;
    Some(parameters.as_oid().ok()?.to_id_string())
}

fn rsa(key: &[u8]) -> Option<Vec<u8>> {
    let pair = RsaKeyPair::from_pkcs8(key).or_else(|_| RsaKeyPair::from_der(key)).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm, key: &[u8]) -> Option<Vec<u8>> {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key).or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, key));
    Some(pair.ok()?.public_key().as_ref().to_vec())
}

/// Orders certificates from the leaf to its root. `None`: they are no chain.
pub fn chain(certificates: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let mut left: Vec<(&Vec<u8>, X509Certificate<'_>)> =
        certificates.iter().map(|der| Some((der, parse(der)?))).collect::<Option<_>>()?;
    let is_issuer = |subject: &X509Certificate<'_>| {
        left.iter().any(|(_, other)| {
            other.subject().as_raw() != subject.subject().as_raw()
                && other.issuer().as_raw() == subject.subject().as_raw()
        })
    };
    let leaves: Vec<usize> = (0..left.len()).filter(|at| !is_issuer(&left[*at].1)).collect();
    let [leaf] = leaves.as_slice() else {
        return None;
    };
    let mut at = left.remove(*leaf);
    let mut ordered = vec![at.0.clone()];
    while let Some(next) = left.iter().position(|(_, other)| other.subject().as_raw() == at.1.issuer().as_raw()) {
        at = left.remove(next);
        ordered.push(at.0.clone());
    }
    left.is_empty().then_some(ordered)
}

/// A block in PEM with lines that end as in Unix.
pub fn encode(tag: &str, der: &[u8]) -> SecretBytes {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    SecretBytes::from(pem::encode_config(&Pem::new(tag, der), config))
}
