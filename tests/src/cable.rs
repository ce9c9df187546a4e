//! Cables: veth pairs that behave like a wire between two netdevs.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use crate::{Mac, Netns, packet::PacketSocket, sys};

/// The ifindex of the next cable's end; those below are left to netdevs that are no cables.
static NEXT_INDEX: AtomicU32 = AtomicU32::new(1000);

/// A netdev in a namespace.
#[derive(Clone, Debug)]
pub struct Port {
    pub netns: Netns,
    pub name: String,
    pub mac: Mac,
}

impl Port {
    /// Names a netdev; it need not exist yet.
    #[must_use]
    pub fn new(netns: &Netns, name: &str, mac: Mac) -> Self {
        Self { netns: netns.clone(), name: name.to_owned(), mac }
    }

    /// Sets the netdev administratively up or down.
    pub fn set_up(&self, up: bool) -> Result<()> {
        let state = if up { "up" } else { "down" };
        self.netns.ip(&format!("link set {} {state}", self.name))?;
        self.netns.settle(&self.name)
    }

    /// Gives the netdev an address, for example `10.3.3.1/24`.
    pub fn add_address(&self, address: &str) -> Result<()> {
        // Without duplicate address detection an IPv6 address is usable at once.
        let nodad = if address.contains(':') { "nodad" } else { "" };
        self.netns.ip(&format!("address add {address} dev {} {nodad}", self.name)).map(drop)
    }

    /// Turns off every offload by which a frame could leave unfinished: checksum, TSO, GSO, GRO.
    pub fn offloads_off(&self) -> Result<()> {
        self.netns.run(|| sys::offloads_off(&self.name))
    }

    /// A packet socket on this netdev that sends any frame and receives those of `ethertype`.
    pub fn packet_socket(&self, ethertype: u16) -> Result<PacketSocket> {
        self.netns.run(|| PacketSocket::open(&self.name, ethertype))
    }
}

/// When the kernel tells that the near end of a cable lost its carrier (`linkwatch_urgent_event`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvents {
    /// At once, as of every veth whose ifindex differs from its peer's, and of the slaves of a kernel bond.
    Prompt,
    /// Up to a second later, as of a NIC: only one such event a second is told at once.
    ///
    /// A veth is treated like that when both ends, in two namespaces, happen to have the same ifindex.
    Late,
}

/// A veth pair. `near` is the side under test, `far` the switch's or the peer's.
#[derive(Clone, Debug)]
pub struct Cable {
    pub near: Port,
    pub far: Port,
}

impl Cable {
    /// Joins two netdevs that do not exist yet, with `queues` queues on both ends, and sets both up.
    pub fn connect(near: Port, far: Port, queues: u32, link_events: LinkEvents) -> Result<Self> {
        let queue_counts = format!("numtxqueues {queues} numrxqueues {queues}");
        let near_index = NEXT_INDEX.fetch_add(2, Ordering::Relaxed);
        let far_index = match link_events {
            LinkEvents::Prompt => near_index + 1,
            LinkEvents::Late => near_index,
        };
        near.netns.ip(&format!(
            "link add {} index {near_index} address {} {queue_counts} type veth \
             peer name {} index {far_index} address {} {queue_counts} netns {}",
            near.name,
            near.mac,
            far.name,
            far.mac,
            far.netns.name()
        ))?;
        for port in [&near, &far] {
            port.offloads_off()?;
            port.set_up(true)?;
        }
        near.netns.settle(&near.name)?;
        Ok(Self { near, far })
    }

    /// Pulls the plug at the far end: the near end loses its carrier.
    pub fn pull(&self) -> Result<()> {
        self.far.set_up(false)
    }

    /// Plugs the far end in again.
    pub fn plug(&self) -> Result<()> {
        self.far.set_up(true)
    }

    /// Deletes the near netdev, and so both ends: the card is gone.
    pub fn remove(&self) -> Result<()> {
        self.near.netns.ip(&format!("link del {}", self.near.name)).map(drop)
    }
}
