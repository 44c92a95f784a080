use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PrivateDecryptingKey},
};

use crate::{
    SecretBytes,
    digest::DigestKey,
    render::{
        certificate,
        template::{Renderer, Seed, Template},
    },
};

fn run(source: &str, values: &[(&str, &[u8])]) -> Result<Vec<u8>, String> {
    let values: BTreeMap<String, SecretBytes> =
        values.iter().map(|(name, value)| ((*name).to_owned(), SecretBytes::new(value.to_vec()))).collect();
    let seed = Seed::new(&DigestKey::new(SecretBytes::from("installation")), "shop", "db");
    let result = Renderer::new(&values, &seed, &Arc::default()).render(&Template::new("t", source));
    result.map(|bytes| bytes.expose().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn htpasswd_takes_the_name_of_a_hash_too() {
    let values: &[(&str, &[u8])] = &[("password", b"password"), ("hash", b"sha")];
    // As `htpasswd -s` of Apache writes it.
    let sha = Ok(b"ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_vec());
    assert_eq!(run("{{ htpasswd \"ann\" .password \"sha\" }}", values), sha);
    assert_eq!(run("{{ htpasswd \"ann\" .password .hash }}", values), sha);
    for source in ["{{ htpasswd \"ann\" .password \"bcrypt\" }}", "{{ htpasswd \"ann\" .password }}"] {
        let text = String::from_utf8(run(source, values).unwrap_or_default()).unwrap_or_default();
        let hash = text.strip_prefix("ann:").unwrap_or_default();
        assert!(bcrypt::verify("password", hash).unwrap_or_default(), "{source}: {text}");
    }
    assert!(run("{{ htpasswd \"a:b\" .password \"sha\" }}", values).is_err());
    assert!(run("{{ htpasswd \"a\" .password \"sha\" 1 }}", values).is_err());
}

#[test]
fn what_was_encrypted_for_a_key_is_decrypted() -> Result<(), Box<dyn std::error::Error>> {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
    let public = OaepPublicEncryptingKey::new(key.public_key())?;
    let mut encrypted = vec![0; public.ciphertext_size()];
    let encrypted = public.encrypt(&OAEP_SHA256_MGF1SHA256, &[0, 0xff, b'x'], &mut encrypted, None)?.to_vec();
    let pem = certificate::encode("PRIVATE KEY", key.as_der()?.as_ref());
    let values: &[(&str, &[u8])] = &[("text", &encrypted), ("key", pem.expose())];
    let plain = Ok(vec![0, 0xff, b'x']);
    assert_eq!(run("{{ rsaDecrypt \"RSA-OAEP\" \"SHA256\" .text .key }}", values), plain);
    assert_eq!(run("{{ .key | rsaDecrypt \"RSA-OAEP\" \"None\" .text }}", values), plain);
    assert_eq!(run("{{ rsaDecrypt \"None\" \"SHA256\" .text \"\" }}", values), Ok(encrypted.clone()));
    for source in [
        "{{ rsaDecrypt \"RSA-OAEP\" \"SHA1\" .text .key }}",
        "{{ rsaDecrypt \"RSA-OAEP\" \"SHA256\" \"short\" .key }}",
        "{{ rsaDecrypt \"RSA-OAEP\" \"SHA256\" .text .text }}",
        "{{ rsaDecrypt \"PKCS1\" \"SHA256\" .text .key }}",
    ] {
        let text = run(source, values).err().unwrap_or_default();
        assert!(text.contains("rsaDecrypt"), "{source}: {text}");
    }
    Ok(())
}
