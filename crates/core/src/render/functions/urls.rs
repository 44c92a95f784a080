//! URLs, taken apart and put together as Go does.

use std::{collections::BTreeMap, net::Ipv6Addr};

use super::{
    Entry, Type,
    call::{Call, Failure, Outcome},
    signature::takes,
};
use crate::render::template::value::{Map, Text, Value};

/// The functions of this file.
pub const TABLE: &[Entry] = &[("urlParse", takes(&[Type::Text]), parse), ("urlJoin", takes(&[Type::Map]), join)];

/// The parts of a URL: each has its own characters that need no escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Host,
    Zone,
    User,
    Fragment,
}

impl Place {
    /// Whether to write a byte as `%XX`.
    fn escapes(self, byte: u8) -> bool {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            return false;
        }
        let plain: &[u8] = match self {
            Self::Path => b"$&+,/:;=@",
            Self::User => b"$&+,;=",
            Self::Host | Self::Zone => b"!$&'()*+,;=:[]<>\"",
            Self::Fragment => b"$&+,/:;=?@!()*",
        };
        !plain.contains(&byte)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Url {
    scheme: Vec<u8>,
    opaque: Vec<u8>,
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    fragment: Vec<u8>,
}

fn parse(call: &Call<'_>) -> Outcome {
    let Some(url) = Url::read(call.bytes(0)?) else { return call.fail("its argument is no URL") };
    let hostname = hostname(&url.host).to_vec();
    let parts = [
        ("userinfo", url.userinfo()),
        ("scheme", url.scheme),
        ("hostname", hostname),
        ("host", url.host),
        ("path", url.path),
        ("query", url.query),
        ("opaque", url.opaque),
        ("fragment", url.fragment),
    ];
    let parts: BTreeMap<Text, Value> = parts.into_iter().map(|(name, part)| (name.into(), part.into())).collect();
    Ok(Map::of_any(parts).into())
}

fn join(call: &Call<'_>) -> Outcome {
    let map = call.map(0)?;
    let part = |name: &str| -> Result<Vec<u8>, Failure> {
        match map.get(name.as_bytes()) {
            None => Ok(Vec::new()),
            Some(Value::Text(text)) => Ok(text.to_vec()),
            Some(_) => call.fail(format!("{name} must be text")),
        }
    };
    let mut url = Url {
        scheme: part("scheme")?,
        host: part("host")?,
        path: part("path")?,
        query: part("query")?,
        opaque: part("opaque")?,
        fragment: part("fragment")?,
        user: None,
    };
    let userinfo = part("userinfo")?;
    if !userinfo.is_empty() {
        let Some(other) = Url::read(&[b"proto://", &userinfo[..], b"@host"].concat()) else {
            return call.fail("userinfo is none");
        };
        url.user = other.user;
    }
    Ok(url.written().into())
}

/// The parts before and behind the first of a byte.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    text.iter().position(|byte| *byte == at).map_or((text, b""), |place| (&text[..place], &text[place + 1..]))
}

impl Url {
    fn read(text: &[u8]) -> Option<Self> {
        let (plain, fragment) = cut(text, b'#');
        if plain.iter().any(u8::is_ascii_control) {
            return None;
        }
        let mut url = Self { fragment: unescaped(fragment, Place::Fragment)?, ..Self::default() };
        if plain == b"*" {
            url.path = plain.to_vec();
            return Some(url);
        }
        let (scheme, rest) = scheme(plain)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = cut(rest, b'?');
        url.query = query.to_vec();
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Some(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return None;
            }
        }
        let mut path = rest;
        if rest.starts_with(b"//") && (!url.scheme.is_empty() || !rest.starts_with(b"///")) {
            let end = rest[2..].iter().position(|byte| *byte == b'/').map_or(rest.len(), |slash| slash + 2);
            path = &rest[end..];
            url.authority(&rest[2..end])?;
        }
        url.path = unescaped(path, Place::Path)?;
        Some(url)
    }

    fn authority(&mut self, text: &[u8]) -> Option<()> {
        let at = text.iter().rposition(|byte| *byte == b'@');
        self.host = host(&self.scheme, at.map_or(text, |at| &text[at + 1..]))?;
        if let Some(at) = at {
            let info = &text[..at];
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
            if !info.iter().all(is_plain) {
                return None;
            }
            let (name, password) = cut(info, b':');
            let password = if info.contains(&b':') { Some(unescaped(password, Place::User)?) } else { None };
            self.user = Some((unescaped(name, Place::User)?, password));
        }
        Some(())
    }

    fn userinfo(&self) -> Vec<u8> {
        let Some((name, password)) = &self.user else { return Vec::new() };
        let mut info = escaped(name, Place::User);
        if let Some(password) = password {
            info.push(b':');
            info.extend(escaped(password, Place::User));
        }
        info
    }

    fn written(&self) -> Vec<u8> {
        let mut text = self.scheme.clone();
        if !text.is_empty() {
            text.push(b':');
        }
        if self.opaque.is_empty() {
            self.write_path(&mut text);
        } else {
            text.extend_from_slice(&self.opaque);
        }
        if !self.query.is_empty() {
            text.push(b'?');
            text.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            text.push(b'#');
            text.extend(escaped(&self.fragment, Place::Fragment));
        }
        text
    }

    fn write_path(&self, text: &mut Vec<u8>) {
        let has_authority = !self.host.is_empty() || self.user.is_some();
        if has_authority || !self.scheme.is_empty() && !self.path.is_empty() {
            text.extend_from_slice(b"//");
        }
        if self.user.is_some() {
            text.extend(self.userinfo());
            text.push(b'@');
        }
        text.extend(escaped(&self.host, Place::Host));
        let path = if self.path == b"*" { self.path.clone() } else { escaped(&self.path, Place::Path) };
        if !path.is_empty() && !path.starts_with(b"/") && !self.host.is_empty() {
            text.push(b'/');
        }
        if text.is_empty() && cut(&path, b'/').0.contains(&b':') {
            // Otherwise it would be a scheme.
            text.extend_from_slice(b"./");
        }
        text.extend(path);
    }
}

fn scheme(text: &[u8]) -> Option<(&[u8], &[u8])> {
    for (at, byte) in text.iter().enumerate() {
        match byte {
            byte if byte.is_ascii_alphabetic() => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return None,
            b':' => return Some((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Some((b"", text))
}

fn host(scheme: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    match text.iter().rposition(|byte| *byte == b'[') {
        Some(0) => return bracketed(text),
        Some(_) => return None,
        None => {}
    }
    let mut colons = text.iter().enumerate().filter(|(_, byte)| **byte == b':').map(|(at, _)| at);
    if let Some(first) = colons.next() {
        // Some databases have lists of hosts with ports; the web has not.
        let is_web = scheme == b"http" || scheme == b"https";
        let colon = if is_web { first } else { colons.next_back().unwrap_or(first) };
        if !is_port(&text[colon..]) {
            return None;
        }
    }
    unescaped(text, Place::Host)
}

/// An IPv6 address in brackets, with a zone or not.
fn bracketed(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte == b']')?;
    let (inner, port) = (&text[1..end], &text[end + 1..]);
    if !is_port(port) {
        return None;
    }
    let zone = memchr::memmem::find(inner, b"%25").unwrap_or(inner.len());
    let address = unescaped(&inner[..zone], Place::Host)?;
    let zone = unescaped(&inner[zone..], Place::Zone)?;
    if zone == b"%" {
        return None;
    }
    std::str::from_utf8(&address).ok()?.parse::<Ipv6Addr>().ok()?;
    Some([b"[", &address[..], &zone, b"]", port].concat())
}

fn is_port(text: &[u8]) -> bool {
    text.is_empty() || text.starts_with(b":") && text[1..].iter().all(u8::is_ascii_digit)
}

/// The host without its port and brackets.
fn hostname(host: &[u8]) -> &[u8] {
    let colon = host.iter().rposition(|byte| *byte == b':').filter(|colon| is_port(&host[*colon..]));
    let name = colon.map_or(host, |colon| &host[..colon]);
    name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(name)
}

fn unescaped(text: &[u8], place: Place) -> Option<Vec<u8>> {
    let (mut plain, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        if byte == b'%' {
            let digits = text.get(at + 1..at + 3)?;
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let value = digit(digits[0])? << 4 | digit(digits[1])?;
            let is_percent = value == b'%';
            let is_wrong = match place {
                Place::Host => value.is_ascii() && !is_percent,
                Place::Zone => !is_percent && value != b' ' && Place::Host.escapes(value),
                _ => false,
            };
            if is_wrong {
                return None;
            }
            plain.push(value);
            at += 3;
        } else {
            if matches!(place, Place::Host | Place::Zone) && byte.is_ascii() && place.escapes(byte) {
                return None;
            }
            plain.push(byte);
            at += 1;
        }
    }
    Some(plain)
}

fn escaped(text: &[u8], place: Place) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    for &byte in text {
        if place.escapes(byte) {
            written.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            written.push(byte);
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_and_together() {
        for (text, expected) in [
            ("https://us%20er:p%40ss@host:8080/p/th?q=1#frag", Some("https://us%20er:p%40ss@host:8080/p/th?q=1#frag")),
            ("HTTP://h", Some("http://h")),
            ("mailto:a@b", Some("mailto:a@b")),
            ("//h/p", Some("//h/p")),
            ("http://[fe80::1%25en0]:80/", Some("http://[fe80::1%25en0]:80/")),
            ("http://h:x", None),
            ("http://h/%zz", None),
            ("http://[1.2.3.4]/", None),
            ("a:b:c", Some("a:b:c")),
            (":x", None),
            ("a b", Some("a%20b")),
        ] {
            let read = Url::read(text.as_bytes()).map(|url| String::from_utf8(url.written()).unwrap());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }
}
