//! The answers of engines.

use std::{borrow::Cow, time::Duration};

use rekey_core::SecretBytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{Malformed, as_kept, parse};
use crate::number;

/// What an engine says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::vault) struct Said {
    /// The data object, without the escapes that the server adds for HTML.
    pub data: SecretBytes,
    /// The lease it came with.
    pub lease: Option<String>,
    /// What distinguishes it from another answer, or empty.
    pub version: String,
    /// How long it is good.
    pub lifetime: Lifetime,
    /// Whether it is the same until then.
    pub is_stable: bool,
}

/// How long an answer is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vault) enum Lifetime {
    /// The engine does not say.
    Unknown,
    /// So long from now on.
    For(Duration),
    /// Until this Unix time, in seconds.
    Until(u64),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    lease_id: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The fields of the data that say what it is.
#[derive(Deserialize)]
struct Facts {
    last_vault_rotation: Option<Value>,
    serial_number: Option<Value>,
    ttl: Option<Value>,
    expiration: Option<Value>,
}

/// Reads an answer.
pub(in crate::vault) fn answer(body: &[u8]) -> Result<Said, Malformed> {
    let Envelope { lease_id, data } = parse(body)?;
    let text = data.map(RawValue::get).filter(|text| text.starts_with('{')).ok_or(Malformed::Data)?;
    let Facts { last_vault_rotation, serial_number, ttl, expiration } = parse(text.as_bytes())?;
    let rotated = last_vault_rotation.as_ref().and_then(Value::as_str);
    let serial = serial_number.as_ref().and_then(Value::as_str);
    // Also without a rotation: identity tokens are new at each request, and say by `ttl` alone when they end.
    let ttl = ttl.as_ref().and_then(number::life).map(Lifetime::For);
    let end = expiration.as_ref().and_then(number::whole).filter(|end| *end > 0).map(Lifetime::Until);
    let lifetime = if rotated.is_some() { ttl.or(end) } else { end.or(ttl) }.unwrap_or(Lifetime::Unknown);
    Ok(Said {
        data: as_kept(text),
        lease: (!lease_id.is_empty()).then(|| lease_id.into_owned()),
        version: rotated.or(serial).map(printable).unwrap_or_default(),
        lifetime,
        is_stable: rotated.is_some(),
    })
}

/// It goes into a status.
fn printable(version: &str) -> String {
    version.chars().filter(char::is_ascii_graphic).take(128).collect()
}

#[cfg(test)]
mod tests {
    use rekey_core::time::LONGEST_LIFE;

    use super::*;

    #[test]
    fn answers() {
        let said = |data: &str| answer(format!(r#"{{"lease_id":"","data":{data}}}"#).as_bytes()).unwrap();
        let role = r#"{"password":"p","last_vault_rotation":"2026-11-25T13:00:00.5Z","ttl":90, "n":1.10}"#;
        let certificate = r#"{"certificate":"c","serial_number":"1a:2b","expiration":1795612800,"ttl":7}"#;
        let table = [
            (role, "2026-11-25T13:00:00.5Z", Lifetime::For(Duration::from_secs(90)), true),
            (certificate, "1a:2b", Lifetime::Until(1_795_612_800), false),
            (r#"{"a":"b"}"#, "", Lifetime::Unknown, false),
            (r#"{"token":"t","ttl":3600}"#, "", Lifetime::For(Duration::from_hours(1)), false),
            (r#"{"ttl":"1h","expiration":"never","serial_number":7}"#, "", Lifetime::Unknown, false),
            (r#"{"last_vault_rotation":null,"ttl":-1,"expiration":0}"#, "", Lifetime::Unknown, false),
            (r#"{"ttl":9000000000000000}"#, "", Lifetime::For(LONGEST_LIFE), false),
            (r#"{"ttl":18446744073709551615}"#, "", Lifetime::For(LONGEST_LIFE), false),
            (r#"{"ttl":1e300}"#, "", Lifetime::For(LONGEST_LIFE), false),
            (r#"{"ttl":90.9}"#, "", Lifetime::For(Duration::from_secs(90)), false),
            (r#"{"ttl":-1e300,"expiration":-9e15}"#, "", Lifetime::Unknown, false),
            (r#"{"expiration":9e15}"#, "", Lifetime::Until(9_000_000_000_000_000), false),
            (r#"{"expiration":1e300}"#, "", Lifetime::Until(u64::MAX), false),
        ];
        for (data, version, lifetime, is_stable) in table {
            let data = (data, SecretBytes::from(data));
            let expected = Said { data: data.1, lease: None, version: version.to_owned(), lifetime, is_stable };
            assert_eq!(said(data.0), expected, "{}", data.0);
        }
    }

    #[test]
    fn leases() {
        let body = br#"{"lease_id":"database/creds/app/1","data":{"password":"p"}}"#;
        assert_eq!(answer(body).unwrap().lease.as_deref(), Some("database/creds/app/1"));
    }

    #[test]
    fn other_forms() {
        let deep = format!(r#"{{"data":{{"a":{}1{}}}}}"#, "[".repeat(40), "]".repeat(40));
        let table = [
            ("<html>", Malformed::Form),
            (r#"{"data":null,"auth":{"client_token":"t"}}"#, Malformed::Data),
            (r#"{"data":[1]}"#, Malformed::Data),
            ("{}", Malformed::Data),
            (&deep, Malformed::Deep),
        ];
        for (body, expected) in table {
            assert_eq!(answer(body.as_bytes()).unwrap_err(), expected, "{body}");
        }
    }
}
