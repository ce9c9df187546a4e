//! rtnetlink: netdevs read, changed, created and watched.
//!
//! A socket acts in the network namespace of the thread that opens it, for its whole life.

mod address;
mod error;
mod events;
mod link;
mod mac;
pub mod netns;
mod wire;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io;

use netlink_packet_core::{DecodeError, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::AddressMessage,
    link::{
        InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
        LinkMessage,
    },
};
use rustix::io::Errno;

use self::wire::Wire;
pub use self::{
    address::Address,
    error::{Cause, NetlinkError},
    events::{Event, Events},
    link::{AttachedXdp, Link, OperState, Vlan, XdpAttached},
    mac::{Mac, ParseMacError},
};

type Result<T> = std::result::Result<T, NetlinkError>;

/// A veth pair to create: `name` for the host, `peer` for us.
#[derive(Clone, Debug)]
pub struct VethSpec<'a> {
    /// At most 15 bytes, as every interface name.
    pub name: &'a str,
    pub peer: &'a str,
    /// Address of `name`; the kernel makes a random one for `peer`.
    pub mac: Mac,
    /// MTU of both ends.
    pub mtu: u32,
    /// Receive and transmit queues of each end. XDP needs as many on one end as on the other.
    pub queues: u32,
}

/// A socket for requests. Every call waits for the kernel's answer.
#[derive(Debug)]
pub struct Netlink {
    wire: Wire,
}

impl Netlink {
    pub fn new() -> io::Result<Self> {
        let wire = Wire::open()?;
        // Both options only make answers better; kernels before 4.20 lack the second.
        let _ = wire.socket.set_cap_ack(true).and_then(|()| wire.socket.set_ext_ack(true));
        let _ = wire.socket.set_netlink_get_strict_chk(true);
        Ok(Self { wire })
    }

    /// The netdev of that name. `None`: there is none.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.get_link(message).map_err(|cause| named("find", name, cause))
    }

    /// The netdev of that index. `None`: it is gone.
    pub fn link_by_index(&mut self, ifindex: u32) -> Result<Option<Link>> {
        self.get_link(by_index(ifindex)).map_err(|cause| named("find", &unnamed(ifindex), cause))
    }

    /// All netdevs of this network namespace.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let request = RouteNetlinkMessage::GetLink(without_stats(LinkMessage::default()));
        self.wire
            .request(request, NLM_F_DUMP, parse_link)
            .map_err(|cause| named("list", "the netdevs", cause))
    }

    /// Whether the netdev is up and has a carrier *now*. `None`: it is gone.
    ///
    /// RTM_GETLINK makes the kernel look at the carrier and send a link event it was holding back
    /// (`linkwatch_sync_dev` in `rtnl_getlink`), so this is the carrier poll: it is right also within the second for
    /// which the kernel delays a link-down event. It takes the RTNL lock: call it from the control thread only.
    pub fn carrier(&mut self, ifindex: u32) -> Result<Option<bool>> {
        Ok(self.link_by_index(ifindex)?.map(|link| link.carrier))
    }

    /// The IPv4 and IPv6 addresses of a netdev.
    pub fn addresses(&mut self, ifindex: u32) -> Result<Vec<Address>> {
        let mut message = AddressMessage::default();
        message.header.index = ifindex;
        let decode = |kind, payload: &[u8]| {
            if kind == libc::RTM_NEWADDR { Address::parse(payload, ifindex) } else { Ok(None) }
        };
        let answers =
            self.wire.request(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP, decode);
        answers.map_err(|cause| self.failed("list the addresses of", ifindex, cause))
    }

    /// Sets the netdev administratively up.
    pub fn set_up(&mut self, ifindex: u32) -> Result<()> {
        self.set("set up", up_flag(by_index(ifindex), LinkFlags::Up))
    }

    /// Sets the netdev administratively down, which also drops its routes and IPv6 addresses.
    pub fn set_down(&mut self, ifindex: u32) -> Result<()> {
        self.set("set down", up_flag(by_index(ifindex), LinkFlags::empty()))
    }

    /// Some drivers refuse while the device is up (EBUSY), some always (EOPNOTSUPP, EADDRNOTAVAIL, EINVAL).
    pub fn set_mac(&mut self, ifindex: u32, mac: Mac) -> Result<()> {
        let mut message = by_index(ifindex);
        message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
        self.set("set the MAC address of", message)
    }

    /// `mtu` in bytes of payload. ERANGE or EINVAL when the device cannot, also because of an XDP program.
    pub fn set_mtu(&mut self, ifindex: u32, mtu: u32) -> Result<()> {
        let mut message = by_index(ifindex);
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.set("set the MTU of", message)
    }

    /// Creates a veth pair, both ends down. EEXIST when one of the names is taken.
    pub fn create_veth(&mut self, spec: &VethSpec<'_>) -> Result<()> {
        let mut peer = LinkMessage::default();
        peer.attributes = veth_end(spec.peer, spec);
        let mut message = LinkMessage::default();
        message.attributes = veth_end(spec.name, spec);
        message.attributes.extend([
            LinkAttribute::Address(spec.mac.0.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
            ]),
        ]);
        self.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|cause| named("create the veth pair", spec.name, cause))
    }

    /// Deletes a virtual netdev; a veth takes its peer along.
    pub fn delete(&mut self, ifindex: u32) -> Result<()> {
        self.change(RouteNetlinkMessage::DelLink(by_index(ifindex)), 0)
            .map_err(|cause| self.failed("delete", ifindex, cause))
    }

    fn get_link(&mut self, message: LinkMessage) -> std::result::Result<Option<Link>, Cause> {
        match self.wire.request(RouteNetlinkMessage::GetLink(without_stats(message)), 0, parse_link)
        {
            Ok(links) => Ok(links.into_iter().next()),
            Err(Cause::Kernel { errno: Errno::NODEV, .. }) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    fn set(&mut self, op: &'static str, message: LinkMessage) -> Result<()> {
        let ifindex = message.header.index;
        self.change(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(|cause| self.failed(op, ifindex, cause))
    }

    fn change(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> std::result::Result<(), Cause> {
        self.wire.request(message, flags, |_, _| Ok(None::<()>)).map(drop)
    }

    /// An error that names the netdev, for which it is looked up only now.
    fn failed(&mut self, op: &'static str, ifindex: u32, cause: Cause) -> NetlinkError {
        let link = self.get_link(by_index(ifindex)).ok().flatten();
        named(op, &link.map_or_else(|| unnamed(ifindex), |link| link.name), cause)
    }
}

fn named(op: &'static str, name: &str, cause: Cause) -> NetlinkError {
    NetlinkError { op, name: name.to_owned(), cause }
}

fn unnamed(ifindex: u32) -> String {
    format!("ifindex {ifindex}")
}

fn by_index(ifindex: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message
}

fn up_flag(mut message: LinkMessage, value: LinkFlags) -> LinkMessage {
    message.header.flags = value;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// Counters make most of an answer, and summing them up most of its cost.
fn without_stats(mut message: LinkMessage) -> LinkMessage {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message
}

fn veth_end(name: &str, spec: &VethSpec<'_>) -> Vec<LinkAttribute> {
    vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(spec.mtu),
        LinkAttribute::NumTxQueues(spec.queues),
        LinkAttribute::NumRxQueues(spec.queues),
    ]
}

fn parse_link(kind: u16, payload: &[u8]) -> std::result::Result<Option<Link>, DecodeError> {
    if kind == libc::RTM_NEWLINK { Link::parse(payload) } else { Ok(None) }
}
