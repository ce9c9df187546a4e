//! Binding a netdev's queues to sockets, and dealing them out to the workers.

use std::sync::Arc;

use super::program::{Program, XdpMode};
use super::{PortError, ProgramFailure};
use crate::config::BindChoice;
use crate::poller::{Queue, SlavePort, Umem};
use crate::xsk::{
    BindMode, Features, Frames, Geometry, PortId, SocketStats, StatsHandle, UmemHandle, UmemId,
    XskError, XskMemory, XskRings,
};

/// Id of the UMEM that bond0's end and all copy-mode slaves of a worker share.
pub const SHARED_UMEM: UmemId = 0;

/// Id of a zero-copy slave's own UMEM.
pub(crate) const fn own_umem(slot: u8) -> UmemId {
    SHARED_UMEM + 1 + slot
}

/// What one worker gets of a slave.
#[derive(Debug)]
pub struct Share {
    /// Its queues.
    pub slave: SlavePort<XskRings>,
    /// The slave's own UMEM, in zero-copy mode.
    pub umem: Option<(UmemId, Umem<XskMemory>)>,
}

/// The sockets of a netdev as the control thread keeps them: queue and handle.
#[derive(Debug)]
pub struct Bound {
    /// How they are bound.
    pub mode: BindMode,
    sockets: Vec<(u32, StatsHandle)>,
}

impl Bound {
    pub(crate) fn new(mode: BindMode, sockets: Vec<(u32, StatsHandle)>) -> Self {
        Self { mode, sockets }
    }

    /// The kernel's counters over all sockets. Those of a vanished netdev count nothing.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let mut sum = SocketStats::default();
        let read = self.sockets.iter().filter_map(|(_, socket)| socket.read().ok());
        read.for_each(|stats| sum += stats);
        sum
    }

    /// Lets the program redirect into the sockets.
    ///
    /// # Errors
    /// When the XSKMAP refuses one.
    pub fn open_gates(&self, program: &mut Program) -> Result<(), ProgramFailure> {
        self.sockets.iter().try_for_each(|(queue, socket)| program.set_socket(*queue, *socket))
    }
}

/// Binds the sockets of a slave anew, in the mode they had.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) spec: Arc<BindSpec>,
    pub(super) mode: BindMode,
}

impl Binding {
    /// ifindex of the netdev.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.spec.ifindex
    }

    /// One socket a queue, after all were closed. `ifname` is what the netdev is called now.
    ///
    /// # Errors
    /// [`PortError`], with nothing left bound; for a while after closing that is to be expected, as the kernel lets
    /// go of a queue a little later than of its socket (`xp_release_deferred`, net/xdp/xsk_buff_pool.c).
    pub fn bind(&self, ifname: &str) -> Result<(Bound, Vec<Share>), PortError> {
        self.spec.bind_mode(ifname, self.mode)
    }
}

/// What is needed to bind one slave, and to bind it again.
#[derive(Debug)]
pub(super) struct BindSpec {
    pub(super) ifindex: u32,
    pub(super) slot: u8,
    pub(super) queues: u32,
    pub(super) choice: BindChoice,
    pub(super) features: Features,
    pub(super) xdp: XdpMode,
    pub(super) geometry: Geometry,
    /// The shared UMEM of each worker.
    pub(super) shared: Vec<UmemHandle>,
}

impl BindSpec {
    /// Zero-copy where it may and can be, else copy, unless that was ruled out.
    pub(super) fn bind(&self, ifname: &str) -> Result<(Bound, Vec<Share>), PortError> {
        let able = self.features.zero_copy && self.xdp == XdpMode::Native;
        match self.choice {
            BindChoice::Copy => self.bind_mode(ifname, BindMode::Copy),
            BindChoice::ZeroCopy => self.bind_mode(ifname, BindMode::ZeroCopy),
            BindChoice::Auto if !able => self.bind_mode(ifname, BindMode::Copy),
            BindChoice::Auto => self.bind_mode(ifname, BindMode::ZeroCopy).or_else(|refused| {
                tracing::warn!("{ifname}: no zero-copy after all, using copy: {refused}");
                self.bind_mode(ifname, BindMode::Copy)
            }),
        }
    }

    fn bind_mode(&self, ifname: &str, mode: BindMode) -> Result<(Bound, Vec<Share>), PortError> {
        let mut sockets = Vec::new();
        let mut shares = Vec::new();
        for worker in 0..self.shared.len() {
            shares.push(self.share(ifname, worker, mode, &mut sockets)?);
        }
        Ok((Bound::new(mode, sockets), shares))
    }

    /// Worker w owns the queues q with q % workers == w, so that no queue is left without a socket.
    fn share(
        &self,
        ifname: &str,
        worker: usize,
        mode: BindMode,
        sockets: &mut Vec<(u32, StatsHandle)>,
    ) -> Result<Share, XskError> {
        let mine = || (0..self.queues).skip(worker).step_by(self.shared.len());
        // A zero-copy slave has a UMEM of its own: one that sockets share is bound in one mode, and
        // bond0's end can only copy. It also leaves with its slave, stranded frames and all.
        let (umem, handle) = match mode {
            BindMode::Copy => (None, self.shared[worker].clone()),
            BindMode::ZeroCopy => {
                let count = u32::try_from(mine().count()).unwrap_or(u32::MAX);
                let id = own_umem(self.slot);
                let memory = XskMemory::new(id, self.geometry, self.geometry.chunks(count))?;
                let handle = memory.handle();
                let umem = Umem { frames: Frames::new(id, memory.chunks()), memory };
                (Some((id, umem)), handle)
            }
        };
        let id = umem.as_ref().map_or(SHARED_UMEM, |(id, _)| *id);
        let mut queues = Vec::new();
        for queue in mine() {
            let rings = XskRings::bind(ifname, queue, &handle, self.geometry, mode)?;
            sockets.push((queue, rings.stats()));
            queues.push(Queue::new(rings, PortId::slave(self.slot), id, self.geometry.depth(mode)));
        }
        Ok(Share { slave: SlavePort { queues }, umem })
    }
}
