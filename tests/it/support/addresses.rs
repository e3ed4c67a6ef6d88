//! The addresses of a node, its Pods and its Services: of IPv4, or of IPv6 alone, as EKS has clusters of either kind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Of IPv4.
    V4,
    /// Of IPv6: Pods have no other.
    V6,
}

impl Family {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The node's.
    pub(crate) const fn node(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 98, 0, 1)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd98, 0, 0, 0, 0, 0, 0, 1)),
        }
    }

    /// Those of Pods.
    pub(crate) const fn pods(self) -> &'static str {
        match self {
            Self::V4 => "10.99.0.0/24",
            Self::V6 => "fd99::/64",
        }
    }

    /// Those of Services.
    pub(crate) const fn services(self) -> &'static str {
        match self {
            Self::V4 => "10.0.0.0/24",
            Self::V6 => "fd10::/108",
        }
    }

    /// The API server's as a Service, the first of them: what Pods are told.
    pub(crate) const fn api_server(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 1)),
        }
    }

    /// Where the agent of EKS Pod Identity listens on a node.
    ///
    /// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
    pub(crate) const fn agent(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
            Self::V6 => IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
        }
    }

    /// All there are, as the address that a server binds.
    pub(crate) const fn any(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// All there are, as the target of a route.
    pub(crate) const fn everywhere(self) -> &'static str {
        match self {
            Self::V4 => "0.0.0.0/0",
            Self::V6 => "::/0",
        }
    }

    /// The domain of the hosts of AWS that have such addresses: those of its dual-stack endpoints are others.
    pub(crate) const fn domain(self) -> &'static str {
        match self {
            Self::V4 => "amazonaws.com",
            Self::V6 => "api.aws",
        }
    }
}
