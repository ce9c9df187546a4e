//! Opening a netdev as a slave.

use std::sync::Arc;

use bond_ebpf::layout::{MAX_QUEUES, programs, slave_flags};

use super::ethtool::Ethtool;
use super::program::Program;
use super::share::{BindSpec, Binding, Bound, Share};
use super::{PortError, ProgramFailure};
use crate::config::{BindChoice, XdpChoice};
use crate::netlink::{Link, Netlink};
use crate::xsk::{Features, Geometry, SocketStats, UmemHandle, probe};

/// A netdev that was looked at and found fit: nothing about it is changed yet.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As rtnetlink told.
    pub link: Link,
    /// What it can do with XDP.
    pub features: Features,
    /// Receive queues in use.
    pub queues: u32,
}

/// How slaves shall be opened; the same for all slaves of a bond.
#[derive(Clone, Copy, Debug)]
pub struct PortSpec {
    /// Where the program runs.
    pub xdp: XdpChoice,
    /// How sockets are bound.
    pub bind: BindChoice,
    /// UMEM and ring sizes.
    pub geometry: Geometry,
    /// The sizes suit drivers that use the UMEM themselves.
    pub zero_copy: bool,
    /// Workers: as many receive queues are needed.
    pub workers: u32,
}

impl Candidate {
    /// Looks at `name` and says why it cannot be a slave, if so.
    ///
    /// # Errors
    /// [`PortError`], with the remedy.
    pub fn inspect(nl: &mut Netlink, name: &str) -> Result<Self, PortError> {
        let link = nl.link(name)?.ok_or_else(|| PortError::Missing(name.to_owned()))?;
        if link.loopback || !link.is_ethernet() {
            return Err(PortError::NotEthernet(link.name));
        }
        if let Some(master) = link.master {
            let master = nl.link_by_index(master)?.map_or_else(|| "a master".into(), |m| m.name);
            return Err(PortError::Enslaved { name: link.name, master });
        }
        if link.mac.is_zero() || link.mac.is_multicast() {
            return Err(PortError::NoMac { name: link.name, mac: link.mac });
        }
        let features = probe(&link.name, link.index)?;
        if let Some(program) = features.program {
            return Err(if is_ours(program) {
                PortError::OtherBond { name: link.name, program }
            } else {
                PortError::OtherProgram { name: link.name, program }
            });
        }
        let queues = Ethtool::new()
            .and_then(|ethtool| ethtool.channels(&link.name))
            .ok()
            .flatten()
            .map_or(link.num_rx_queues, |channels| channels.rx_queues());
        Ok(Self { link, features, queues })
    }

    /// Checks that it has the MTU of the first slave, which the bond takes over.
    ///
    /// # Errors
    /// [`PortError::MtuDiffers`].
    pub fn check_mtu(&self, first: &Link) -> Result<(), PortError> {
        if self.link.mtu == first.mtu {
            return Ok(());
        }
        Err(PortError::MtuDiffers {
            name: self.link.name.clone(),
            mtu: self.link.mtu,
            first: first.name.clone(),
            expected: first.mtu,
        })
    }

    /// Checks what was found against what is wanted.
    ///
    /// # Errors
    /// [`PortError`], with the remedy.
    pub fn check(&self, spec: &PortSpec) -> Result<(), PortError> {
        let name = || self.link.name.clone();
        let (has, wanted) = (self.queues, spec.workers);
        if has < wanted {
            return Err(PortError::TooFewQueues { name: name(), has, wanted });
        }
        if has > MAX_QUEUES {
            return Err(PortError::TooManyQueues { name: name(), has, max: MAX_QUEUES });
        }
        if spec.bind == BindChoice::ZeroCopy {
            if spec.xdp == XdpChoice::Generic {
                return Err(PortError::ZeroCopyGeneric(name()));
            }
            if !self.features.zero_copy {
                let driver = Ethtool::new().and_then(|ethtool| ethtool.driver(&self.link.name));
                let driver = driver.ok().flatten().unwrap_or_else(|| "unknown".into());
                return Err(PortError::NoZeroCopy { name: name(), driver });
            }
        }
        Ok(())
    }
}

/// A slave while its netdev is there: the control thread's half. Dropping it detaches the program.
#[derive(Debug)]
pub struct Port {
    /// ifindex of the netdev.
    pub ifindex: u32,
    /// Receive queues.
    pub queues: u32,
    /// Its program.
    pub program: Program,
    /// Its sockets, unless they are closed for now; the workers own the rings.
    pub bound: Bound,
    /// By sockets that are closed.
    counted: SocketStats,
    spec: Arc<BindSpec>,
}

impl Port {
    /// Attaches the program, then binds the sockets: some drivers need that order.
    ///
    /// Frames are redirected only after [`Self::open_gates`].
    ///
    /// # Errors
    /// [`PortError`], with nothing left attached or bound.
    pub fn open(
        candidate: &Candidate,
        slot: u8,
        spec: &PortSpec,
        shared: &[UmemHandle],
    ) -> Result<(Self, Vec<Share>), PortError> {
        let Candidate { link, features, queues } = candidate;
        // Zero-copy takes a program in the driver: where that is refused, the driver's reason is the answer.
        let xdp = if spec.bind == BindChoice::ZeroCopy { XdpChoice::Native } else { spec.xdp };
        let program = Program::attach(programs::SLAVE, &link.name, link.index, xdp)?;
        let spec = Arc::new(BindSpec {
            ifindex: link.index,
            slot,
            queues: *queues,
            choice: spec.bind,
            features: Features { zero_copy: features.zero_copy && spec.zero_copy, ..*features },
            xdp: program.mode(),
            geometry: spec.geometry,
            shared: shared.to_vec(),
        });
        let (bound, shares) = spec.bind(&link.name)?;
        let counted = SocketStats::default();
        Ok((Self { ifindex: link.index, queues: *queues, program, bound, counted, spec }, shares))
    }

    /// How to bind its sockets anew. The program stays meanwhile.
    #[must_use]
    pub fn binding(&self) -> Binding {
        Binding { spec: Arc::clone(&self.spec), mode: self.bound.mode }
    }

    /// Before its sockets are closed: keeps what they counted.
    pub fn unbind(&mut self) {
        self.counted += self.bound.stats();
        self.bound = Bound::new(self.bound.mode, Vec::new());
    }

    /// It has these sockets now. Frames are redirected only after [`Self::open_gates`].
    pub fn rebind(&mut self, bound: Bound) {
        self.bound = bound;
    }

    /// From now on the program redirects into the sockets.
    ///
    /// # Errors
    /// When a map refuses it.
    pub fn open_gates(&mut self) -> Result<(), ProgramFailure> {
        self.bound.open_gates(&mut self.program)
    }

    /// Whether frames of this slave are delivered, or dropped by the program as a backup's.
    ///
    /// # Errors
    /// When the map refuses it.
    pub fn set_receive(&mut self, receive: bool) -> Result<(), ProgramFailure> {
        self.program.set_flags(if receive { slave_flags::RECEIVE } else { 0 })
    }

    /// The kernel's counters over all sockets that it had.
    #[must_use]
    pub fn stats(&self) -> SocketStats {
        let mut sum = self.counted;
        sum += self.bound.stats();
        sum
    }
}

/// Whether an attached program is one of this project's, by its name.
fn is_ours(program: u32) -> bool {
    aya::programs::loaded_programs()
        .filter_map(Result::ok)
        .find(|info| info.id() == program)
        .and_then(|info| {
            info.name_as_str().map(|name| name == programs::SLAVE || name == programs::HOST)
        })
        .unwrap_or(false)
}
