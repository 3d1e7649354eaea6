//! Which addresses are of the public internet: a URL given by a stranger leads nowhere else.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Tells whether an address is one of the public internet: not loopback, private, link-local, shared
/// (RFC 6598), multicast, unspecified, reserved or for documentation (the IANA special-purpose registries),
/// nor an IPv6 address that stands for such an IPv4 one.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Why a URL is not asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unasked {
    /// Not by https, nor by http to this machine where that is allowed.
    Scheme,
    /// Its host is an address that is not public.
    Address,
}

/// Judges scheme and host of a URL given by a stranger. `insecure`: addresses that are not public are
/// allowed, and http to this machine. A name's addresses are judged when it is resolved.
///
/// # Errors
/// Why it is not asked for.
pub fn may_be_asked(scheme: Option<&str>, host: &str, insecure: bool) -> Result<(), Unasked> {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let here = literal.is_some_and(|address| address.is_loopback()) || host == "localhost";
    match scheme {
        Some("https") => {}
        Some("http") if insecure && here => {}
        _ => return Err(Unasked::Scheme),
    }
    let allowed = insecure || literal.is_none_or(is_public);
    if allowed { Ok(()) } else { Err(Unasked::Address) }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b));
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let of_v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // Mapped addresses, and the well-known prefix of NAT64.
        [0, 0, 0, 0, 0, 0xFFFF, high, low] | [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => {
            of_v4(high, low)
        }
        // 6to4.
        [0x2002, high, low, ..] => of_v4(high, low),
        // Protocol assignments (Teredo among them) and documentation.
        [0x2001, 0..0x200, ..] | [0x2001, 0xDB8, ..] | [0x3FFF, 0..0x1000, ..] => false,
        // All that is given to anyone.
        [first, ..] => first & 0xE000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for public in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "198.17.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.8.8.8",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
