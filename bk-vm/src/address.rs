//! Machines by number: its address, its name.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use bk::{Error, Status};

/// The network of machines that are named by a number alone.
const NETWORK: [u8; 3] = [192, 168, 100];

/// The machines' way out: the host itself, as they see it.
const GATEWAY: u8 = 254;

/// The address of a machine: `10` is 192.168.100.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    network: [u8; 3],
    number: u8,
}

impl Address {
    /// The machine's own.
    pub fn ip(self) -> Ipv4Addr {
        self.at(self.number)
    }

    /// The host's, on the same network.
    pub fn gateway(self) -> Ipv4Addr {
        self.at(GATEWAY)
    }

    /// The network, as `192.168.100.0/24`.
    pub fn network(self) -> String {
        format!("{}/24", self.at(0))
    }

    /// The machine's host name.
    pub fn name(self) -> String {
        format!("buildkit{}", self.number)
    }

    /// The address of its network card: of those that belong to nobody (IEEE 802, locally administered),
    /// and another for every address of the machine.
    pub fn mac(self) -> String {
        let [a, b, c] = self.network;
        // The first octet's second bit says "local".
        format!("52:54:{:02x}:{b:02x}:{c:02x}:{:02x}", a, self.number)
    }

    fn at(self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.network;
        Ipv4Addr::new(a, b, c, number)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let octets = match text.parse::<Ipv4Addr>() {
            Ok(ip) if ip.is_private() => Some(ip.octets()),
            Ok(_) => None,
            Err(_) => {
                let [a, b, c] = NETWORK;
                text.strip_prefix("buildkit").unwrap_or(text).parse().ok().map(|n| [a, b, c, n])
            }
        };
        match octets {
            Some([a, b, c, number]) if number > 0 && number < GATEWAY => {
                Ok(Address { network: [a, b, c], number })
            }
            _ => Err(Error::new(format!("'{}' is no machine", bk::sanitize(text)))
                .hint("name it by a number from 1 to 253, or a private address (RFC 1918) that ends so")
                .status(Status::Usage)),
        }
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_an_address_and_a_name() -> bk::Result<()> {
        for text in ["10", "192.168.100.10", "buildkit10"] {
            let address: Address = text.parse()?;
            assert_eq!(address.to_string(), "192.168.100.10");
            assert_eq!(address.gateway().to_string(), "192.168.100.254");
            assert_eq!(address.network(), "192.168.100.0/24");
            assert_eq!(address.name(), "buildkit10");
            assert_eq!(address.mac(), "52:54:c0:a8:64:0a");
        }
        assert_eq!("10.0.3.7".parse::<Address>()?.gateway().to_string(), "10.0.3.254");
        for bad in ["0", "254", "255", "-1", "", "x", "8.8.8.8", "192.168.100.254", "1e1"] {
            assert_eq!(bad.parse::<Address>().unwrap_err().exit_status(), Status::Usage, "{bad}");
        }
        Ok(())
    }
}
