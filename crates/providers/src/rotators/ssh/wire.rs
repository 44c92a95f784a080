//! How SSH writes numbers and texts (RFC 4251, section 5).

use zeroize::Zeroizing;

use super::failure::Failure;

/// What a message says it is (RFC 4250, section 4.1).
pub(super) mod kind {
    pub(in super::super) const DISCONNECT: u8 = 1;
    pub(in super::super) const IGNORE: u8 = 2;
    pub(in super::super) const DEBUG: u8 = 4;
    pub(in super::super) const SERVICE_REQUEST: u8 = 5;
    pub(in super::super) const SERVICE_ACCEPT: u8 = 6;
    pub(in super::super) const EXT_INFO: u8 = 7;
    pub(in super::super) const KEXINIT: u8 = 20;
    pub(in super::super) const NEWKEYS: u8 = 21;
    pub(in super::super) const ECDH_INIT: u8 = 30;
    pub(in super::super) const ECDH_REPLY: u8 = 31;
    pub(in super::super) const USERAUTH_REQUEST: u8 = 50;
    pub(in super::super) const USERAUTH_FAILURE: u8 = 51;
    pub(in super::super) const USERAUTH_SUCCESS: u8 = 52;
    pub(in super::super) const USERAUTH_BANNER: u8 = 53;
}

/// A message that is being written.
pub(super) struct Message(Zeroizing<Vec<u8>>);

impl Message {
    pub(super) fn empty() -> Self {
        Self(Zeroizing::default())
    }

    pub(super) fn new(kind: u8) -> Self {
        Self::empty().byte(kind)
    }

    pub(super) fn byte(self, byte: u8) -> Self {
        self.raw(&[byte])
    }

    pub(super) fn boolean(self, truth: bool) -> Self {
        self.byte(truth.into())
    }

    pub(super) fn number(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    pub(super) fn string(self, bytes: &[u8]) -> Self {
        // What is written here is ours, or came in a message whose length is bounded.
        self.number(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    pub(super) fn names(self, names: &[&str]) -> Self {
        self.string(names.join(",").as_bytes())
    }

    /// A positive number: without zeros before it, but for one that keeps it from being negative.
    pub(super) fn positive(self, bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let mut digits = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
        if bytes.get(zeros).is_some_and(|first| first & 0x80 != 0) {
            digits.push(0);
        }
        digits.extend_from_slice(&bytes[zeros..]);
        self.string(&digits)
    }

    pub(super) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A message that is being read.
pub(super) struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Failure::Protocol("a message ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Failure> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn boolean(&mut self) -> Result<bool, Failure> {
        Ok(self.byte()? != 0)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Failure> {
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(Failure::Protocol("a message ends too early"))?;
        self.0 = rest;
        self.take(usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX))
    }

    /// A list of names; what is no text in it is no name that we know.
    pub(super) fn names(&mut self) -> Result<Vec<&'a str>, Failure> {
        Ok(std::str::from_utf8(self.string()?).unwrap_or_default().split(',').collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positive_numbers_are_written_as_the_standard_does() {
        // The examples of RFC 4251, section 5, and what a key exchange may bring.
        let cases: [(&[u8], &[u8]); 6] = [
            (&[], &[0, 0, 0, 0]),
            (&[0, 0], &[0, 0, 0, 0]),
            (
                &[0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
                &[0, 0, 0, 8, 0x09, 0xa3, 0x78, 0xf9, 0xb2, 0xe3, 0x32, 0xa7],
            ),
            (&[0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[0, 0x80], &[0, 0, 0, 2, 0, 0x80]),
            (&[0, 0x7f, 0], &[0, 0, 0, 2, 0x7f, 0]),
        ];
        for (number, written) in cases {
            assert_eq!(Message::empty().positive(number).bytes(), written);
        }
    }

    #[test]
    fn what_was_written_reads_back_and_what_is_short_is_refused() {
        let message = Message::new(7).boolean(true).string(b"abc").names(&["one", "two"]);
        let read = |bytes: &[u8]| -> Result<(u8, bool, Vec<u8>, Vec<String>), Failure> {
            let mut parts = Parts::of(bytes);
            let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            Ok((parts.byte()?, parts.boolean()?, parts.string()?.to_vec(), names(parts.names()?)))
        };
        assert_eq!(read(message.bytes()), Ok((7, true, b"abc".to_vec(), vec!["one".to_owned(), "two".to_owned()])));
        for length in 0..message.bytes().len() {
            assert!(matches!(read(&message.bytes()[..length]), Err(Failure::Protocol(_))), "{length}");
        }
        assert!(Parts::of(&[0xff; 8]).string().is_err());
    }
}
