//! Hashes. What is salted takes its salt from the seed of the execution, so that it is the same each time.

use gotmpl::Value;
use sha2::{Digest, Sha256, Sha512};

use super::{
    Entry,
    call::{Call, Failure, Outcome, string},
};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("sha1sum", sum::<sha1::Sha1>),
    ("sha256sum", sum::<Sha256>),
    ("sha512sum", sum::<Sha512>),
    ("bcrypt", |call| {
        call.takes(1, "one password")?;
        Ok(string(bcrypt(call, 0)?))
    }),
    ("htpasswd", htpasswd),
];

/// What Sprig hashes with.
const COST: u32 = 10;
/// What one hash costs, in units of about a microsecond.
const BCRYPT: usize = 60_000;
/// bcrypt looks at no more bytes.
const MAX_PASSWORD: usize = 72;

fn sum<D: Digest>(call: &Call<'_>) -> Outcome {
    call.takes(1, "one value")?;
    Ok(string(hex(&D::digest(call.bytes(0)?))))
}

/// Hexadecimal text.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn bcrypt(call: &Call<'_>, position: usize) -> Result<String, Failure> {
    let password = call.bytes(position)?;
    if password.len() > MAX_PASSWORD {
        return call.fail("bcrypt hashes at most 72 bytes; the password is longer");
    }
    call.slow(BCRYPT)?;
    let hash = ::bcrypt::hash_with_salt(&password, COST, call.salt("salt"));
    let form = |hash: ::bcrypt::HashParts| Ok(hash.format_for_version(::bcrypt::Version::TwoA));
    hash.map_or_else(|_| call.fail("the password cannot be hashed"), form)
}

fn htpasswd(call: &Call<'_>) -> Outcome {
    call.takes(2, "a user and a password")?;
    let user = call.text(0)?;
    if user.contains(':') {
        return call.fail("a user name cannot have a colon");
    }
    let hash = bcrypt(call, 1)?;
    Ok(Value::from(format!("{user}:{hash}")))
}
