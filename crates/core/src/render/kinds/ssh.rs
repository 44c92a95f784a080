//! `kubernetes.io/ssh-auth`: a private key that OpenSSH reads. We do not parse the key itself, so as not to refuse
//! newer forms.

use std::collections::BTreeMap;

use super::{Wrong, needed, wrong};
use crate::{SecretBytes, render::certificate};

const KEY: &str = "ssh-privatekey";
const OPENSSH: &[u8] = b"openssh-key-v1\0";

pub fn check(data: &BTreeMap<String, SecretBytes>) -> Result<(), Wrong> {
    let value = needed(data, KEY, "map the private key to it")?;
    let Some(block) = certificate::private_key(value) else {
        let fix = "it must hold a whole private key in PEM or OpenSSH form (-----BEGIN … PRIVATE KEY-----); convert PuTTY \
                   keys with `puttygen key.ppk -O private-openssh`";
        return wrong(KEY, fix);
    };
    if block.tag() == "OPENSSH PRIVATE KEY" && !block.contents().starts_with(OPENSSH) {
        return wrong(KEY, "the text between its BEGIN and END lines is no OpenSSH key; store the file as it is");
    }
    Ok(())
}
