//! Which addresses a store may have (rule X5 of `docs/security.md`): checked on the URL when a store is opened, and
//! again on every address its name resolves to when a connection is made, so that a changed DNS answer gains nothing.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use rekey_core::store::{Network, StoreError, StoreErrorKind};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

/// Addresses outside the ranges below at which a cloud hands out credentials or machine data.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// A store's address that has passed the check.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// The URL, without query and fragment.
    pub url: Url,
    /// `host:port`, for texts.
    pub place: String,
}

/// Checks the address in `field` of a store's spec.
///
/// # Errors
/// `Invalid`, naming the field and what to write instead.
pub(crate) fn check(field: &str, text: &str, network: &Network) -> Result<Address, StoreError> {
    let refuse = |why: &str| StoreError::new(StoreErrorKind::Invalid, format!("{field} {why}"));
    let url = Url::parse(text).map_err(|_| refuse("is not a URL; write https://host:port"))?;
    match url.scheme() {
        "https" => {}
        "http" if network.insecure => {}
        "http" => return Err(refuse("must be https:// (http:// needs the operator flag --allow-insecure-stores)")),
        _ => return Err(refuse("must be https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("must not hold a user or password; credentials belong in auth"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("must not have a query or fragment"));
    }
    let host = url.host_str().unwrap_or_default();
    if host.is_empty() {
        return Err(refuse("has no host; write https://host:port"));
    }
    let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if let Some(address) = literal.filter(|address| !is_allowed(*address, network)) {
        return Err(refuse(&format!("is the address {address}: {REFUSED}")));
    }
    let place = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(Address { url, place })
}

const REFUSED: &str = "loopback, link-local, unspecified, metadata and API server addresses are refused \
     (--allow-addresses allows ranges of them, --allow-insecure-stores all of them, for development)";

/// Whether a store may be at this address. An IPv6 address that stands for an IPv4 address is treated like it.
fn is_allowed(address: IpAddr, network: &Network) -> bool {
    let meant = meant(address);
    let listed = |range: &IpNet| range.contains(&address) || range.contains(&meant);
    if network.insecure || network.allow.iter().any(listed) {
        return true;
    }
    let refused = network.refuse.iter().any(|other| self::meant(*other) == meant);
    !refused
        && match meant {
            IpAddr::V4(address) => is_allowed_v4(address),
            IpAddr::V6(address) => is_allowed_v6(address),
        }
}

fn meant(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(outer) => embedded(outer).map_or(address, IpAddr::V4),
    }
}

fn is_allowed_v4(address: Ipv4Addr) -> bool {
    !(address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0
        || METADATA.contains(&address))
}

fn is_allowed_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // fd00:ec2::/32 holds the metadata and credential endpoints of EC2 and EKS.
    let metadata = segments[0] == 0xfd00 && segments[1] == 0x0ec2;
    !(address.is_loopback()
        || address.is_unspecified()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || metadata)
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, _] => None, // `::` and `::1`
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        _ => None,
    }
}

/// The name resolves to refused addresses only.
#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("resolves to a refused address: ")?;
        formatter.write_str(REFUSED)
    }
}

impl Error for Refused {}

/// Resolves names, and leaves out the addresses a store may not have.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    network: Network,
    /// The host of the operator's own proxy, which may be anywhere.
    proxy: Option<String>,
}

impl Guard {
    /// The resolver that these settings ask for.
    pub(crate) fn new(network: &Network) -> Self {
        let host = |proxy: &String| Url::parse(proxy).ok()?.host_str().map(str::to_owned);
        Self { network: network.clone(), proxy: network.proxy.as_ref().and_then(host) }
    }

    fn pass(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        if self.proxy.as_deref() == Some(name) {
            return Ok(found);
        }
        let allowed: Vec<SocketAddr> =
            found.into_iter().filter(|address| is_allowed(address.ip(), &self.network)).collect();
        if allowed.is_empty() { Err(Refused) } else { Ok(allowed) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let passed: Addrs = Box::new(guard.pass(name.as_str(), found)?.into_iter());
            Ok(passed)
        })
    }
}

#[cfg(test)]
mod tests {
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
            "2001:db8::1",
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
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
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
                .map(|text| text.parse().unwrap())
                .into(),
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
}
