//! Where messages may go. A client names the place, and this process stands inside our walls: whatever is not plainly outside
//! is refused, by its name when it is named and by its addresses each time that a connection is made.
//!
//! The addresses that a name has are asked for here, all of them have to be outside, and the connection is made to one of
//! those: a name that has another address a moment later leads nowhere else.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use tower::Service;
use url::{Host, Url};

/// Ends of names that are given away for uses inside of houses.
const INSIDE: [&str; 9] = ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "test", "home.arpa"];

/// Networks that are nowhere in the internet, or are not one machine: IANA's registries of special-purpose addresses.
const SPECIAL_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];
/// Of 2000::/3, the only part of IPv6 that is given to machines: what is special in it, or carries an IPv4 address.
const SPECIAL_V6: [(Ipv6Addr, u8); 5] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Why nothing is sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("say https://, a name or an address, and a path")]
    Form,
    #[error("a URL carries no user and no password here: put what proves who we are into its path or query")]
    User,
    #[error("it leads to a machine of ours, or to none that is reached from everywhere")]
    Inside,
}

/// What messages go through.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Networks of the desk's own that messages may go to, encrypted or not.
    trusted: Arc<[IpNet]>,
}

impl Guard {
    pub fn new(trusted: Vec<IpNet>) -> Self {
        Self { trusted: trusted.into() }
    }

    /// Whether a URL may be gone to, as far as it tells by itself.
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        let host = url.host().ok_or(Refused::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::User);
        }
        let address = match host {
            Host::Domain(name) => return if url.scheme() == "https" { named(name) } else { Err(Refused::Form) },
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        match (url.scheme(), self.trusts(address)) {
            ("https" | "http", true) => Ok(()),
            ("https", false) if is_outside(address) => Ok(()),
            ("https", false) => Err(Refused::Inside),
            _ => Err(Refused::Form),
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// Of the addresses of a name those that may be gone to: all, or none.
    pub fn admit(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let fine = |address: &SocketAddr| self.trusts(address.ip()) || is_outside(address.ip());
        if !addresses.is_empty() && addresses.iter().all(fine) { Ok(addresses) } else { Err(Refused::Inside) }
    }
}

/// Whether a name may be one of the internet, as far as it tells by itself. An address is none.
pub(super) fn named(name: &str) -> Result<(), Refused> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let inside = |end: &&str| name == **end || name.ends_with(&format!(".{end}"));
    let is_address = name.ends_with(|last: char| !last.is_alphanumeric()) || name.parse::<IpAddr>().is_ok();
    if is_address || !name.contains('.') || INSIDE.iter().any(inside) { Err(Refused::Inside) } else { Ok(()) }
}

/// Whether an address is one machine of the internet.
pub fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !SPECIAL_V4.iter().any(|(network, bits)| starts(address.to_bits(), network.to_bits(), *bits))
        }
        // All else carries an IPv4 address, is this machine or this house, or is nobody's.
        IpAddr::V6(address) => {
            address.segments()[0] & 0xe000 == 0x2000
                && !SPECIAL_V6
                    .iter()
                    .any(|(network, bits)| address.to_bits() >> (128 - bits) == network.to_bits() >> (128 - bits))
        }
    }
}

fn starts(address: u32, network: u32, bits: u8) -> bool {
    address >> (32 - bits) == network >> (32 - bits)
}

/// How names are looked up.
pub trait LookUp: Clone + Send + Sync + 'static {
    fn addresses(&self, name: String) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// As this machine does it.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl LookUp for System {
    async fn addresses(&self, name: String) -> io::Result<Vec<SocketAddr>> {
        // The connector puts its own port in place of this one.
        Ok(tokio::net::lookup_host((name, 0)).await?.collect())
    }
}

/// Looks names up for a connection, and gives only what may be gone to.
#[derive(Debug, Clone)]
pub struct Guarded<L> {
    pub guard: Guard,
    pub look_up: L,
}

impl<L: LookUp> Service<Name> for Guarded<L> {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { guard, look_up } = self.clone();
        Box::pin(async move {
            let addresses = look_up.addresses(name.as_str().to_owned()).await?;
            let admitted =
                guard.admit(addresses).map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, why))?;
            Ok(admitted.into_iter())
        })
    }
}
