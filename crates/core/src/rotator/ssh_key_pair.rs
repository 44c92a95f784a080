//! `sshKeyPair`: a key pair, and the file of public keys that servers read.
//!
//! Three properties change at different times. Servers learn the new key first, beside the old one ([`Rotator::apply`](super::Rotator::apply));
//! then clients get the new private key (what [`SshKeyPair::make`] made); when nobody holds the old one any more, servers
//! forget it ([`SshKeyPair::retired`]). At every step the private key that is stored is one that the stored
//! `authorized_keys` lets in.

mod authorized_keys;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{self, KeySize},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use der::{Decode as _, Sequence, asn1::UintRef};
use rekey_api::rotator::{SshAlgorithm, SshEndpoint, SshKeyPairProperties, SshKeyPairRotator};
use ssh_key::{
    LineEnding, Mpint, PrivateKey,
    private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData, RsaKeypair, RsaPrivateKey},
    public::{Ed25519PublicKey, RsaPublicKey},
};
use zeroize::Zeroizing;

use self::authorized_keys::{AuthorizedKeys, Entry};
use super::port::Proof;
use crate::{SecretBytes, SpecError, chance::Chance};

/// A parsed `sshKeyPair`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKeyPair {
    /// The kind of key to make.
    pub algorithm: SshAlgorithm,
    /// The comment of new keys.
    pub comment: Option<String>,
    /// Where the keys are in the stored value; three different names.
    pub properties: SshKeyPairProperties,
    /// Where a login with the new key must work before the old one goes.
    pub endpoints: Vec<SshEndpoint>,
}

impl SshKeyPair {
    /// Parses the rotator.
    ///
    /// # Errors
    /// When two of the properties have the same name.
    pub fn parse(rotator: &SshKeyPairRotator) -> Result<Self, SpecError> {
        let SshKeyPairProperties { private_key, public_key, authorized_keys } = &rotator.properties;
        let pairs = [(private_key, public_key), (private_key, authorized_keys), (public_key, authorized_keys)];
        if let Some((name, _)) = pairs.into_iter().find(|(one, other)| one == other) {
            let fix = format!(
                "the property {name:?} appears twice; privateKey, publicKey and authorizedKeys need a name each"
            );
            return Err(SpecError::field("spec.rotator.sshKeyPair.properties", fix));
        }
        Ok(Self {
            algorithm: rotator.algorithm,
            comment: rotator.comment.clone(),
            properties: rotator.properties.clone(),
            endpoints: rotator.endpoints.clone(),
        })
    }

    /// A new key pair, and `authorized_keys` with what others have there, the old key and the new one. `current` are the
    /// values of the three properties, as far as they are stored.
    ///
    /// Ed25519 follows from `chance`. An RSA key uses the library's own randomness, since the library accepts no other;
    /// finding its primes takes seconds, so do not call this on a thread that others wait for.
    ///
    /// # Errors
    /// When the stored `authorized_keys` is no text, or no key can be made.
    pub fn make(
        &self,
        current: &BTreeMap<String, SecretBytes>,
        chance: &dyn Chance,
    ) -> Result<BTreeMap<String, SecretBytes>, SpecError> {
        let Ok(stored) = current.get(&self.properties.authorized_keys).map_or(Ok(""), text) else {
            let fix =
                format!("the stored property {:?} is no text; correct or remove it", self.properties.authorized_keys);
            return Err(SpecError::field("spec.rotator.sshKeyPair.properties.authorizedKeys", fix));
        };
        let (private, public) = self.pair(chance).ok_or_else(|| {
            let fix =
                "the cryptographic library could not make such a key; choose the other algorithm, and report this";
            SpecError::field("spec.rotator.sshKeyPair.algorithm", fix)
        })?;
        let keys = AuthorizedKeys::read(stored, self.old(current).as_ref());
        Ok(BTreeMap::from([
            (self.properties.private_key.clone(), private),
            (self.properties.authorized_keys.clone(), keys.with(&public).into()),
            (self.properties.public_key.clone(), public.into()),
        ]))
    }

    /// What is stored in the end: `made`, with nothing of the old key.
    #[must_use]
    pub fn retired(&self, made: &BTreeMap<String, SecretBytes>) -> BTreeMap<String, SecretBytes> {
        let mut values = made.clone();
        if let Some(keys) = values.get_mut(&self.properties.authorized_keys)
            && let Ok(content) = text(keys)
        {
            *keys = authorized_keys::retired(content).into();
        }
        values
    }

    /// Whether these are a key pair under the current names, and not under names that were swapped since.
    #[must_use]
    pub fn fits(&self, made: &BTreeMap<String, SecretBytes>) -> bool {
        let public = made.get(&self.properties.public_key).and_then(|value| Entry::parse(text(value).ok()?));
        let private = made.get(&self.properties.private_key);
        let is_private = private.is_some_and(|value| PrivateKey::from_openssh(value.expose()).is_ok());
        public.is_some() && is_private && made.contains_key(&self.properties.authorized_keys) && made.len() == 3
    }

    /// What proves the new key; `None`: the spec names no server where it has to work.
    #[must_use]
    pub fn proof(&self, made: &BTreeMap<String, SecretBytes>) -> Option<Proof> {
        let private_key = made.get(&self.properties.private_key).filter(|_| !self.endpoints.is_empty())?.clone();
        Some(Proof::SshLogin { private_key, endpoints: self.endpoints.clone() })
    }

    /// The public key that servers know of now.
    fn old(&self, current: &BTreeMap<String, SecretBytes>) -> Option<Entry> {
        // Pods use the private key; a public key that another tool wrote beside it may belong to another one.
        let used = current.get(&self.properties.private_key).and_then(|value| {
            let private = PrivateKey::from_openssh(value.expose()).ok()?;
            Entry::parse(&private.public_key().to_openssh().ok()?)
        });
        used.or_else(|| current.get(&self.properties.public_key).and_then(|value| Entry::parse(text(value).ok()?)))
    }

    /// The private key in OpenSSH's format, and the public key as one line.
    fn pair(&self, chance: &dyn Chance) -> Option<(SecretBytes, String)> {
        let pair = match self.algorithm {
            SshAlgorithm::Ed25519 => ed25519(chance)?,
            SshAlgorithm::Rsa4096 => rsa4096()?,
        };
        let key = PrivateKey::new(pair, self.comment.clone().unwrap_or_default()).ok()?;
        let private = key.to_openssh(LineEnding::LF).ok()?;
        Some((private.as_str().into(), key.public_key().to_openssh().ok()?))
    }
}

fn text(value: &SecretBytes) -> Result<&str, ()> {
    value.expose_text().ok_or(())
}

fn ed25519(chance: &dyn Chance) -> Option<KeypairData> {
    let mut seed = Zeroizing::new([0; Ed25519PrivateKey::BYTE_SIZE]);
    chance.fill(seed.as_mut_slice());
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).ok()?;
    let public = Ed25519PublicKey::try_from(pair.public_key().as_ref()).ok()?;
    Some(Ed25519Keypair { public, private: Ed25519PrivateKey::from_bytes(&seed) }.into())
}

/// The numbers of an RSA key (RFC 8017, A.1.2).
#[derive(Sequence)]
struct RsaNumbers<'a> {
    version: u8,
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
    private_exponent: UintRef<'a>,
    prime1: UintRef<'a>,
    prime2: UintRef<'a>,
    exponent1: UintRef<'a>,
    exponent2: UintRef<'a>,
    coefficient: UintRef<'a>,
}

fn rsa4096() -> Option<KeypairData> {
    // Both zero themselves, and the numbers below borrow from the second.
    let pair = rsa::KeyPair::generate(KeySize::Rsa4096).ok()?;
    let document: Pkcs8V1Der<'_> = pair.as_der().ok()?;
    let outer = pkcs8::PrivateKeyInfoRef::from_der(document.as_ref()).ok()?;
    let numbers = RsaNumbers::from_der(outer.private_key.as_bytes()).ok()?;
    let number = |number: UintRef<'_>| Mpint::from_positive_bytes(number.as_bytes()).ok();
    let public = RsaPublicKey { e: number(numbers.public_exponent)?, n: number(numbers.modulus)? };
    let private = RsaPrivateKey {
        d: number(numbers.private_exponent)?,
        iqmp: number(numbers.coefficient)?,
        p: number(numbers.prime1)?,
        q: number(numbers.prime2)?,
    };
    Some(RsaKeypair { public, private }.into())
}
