//! The JSON of the endpoints we use, as far as vaultrs does not do it.
//!
//! We use its types where they fit. We do not use those that hold a value as parsed JSON (its numbers and the order of
//! its fields would change), nor the answers that hold a token in a `String` with a derived `Debug`.

pub(super) mod engine;
pub(super) mod metadata;

use std::{collections::BTreeMap, fmt, time::Duration};

use rekey_core::{
    SecretBytes,
    store::{RemoteValue, StoreError, StoreErrorKind},
    time,
};
use serde::{
    Deserialize, Deserializer as _, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use vaultrs::api::{EndpointError, kv2::responses::SecretVersionMetadata};

use crate::{json::is_shallow, number};

/// An answer that is not in the documented form. Its texts say nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Nested too deeply.
    Deep,
    /// Other fields, or no JSON.
    Form,
    /// The data of the key is not an object.
    Data,
    /// A success that carries no data.
    Empty,
}

impl Malformed {
    pub(super) fn kind(self) -> StoreErrorKind {
        match self {
            Self::Deep | Self::Form | Self::Data => StoreErrorKind::Malformed,
            Self::Empty => StoreErrorKind::NotFound,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deep => "the answer is nested more than 32 levels deep",
            Self::Form => {
                "the answer is not in the documented form; check the mount, and that kvVersion is that of the mount"
            }
            Self::Data => "the data is not a JSON object",
            Self::Empty => "the current version is deleted",
        })
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Secret<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    metadata: SecretVersionMetadata,
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    if !is_shallow(body) {
        return Err(Malformed::Deep);
    }
    serde_json::from_slice(body).map_err(|_| Malformed::Form)
}

/// JSON as the store keeps it: servers written in Go escape `&`, `<` and `>` in their answers, only for HTML
/// (<https://pkg.go.dev/encoding/json#Marshal>). They store text without escapes, so each of these escapes is theirs.
fn as_kept(json: &str) -> SecretBytes {
    let (mut text, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let plain = match escape.get(..6) {
            Some("\\u0026") => Some('&'),
            Some("\\u003c") => Some('<'),
            Some("\\u003e") => Some('>'),
            Some(_) | None => None,
        };
        // Any other escape: take two characters, since the second may be a backslash.
        let end = if plain.is_some() { 6 } else { escape.char_indices().nth(2).map_or(escape.len(), |(end, _)| end) };
        match plain {
            Some(plain) => text.push(plain),
            None => text.push_str(&escape[..end]),
        }
        rest = &escape[end..];
    }
    text.push_str(rest);
    SecretBytes::from(text)
}

/// The value in the answer to a read: the data object as the store keeps it.
pub(super) fn value(body: &[u8]) -> Result<RemoteValue, Malformed> {
    let secret = parse::<Envelope<Secret<'_>>>(body)?.data;
    let text = secret.data.ok_or(Malformed::Empty)?.get();
    if !text.starts_with('{') {
        return Err(Malformed::Data);
    }
    let SecretVersionMetadata { version, created_time, .. } = secret.metadata;
    let created = time::parse(&created_time);
    Ok(RemoteValue { bytes: as_kept(text), version: version.to_string(), created })
}

/// The value in the answer to a read of KV version 1: the data object as the store keeps it.
pub(super) fn plain_value(body: &[u8]) -> Result<RemoteValue, Malformed> {
    let text = parse::<Envelope<&RawValue>>(body)?.data.get();
    if !text.starts_with('{') {
        return Err(Malformed::Data);
    }
    Ok(RemoteValue { bytes: as_kept(text), version: String::new(), created: None })
}

/// Whether this is a JSON object that a server takes as a value.
pub(super) fn is_object(value: &[u8]) -> bool {
    parse::<&RawValue>(value).is_ok_and(|data| data.get().starts_with('{'))
}

/// Whether two values are equal but for order, white space and escapes: servers write JSON in their own way. The digits
/// of numbers count, since servers keep them.
pub(super) fn is_equal(one: &[u8], other: &[u8]) -> bool {
    parse::<&RawValue>(one).is_ok_and(|one| parse::<&RawValue>(other).is_ok_and(|other| same(one, other)))
}

fn same(one: &RawValue, other: &RawValue) -> bool {
    fn read<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
        serde_json::from_str(value.get()).ok()
    }
    type Members<'a> = BTreeMap<String, &'a RawValue>;
    let pairs: Vec<(&RawValue, &RawValue)> = match one.get().as_bytes().first() {
        Some(b'{') => match (read::<Members<'_>>(one), read::<Members<'_>>(other)) {
            (Some(one), Some(other)) if one.keys().eq(other.keys()) => {
                one.into_values().zip(other.into_values()).collect()
            }
            _ => return false,
        },
        Some(b'[') => match (read::<Vec<_>>(one), read::<Vec<_>>(other)) {
            (Some(one), Some(other)) if one.len() == other.len() => one.into_iter().zip(other).collect(),
            _ => return false,
        },
        Some(b'"') => return read::<String>(one).is_some_and(|one| read::<String>(other) == Some(one)),
        Some(_) | None => return one.get() == other.get(),
    };
    pairs.into_iter().all(|(one, other)| same(one, other))
}

/// The names in the answer to a list, at most `most` of them; those of folders end with a slash. Each takes many times
/// more memory than it takes in the answer.
pub(super) fn names(body: &[u8], most: usize) -> Result<Vec<String>, Malformed> {
    let listed = parse::<Envelope<Listed<'_>>>(body)?.data;
    let mut names = Vec::new();
    serde_json::Deserializer::from_str(listed.keys.get())
        .deserialize_seq(Names { names: &mut names, most })
        .map_err(|_| Malformed::Form)?;
    Ok(names)
}

#[derive(Deserialize)]
struct Listed<'a> {
    #[serde(borrow)]
    keys: &'a RawValue,
}

/// Keeps the first names of a list.
struct Names<'n> {
    names: &'n mut Vec<String>,
    most: usize,
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while self.names.len() < self.most {
            let Some(name) = list.next_element()? else { return Ok(()) };
            self.names.push(name);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A version that existed once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    /// Its number.
    pub version: u64,
    destroyed: bool,
}

impl Gone {
    /// What became of it.
    pub(super) fn how(&self) -> &'static str {
        if self.destroyed { "deleted (destroyed)" } else { "deleted" }
    }
}

/// What the body of a 404 says about a deleted version; `None` when there never was one.
pub(super) fn gone(body: &[u8]) -> Option<Gone> {
    let metadata = parse::<Envelope<Secret<'_>>>(body).ok()?.data.metadata;
    let SecretVersionMetadata { version, deletion_time, destroyed, .. } = metadata;
    (destroyed || !deletion_time.is_empty()).then_some(Gone { version, destroyed })
}

#[derive(Serialize)]
struct Body<'a> {
    options: Options,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct Options {
    cas: u64,
}

/// The body of a write. That of vaultrs' `SetSecretRequest` holds the value as parsed JSON.
///
/// # Errors
/// `Invalid` when the value is not a JSON object.
pub(super) fn write(cas: u64, value: &[u8]) -> Result<SecretBytes, StoreError> {
    let data = parse::<&RawValue>(value).ok().filter(|_| is_object(value));
    let body = data.and_then(|data| serde_json::to_vec(&Body { options: Options { cas }, data }).ok());
    body.map(SecretBytes::new).ok_or_else(|| {
        let text = "a value for KV version 2 must be a JSON object, not more than 32 levels deep";
        StoreError::new(StoreErrorKind::Invalid, text)
    })
}

/// The version in the answer to a write.
pub(super) fn written(body: &[u8]) -> Result<String, Malformed> {
    parse::<Envelope<SecretVersionMetadata>>(body).map(|answer| answer.data.version.to_string())
}

fn has_error(body: &[u8], holds: impl Fn(&str) -> bool) -> bool {
    parse::<EndpointError>(body).is_ok_and(|refusal| refusal.errors.iter().any(|error| holds(error)))
}

/// Whether a 400 says that the check-and-set version did not match.
pub(super) fn is_cas_mismatch(body: &[u8]) -> bool {
    has_error(body, |error| error.contains("check-and-set") && error.contains("did not match"))
}

/// Whether a 403 comes from the policies of a token that is valid: the check of policies lists its errors, an unknown
/// token is refused before it.
pub(super) fn is_policy_denial(body: &[u8]) -> bool {
    has_error(body, |error| error.starts_with("1 error occurred:"))
}

/// Whether a 404 to a read of KV version 2 says that the key or the version is not there. Any other 404 says nothing
/// about the key: the mount may be gone or of another version, or it is the page of a proxy.
pub(super) fn is_missing(body: &[u8]) -> bool {
    is_bare_refusal(body) || gone(body).is_some()
}

/// Whether a 404 says only that there is nothing at the path. One that says more is about the mount: it does not exist,
/// or is of another version.
pub(super) fn is_bare_refusal(body: &[u8]) -> bool {
    parse::<BareRefusal>(body).is_ok_and(|refusal| refusal.errors.is_empty())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BareRefusal {
    errors: Vec<String>,
}

/// Whether a 400 says that a new mount is still being set up.
pub(super) fn is_starting(body: &[u8]) -> bool {
    has_error(body, |error| error.contains("non-versioned to versioned data"))
}

#[derive(Deserialize)]
struct LoggedIn<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    client_token: &'a str,
    lease_duration: Value,
    #[serde(default)]
    renewable: bool,
}

/// What a login or a renewal gives.
pub(super) struct Leased {
    pub token: SecretBytes,
    /// How long it is good; `None`: without end.
    pub lease: Option<Duration>,
    /// Whether it can be renewed.
    pub renewable: bool,
}

/// The token in the answer to a login or a renewal.
pub(super) fn leased(body: &[u8]) -> Result<Leased, Malformed> {
    let Auth { client_token, lease_duration, renewable } = parse::<LoggedIn<'_>>(body)?.auth;
    let lease = number::life(&lease_duration).ok_or(Malformed::Form)?;
    let lease = Some(lease).filter(|lease| !lease.is_zero());
    Ok(Leased { token: SecretBytes::from(client_token), lease, renewable })
}

#[derive(Deserialize)]
struct Token {
    display_name: String,
}

/// The display name of our token: short, printable text.
pub(super) fn display_name(body: &[u8]) -> Result<String, Malformed> {
    let name = parse::<Envelope<Token>>(body)?.data.display_name;
    Ok(name.chars().filter(char::is_ascii_graphic).take(64).collect())
}

#[cfg(test)]
mod tests;
