//! Compares files byte by byte with those that earlier versions wrote from the same keys and certificates: after an
//! upgrade, any other byte would be a new value and a restart of all its consumers.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SerialNumber, date_time_ymd};
use sha2::{Digest as _, Sha256};

use crate::{
    SecretBytes,
    digest::DigestKey,
    render::template::{Renderer, Seed, Template},
};

fn run(source: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let values: BTreeMap<String, SecretBytes> =
        values.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::from(*value))).collect();
    let seed = Seed::new(&DigestKey::new(SecretBytes::from("installation")), "shop", "db");
    let result = Renderer::new(&values, &seed, &Arc::default()).render(&Template::new("t", source));
    result.map(|bytes| String::from_utf8_lossy(bytes.expose()).into_owned()).map_err(|error| error.to_string())
}

/// The first eight bytes of a digest.
fn digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..8])
}

/// An Ed25519 key of these bytes.
fn key(byte: u8) -> Result<KeyPair, Box<dyn std::error::Error>> {
    let number = URL_SAFE_NO_PAD.encode([byte; 32]);
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{number}"}}"#);
    Ok(KeyPair::from_pem(&run("{{ jwkPrivateKeyPem .jwk }}", &[("jwk", &jwk)])?)?)
}

/// Certificates that are the same each time: of a leaf, then of its issuer, which has characters of all lengths in its
/// name; and the key of the leaf.
fn pair() -> Result<(String, String), Box<dyn std::error::Error>> {
    let named = |name: &str, serial: u64| {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
        Ok::<_, rcgen::Error>(params)
    };
    let (root_key, leaf_key) = (key(1)?, key(2)?);
    let root = named("Größe \u{1f511}", 1)?.self_signed(&root_key)?;
    let leaf = named("leaf", 2)?.signed_by(&leaf_key, &Issuer::new(named("Größe \u{1f511}", 1)?, root_key))?;
    Ok((format!("{}{}", leaf.pem(), root.pem()), leaf_key.serialize_pem()))
}

#[test]
fn files_are_those_of_earlier_versions() -> Result<(), Box<dyn std::error::Error>> {
    let (chain, key) = pair()?;
    let values = [("chain", chain.as_str()), ("key", &key), ("pw", "hunter2")];
    let digest_of = |source: &str| Ok::<_, String>(digest(&run(source, &values)?));
    let found = [
        digest_of("{{ fullPemToPkcs12Pass .chain .key .pw }}")?,
        digest_of("{{ pemToPkcs12 .chain .key }}")?,
        digest_of("{{ pemTruststoreToPKCS12Pass .chain .pw }}")?,
        digest_of("{{ pemTruststoreToPKCS12 .chain }}")?,
    ];
    assert_eq!(found, ["441P02ILMcM", "-JXjB-CH3Vc", "KacmYD2gv3o", "A66x3gsoCoY"]);
    Ok(())
}

#[test]
fn web_keys_are_written_as_by_earlier_versions() -> Result<(), Box<dyn std::error::Error>> {
    let number = |byte: u8, length: usize| URL_SAFE_NO_PAD.encode(vec![byte; length]);
    let rsa = format!(
        r#"{{"kty":"RSA","n":"{}","e":"AQAB","d":"{}","p":"{}","q":"{}","dp":"{}","dq":"{}","qi":"{}"}}"#,
        number(0x80, 256),                                         // above the sign bit
        URL_SAFE_NO_PAD.encode([&[0, 0][..], &[5; 250]].concat()), // zeros before it
        number(0x7f, 128),
        number(0xff, 128),
        number(1, 127),
        number(0, 3),
        number(9, 1),
    );
    let elliptic = |curve: &str, length: usize| {
        let (x, y, d) = (number(1, length), number(2, length), number(0, length));
        format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}","d":"{d}"}}"#)
    };
    let edwards = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{0}","d":"{0}"}}"#, number(7, 32));
    let digests_of = |jwk: String| {
        let digest_of = |source: &str| Ok::<_, String>(digest(&run(source, &[("jwk", &jwk)])?));
        Ok::<_, String>([digest_of("{{ jwkPublicKeyPem .jwk }}")?, digest_of("{{ jwkPrivateKeyPem .jwk }}")?])
    };
    assert_eq!(digests_of(rsa)?, ["N7XPyAQns7c", "If-E0-E-F_w"], "RSA");
    assert_eq!(digests_of(elliptic("P-256", 32))?, ["DJOEnyrjNY8", "KAkxl-otdeo"], "P-256");
    assert_eq!(digests_of(elliptic("P-384", 48))?, ["6FEukPdIhAc", "TdAgPx3wOPU"], "P-384");
    assert_eq!(digests_of(elliptic("P-521", 66))?, ["S9LTWlSxZFQ", "EL8tZM5byKw"], "P-521");
    assert_eq!(digests_of(edwards)?, ["MKUpdk62SBA", "rY2Iv0Fs_BE"], "Ed25519");
    Ok(())
}
