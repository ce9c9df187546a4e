//! The systems that are compared, one file each.

mod bare;
mod bridge;
mod dpdk;
mod ours;
mod ovs;
mod redirect;

use std::{env, num::NonZero, path::PathBuf, thread};

use anyhow::{Context as _, Result};
use bond_tests::binary;
use serde::{Deserialize, Serialize};

pub use self::bare::READY;
use crate::{
    SECOND_CPU,
    device::{Layout, Mode, Running, Spec},
    rig::Rig,
};

/// A system that forwards frames.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// This project's bond.
    Bond,
    /// Another build of it, for a before and an after in the same rounds: what `OTHER_BOND` names.
    OtherBond,
    /// Our AF_XDP sockets without a bond: h1 to s0 and back.
    BareForwarder,
    /// DPDK's testpmd with its bonding driver over net_af_xdp.
    DpdkAfXdp,
    /// The same over net_af_packet.
    DpdkAfPacket,
    /// Open vSwitch's userspace bond over afxdp.
    OvsAfxdp,
    /// XDP programs that redirect by a devmap, in the kernel.
    DevmapRedirect,
    /// The kernel's bridge between h1 and s0.
    LinuxBridge,
}

impl System {
    /// All but another build of ours.
    pub const ALL: [Self; 7] = [
        Self::Bond,
        Self::BareForwarder,
        Self::DpdkAfXdp,
        Self::DpdkAfPacket,
        Self::OvsAfxdp,
        Self::DevmapRedirect,
        Self::LinuxBridge,
    ];

    /// Whether its XDP programs can be made to run in the generic hook.
    #[must_use]
    pub const fn has_generic_mode(self) -> bool {
        matches!(self, Self::Bond | Self::BareForwarder | Self::DpdkAfXdp | Self::OvsAfxdp)
    }

    /// The bonding modes it is measured in; one that is no bond forwards to one port, as active-backup does.
    #[must_use]
    pub const fn modes(self) -> &'static [Mode] {
        match self {
            // Its other modes choose by flow, and there is one flow.
            Self::OvsAfxdp | Self::BareForwarder | Self::LinuxBridge => &[Mode::ActiveBackup],
            _ => &Mode::ALL,
        }
    }

    /// Whether it uses all slaves.
    #[must_use]
    pub const fn is_bond(self) -> bool {
        !matches!(self, Self::BareForwarder | Self::LinuxBridge)
    }

    /// Whether frames pass through a process.
    #[must_use]
    pub const fn has_process(self) -> bool {
        !matches!(self, Self::DevmapRedirect | Self::LinuxBridge)
    }

    /// Whether it is somebody else's program, which must be installed.
    #[must_use]
    pub const fn is_foreign(self) -> bool {
        matches!(self, Self::DpdkAfXdp | Self::DpdkAfPacket | Self::OvsAfxdp)
    }

    /// Whether even a quick run measures it: all but what is known to be far from us.
    #[must_use]
    pub const fn is_contender(self) -> bool {
        !matches!(self, Self::DpdkAfPacket | Self::LinuxBridge)
    }

    /// Whether it looks after its slaves' links.
    #[must_use]
    pub const fn fails_over(self) -> bool {
        matches!(self, Self::Bond | Self::OtherBond | Self::DpdkAfXdp | Self::OvsAfxdp)
    }
}

/// The other build of our bond, if one is given.
#[must_use]
pub fn other_bond() -> Option<PathBuf> {
    env::var_os("OTHER_BOND").map(PathBuf::from)
}

/// What this machine lacks for `spec`.
#[must_use]
pub fn lacks(spec: &Spec) -> Option<String> {
    let cpus = thread::available_parallelism().map_or(1, NonZero::get);
    if spec.layout == Layout::Pipeline && cpus <= SECOND_CPU {
        return Some(format!("it takes two CPUs beside the generator's, and there are {cpus}"));
    }
    let program = match spec.system {
        System::DpdkAfXdp | System::DpdkAfPacket => dpdk::PROGRAM,
        System::OvsAfxdp => ovs::PROGRAM,
        _ => return None,
    };
    let paths = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&paths).any(|path| path.join(program).is_file());
    (!found).then(|| format!("{program} is not installed (`cargo xtask bench --peers install`)"))
}

/// Starts what `spec` names between the ends of `rig`.
pub(crate) fn start(rig: &Rig, spec: &Spec) -> Result<Running> {
    match spec.system {
        System::Bond => ours::start(rig, spec, &binary()?),
        System::OtherBond => ours::start(rig, spec, &other_bond().context("no OTHER_BOND")?),
        System::BareForwarder => bare::start(rig, spec),
        System::DpdkAfXdp | System::DpdkAfPacket => dpdk::start(rig, spec),
        System::OvsAfxdp => ovs::start(rig, spec),
        System::DevmapRedirect => redirect::start(rig, spec),
        System::LinuxBridge => bridge::start(rig),
    }
}
