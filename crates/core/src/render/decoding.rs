//! Decoding of stored values.

use base64::{
    Engine as _,
    alphabet::{Alphabet, STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use rekey_api::policy::Decoding;

use crate::SecretBytes;

/// As Go and so other tools of clusters read it: with padding, whatever the unused bits of the last character are.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
/// In URLs and tokens the padding is mostly left out (RFC 7515, section 2).
const UNPADDED: GeneralPurposeConfig = CONFIG.with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The decoded value; `None` when it is not in that form.
#[must_use]
pub fn decoded(value: &SecretBytes, decoding: Decoding) -> Option<SecretBytes> {
    match decoding {
        Decoding::None => Some(value.clone()),
        Decoding::Base64 => of((&STANDARD, CONFIG), value, |byte| byte.is_ascii_whitespace()),
        Decoding::Base64Url => of((&URL_SAFE, UNPADDED), value, |byte| byte.is_ascii_whitespace()),
        // Spaces are part of a value that may be no base64 at all; we skip line breaks, as other tools that guess do.
        Decoding::Auto => of((&STANDARD, CONFIG), value, |byte| matches!(byte, b'\r' | b'\n'))
            .or_else(|| of((&URL_SAFE, CONFIG), value, |byte| matches!(byte, b'\r' | b'\n')))
            .or_else(|| Some(value.clone())),
    }
}

fn of(
    (alphabet, config): (&Alphabet, GeneralPurposeConfig),
    value: &SecretBytes,
    is_skipped: impl Fn(u8) -> bool,
) -> Option<SecretBytes> {
    let text: Vec<u8> = value.expose().iter().copied().filter(|byte| !is_skipped(*byte)).collect();
    let text = SecretBytes::new(text);
    GeneralPurpose::new(alphabet, config).decode(text.expose()).ok().map(SecretBytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_decoded_as_it_is_asked_for() {
        for (decoding, value, expected) in [
            (Decoding::None, "aGk=", Some("aGk=")),
            (Decoding::Base64, "aGk=", Some("hi")),
            (Decoding::Base64, "aG k\n=", Some("hi")),
            (Decoding::Base64, "aGl=", Some("hi")), // the last bits are not zero
            (Decoding::Base64, "aGk", None),
            (Decoding::Base64, "Pz8_", None),
            (Decoding::Base64Url, "Pz8_", Some("???")),
            (Decoding::Base64Url, "Pz8/", None),
            (Decoding::Base64Url, "aGk", Some("hi")),
            (Decoding::Base64Url, "aGk=", Some("hi")),
            (Decoding::Auto, "aGk", Some("aGk")),
            (Decoding::Auto, "Pz8/", Some("???")),
            (Decoding::Auto, "Pz8_\n", Some("???")),
            (Decoding::Auto, "Pz8 _", Some("Pz8 _")),
            (Decoding::Auto, "no base64", Some("no base64")),
            (Decoding::Auto, "", Some("")),
        ] {
            let found = decoded(&SecretBytes::from(value), decoding);
            let found = found.as_ref().map(|found| found.expose_text().unwrap_or_default());
            assert_eq!(found, expected, "{decoding:?} of {value:?}");
        }
    }
}
