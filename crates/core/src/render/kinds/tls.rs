//! `kubernetes.io/tls`: a certificate, its chain after it, and the private key that fits.

use std::collections::BTreeMap;

use super::{Wrong, needed, wrong};
use crate::{
    SecretBytes,
    render::certificate::{self, Match},
};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

pub fn check(data: &BTreeMap<String, SecretBytes>) -> Result<(), Wrong> {
    let value = needed(data, CERTIFICATE, "map the certificate to it, in PEM (-----BEGIN CERTIFICATE-----)")?;
    let key = needed(data, KEY, "map the private key to it, in PEM (-----BEGIN PRIVATE KEY-----)")?;
    let Some(chain) = certificate::certificates(value) else {
        return wrong(CERTIFICATE, "it must hold whole certificates in PEM (-----BEGIN CERTIFICATE-----)");
    };
    let Some(key) = certificate::private_key(key) else {
        return wrong(KEY, "it must hold a whole private key in PEM (-----BEGIN PRIVATE KEY-----)");
    };
    if certificate::is_encrypted(&key) {
        return wrong(
            KEY,
            "it is protected by a passphrase; store it without one, since its users do not know the passphrase",
        );
    }
    let fit = |der: &Vec<u8>| {
        certificate::parse(der).map_or(Match::No, |parsed| certificate::matches(&parsed, key.contents()))
    };
    match chain.first().map_or(Match::No, fit) {
        Match::Yes | Match::Unknown => Ok(()),
        Match::No if chain.iter().skip(1).any(|der| fit(der) == Match::Yes) => {
            wrong(CERTIFICATE, "the certificate of `tls.key` must come first, its issuers after it")
        }
        Match::No => wrong(KEY, "it is not the private key of the certificate in `tls.crt`; map the two of one pair"),
    }
}
