//! The addresses that no store has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rekey_core::store::Network;

/// Says which they are, and how to allow them.
pub(super) const REFUSED: &str = "loopback, link-local, unspecified, metadata and API server addresses are refused \
     (--allow-addresses allows ranges of them, --allow-insecure-stores all of them, for development)";

/// Where a cloud hands out credentials or data of the machine, as far as it is not in the link-local ranges (which hold
/// 169.254.169.254, 169.254.170.2, 169.254.0.23 and 169.254.42.42).
const METADATA_V4: [Ipv4Addr; 4] = [
    // Alibaba Cloud: https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
    Ipv4Addr::new(100, 100, 100, 200),
    // Azure, of its host agent: https://learn.microsoft.com/en-us/azure/virtual-network/what-is-ip-address-168-63-129-16
    Ipv4Addr::new(168, 63, 129, 16),
    // Oracle Cloud at Customer.
    Ipv4Addr::new(192, 0, 0, 192),
    // Equinix Metal: metadata.packet.net.
    Ipv4Addr::new(192, 80, 8, 124),
];

/// The same of IPv6.
const METADATA_V6: [Ipv6Net; 6] = [
    // AWS: metadata, EKS Pod Identity (::23), time and DNS.
    // https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32),
    // Google Cloud: https://cloud.google.com/compute/docs/metadata/querying-metadata
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128),
    // Oracle Cloud: oci-python-sdk, auth/signers/instance_principals_security_token_signer.py
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), 128),
    // Scaleway: https://docs.cloud-init.io/en/latest/reference/datasources/scaleway.html
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42), 128),
    // Akamai (Linode): https://docs.cloud-init.io/en/latest/reference/datasources/akamai.html
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1), 128),
    // Alibaba Cloud.
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200), 128),
];

/// Ranges whose addresses stand for an IPv4 address that the address alone does not reveal.
const TUNNELS: [Ipv6Net; 2] = [
    // NAT64 of a network's own: where the IPv4 address is depends on the length of its prefix (RFC 8215, RFC 6052).
    Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    // Teredo: through a server that the address names (RFC 4380).
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
];

/// "This network" (RFC 791), of which 0.0.0.0 is the machine itself.
const THIS_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8);

/// Whether a store may be at this address now. An IPv6 address that stands for an IPv4 address must pass as both.
pub(super) fn is_allowed(address: IpAddr, network: &Network) -> bool {
    let meant = meant(address);
    let listed = |range: &IpNet| range.contains(&address) || range.contains(&meant);
    if network.insecure || network.allow.iter().any(listed) {
        return true;
    }
    !network.refuse.any(|other| self::meant(other) == meant) && is_public(address) && is_public(meant)
}

/// The IPv4 address that an IPv6 address stands for, else the address itself.
fn meant(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(outer) => embedded(outer).map_or(address, IpAddr::V4),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || THIS_NETWORK.contains(&address)
                || METADATA_V4.contains(&address))
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || METADATA_V6.iter().chain(&TUNNELS).any(|range| range.contains(&address)))
        }
    }
}

/// The IPv4 address in an IPv6 address that is mapped, translated (RFC 2765), compatible, NAT64, 6to4 or ISATAP.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None, // unspecified and loopback, which are not compatible addresses
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => Some(join(high, low)),
        _ => None,
    }
}
