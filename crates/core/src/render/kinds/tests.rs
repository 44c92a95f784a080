use rcgen::{
    CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    PKCS_RSA_SHA256,
};

use super::*;

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, SecretBytes> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect()
}

/// The key that is refused and why; `None`: the data is as it should be.
fn refused(kind: &str, pairs: &[(&str, &str)]) -> Option<(String, String)> {
    match check(kind, &data(pairs)) {
        Ok(()) => None,
        Err(RenderError::WrongForm { key, fix, .. }) => Some((key, fix)),
        Err(other) => Some((String::new(), other.to_string())),
    }
}

#[test]
fn plain_types() {
    for (kind, pairs, key) in [
        ("kubernetes.io/basic-auth", vec![("pass", "x")], Some("username")),
        ("kubernetes.io/basic-auth", vec![("password", "x")], None),
        ("kubernetes.io/basic-auth", vec![("username", "x")], None),
        ("Opaque", vec![], None),
        ("example.com/own", vec![("anything", "")], None),
    ] {
        assert_eq!(refused(kind, &pairs).map(|(key, _)| key).as_deref(), key, "{kind}");
    }
}

#[test]
fn keys_and_size_are_bounded() {
    for (key, valid) in [("a.b-c_D9", true), ("", false), ("a/b", false), (".", false), ("..x", false), (".x", true)] {
        assert_eq!(valid_key(key), valid, "{key:?}");
    }
    assert!(valid_key(&"a".repeat(253)) && !valid_key(&"a".repeat(254)));
    let half = "x".repeat(MAX_SIZE / 2);
    assert_eq!(check("Opaque", &data(&[("a", &half), ("b", &half)])), Ok(()));
    let error = check("Opaque", &data(&[("a", &half), ("b", &half), ("c", "x")]));
    assert_eq!(error, Err(RenderError::TooLarge { size: MAX_SIZE + 1 }));
}

#[test]
fn docker_types() {
    let (old, new) = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson");
    for (kind, json, expected) in [
        (new, r#"{"auths":{}}"#, None),
        (new, r#"{"auths":{"r":{"auth":"dTpw"}},"credsStore":"x"}"#, None),
        (new, r#"{"auths":{"r":{"auth":"dTpwcA"}}}"#, None),
        (new, r#"{"auths":{"r":{"username":"u","password":"p","auth":""}}}"#, None),
        (new, r#"{"auths":{"r":{"identitytoken":"t"}}}"#, None),
        (new, "", Some("JSON object")),
        (new, "{", Some("JSON object")),
        (new, "{}", Some("\"auths\"")),
        (new, "[]", Some("JSON object")),
        (new, r#"{"auths":[]}"#, Some("\"auths\"")),
        (new, r#"{"auths":{"r":"dTpw"}}"#, Some("\"r\" must be a JSON object")),
        (new, r#"{"auths":{"r":{"auth":"hunter2!"}}}"#, Some("`user:password`")),
        (new, r#"{"auths":{"r":{"auth":"aHVudGVyMg=="}}}"#, Some("`user:password`")),
        (new, r#"{"auths":{"r":{"auth":7}}}"#, Some("\"auth\" must be a string")),
        (new, r#"{"auths":{"r":{"password":["hunter2"]}}}"#, Some("\"password\" must be a string")),
        (old, r#"{"r":{"auth":"dTpw"}}"#, None),
        (old, "{}", None),
        (old, r#"{"r":[]}"#, Some("\"r\" must be a JSON object")),
        (old, "[]", Some("JSON object")),
    ] {
        let key = if kind == new { ".dockerconfigjson" } else { ".dockercfg" };
        let seen = refused(kind, &[(key, json)]);
        match expected {
            None => assert_eq!(seen, None, "{json}"),
            Some(part) => {
                let (name, fix) = seen.unwrap_or_default();
                assert!(name == key && fix.contains(part) && !fix.contains("hunter2"), "{json}: {fix}");
            }
        }
        assert!(refused(kind, &[("other", json)]).is_some());
    }
}

#[test]
fn ssh_keys() {
    let armoured = |tag: &str, content: &str| format!("-----BEGIN {tag}-----\n{content}\n-----END {tag}-----\n");
    // "openssh-key-v1\0" and "MII" in base64.
    let openssh = armoured("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=");
    for (value, good) in [
        (openssh.clone(), true),
        (openssh.replace('\n', "\r\n"), true),
        (format!("a comment\n{openssh}"), true),
        (armoured("RSA PRIVATE KEY", "TUlJ"), true),
        (armoured("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nTUlJ"), true),
        (armoured("PRIVATE KEY", "TUlJ"), true),
        (armoured("ENCRYPTED PRIVATE KEY", "TUlJ"), true),
        (String::new(), false),
        ("hunter2".to_owned(), false),
        ("ssh-ed25519 AAAAC3Nz comment".to_owned(), false),
        ("PuTTY-User-Key-File-3: ssh-ed25519".to_owned(), false),
        (armoured("PUBLIC KEY", "TUlJ"), false),
        (armoured("OPENSSH PRIVATE KEY", "TUlJ"), false),
        (openssh.replace("-----END OPENSSH PRIVATE KEY-----\n", ""), false),
        (openssh.replace("b3Bl", "!!!!"), false),
    ] {
        let seen = refused("kubernetes.io/ssh-auth", &[("ssh-privatekey", &value)]);
        assert_eq!(seen.is_none(), good, "{value}");
        assert!(seen.is_none_or(|(key, fix)| key == "ssh-privatekey" && !fix.contains("hunter2")));
    }
}

fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(algorithm)?;
    let certificate = CertificateParams::new(vec!["shop.example".to_owned()])?.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn tls(certificate: &str, key: &str) -> Option<(String, String)> {
    refused("kubernetes.io/tls", &[("tls.crt", certificate), ("tls.key", key)])
}

#[test]
fn tls_pairs_must_match() -> Result<(), rcgen::Error> {
    for algorithm in
        [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P521_SHA512, &PKCS_ED25519, &PKCS_RSA_SHA256]
    {
        let ((certificate, key), (other, _)) = (pair(algorithm)?, pair(algorithm)?);
        assert_eq!(tls(&certificate, &key), None, "{algorithm:?}");
        assert_eq!(tls(&format!("text\n{certificate}{other}"), &key), None, "{algorithm:?}: a chain after the leaf");
        let (name, fix) = tls(&other, &key).unwrap_or_default();
        assert!(name == "tls.key" && fix.contains("not the private key"), "{algorithm:?}: {fix}");
        let (name, fix) = tls(&format!("{other}{certificate}"), &key).unwrap_or_default();
        assert!(name == "tls.crt" && fix.contains("first"), "{algorithm:?}: {fix}");
    }
    let ((rsa, _), (_, ec)) = (pair(&PKCS_RSA_SHA256)?, pair(&PKCS_ECDSA_P256_SHA256)?);
    assert_eq!(tls(&rsa, &ec).map(|(name, _)| name).as_deref(), Some("tls.key"), "keys of two kinds");
    Ok(())
}

#[test]
fn tls_parts_must_be_there_and_whole() -> Result<(), rcgen::Error> {
    let (certificate, key) = pair(&PKCS_ECDSA_P256_SHA256)?;
    let cut = |text: &str| text.lines().filter(|line| !line.contains("END")).collect::<Vec<_>>().join("\n");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (one, two, name, part) in [
        ("", key.as_str(), "tls.crt", "map the certificate"),
        (&certificate, "", "tls.key", "map the private key"),
        (&key, &key, "tls.crt", "whole certificates"),
        (&certificate, &certificate, "tls.key", "whole private key"),
        (&cut(&certificate), &key, "tls.crt", "whole certificates"),
        (&certificate, &cut(&key), "tls.key", "whole private key"),
        (&certificate, &encrypted, "tls.key", "passphrase"),
        (
            &certificate,
            "-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n",
            "tls.key",
            "not the private key",
        ),
        ("-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n", &key, "tls.crt", "whole certificates"),
    ] {
        let (seen, fix) = tls(one, two).unwrap_or_default();
        assert!(seen == name && fix.contains(part), "{part}: {seen} {fix}");
    }
    Ok(())
}
