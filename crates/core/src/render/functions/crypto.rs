//! Hashes and decryption. Salts come from the seed of the execution, so that the result is the same each time.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA512_MGF1SHA512, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256, Sha512};

use super::{
    Entry,
    call::{Call, Failure, Outcome},
    jwk,
    signature::{Type::Text, takes, variadic},
};
use crate::{
    SecretBytes,
    render::{certificate, template::value::Value},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("sha1sum", takes(&[Text]), sum::<sha1::Sha1>),
    ("sha256sum", takes(&[Text]), sum::<Sha256>),
    ("sha512sum", takes(&[Text]), sum::<Sha512>),
    ("adler32sum", takes(&[Text]), adler32),
    ("bcrypt", takes(&[Text]), |call| Ok(bcrypt(call, 0)?.into())),
    // With two arguments as in Sprig, with three as in External Secrets.
    ("htpasswd", variadic(&[Text, Text], Text), htpasswd),
    ("rsaDecrypt", takes(&[Text, Text, Text, Text]), rsa_decrypt),
];

/// What Sprig hashes with.
const COST: u32 = 10;
/// What one hash costs, in units of about a microsecond.
const BCRYPT: usize = 60_000;
/// bcrypt uses no more bytes.
const MAX_PASSWORD: usize = 72;
/// What it costs to read a private key of RSA and to decrypt with it, in units of about a microsecond.
const RSA: usize = 20_000;

fn sum<D: Digest>(call: &Call<'_>) -> Outcome {
    Ok(hex(&D::digest(&call.bytes(0)?[..])).into())
}

/// Hexadecimal text.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// RFC 1950, in decimal digits.
fn adler32(call: &Call<'_>) -> Outcome {
    const MODULUS: u32 = 65_521;
    let (low, high) = call.bytes(0)?.iter().fold((1, 0), |(low, high): (u32, u32), byte| {
        let low = (low + u32::from(*byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    Ok((high << 16 | low).to_string().into())
}

fn bcrypt(call: &Call<'_>, position: usize) -> Result<String, Failure> {
    let password = call.bytes(position)?;
    if password.len() > MAX_PASSWORD {
        return call.fail("bcrypt hashes at most 72 bytes; the password is longer");
    }
    call.slow(BCRYPT)?;
    let hash = ::bcrypt::hash_with_salt(&password[..], COST, call.salt("salt")?);
    let form = |hash: ::bcrypt::HashParts| Ok(hash.format_for_version(::bcrypt::Version::TwoA));
    hash.map_or_else(|_| call.fail("the password cannot be hashed"), form)
}

fn htpasswd(call: &Call<'_>) -> Outcome {
    let user = call.bytes(0)?;
    if user.contains(&b':') {
        return call.fail("a user name cannot have a colon");
    }
    let algorithm = if call.arguments.len() > 2 { call.bytes(2)?.to_vec() } else { b"bcrypt".to_vec() };
    let hash = match &algorithm[..] {
        _ if call.arguments.len() > 3 => return call.fail("it takes a user, a password and the name of a hash"),
        b"sha" => format!("{{SHA}}{}", STANDARD.encode(sha1::Sha1::digest(&call.bytes(1)?[..]))),
        _ => bcrypt(call, 1)?,
    };
    Ok([user, &b":"[..], hash.as_bytes()].concat().into())
}

/// `rsaDecrypt scheme hash text key`, as in External Secrets.
fn rsa_decrypt(call: &Call<'_>) -> Outcome {
    match &call.bytes(0)?[..] {
        b"None" => return Ok(Value::Text(call.bytes(2)?.clone())),
        b"RSA-OAEP" => {}
        _ => return call.fail("its first argument is None or RSA-OAEP"),
    }
    let algorithm = match &call.bytes(1)?[..] {
        b"SHA1" => &OAEP_SHA1_MGF1SHA1,
        b"SHA512" => &OAEP_SHA512_MGF1SHA512,
        _ => &OAEP_SHA256_MGF1SHA256,
    };
    call.slow(RSA)?;
    let block = certificate::private_key(call.bytes(3)?).filter(|block| !certificate::is_encrypted(block));
    let der = block.and_then(|block| match block.tag() {
        "RSA PRIVATE KEY" => jwk::of_rsa(block.contents()).ok().map(SecretBytes::new),
        _ => Some(SecretBytes::new(block.into_contents())),
    });
    let key = der.and_then(|der| PrivateDecryptingKey::from_pkcs8(der.expose()).ok());
    let Some(key) = key.and_then(|key| OaepPrivateDecryptingKey::new(key).ok()) else {
        return call.fail("its last argument is not an RSA private key in PEM of 2048 bits or more");
    };
    let mut plain = vec![0; key.min_output_size()];
    match key.decrypt(algorithm, call.bytes(2)?, &mut plain, None) {
        Ok(plain) => Ok(Value::from(&*plain)),
        Err(_) => call.fail("the text was not encrypted for this key"),
    }
}

#[cfg(test)]
mod tests;
