//! Text forms of bytes: base64, base32, hexadecimal digits.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};

use super::{
    Entry, Signature, Type,
    call::{Call, Outcome},
    signature::takes,
};

const ONE: Signature = takes(&[Type::Text]);

/// The functions of this file.
pub const TABLE: &[Entry] = &[
    ("b64enc", ONE, |call| Ok(STANDARD.encode(&call.bytes(0)?[..]).into())),
    ("b64dec", ONE, |call| {
        let text = without_line_ends(call.bytes(0)?);
        LENIENT.decode(&text).map_or_else(|_| call.fail("the value is not base64"), |bytes| Ok(bytes.into()))
    }),
    ("b32enc", ONE, |call| Ok(b32enc(call.bytes(0)?).into())),
    ("b32dec", ONE, b32dec),
    ("hexdec", ONE, hexdec),
];

/// As strict as Go: bits that are left over at the end may be any, but the padding must be there.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn without_line_ends(text: &[u8]) -> Vec<u8> {
    text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
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
    let text = without_line_ends(call.bytes(0)?);
    let (mut bytes, count) = (Vec::with_capacity(text.len()), text.len() / 8);
    if !text.len().is_multiple_of(8) {
        return call.fail("the value is not base32");
    }
    for (position, chunk) in text.chunks(8).enumerate() {
        let used = chunk.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
        let digits = chunk[..used].iter().map(|digit| BASE32.iter().position(|known| known == digit));
        let bits = digits
            .chain(std::iter::repeat_n(Some(0), 8 - used))
            .try_fold(0_u64, |bits, digit| Some(bits << 5 | u64::try_from(digit?).ok()?));
        let is_padding = matches!(used, 2 | 4 | 5 | 7) && position + 1 == count;
        let (Some(bits), true) = (bits, used == 8 || is_padding) else {
            return call.fail("the value is not base32");
        };
        bytes.extend_from_slice(&bits.to_be_bytes()[3..3 + used * 5 / 8]);
    }
    Ok(bytes.into())
}

fn hexdec(call: &Call<'_>) -> Outcome {
    let digits: Option<Vec<u8>> = call
        .bytes(0)?
        .iter()
        .map(|digit| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>().into())
        }
        _ => call.fail("the value is no hexadecimal digits, two for each byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_32_is_that_of_its_standard() {
        // RFC 4648.
        for (plain, expected) in [("", ""), ("f", "MY======"), ("fooba", "MZXW6YTB"), ("foobar", "MZXW6YTBOI======")] {
            assert_eq!(b32enc(plain.as_bytes()), expected);
        }
    }
}
