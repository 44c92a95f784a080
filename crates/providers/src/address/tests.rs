use rekey_core::store::Addresses;

use super::*;

fn network(insecure: bool) -> Network {
    Network { insecure, ..Network::default() }
}

#[test]
fn urls() {
    let table = [
        ("https://bao.infra:8200", "bao.infra:8200"),
        ("https://bao.infra", "bao.infra"),
        ("https://10.0.0.7:8200/prefix", "10.0.0.7:8200"),
        ("https://[2001:db8::1]:8200", "[2001:db8::1]:8200"),
    ];
    for (text, place) in table {
        assert_eq!(check("server", text, &network(false)).unwrap().place, place, "{text}");
    }
    let refused = [
        ("bao.infra:8200", "must be https://"),
        ("nonsense", "is not a URL"),
        ("file:///etc/passwd", "must be https://"),
        ("http://bao.infra:8200", "--allow-insecure-stores"),
        ("https://user:pass@bao.infra", "must not hold a user"),
        ("https://user@bao.infra", "must not hold a user"),
        ("https://bao.infra/?a=b", "query"),
        ("https://bao.infra/#a", "fragment"),
        ("https://127.0.0.1:8200", "127.0.0.1"),
        ("https://2130706433", "127.0.0.1"),
        ("https://0x7f.1", "127.0.0.1"),
        ("https://0", "0.0.0.0"),
        ("https://169.254.169.254", "169.254.169.254"),
        ("https://[::1]", "::1"),
        ("https://[fd00:ec2::254]", "fd00:ec2::254"),
        ("https://[::ffff:169.254.169.254]", "refused"),
    ];
    for (text, why) in refused {
        let error = check("spec.provider.vault.server", text, &network(false)).unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Invalid, "{text}");
        assert!(error.text.contains(why), "{text}: {error}");
        assert!(error.text.starts_with("spec.provider.vault.server "), "{text}: {error}");
        assert!(!error.text.contains("pass@"), "{text}: {error}");
    }
}

#[test]
fn insecure_allows_http_and_loopback_but_no_user() {
    assert!(check("server", "http://127.0.0.1:8200", &network(true)).is_ok());
    assert!(check("server", "https://localhost:8200", &network(true)).is_ok());
    assert!(check("server", "http://user@127.0.0.1", &network(true)).is_err());
    assert!(check("server", "ftp://127.0.0.1", &network(true)).is_err());
}

#[test]
fn addresses() {
    let allowed = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "8.8.8.8",
        "100.64.0.1",
        "fd00::1",
        "fd20:ce::255",
        "2001:1::1",
        "2001:db8::1",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "2001:db8::5efe:10.0.0.1",
        "::ffff:10.0.0.1",
    ];
    for text in allowed {
        assert!(is_allowed(text.parse().unwrap(), &Network::default()), "{text}");
    }
    let refused = [
        "127.0.0.1",
        "127.8.9.1",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "192.80.8.124",
        "169.254.0.23",
        "169.254.42.42",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "fe80::1",
        "ff02::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
    ];
    for text in refused {
        assert!(!is_allowed(text.parse().unwrap(), &Network::default()), "{text}");
    }
}

#[test]
fn addresses_that_stand_for_others() {
    let refused = [
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::808:808",
        "64:ff9b:1:7f00:0:100::",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001::7f00:1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "::ffff:0:127.0.0.1",
        "2001:db8::5efe:127.0.0.1",
        "2001:db8::200:5efe:169.254.169.254",
        "fe80::5efe:8.8.8.8",
    ];
    for text in refused {
        assert!(!is_allowed(text.parse().unwrap(), &Network::default()), "{text}");
    }
}

#[test]
fn listed_addresses() {
    let network = Network {
        allow: ["127.0.0.0/30", "10.96.0.1/32", "fe80::/64"].map(|text| text.parse().unwrap()).into(),
        refuse: ["10.96.0.1", "10.1.2.3", "::ffff:10.1.2.4", "2001:db8::6443"]
            .into_iter()
            .map(|text| text.parse().unwrap())
            .collect(),
        ..Network::default()
    };
    let table = [
        ("127.0.0.1", true),
        ("::ffff:127.0.0.1", true),
        ("127.0.0.4", false),
        ("::1", false),
        ("fe80::7", true),
        ("fe80:0:0:1::7", false),
        ("169.254.169.254", false),
        ("10.96.0.1", true),
        ("10.1.2.3", false),
        ("::ffff:10.1.2.3", false),
        ("64:ff9b::a01:203", false),
        ("10.1.2.4", false),
        ("10.1.2.5", true),
        ("2001:db8::6443", false),
        ("2001:db8::6444", true),
    ];
    for (text, allowed) in table {
        assert_eq!(is_allowed(text.parse().unwrap(), &network), allowed, "{text}");
        let host = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
        assert_eq!(check("server", &format!("https://{host}"), &network).is_ok(), allowed, "{text}");
        let found = vec![SocketAddr::new(text.parse().unwrap(), 0)];
        assert_eq!(Guard::new(&network).pass("bao", found).is_ok(), allowed, "{text}");
    }
    let plain = check("server", "http://127.0.0.1:8200", &network).unwrap_err();
    assert!(plain.text.contains("--allow-insecure-stores"), "a listed address needs https too: {plain}");
}

#[test]
fn resolved_addresses_are_filtered() {
    let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
    let guard = Guard::new(&Network { proxy: Some("http://proxy.infra:3128".into()), ..Network::default() });
    let good = address("10.0.0.1");
    assert_eq!(guard.pass("bao", vec![address("127.0.0.1"), good]).unwrap(), vec![good]);
    assert!(guard.pass("bao", vec![address("127.0.0.1")]).is_err());
    assert!(guard.pass("proxy.infra", vec![address("127.0.0.1")]).is_ok());
    let open = Guard::new(&network(true));
    assert!(open.pass("bao", vec![address("127.0.0.1")]).is_ok());
}

/// Every way to write an address that means the machine itself, its metadata or its link.
#[test]
fn spellings() {
    let refused = [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.255.255.254",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0x7F.1",
        "017700000001",
        "0177.0.0.1",
        "0177.0x0.0.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "0x0",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "127。0。0。1",
        "127%2e0%2e0%2e1",
        "%31%32%37.0.0.1",
        "169.254.169.254",
        "169.254.43518",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::FFFF:7F00:1]",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[FE80::A9FE:A9FE]",
        "[fd00:EC2::254]",
        "[::ffff:168.63.129.16]",
    ];
    for host in refused {
        for text in [format!("https://{host}:8200"), format!("https://{host}"), format!("HTTPS://{host}/v1")] {
            let error = check("server", &text, &network(false)).unwrap_err();
            assert!(error.text.contains(REFUSED), "{text}: {error}");
        }
    }
    for unreadable in
        ["[fe80::1%25eth0]", "[fe80::1%eth0]", "127.0.0.256", "0x7g.1", "1.2.3.4.5", "[::1", "127.0.0.1\\@b"]
    {
        let text = format!("https://{unreadable}/");
        assert!(check("server", &text, &network(false)).is_err(), "{text}");
    }
}

/// A name is not refused by what it is called, but by what it resolves to.
#[tokio::test]
async fn names_of_the_machine_are_refused_when_they_are_resolved() {
    let guard = Guard::new(&network(false));
    for name in ["localhost", "localhost.", "LOCALHOST"] {
        let url = check("server", &format!("https://{name}"), &network(false)).unwrap().url;
        let name: Name = url.host_str().unwrap().parse().unwrap();
        let error = guard.resolve(name).await.err().unwrap();
        // Not every machine knows the name with the dot.
        assert!(error.is::<Refused>() || url.as_str().contains("localhost./"), "{url}: {error}");
    }
}

#[tokio::test]
async fn an_api_server_that_moves_is_refused_where_it_is_now() {
    let refuse = Addresses::default();
    let network = Network { refuse: refuse.clone(), ..Network::default() };
    let address = check("server", "https://10.0.0.7:6443", &network).unwrap();
    let guard = Guard::new(&network);
    let found = vec![SocketAddr::new("10.0.0.7".parse().unwrap(), 0)];
    assert!(guard.look(&address.url).await.is_ok() && guard.pass("bao", found.clone()).is_ok());
    refuse.set(vec!["10.0.0.7".parse().unwrap()]);
    assert!(guard.look(&address.url).await.is_err(), "an open store");
    assert!(guard.pass("bao", found.clone()).is_err(), "a name");
    assert!(check("server", "https://10.0.0.7:6443", &network).is_err(), "a new store");
    refuse.set(vec!["10.0.0.8".parse().unwrap()]);
    assert!(guard.look(&address.url).await.is_ok() && guard.pass("bao", found).is_ok(), "it has moved on");
}

#[tokio::test]
async fn names_that_a_proxy_resolves_are_looked_at_before() {
    let proxy = Some("http://10.0.0.1:3128".to_owned());
    let through = Guard::new(&Network { proxy: proxy.clone(), ..Network::default() });
    let open = Guard::new(&Network { proxy: proxy.clone(), insecure: true, ..Network::default() });
    let allow = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let listed = Guard::new(&Network { proxy, allow, ..Network::default() });
    let url = |host: &str| Url::parse(&format!("https://{host}/")).unwrap();
    for host in ["127.0.0.1", "[::ffff:169.254.169.254]"] {
        assert!(through.look(&url(host)).await.is_err(), "{host}");
    }
    assert!(through.look(&url("localhost")).await.is_err());
    assert!(open.look(&url("localhost")).await.is_ok());
    assert!(listed.look(&url("127.0.0.1")).await.is_ok());
    for name in [
        "app.localhost",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "instance-data",
        "kubernetes",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local.",
    ] {
        assert!(through.look(&url(name)).await.is_err(), "{name}");
    }
    assert!(!is_refused_name("bao.localhost.example") && !is_refused_name("kubernetes.example"));
    assert!(through.look(&url("a-name-that-only-the-proxy-knows.invalid")).await.is_ok());
    assert!(Guard::new(&network(false)).look(&url("localhost")).await.is_ok(), "it is resolved by us");
}
