//! Where a credential goes: a host and a port, in the one form that consent compares.

use std::fmt;

use url::{Host, Url};

use crate::SpecError;

/// A host and a port, as `rekey.dev/usable-by` names them: the host as the URL parser writes it (lower case, IPv4 in four
/// parts, IPv6 in brackets), the port always written out.
///
/// A dot at the end of a name counts: `bao.shop` is looked up in the search domains of the cluster first, `bao.shop.` is
/// not, so they may be two servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    host: String,
    port: u16,
}

impl Place {
    /// A server by a valid host name.
    pub(super) fn new(host: String, port: u16) -> Self {
        Self { host, port }
    }

    /// The place of an http or https address; without a port it is that of the scheme.
    ///
    /// # Errors
    /// For text that is no address of a server. `field` is the path of the field.
    pub fn of_url(field: &str, text: &str) -> Result<Self, SpecError> {
        let refused = |why: &str| SpecError::field(field, format!("{why}; write https://host:port"));
        let url = Url::parse(text).map_err(|_| refused("it is not a URL"))?;
        let host = url.host().filter(|_| matches!(url.scheme(), "http" | "https"));
        let host = host.ok_or_else(|| refused("it is not the address of a server"))?.to_owned();
        let (host, port) = (plain(&host), url.port_or_known_default());
        host.zip(port)
            .map(|(host, port)| Self { host, port })
            .ok_or_else(|| refused("its host is not a name or an address"))
    }

    /// `host:port` as a user has written it; `None` for any other form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
        Some(Self { host: plain(&Host::parse(host).ok()?)?, port })
    }
}

/// The host as text, if it is made of letters, digits, `-`, `_` and `.` or is an address: a URL allows more, such as
/// quotes and commas, which have a meaning in an annotation and in a shell.
fn plain(host: &Host) -> Option<String> {
    let is_plain = match host {
        Host::Domain(name) => {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        }
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    is_plain.then(|| host.to_string())
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_form_however_it_is_written() {
        let table = [
            ("https://bao.infra:8200", "bao.infra:8200"),
            ("https://bao.infra", "bao.infra:443"),
            ("https://bao.infra:443/prefix", "bao.infra:443"),
            ("http://bao.infra", "bao.infra:80"),
            ("https://BAO.Infra:8200", "bao.infra:8200"),
            ("https://bao.infra.:8200", "bao.infra.:8200"),
            ("https://[2001:DB8:0::1]:8200", "[2001:db8::1]:8200"),
            ("https://[::ffff:10.0.0.1]", "[::ffff:a00:1]:443"),
            ("https://10.1:8200", "10.0.0.1:8200"),
            ("https://0x0a000001", "10.0.0.1:443"),
            ("https://b%61o.infra", "bao.infra:443"),
            ("https://bücher.shop", "xn--bcher-kva.shop:443"),
        ];
        for (url, place) in table {
            assert_eq!(Place::of_url("server", url).map(|place| place.to_string()).as_deref(), Ok(place), "{url}");
            assert_eq!(Place::parse(place).map(|place| place.to_string()).as_deref(), Some(place));
        }
        for (text, place) in [("BAO.infra:8200", "bao.infra:8200"), ("[2001:db8:0::1]:8200", "[2001:db8::1]:8200")] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()).as_deref(), Some(place), "{text}");
        }
        let [plain, rooted] = ["bao.shop:8200", "bao.shop.:8200"].map(Place::parse);
        assert_ne!(plain, rooted, "one is a name in the cluster, the other one outside");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "bao.infra",
            "bao.infra:",
            ":8200",
            "bao.infra:https",
            "bao.infra:+443",
            "bao.infra:70000",
            "2001:db8::1:8200",
            "https://bao.infra:8200",
            "user@bao.infra:8200",
            "bao.infra/x:8200",
            "b'ao:8200",
            "bao,x:8200",
            "*:443",
            "",
        ] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
        for url in [
            "bao.infra",
            "bao.infra:8200",
            "file:///etc/passwd",
            "ftp://bao",
            "https://",
            "https://b'a;o",
            "https://a,b",
        ] {
            let refused = Place::of_url("spec.server", url).unwrap_err().to_string();
            assert!(
                refused.starts_with("spec.server: it") && refused.ends_with("write https://host:port"),
                "{refused}"
            );
        }
    }
}
