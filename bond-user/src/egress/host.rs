//! The host face: bond0, a veth pair made by us. The host uses one end as any NIC; ours is a port.

use std::collections::BTreeMap;

use bond_ebpf::layout::programs;

use rustix::io::Errno;

use crate::config::{HOST_SUFFIX, XdpChoice};
use crate::netlink::{Mac, Netlink, VethSpec};
use crate::poller::{Queue, Umem};
use crate::port::{Bound, Ethtool, GRO, PortError, Program, SHARED_UMEM, UNFINISHED, disable_ipv6};
use crate::xsk::{
    BindMode, Frames, Geometry, PortId, SocketStats, UmemHandle, XskMemory, XskRings,
};

/// What bond0 shall be.
#[derive(Clone, Copy, Debug)]
pub struct HostSpec<'a> {
    /// The bond's name.
    pub name: &'a str,
    /// Its MAC.
    pub mac: Mac,
    /// Its MTU: the slaves'.
    pub mtu: u32,
    /// Queues: one a worker.
    pub queues: u32,
}

/// bond0 and our end of it.
#[derive(Debug)]
pub struct Host {
    /// ifindex of bond0.
    pub ifindex: u32,
    /// Name of our end.
    pub port_name: String,
    /// ifindex of our end.
    pub port_ifindex: u32,
    queues: u32,
    /// Program on our end, once opened.
    open: Option<(Program, Bound)>,
}

/// What one worker gets of bond0: its queue, and the UMEM that copy-mode slaves share with it.
pub type HostShare = (Queue<XskRings>, Umem<XskMemory>);

impl Host {
    /// Refuses names that are taken.
    ///
    /// # Errors
    /// [`PortError::NameTaken`].
    pub fn check(nl: &mut Netlink, name: &str) -> Result<(), PortError> {
        for name in [name.to_owned(), format!("{name}{HOST_SUFFIX}")] {
            if nl.link(&name)?.is_some() {
                return Err(PortError::NameTaken(name));
            }
        }
        Ok(())
    }

    /// Makes the pair, both ends down.
    ///
    /// # Errors
    /// When the kernel refuses; then there is no pair.
    pub fn create(nl: &mut Netlink, spec: &HostSpec<'_>) -> Result<Self, PortError> {
        let HostSpec { name, mac, mtu, queues } = *spec;
        let port_name = format!("{name}{HOST_SUFFIX}");
        nl.create_veth(&VethSpec { name, peer: &port_name, mac, mtu, queues })?;
        let index = |nl: &mut Netlink, name: &str| {
            nl.link(name)?.map(|link| link.index).ok_or_else(|| PortError::Missing(name.to_owned()))
        };
        let ifindex = index(nl, name)?;
        let port_ifindex = index(nl, &port_name)?;
        Ok(Self { ifindex, port_name, port_ifindex, queues, open: None })
    }

    /// Sets both ends up for AF_XDP and binds one socket a worker, each on a UMEM made here.
    ///
    /// Our end is the first socket of the shared UMEMs on purpose: later sockets are bound against
    /// the first one's, so it must be the one that never goes away.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn open(
        &mut self,
        nl: &mut Netlink,
        name: &str,
        geometry: Geometry,
        chunks: &[u32],
    ) -> Result<Vec<HostShare>, PortError> {
        // Frames must leave bond0 finished: whole checksums, one frame a buffer.
        let ethtool = Ethtool::new().map_err(|errno| offload_error(name, errno))?;
        let off: BTreeMap<_, _> =
            UNFINISHED.iter().map(|feature| ((*feature).to_owned(), false)).collect();
        // What the host gets may be merged: frames that gathered reach it in few pieces.
        let mut host = off.clone();
        host.insert(GRO.to_owned(), true);
        for (end, offloads) in [(name, &host), (&*self.port_name, &off)] {
            ethtool.set_offloads(end, offloads).map_err(|errno| offload_error(end, errno))?;
        }
        // Our end must not send router solicitations of its own to the host.
        disable_ipv6(&self.port_name)?;
        let program =
            Program::attach(programs::HOST, &self.port_name, self.port_ifindex, XdpChoice::Auto)?;
        nl.set_up(self.port_ifindex)?;
        let mut shares = Vec::new();
        let mut sockets = Vec::new();
        for (queue, chunks) in (0..self.queues).zip(chunks) {
            let memory = XskMemory::new(SHARED_UMEM, geometry, *chunks)?;
            let (port, mode) = (&self.port_name, BindMode::Copy);
            let rings = XskRings::bind(port, queue, &memory.handle(), geometry, mode)?;
            sockets.push((queue, rings.stats()));
            let frames = Frames::new(SHARED_UMEM, memory.chunks());
            let queue = Queue::new(rings, PortId::HOST, SHARED_UMEM, geometry.depth(mode));
            shares.push((queue, Umem { frames, memory }));
        }
        self.open = Some((program, Bound::new(BindMode::Copy, sockets)));
        nl.set_down(self.port_ifindex)?;
        nl.set_up(self.ifindex)?;
        Ok(shares)
    }

    /// Handles of the shared UMEMs, worker 0 first.
    #[must_use]
    pub fn umems(shares: &[HostShare]) -> Vec<UmemHandle> {
        shares.iter().map(|(_, umem)| umem.memory.handle()).collect()
    }

    /// From now on frames of the host are redirected into the sockets.
    ///
    /// # Errors
    /// When the XSKMAP refuses one.
    pub fn open_gates(&mut self) -> Result<(), PortError> {
        if let Some((program, bound)) = &mut self.open {
            bound.open_gates(program)?;
        }
        Ok(())
    }

    /// bond0's carrier: that of a veth is its peer being up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_carrier(&mut self, nl: &mut Netlink, carrier: bool) -> Result<(), PortError> {
        if carrier {
            nl.set_up(self.port_ifindex)?;
        } else {
            nl.set_down(self.port_ifindex)?;
        }
        // Asking makes the kernel act on it now; until then bond0's queueing discipline drops frames.
        nl.carrier(self.ifindex)?;
        Ok(())
    }

    /// Where the program on our end runs.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        self.open.as_ref().map(|(program, _)| program)
    }

    /// The kernel's counters over the sockets of our end.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        self.open.as_ref().map_or_else(SocketStats::default, |(_, bound)| bound.stats())
    }
}

fn offload_error(name: &str, errno: Errno) -> PortError {
    PortError::Offloads { name: name.to_owned(), errno }
}
