//! Text forms of bytes and values: base64, base32, JSON, YAML.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use gotmpl::Value;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Entry, binary,
    call::{Call, Failure, MAX_STRUCTURE, Map, Outcome, VALUE, list, map, string},
};
use crate::{SecretBytes, render::json};

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("b64enc", |call| {
        call.takes(1, "one value")?;
        Ok(string(STANDARD.encode(call.bytes(0)?)))
    }),
    ("b64dec", b64dec),
    ("b32enc", |call| {
        call.takes(1, "one value")?;
        Ok(string(b32enc(&call.bytes(0)?)))
    }),
    ("b32dec", b32dec),
    ("toJson", to_json),
    ("mustToJson", to_json),
    ("toRawJson", to_json),
    ("mustToRawJson", to_json),
    ("toPrettyJson", to_pretty_json),
    ("mustToPrettyJson", to_pretty_json),
    ("fromJson", from_json),
    ("mustFromJson", from_json),
    ("toYaml", to_yaml),
    ("fromYaml", from_yaml),
];

/// How often JSON is looked at while it is read, on average.
const JSON_COST: usize = 4;
/// A YAML text to read may have this many bytes.
const MAX_YAML: usize = 128 * 1024;
/// And this many characters that may start a value: the parser takes a KiB for each before we see anything.
const MAX_MARKS: usize = 12 * 1024;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn b64dec(call: &Call<'_>) -> Outcome {
    call.takes(1, "one text")?;
    let text: String = call.text(0)?.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    STANDARD.decode(&text).map_or_else(|_| call.fail("the value is not base64"), |bytes| Ok(binary::value(&bytes)))
}

fn b32enc(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let bits = (0..5).fold(0_u64, |bits, at| bits << 8 | u64::from(chunk.get(at).copied().unwrap_or(0)));
        let used = (chunk.len() * 8).div_ceil(5);
        for at in 0..8_usize {
            let index = usize::try_from(bits >> (35 - 5 * at) & 31).unwrap_or(0);
            text.push(if at < used { char::from(BASE32[index]) } else { '=' });
        }
    }
    text
}

fn b32dec(call: &Call<'_>) -> Outcome {
    call.takes(1, "one text")?;
    let text = call.text(0)?;
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for character in text.trim().trim_end_matches('=').bytes() {
        let Some(five) = BASE32.iter().position(|known| *known == character) else {
            return call.fail("the value is not base32");
        };
        bits = (bits << 5 | u32::try_from(five).unwrap_or(0)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or(0));
        }
    }
    Ok(binary::value(&bytes))
}

/// A value of the engine as JSON.
fn json_of(call: &Call<'_>, value: &Value) -> Result<serde_json::Value, Failure> {
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Uint(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) if binary::is_text(text) => text.as_ref().into(),
        Value::String(_) => {
            return call.fail("bytes that are no UTF-8 text have no such form; encode them with b64enc");
        }
        Value::List(items) => items.iter().map(|item| json_of(call, item)).collect::<Result<Vec<_>, _>>()?.into(),
        Value::Map(members) => {
            let members: Result<serde_json::Map<_, _>, Failure> =
                members.iter().map(|(name, member)| Ok((name.to_string(), json_of(call, member)?))).collect();
            members?.into()
        }
        Value::Function(_) => return call.fail("a function has no such form"),
    })
}

fn to_json(call: &Call<'_>) -> Outcome {
    call.takes(1, "one value")?;
    Ok(string(json_of(call, call.value(0)?)?.to_string()))
}

fn to_pretty_json(call: &Call<'_>) -> Outcome {
    call.takes(1, "one value")?;
    let text = serde_json::to_string_pretty(&json_of(call, call.value(0)?)?);
    text.map_or_else(|_| call.fail("the value has no JSON form"), |text| Ok(string(text)))
}

fn from_json(call: &Call<'_>) -> Outcome {
    call.takes(1, "one text")?;
    let text = SecretBytes::new(call.bytes(0)?);
    // Each level is read again.
    call.spend(text.len().saturating_mul(JSON_COST))?;
    match json::document(&text, "") {
        Ok(document) if json::items(document) > MAX_STRUCTURE / VALUE => call.fail("its result is larger than 2 MiB"),
        Ok(document) => Ok(value_of(document)),
        Err(_) => call.fail("the text is not JSON of at most 32 levels"),
    }
}

/// JSON as a value of the engine. A number that the engine cannot hold with all its digits stays the text that it is.
fn value_of(raw: &RawValue) -> Value {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
            map(members.into_iter().map(|(name, member)| (name.into(), value_of(member))).collect())
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            list(items.into_iter().map(value_of).collect())
        }
        Some(b'"') => string(serde_json::from_str::<String>(text).unwrap_or_default()),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') | None => Value::Nil,
        Some(_) => number(text),
    }
}

fn number(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return Value::Int(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.to_string() == text => Value::Float(number),
        Ok(_) | Err(_) => string(text),
    }
}

fn to_yaml(call: &Call<'_>) -> Outcome {
    call.takes(1, "one value")?;
    let text = serde_norway::to_string(&json_of(call, call.value(0)?)?);
    let yaml = |text: String| Ok(string(text.trim_end_matches('\n')));
    text.map_or_else(|_| call.fail("the value has no YAML form"), yaml)
}

fn from_yaml(call: &Call<'_>) -> Outcome {
    call.takes(1, "one text")?;
    let text = call.text(0)?;
    if text.len() > MAX_YAML || text.matches([',', ':', '-', '\n', '[', '{', '?']).count() > MAX_MARKS {
        return call.fail("the text is larger than 128 KiB, or has more than 12,288 values and lines");
    }
    let mut left = MAX_STRUCTURE;
    let document = Bounded(&mut left).deserialize(serde_norway::Deserializer::from_str(&text));
    document.map_or_else(|_| call.fail("the text is not YAML, or becomes larger than 2 MiB"), Ok)
}

/// Reads YAML until it has become too large: aliases let few bytes stand for many.
struct Bounded<'a>(&'a mut usize);

impl Bounded<'_> {
    fn take<E: Error>(&mut self, bytes: usize) -> Result<(), E> {
        *self.0 = self.0.checked_sub(bytes + 2 * VALUE).ok_or_else(|| E::custom("too large"))?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Value, E> {
        self.take(0).map(|()| Value::Nil)
    }

    fn visit_bool<E: Error>(mut self, flag: bool) -> Result<Value, E> {
        self.take(0).map(|()| Value::Bool(flag))
    }

    fn visit_i64<E: Error>(mut self, number: i64) -> Result<Value, E> {
        self.take(0).map(|()| Value::Int(number))
    }

    fn visit_u64<E: Error>(mut self, number: u64) -> Result<Value, E> {
        self.take(0).map(|()| i64::try_from(number).map_or(Value::Uint(number), Value::Int))
    }

    fn visit_i128<E: Error>(mut self, number: i128) -> Result<Value, E> {
        self.take(0).map(|()| string(number.to_string()))
    }

    fn visit_u128<E: Error>(mut self, number: u128) -> Result<Value, E> {
        self.take(0).map(|()| string(number.to_string()))
    }

    fn visit_f64<E: Error>(mut self, number: f64) -> Result<Value, E> {
        self.take(0).map(|()| Value::Float(number))
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Value, E> {
        self.take(text.len()).map(|()| string(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Bounded(self.0))? {
            items.push(item);
        }
        Ok(list(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut members = Map::new();
        while let Some(name) = access.next_key_seed(Bounded(self.0))? {
            let member = access.next_value_seed(Bounded(self.0))?;
            members.insert(name.to_string().into(), member);
        }
        Ok(map(members))
    }
}
