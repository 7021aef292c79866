//! Which addresses a client may have us call.
//!
//! An endpoint is a stranger's word, and we stand inside a network whose other machines trust us. So an endpoint is an
//! https address, and every address that its name resolves to must be one of the public internet (IANA special-purpose
//! registries, RFC 6890) or of a network that the operator has allowed. A name is resolved once a connection, and the
//! connection goes to what was looked at: a name that changes its mind between the two gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

/// A network, as `address/length`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let (own, other, width) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(own.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        (own ^ other).checked_shr(width - u32::from(self.length)).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let address: IpAddr = address.parse().map_err(drop)?;
        let length: u8 = length.parse().map_err(drop)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if length <= width { Ok(Network { address, length }) } else { Err(()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.length)
    }
}

const fn v4(octets: [u8; 4], length: u8) -> Network {
    let [a, b, c, d] = octets;
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length }
}

const fn v6(first: u16, second: u16, length: u8) -> Network {
    Network { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), length }
}

/// What of IPv4 is not the public internet.
const RESERVED_V4: &[Network] = &[
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// All of IPv6 that is given out for the public internet. What carries an IPv4 address in it (mapped, NAT64, 6to4, Teredo)
/// is outside or below.
const GLOBAL_V6: Network = v6(0x2000, 0, 3);

/// What of that is not the public internet.
const RESERVED_V6: &[Network] = &[v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];

fn is_public(address: IpAddr) -> bool {
    let reserved = match address {
        IpAddr::V4(_) => RESERVED_V4,
        IpAddr::V6(_) if !GLOBAL_V6.has(address) => return false,
        IpAddr::V6(_) => RESERVED_V6,
    };
    !reserved.iter().any(|network| network.has(address))
}

/// Who may be called.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub allowed: Vec<Network>,
    /// Whether this very machine may be called, and then without TLS as well.
    pub loopback: bool,
}

/// Why an address may not be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    NotAnAddress,
    NotHttps,
    NotPlain,
    NotPublic,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mistake::NotAnAddress => "It is no absolute address.",
            Mistake::NotHttps => "It begins with https://.",
            Mistake::NotPlain => "It has no user, no password and no fragment.",
            Mistake::NotPublic => "It must lead to a machine of the public internet.",
        })
    }
}

impl std::error::Error for Mistake {}

impl Rules {
    fn may_call(&self, address: IpAddr) -> bool {
        let allowed = self.allowed.iter().any(|network| network.has(address));
        allowed || self.loopback && address.is_loopback() || is_public(address)
    }

    /// An endpoint as far as its text says. What its name leads to is looked at when it is called.
    pub fn endpoint(&self, text: &str) -> Result<Url, Mistake> {
        let url = Url::parse(text).map_err(|_| Mistake::NotAnAddress)?;
        let literal = match url.host() {
            None => return Err(Mistake::NotAnAddress),
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
        };
        let is_here = url.host_str() == Some("localhost") || literal.is_some_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if self.loopback && is_here => {}
            _ => return Err(Mistake::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(Mistake::NotPlain);
        }
        if literal.is_some_and(|address| !self.may_call(address)) {
            return Err(Mistake::NotPublic);
        }
        Ok(url)
    }

    /// The addresses of a name, if all of them may be called. One that may not shows that the name means no good.
    pub async fn resolved(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ResolveError> {
        let found: Vec<SocketAddr> =
            tokio::net::lookup_host((host, port)).await.map_err(|_| ResolveError::Unknown)?.collect();
        match found.iter().all(|address| self.may_call(address.ip())) {
            true if !found.is_empty() => Ok(found),
            true => Err(ResolveError::Unknown),
            false => Err(ResolveError::NotPublic),
        }
    }
}

/// Why a name cannot be called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResolveError {
    Unknown,
    NotPublic,
}

impl fmt::Display for ResolveError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ResolveError::Unknown => "the name leads nowhere",
            ResolveError::NotPublic => "the name leads to a machine that may not be called",
        })
    }
}

impl std::error::Error for ResolveError {}

/// The only way by which the connections of rest-hooks come to addresses.
pub(super) struct Resolver(pub Rules);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0.clone();
        Box::pin(async move {
            // The port is the connection's own; zero stands for it.
            let found = rules.resolved(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_public_internet_is_known() {
        for (text, expected) in [
            ("1.1.1.1", true),
            ("93.184.216.34", true),
            ("100.63.255.255", true),
            ("172.32.0.1", true),
            ("2606:4700::1111", true),
            ("2a00:1450:4001::1", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("192.0.2.1", false),
            ("192.168.1.1", false),
            ("198.19.0.1", false),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("::ffff:1.1.1.1", false),
            ("::10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:a00:1::1", false),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn networks_hold_what_they_say() {
        let network = |text: &str| text.parse::<Network>();
        for text in ["10.0.0.0/33", "10.0.0.0", "fe80::/129", "x/8", "10.0.0.0/-1"] {
            assert!(network(text).is_err(), "{text}");
        }
        assert!(network("0.0.0.0/0").unwrap().has("9.9.9.9".parse().unwrap()));
        assert!(!network("0.0.0.0/0").unwrap().has("::1".parse().unwrap()));
        assert!(network("10.1.0.0/16").unwrap().has("10.1.255.1".parse().unwrap()));
        assert!(!network("10.1.0.0/16").unwrap().has("10.2.0.1".parse().unwrap()));
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
    }

    #[test]
    fn an_endpoint_is_looked_at_as_it_is_written() {
        let strict = Rules::default();
        let here = Rules { allowed: vec!["10.0.0.0/8".parse().unwrap()], loopback: true };
        for (text, of_strict, of_here) in [
            ("https://app.example/hook?x=1", Ok(()), Ok(())),
            ("https://10.0.0.1/hook", Err(Mistake::NotPublic), Ok(())),
            ("https://[::1]/hook", Err(Mistake::NotPublic), Ok(())),
            ("https://192.168.0.1/", Err(Mistake::NotPublic), Err(Mistake::NotPublic)),
            // Other ways to write 127.0.0.1.
            ("https://2130706433/", Err(Mistake::NotPublic), Ok(())),
            ("https://0x7f.1/", Err(Mistake::NotPublic), Ok(())),
            ("http://127.0.0.1:8080/", Err(Mistake::NotHttps), Ok(())),
            ("http://app.example/", Err(Mistake::NotHttps), Err(Mistake::NotHttps)),
            ("http://10.0.0.1/", Err(Mistake::NotHttps), Err(Mistake::NotHttps)),
            ("ftp://app.example/", Err(Mistake::NotHttps), Err(Mistake::NotHttps)),
            ("https://user:pw@app.example/", Err(Mistake::NotPlain), Err(Mistake::NotPlain)),
            ("https://app.example/#a", Err(Mistake::NotPlain), Err(Mistake::NotPlain)),
            ("hook", Err(Mistake::NotAnAddress), Err(Mistake::NotAnAddress)),
            ("mailto:a@b", Err(Mistake::NotAnAddress), Err(Mistake::NotAnAddress)),
        ] {
            assert_eq!(strict.endpoint(text).map(drop), of_strict, "{text}");
            assert_eq!(here.endpoint(text).map(drop), of_here, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_followed() {
        let strict = Rules::default();
        assert_eq!(strict.resolved("localhost", 443).await, Err(ResolveError::NotPublic));
        assert_eq!(strict.resolved("name.invalid", 443).await, Err(ResolveError::Unknown));
        let here = Rules { allowed: Vec::new(), loopback: true };
        assert!(here.resolved("localhost", 443).await.is_ok());
    }
}
