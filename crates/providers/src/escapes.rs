//! Escapes of URLs in what users write.

/// The text with `%2F` and the like resolved; `None` when there are none, or the result is no text.
pub(crate) fn resolved(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(b'%');
            rest = after;
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok().filter(|resolved| resolved != text)
}

#[cfg(test)]
mod tests {
    use super::resolved;

    #[test]
    fn escapes() {
        for (text, expected) in [
            ("shop%2Fdb", Some("shop/db")),
            ("%67r%c3%bcn", Some("gr\u{fc}n")),
            ("100%", None),
            ("a%zz%2f", Some("a%zz/")),
            ("%ff", None),
            ("shop/db", None),
        ] {
            assert_eq!(resolved(text).as_deref(), expected, "{text}");
        }
    }
}
