//! What the kernel says about one netdev (`RTM_NEWLINK`).

use netlink_packet_core::{DecodeError, parse_string, parse_u8, parse_u32};
use netlink_packet_route::{
    AddressFamily,
    link::{LinkFlags, LinkHeader},
};

use super::{
    Mac,
    wire::{attribute, attributes},
};
use crate::watch::CarrierCounts;

pub use netlink_packet_route::link::{State as OperState, XdpAttached};

/// `struct ifinfomsg`: 16 bytes before the attributes.
const IFINFOMSG_BYTES: usize = 16;
// linux/if_link.h, the nested attributes of IFLA_XDP.
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
// The nested attributes of IFLA_INFO_DATA of a VLAN.
const IFLA_VLAN_ID: u16 = 1;
const IFLA_VLAN_PROTOCOL: u16 = 5;

/// A netdev as rtnetlink describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// The link kind: "veth", "bond"; `None` for hardware.
    pub kind: Option<String>,
    /// Zero when the device has no 6-byte address.
    pub mac: Mac,
    /// The address burnt into the device, when the driver tells it.
    pub perm_mac: Option<Mac>,
    /// Bytes of payload, without the Ethernet header.
    pub mtu: u32,
    /// Set up by the administrator (IFF_UP).
    pub up: bool,
    /// IFF_RUNNING: operationally up, which lags behind the carrier.
    pub running: bool,
    pub lower_up: bool,
    pub loopback: bool,
    /// With a carrier, set up or not (IFLA_CARRIER).
    pub has_carrier: bool,
    /// How often that changed, where the kernel tells.
    pub carrier_counts: Option<CarrierCounts>,
    /// Up and with a carrier: the condition miimon uses (`bond_check_dev_link`).
    pub carrier: bool,
    pub operstate: OperState,
    /// ifindex of the bridge, bond or team it is enslaved to.
    pub master: Option<u32>,
    /// ifindex of the netdev it is on: of a VLAN its lower one, of a veth its peer (IFLA_LINK). `None` too if that is in
    /// another network namespace.
    pub lower: Option<u32>,
    /// The tag that a VLAN netdev gives to its frames.
    pub vlan: Option<Vlan>,
    /// Queues allocated; those in use can be fewer (see `Ethtool::channels`).
    pub num_rx_queues: u32,
    pub num_tx_queues: u32,
    pub xdp: Option<AttachedXdp>,
    /// ARPHRD_* of linux/if_arp.h.
    pub arphrd: u16,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// 0 to 4094.
    pub id: u16,
    /// Its ethertype: 0x8100, or 0x88a8 for a service tag (IEEE 802.1ad).
    pub protocol: u16,
}

/// The XDP program of a netdev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedXdp {
    pub mode: XdpAttached,
    /// `None` when there are several (XDP_ATTACHED_MULTI).
    pub prog_id: Option<u32>,
}

impl Link {
    pub fn is_ethernet(&self) -> bool {
        self.arphrd == libc::ARPHRD_ETHER
    }

    /// Reads the payload of RTM_NEWLINK or RTM_DELLINK. Only the attributes used here are looked at: an attribute that
    /// a newer kernel changed cannot fail the whole.
    ///
    /// `None` for a message that does not describe a netdev: one of AF_BRIDGE tells of a bridge port, one without
    /// IFLA_MTU of a wireless event.
    pub(super) fn parse(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let header = LinkHeader::parse(payload)?;
        let attributes = &payload[IFINFOMSG_BYTES..];
        let (Some(name), Some(_)) =
            (attribute(attributes, libc::IFLA_IFNAME), attribute(attributes, libc::IFLA_MTU))
        else {
            return Ok(None);
        };
        if header.interface_family != AddressFamily::Unspec {
            return Ok(None);
        }
        let mut link = Self::new(&header, parse_string(name)?);
        link.read(attributes)?;
        link.carrier = link.up && link.has_carrier;
        if attribute(attributes, libc::IFLA_LINK_NETNSID).is_some() {
            link.lower = None; // Another network namespace's ifindex.
        }
        Ok(Some(link))
    }

    fn new(header: &LinkHeader, name: String) -> Self {
        let flag = |flag| header.flags.contains(flag);
        Self {
            index: header.index,
            name,
            kind: None,
            mac: Mac::ZERO,
            perm_mac: None,
            mtu: 0,
            up: flag(LinkFlags::Up),
            running: flag(LinkFlags::Running),
            lower_up: flag(LinkFlags::LowerUp),
            loopback: flag(LinkFlags::Loopback),
            has_carrier: flag(LinkFlags::LowerUp),
            carrier_counts: None,
            carrier: false,
            operstate: OperState::Unknown,
            master: None,
            lower: None,
            vlan: None,
            num_rx_queues: 1,
            num_tx_queues: 1,
            xdp: None,
            arphrd: header.link_layer_type.into(),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        for (kind, value) in attributes(bytes) {
            match kind {
                libc::IFLA_ADDRESS => self.mac = mac(value).unwrap_or_default(),
                libc::IFLA_PERM_ADDRESS => self.perm_mac = mac(value),
                libc::IFLA_MTU => self.mtu = parse_u32(value)?,
                libc::IFLA_MASTER => self.master = Some(parse_u32(value)?),
                libc::IFLA_LINK => self.lower = Some(parse_u32(value)?),
                libc::IFLA_OPERSTATE => self.operstate = parse_u8(value)?.into(),
                libc::IFLA_CARRIER => self.has_carrier = parse_u8(value)? != 0,
                libc::IFLA_CARRIER_UP_COUNT => self.counts().up = parse_u32(value)?,
                libc::IFLA_CARRIER_DOWN_COUNT => self.counts().down = parse_u32(value)?,
                libc::IFLA_NUM_RX_QUEUES => self.num_rx_queues = parse_u32(value)?,
                libc::IFLA_NUM_TX_QUEUES => self.num_tx_queues = parse_u32(value)?,
                libc::IFLA_LINKINFO => {
                    self.kind =
                        attribute(value, libc::IFLA_INFO_KIND).map(parse_string).transpose()?;
                    let data = attribute(value, libc::IFLA_INFO_DATA);
                    self.vlan =
                        data.filter(|_| self.kind.as_deref() == Some("vlan")).and_then(vlan);
                }
                libc::IFLA_XDP => self.xdp = xdp(value)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn counts(&mut self) -> &mut CarrierCounts {
        self.carrier_counts.get_or_insert_default()
    }
}

fn vlan(data: &[u8]) -> Option<Vlan> {
    let id = attribute(data, IFLA_VLAN_ID)?.try_into().ok().map(u16::from_ne_bytes)?;
    let protocol = attribute(data, IFLA_VLAN_PROTOCOL).and_then(|value| value.try_into().ok());
    Some(Vlan { id, protocol: protocol.map_or(0x8100, u16::from_be_bytes) })
}

fn mac(value: &[u8]) -> Option<Mac> {
    value.try_into().ok().map(Mac)
}

fn xdp(nested: &[u8]) -> Result<Option<AttachedXdp>, DecodeError> {
    let mode = attribute(nested, IFLA_XDP_ATTACHED)
        .map_or(Ok(0), parse_u8)
        .and_then(XdpAttached::try_from)?;
    let prog_id = attribute(nested, IFLA_XDP_PROG_ID).map(parse_u32).transpose()?;
    Ok((mode != XdpAttached::None).then_some(AttachedXdp { mode, prog_id }))
}
