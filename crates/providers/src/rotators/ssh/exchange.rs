//! The key exchange (RFC 4253, sections 7 and 8; RFC 5656, RFC 8731).

use aws_lc_rs::{
    agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    digest::{Context, SHA256},
    rand::{self, SystemRandom},
};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::{
    failure::Failure,
    transport::{CIPHERS, Cipher, Transport},
    wire::{Message, Parts, kind},
};

/// The exchanges, the preferred one first. The last one is what servers under FIPS rules have.
const EXCHANGES: [&str; 3] = ["curve25519-sha256", "curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"];

/// Markers by which both sides refuse messages that an attacker inserts
/// (<https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL>, 1.10).
const STRICT: [&str; 2] = ["kex-strict-c-v00@openssh.com", "kex-strict-s-v00@openssh.com"];

/// Kinds of host keys. We do not check the server's signature, since we do not know its key. Without a common kind
/// there is no exchange.
const HOST_KEYS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// The ciphers bring their own; servers that look for a common one in spite of that find it.
const CODES: [&str; 2] = ["hmac-sha2-256", "hmac-sha2-512"];

/// What both sides have agreed on.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    exchange: &'static str,
    outward: &'static str,
    inward: &'static str,
    strict: bool,
}

/// Agrees on keys, and has all that follows sealed. Answers with the id of the session (RFC 4253, section 7.2).
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    transport: &mut Transport<S>,
) -> Result<Vec<u8>, Failure> {
    let ours = offer()?;
    transport.send(&ours).await?;
    let theirs = transport.receive().await?;
    let choice = choose(&theirs)?;
    transport.strict = choice.strict;
    let algorithm = if choice.exchange == "ecdh-sha2-nistp256" { &ECDH_P256 } else { &X25519 };
    let private = EphemeralPrivateKey::generate(algorithm, &SystemRandom::new()).map_err(|_| failed())?;
    let public = private.compute_public_key().map_err(|_| failed())?;
    transport.send(&Message::new(kind::ECDH_INIT).string(public.as_ref())).await?;

    let reply = transport.receive().await?;
    let mut parts = Parts::of(&reply);
    if parts.byte()? != kind::ECDH_REPLY {
        return Err(Failure::Protocol("it answers a key exchange with something else"));
    }
    let (host_key, point, _signature) = (parts.string()?, parts.string()?, parts.string()?);
    let secret = agree(private, algorithm, point)?;
    let hashed = Message::empty().string(Transport::<S>::client()).string(&transport.server);
    let hashed = hashed.string(ours.bytes()).string(&theirs).string(host_key);
    let hashed = hashed.string(public.as_ref()).string(point).raw(&secret);
    let session = hash(&[hashed.bytes()]);

    transport.send(&Message::new(kind::NEWKEYS)).await?;
    let cipher = |name, letters: [u8; 2]| {
        let derive = |vector: bool, length| derive(&secret, &session, letters[usize::from(!vector)], length);
        Cipher::new(name, derive).ok_or_else(failed)
    };
    transport.seal(cipher(choice.outward, *b"AC")?, choice.strict);
    if transport.receive().await?.as_slice() != [kind::NEWKEYS] {
        return Err(Failure::Protocol("it does not complete the key exchange"));
    }
    transport.unseal(cipher(choice.inward, *b"BD")?, choice.strict);
    transport.strict = false; // it is about the first exchange alone
    Ok(session.to_vec())
}

fn failed() -> Failure {
    Failure::Protocol("the key exchange fails")
}

fn offer() -> Result<Message, Failure> {
    let mut cookie = [0; 16];
    rand::fill(&mut cookie).map_err(|_| failed())?;
    let exchanges: Vec<&str> = EXCHANGES.into_iter().chain([STRICT[0]]).collect();
    let message = Message::new(kind::KEXINIT).raw(&cookie).names(&exchanges).names(&HOST_KEYS);
    let message = message.names(&CIPHERS).names(&CIPHERS).names(&CODES).names(&CODES);
    // No compression, no languages, no guess.
    Ok(message.names(&["none"]).names(&["none"]).names(&[]).names(&[]).boolean(false).number(0))
}

/// What follows from the server's offer: of each list the first of ours that it has.
fn choose(theirs: &[u8]) -> Result<Choice, Failure> {
    let mut parts = Parts::of(theirs);
    if parts.byte()? != kind::KEXINIT {
        return Err(Failure::Protocol("it does not start with a key exchange"));
    }
    parts.take(16)?;
    let exchanges = parts.names()?;
    let exchange = first(&EXCHANGES, &exchanges, "key exchange")?;
    first(&HOST_KEYS, &parts.names()?, "kind of host key")?;
    let outward = first(&CIPHERS, &parts.names()?, "cipher")?;
    let inward = first(&CIPHERS, &parts.names()?, "cipher")?;
    Ok(Choice { exchange, outward, inward, strict: exchanges.contains(&STRICT[1]) })
}

fn first(ours: &[&'static str], theirs: &[&str], what: &'static str) -> Result<&'static str, Failure> {
    ours.iter().find(|name| theirs.contains(name)).copied().ok_or(Failure::Nothing(what))
}

/// The common secret, as it goes into hashes.
fn agree(
    private: EphemeralPrivateKey,
    algorithm: &'static agreement::Algorithm,
    point: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let peer = UnparsedPublicKey::new(algorithm, point);
    agree_ephemeral(private, peer, failed(), |secret| {
        Ok(Zeroizing::new(Message::empty().positive(secret).bytes().to_vec()))
    })
}

fn hash(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    Zeroizing::new(context.finish().as_ref().to_vec())
}

/// Key material (RFC 4253, section 7.2): the letter says for which direction and what.
fn derive(secret: &[u8], session: &[u8], letter: u8, length: usize) -> Zeroizing<Vec<u8>> {
    // In the first exchange the hash of the exchange is the id of the session.
    let mut material = hash(&[secret, session, &[letter], session]);
    while material.len() < length {
        let more = hash(&[secret, session, &material]);
        // Never reallocated: a vector that moves leaves its content behind.
        material = Zeroizing::new([material.as_slice(), more.as_slice()].concat());
    }
    material.truncate(length);
    material
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer_of(lists: [&[&str]; 4]) -> Vec<u8> {
        let message = Message::new(kind::KEXINIT).raw(&[7; 16]);
        lists.into_iter().fold(message, Message::names).bytes().to_vec()
    }

    #[test]
    fn the_first_of_ours_that_the_server_has_is_taken() {
        let ours = ["x", "ecdh-sha2-nistp256", "curve25519-sha256"];
        let gcm = ["aes256-ctr", "aes128-gcm@openssh.com"];
        let both = ["chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com"];
        let choice = |strict, outward, inward| Choice { exchange: "curve25519-sha256", outward, inward, strict };
        let found = choose(&offer_of([&ours, &["ssh-ed25519"], &gcm, &both]));
        assert_eq!(found, Ok(choice(false, "aes128-gcm@openssh.com", "aes256-gcm@openssh.com")));
        let strict = ["curve25519-sha256", STRICT[1]];
        let found = choose(&offer_of([&strict, &["ssh-rsa", "rsa-sha2-256"], &both, &gcm]));
        assert_eq!(found, Ok(choice(true, "aes256-gcm@openssh.com", "aes128-gcm@openssh.com")));
    }

    #[test]
    fn a_server_with_nothing_in_common_is_told_what_is_missing() {
        let (kex, key, cipher): (&[&str], &[&str], &[&str]) =
            (&["curve25519-sha256"], &["ssh-ed25519"], &["aes256-gcm@openssh.com"]);
        let cases = [
            ([&["diffie-hellman-group1-sha1"][..], key, cipher, cipher], "key exchange"),
            ([kex, &["ssh-dss"], cipher, cipher], "kind of host key"),
            ([kex, key, &["3des-cbc"], cipher], "cipher"),
            ([kex, key, cipher, &[]], "cipher"),
        ];
        for (lists, what) in cases {
            assert_eq!(choose(&offer_of(lists)), Err(Failure::Nothing(what)));
        }
        assert!(matches!(choose(&[kind::KEXINIT, 1, 2]), Err(Failure::Protocol(_))));
        assert!(matches!(choose(&[kind::NEWKEYS]), Err(Failure::Protocol(_))));
    }

    #[test]
    fn a_point_that_gives_no_secret_is_refused() {
        for point in [&[0_u8; 32][..], &[1], &[]] {
            let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
            assert_eq!(agree(private, &X25519, point), Err(failed()), "{point:?}");
        }
    }
}
