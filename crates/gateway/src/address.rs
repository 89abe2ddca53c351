//! The client's address: the only place that decides whom to believe.
//!
//! Promise: a peer that is not in `trusted_proxies` can claim nothing. From a trusted peer the PROXY protocol's
//! source comes first, then `X-Forwarded-For` is read from the right, skipping trusted hops; what stands left of the
//! first address that is not ours was written by that client and is ignored.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// Most hops read from `X-Forwarded-For`; longer chains are not believed beyond it.
const HOPS_MAX: usize = 32;

/// Whether `address` is one of the trusted proxies. IPv4 inside IPv6 counts as IPv4.
pub(crate) fn is_trusted(address: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    !trusted_proxies.is_empty() && trusted_proxies.iter().any(|net| net.contains(&address.to_canonical()))
}

/// Whom an address stands for where somebody's doings are counted: of IPv6, whoever has one address has a /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The address that a request is said to come from.
///
/// `peer` is the TCP peer; `proxied` is the source in a PROXY header, read only from trusted peers.
pub(crate) fn client_address(
    peer: SocketAddr,
    proxied: Option<SocketAddr>,
    headers: &HeaderMap,
    trusted_proxies: &[IpNet],
) -> IpAddr {
    let nearest = proxied.unwrap_or(peer).ip().to_canonical();
    if !is_trusted(peer.ip(), trusted_proxies) || !is_trusted(nearest, trusted_proxies) {
        return nearest;
    }
    let mut client = nearest;
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().filter_map(|line| line.to_str().ok()).collect();
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    for hop in hops.take(HOPS_MAX) {
        let Some(address) = hop_address(hop.trim()) else { break };
        client = address;
        if !is_trusted(address, trusted_proxies) {
            break;
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or IPv6 in brackets.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("a header value"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        client_address(peer.parse().expect("a socket address"), None, &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(address("10.0.0.1:5", &["1.2.3.4"], &[]), "10.0.0.1");
        assert_eq!(address("9.9.9.9:5", &["1.2.3.4"], &["10.0.0.0/8"]), "9.9.9.9");
    }

    #[test]
    fn the_first_untrusted_hop_from_the_right_is_the_client() {
        let trusted = &["10.0.0.0/8"];
        assert_eq!(address("10.0.0.1:5", &["1.2.3.4"], trusted), "1.2.3.4");
        assert_eq!(address("10.0.0.1:5", &["6.6.6.6, 1.2.3.4, 10.0.0.2"], trusted), "1.2.3.4");
        assert_eq!(address("10.0.0.1:5", &["6.6.6.6", "1.2.3.4"], trusted), "1.2.3.4");
        assert_eq!(address("[::ffff:10.0.0.1]:5", &["1.2.3.4:8080"], trusted), "1.2.3.4");
        assert_eq!(address("10.0.0.1:5", &["[2001:db8::1]:443"], trusted), "2001:db8::1");
    }

    #[test]
    fn garbage_ends_the_chain() {
        assert_eq!(address("10.0.0.1:5", &["unknown"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(address("10.0.0.1:5", &["1.2.3.4, <script>, 10.0.0.9"], &["10.0.0.0/8"]), "10.0.0.9");
        assert_eq!(address("10.0.0.1:5", &[""], &["10.0.0.0/8"]), "10.0.0.1");
    }
}
