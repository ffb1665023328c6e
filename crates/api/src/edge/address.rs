//! Where a request comes from: its peer, or what proxies that are trusted say of it.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use axum::http::HeaderMap;
use ipnet::IpNet;

const FORWARDED: &str = "x-forwarded-for";
/// Longer ways through proxies are nobody's but an attacker's.
const HOPS_MAX: usize = 16;

/// Hops whose word is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl FromStr for Proxies {
    type Err = String;

    /// Addresses and networks, comma separated.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let network = |part: &str| part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from));
        let told = |part: &str| format!("`{part}` is no address and no network: write 10.0.0.0/8 or fd00::/8");
        parts.map(|part| network(part).map_err(|_| told(part))).collect::<Result<_, _>>().map(Self)
    }
}

impl Proxies {
    pub fn are(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// From right to left, each hop is believed as long as the one that tells of it is trusted: what a caller wrote
    /// itself stands to the left of what was seen of it.
    pub fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all(FORWARDED).into_iter().collect::<Vec<_>>();
        let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut from = peer.to_canonical();
        for hop in hops.take(HOPS_MAX) {
            match read(hop) {
                Some(address) if self.are(from) => from = address,
                Some(_) | None => break,
            }
        }
        from
    }
}

/// Some proxies write the port, too.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim();
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse().map(|hop: std::net::SocketAddr| hop.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Whom one caller without a name can be anywhere in: the /24 of an IPv4 address, the /48 of an IPv6 one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits() & (!0 << 8)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 80)).into(),
    }
}

/// Who is one holder of connections: an IPv4 address, or the /64 that everybody with an IPv6 address has.
pub fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn told(peer: &str, lines: &[&str]) -> String {
        let proxies: Proxies = "10.0.0.0/8, 192.0.2.7, fd00::/8".parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        proxies.origin(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_a_trusted_peer_can_say_where_a_request_comes_from() {
        assert_eq!(told("198.51.100.1", &["203.0.113.9"]), "198.51.100.1");
        assert_eq!(told("10.1.2.3", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(told("::ffff:10.1.2.3", &["::ffff:203.0.113.9"]), "203.0.113.9");
        assert_eq!(told("192.0.2.7", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(told("fd00::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(told("fd00::1", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(told("10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn what_a_caller_wrote_itself_is_not_believed() {
        assert_eq!(told("10.0.0.1", &["127.0.0.1, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.9.9.9"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["1.1.1.1", "203.0.113.9", "10.9.9.9"]), "203.0.113.9");
        assert_eq!(told("10.0.0.1", &["10.2.2.2, 10.9.9.9"]), "10.2.2.2", "all are ours");
    }

    #[test]
    fn what_cannot_be_read_ends_the_way_at_whoever_told_it() {
        for odd in ["", " ", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "::1::", "999.1.1.1", "\u{fc}", "0x7f000001"] {
            assert_eq!(told("10.0.0.1", &[odd]), "10.0.0.1", "{odd:?}");
            assert_eq!(told("10.0.0.1", &[&format!("1.1.1.1,{odd},10.0.0.2")]), "10.0.0.2", "{odd:?}");
        }
        let long = ["10.0.0.2"; 1_000].join(",");
        assert_eq!(told("10.0.0.1", &[&format!("203.0.113.9,{long}")]), "10.0.0.2", "a way without an end");
    }

    #[test]
    fn networks_are_written_as_such() {
        assert!(["", " ", "10.0.0.0/8", "10.0.0.1,fd00::/8", "::1"].iter().all(|text| text.parse::<Proxies>().is_ok()));
        for bad in ["10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/8;1.1.1.1", "*"] {
            let problem = bad.parse::<Proxies>().unwrap_err();
            assert!(problem.contains("write 10.0.0.0/8"), "{problem}");
        }
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!((of("203.0.113.77"), of("::ffff:203.0.113.77")), ("203.0.113.0".into(), "203.0.113.0".into()));
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
        assert_eq!(holder("2001:db8:1:2:3:4:5:6".parse().unwrap()).to_string(), "2001:db8:1:2::");
    }
}
