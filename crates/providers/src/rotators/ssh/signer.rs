//! The private key, which signs once.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents},
    signature::{Ed25519KeyPair, RSA_PKCS1_SHA512},
};
use num_bigint::BigUint;
use rekey_core::SecretBytes;
use ssh_key::{Mpint, PrivateKey, private};
use zeroize::Zeroizing;

use super::{failure::Failure, wire::Message};

pub(super) struct Signer {
    /// The public key, as the server has it in `authorized_keys`.
    public: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(super) fn read(key: &SecretBytes) -> Result<Self, Failure> {
        Self::parse(key).ok_or(Failure::Key)
    }

    fn parse(key: &SecretBytes) -> Option<Self> {
        let key = PrivateKey::from_openssh(key.expose()).ok()?;
        let data = key.key_data();
        let pair = if let Some(pair) = data.ed25519() {
            Pair::Ed25519(Ed25519KeyPair::from_seed_and_public_key(pair.private.as_ref(), pair.public.as_ref()).ok()?)
        } else {
            Pair::Rsa(rsa(data.rsa()?)?)
        };
        Some(Self { public: key.public_key().to_bytes().ok()?, pair })
    }

    pub(super) fn public(&self) -> &[u8] {
        &self.public
    }

    /// The name of the signature. SHA-1, which RSA keys are named after, is refused by servers since 2021 (RFC 8332).
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed25519(_) => "ssh-ed25519",
            Pair::Rsa(_) => "rsa-sha2-512",
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message).map_err(|_| Failure::Key)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let signed = pair.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, &mut signature);
                signed.map_err(|_| Failure::Key)?;
                signature
            }
        };
        Ok(Message::empty().string(self.algorithm().as_bytes()).string(&signature).bytes().to_vec())
    }
}

/// The key with the two numbers that OpenSSH's format leaves out. The library checks that all of them belong together.
fn rsa(pair: &private::RsaKeypair) -> Option<RsaKeyPair> {
    let (public, private) = (&pair.public, &pair.private);
    let open = |number: &Mpint| number.as_positive_bytes().map(<[u8]>::to_vec);
    let bytes = |number: &Mpint| open(number).map(Zeroizing::new);
    let rest = |prime: &Mpint| {
        let number = |number: &Mpint| number.as_positive_bytes().map(BigUint::from_bytes_be);
        let prime = number(prime).filter(|prime| *prime > BigUint::from(1_u8))?;
        Some(Zeroizing::new((number(&private.d)? % (prime - 1_u8)).to_bytes_be()))
    };
    RsaKeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: open(&public.n)?, e: open(&public.e)? },
        d: bytes(&private.d)?,
        p: bytes(&private.p)?,
        q: bytes(&private.q)?,
        dP: rest(&private.p)?,
        dQ: rest(&private.q)?,
        qInv: bytes(&private.iqmp)?,
    })
    .ok()
}
