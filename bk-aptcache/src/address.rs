//! Addresses: which a request may lead to, and whose requests are answered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use bk::{Error, Result, Status};

/// A block of addresses, `192.168.0.0/16` or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether an address is in the block. IPv4 addresses that are mapped into IPv6 are those of
    /// IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                prefix(u128::from(block.to_bits()) << 96, self.bits)
                    == prefix(u128::from(address.to_bits()) << 96, self.bits)
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                prefix(block.to_bits(), self.bits) == prefix(address.to_bits(), self.bits)
            }
            _ => false,
        }
    }
}

/// The first `bits` of 128.
fn prefix(address: u128, bits: u8) -> u128 {
    address.checked_shr(128 - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Cidr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let parse = || {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
            (bits <= most).then_some(Cidr { address, bits })
        };
        parse().ok_or_else(|| {
            Error::new(format!("'{}' is no block of addresses", bk::sanitize(text)))
                .hint("write it as in 192.168.0.0/16 or fd00::/8")
                .status(Status::Usage)
        })
    }
}

/// Whether an address is one of the public network (the registries of RFC 6890): not loopback,
/// private, link-local, shared (CGNAT), for documentation, or one that stands for such a one.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(matches!((a, b, c), (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113))
        || matches!((a, b), (100, 64..=127) | (198, 18..=19))
        || matches!(a, 0 | 224..)
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match segments {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to an IPv4 address.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarks and documentation.
        [0x2001, 0 | 2 | 0xdb8, ..] => false,
        // Global unicast is 2000::/3 (RFC 4291).
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_what_is_in_them() {
        let block = |text: &str| text.parse::<Cidr>().unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("192.168.100.0/24", "::ffff:192.168.100.9", "192.168.101.0"),
        ] {
            assert!(block(text).contains(ip(inside)), "{inside} in {text}");
            assert!(!block(text).contains(ip(outside)), "{outside} in {text}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "host", "1.2.3/8"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_public_is_what_python_says_is_not_global() {
        let all = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.32.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "255.255.255.255",
            "240.0.0.1",
            "8.8.8.8",
            "1.1.1.1",
            "151.101.2.132",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "2001:db8::1",
            "2600::1",
            "2a04:4e42::644",
        ];
        let script = "import ipaddress, sys\nfor a in sys.argv[1:]: print(ipaddress.ip_address(a).is_global)";
        let python = std::process::Command::new("/usr/bin/python3")
            .args(["-c", script])
            .args(all)
            .output()
            .unwrap();
        let said = String::from_utf8(python.stdout).unwrap();
        for (address, said) in all.iter().zip(said.lines()) {
            assert_eq!(is_public(address.parse().unwrap()), said == "True", "{address}");
        }
        // What stands for an IPv4 address is as public as that is.
        for (address, public) in [
            ("::ffff:127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::808:808", true),
            ("2002:a00:1::", false),
            ("2002:808:808::1", true),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
