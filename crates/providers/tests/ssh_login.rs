//! The proof of a new SSH key, against a real `sshd`.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Result, bail, ensure};
use ipnet::IpNet;
use rekey_api::rotator::{SshAlgorithm, SshEndpoint, SshKeyPairRotator};
use rekey_core::{
    SecretBytes,
    chance::Chance,
    rotator::{Rotator, ssh_key_pair::SshKeyPair},
    store::{Network, StoreError, StoreErrorKind},
};
use rekey_providers::rotators::ssh::login;
use rekey_testkit::{process::free_port, sshd::Sshd};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

type Values = BTreeMap<String, SecretBytes>;

/// The same byte again and again.
struct Byte(u8);

impl Chance for Byte {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

fn rotator(algorithm: SshAlgorithm) -> Result<SshKeyPair> {
    Ok(SshKeyPair::parse(&SshKeyPairRotator { algorithm, comment: Some("deploy".to_owned()), ..Default::default() })?)
}

fn made(seed: u8) -> Result<Values> {
    Ok(rotator(SshAlgorithm::Ed25519)?.make(&Values::new(), &Byte(seed))?)
}

fn authorized(values: &Values) -> &str {
    values["authorized_keys"].expose_text().unwrap_or_default()
}

fn endpoint(host: &str, port: u16, user: &str) -> SshEndpoint {
    SshEndpoint { host: host.to_owned(), port, user: user.to_owned() }
}

/// Allows loopback, for the test.
fn allowed() -> Network {
    Network { allow: vec![IpNet::from(IpAddr::from([127, 0, 0, 1]))], ..Network::default() }
}

async fn login_with(values: &Values, sshd: &Sshd) -> Result<(), StoreError> {
    login(&values["ssh-privatekey"], &endpoint("127.0.0.1", sshd.port(), sshd.user()), &allowed()).await
}

/// How often the server has logged this.
fn noted(sshd: &Sshd, what: &str) -> Result<usize> {
    Ok(sshd.log()?.matches(what).count())
}

/// It failed for this reason.
fn told(result: Result<(), StoreError>, kind: StoreErrorKind, part: &str) -> Result<()> {
    let Err(error) = result else { bail!("the login succeeded") };
    ensure!(error.kind == kind && error.text.contains(part), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn a_key_logs_in_with_every_algorithm_that_we_have() -> Result<()> {
    let settings = [
        "Ciphers aes256-gcm@openssh.com",
        "Ciphers aes128-gcm@openssh.com",
        "Ciphers chacha20-poly1305@openssh.com",
        "KexAlgorithms ecdh-sha2-nistp256",
        "KexAlgorithms curve25519-sha256@libssh.org",
        "Banner /etc/hostname",
    ];
    let made = made(1)?;
    for setting in settings {
        let sshd = Sshd::start(&[setting]).await?;
        sshd.authorize(authorized(&made))?;
        for round in 1..=2 {
            login_with(&made, &sshd).await?;
            assert_eq!(noted(&sshd, "Accepted publickey")?, round, "{setting}");
        }
        assert_eq!(noted(&sshd, "Starting session")?, 0, "{setting}");
    }
    Ok(())
}

#[tokio::test]
async fn an_rsa_key_logs_in() -> Result<()> {
    let rotator = rotator(SshAlgorithm::Rsa4096)?;
    let made = tokio::task::spawn_blocking(move || rotator.make(&Values::new(), &Byte(1))).await??;
    let sshd = Sshd::start(&[]).await?;
    sshd.authorize(authorized(&made))?;
    login_with(&made, &sshd).await?;
    assert_eq!((noted(&sshd, "Accepted publickey")?, noted(&sshd, "Failed")?), (1, 0));
    Ok(())
}

#[tokio::test]
async fn old_and_new_key_log_in_until_the_old_one_is_retired() -> Result<()> {
    let rotator = rotator(SshAlgorithm::Ed25519)?;
    let other = rotator.retired(&made(7)?);
    let mut first = rotator.retired(&made(1)?);
    // Another user's key is there, too, and ours has a `from` restriction.
    let file = format!("{}from=\"127.0.0.0/8\",no-pty {}", authorized(&other), authorized(&first));
    first.insert("authorized_keys".to_owned(), file.into());
    let second = rotator.make(&first, &Byte(2))?;
    let sshd = Sshd::start(&[]).await?;

    sshd.authorize(authorized(&first))?;
    login_with(&first, &sshd).await?;
    told(login_with(&second, &sshd).await, StoreErrorKind::Denied, "authorized_keys")?;

    let applied = Rotator::SshKeyPair(rotator.clone()).apply(&second);
    sshd.authorize(authorized(&applied))?;
    for key in [&first, &second, &other] {
        login_with(key, &sshd).await?;
    }
    assert_eq!(applied.keys().collect::<Vec<_>>(), ["authorized_keys"], "clients keep their key");

    sshd.authorize(authorized(&rotator.retired(&second)))?;
    for key in [&second, &other] {
        login_with(key, &sshd).await?;
    }
    told(login_with(&first, &sshd).await, StoreErrorKind::Denied, "authorized_keys")
}

#[tokio::test]
async fn a_key_that_is_not_there_is_refused_after_one_attempt() -> Result<()> {
    let (there, other) = (made(1)?, made(2)?);
    let sshd = Sshd::start(&[]).await?;
    sshd.authorize(authorized(&there))?;
    let result = login_with(&other, &sshd).await;
    let text = format!("does not accept the new key for user {:?}", sshd.user());
    told(result, StoreErrorKind::Denied, &text)?;
    assert_eq!((noted(&sshd, "Failed publickey")?, noted(&sshd, "Failed")?), (1, 1));
    assert_eq!((noted(&sshd, "Accepted")?, noted(&sshd, "Connection from")?), (0, 1));

    let strict = Sshd::start(&["MaxAuthTries 1"]).await?;
    told(login_with(&other, &strict).await, StoreErrorKind::Denied, &text)?;

    let nobody = login(&there["ssh-privatekey"], &endpoint("127.0.0.1", sshd.port(), "nobody-here"), &allowed()).await;
    told(nobody, StoreErrorKind::Denied, "user \"nobody-here\"")
}

#[tokio::test]
async fn a_key_that_is_not_enough_and_a_server_of_other_algorithms_are_told() -> Result<()> {
    let made = made(1)?;
    let sshd = Sshd::start(&["AuthenticationMethods publickey,password", "PasswordAuthentication yes"]).await?;
    sshd.authorize(authorized(&made))?;
    told(login_with(&made, &sshd).await, StoreErrorKind::Denied, "asks for a second method")?;

    for (setting, part) in [
        ("KexAlgorithms diffie-hellman-group14-sha256", "no key exchange in common"),
        ("Ciphers aes256-ctr", "no cipher in common"),
    ] {
        let sshd = Sshd::start(&[setting]).await?;
        told(login_with(&made, &sshd).await, StoreErrorKind::Invalid, part)?;
    }
    Ok(())
}

/// A server that accepts connections, sends `first`, replies with `answer`, and closes or waits.
async fn stub(first: &'static str, answer: Option<&'static str>, closes: bool) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let serve = async move |mut stream: TcpStream| -> Result<()> {
        stream.write_all(first.as_bytes()).await?;
        if let Some(answer) = answer {
            let mut heard = [0; 256];
            ensure!(stream.read(&mut heard).await? > 0, "the client says nothing");
            stream.write_all(answer.as_bytes()).await?;
        }
        if !closes {
            // Until the other side leaves.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        }
        Ok(())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await.ok();
        }
    });
    Ok(port)
}

#[tokio::test]
async fn what_is_no_ssh_server_is_told_apart() -> Result<()> {
    use StoreErrorKind::{Invalid, Malformed, Unavailable};
    let http = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    let cases = [
        (free_port()?, Unavailable, "no connection can be made"),
        (stub("", Some(http), false).await?, Malformed, "is no SSH server"),
        (stub("220 mail ESMTP\r\n", Some("500 what?\r\n"), true).await?, Malformed, "is no SSH server"),
        (stub("", None, true).await?, Unavailable, "closed the connection"),
        (stub("SSH-2.0-x\r\n", None, true).await?, Unavailable, "closed the connection"),
        (
            stub("Exceeded MaxStartups\r\n", None, true).await?,
            Unavailable,
            "accepts no connections from the operator now",
        ),
        (stub("SSH-1.5-old\r\n", None, false).await?, Invalid, "no version of the protocol in common"),
        (stub("SSH-2.0-x\r\n\u{7f}\u{7f}\u{7f}\u{7f}", None, false).await?, Malformed, "impossible length"),
    ];
    let key = &made(1)?["ssh-privatekey"];
    for (port, kind, part) in cases {
        let result = login(key, &endpoint("127.0.0.1", port, "deploy"), &allowed()).await;
        told(result, kind, part)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_server_is_given_up_within_ten_seconds() -> Result<()> {
    let key = &made(1)?["ssh-privatekey"];
    let ports = [
        (stub("", None, false).await?, "sends nothing"),
        (stub("SSH-2.0-x\r\n", None, false).await?, "within 10 seconds"),
    ];
    let start = std::time::Instant::now();
    let endpoints = ports.map(|(port, _)| endpoint("127.0.0.1", port, "deploy"));
    let network = allowed();
    let (first, second) = tokio::join!(login(key, &endpoints[0], &network), login(key, &endpoints[1], &network));
    told(first, StoreErrorKind::Unavailable, ports[0].1)?;
    told(second, StoreErrorKind::Unavailable, ports[1].1)?;
    assert!((9..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    Ok(())
}

#[tokio::test]
async fn addresses_that_stores_may_not_have_are_refused() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let key = &made(1)?["ssh-privatekey"];
    let api_server: IpAddr = "192.0.2.1".parse()?;
    let networks = [
        Network::default(),
        // The host of the stores' own proxy is no exception.
        Network { proxy: Some("http://localhost:3128".to_owned()), ..Network::default() },
        Network { refuse: [api_server].into_iter().collect(), ..Network::default() },
    ];
    for network in networks {
        let mut hosts =
            vec!["127.0.0.1", "localhost", "::1", "::ffff:127.0.0.1", "2130706433", "169.254.169.254", "0.0.0.0"];
        if network.refuse.any(|address| address == api_server) {
            hosts.push("192.0.2.1");
        }
        for host in hosts {
            let result = login(key, &endpoint(host, port, "deploy"), &network).await;
            told(result, StoreErrorKind::Invalid, "--allow-addresses")?;
        }
    }
    // Nothing has connected.
    drop(TcpStream::connect(("127.0.0.1", port)).await?);
    let (mut stream, _) = listener.accept().await?;
    assert_eq!(stream.read(&mut [0; 1]).await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_is_no_key_is_refused_without_being_quoted() -> Result<()> {
    let begin = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
    for key in ["", "hunter2", &format!("{begin}hunter2hunter2\n-----END OPENSSH PRIVATE KEY-----\n")] {
        let error = login(&key.into(), &endpoint("127.0.0.1", 1, "deploy"), &allowed()).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Invalid);
        assert!(!error.text.contains("hunter2") && error.text.contains("private key cannot be read"), "{error:?}");
    }
    Ok(())
}
