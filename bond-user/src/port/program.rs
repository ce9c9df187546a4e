//! An XDP program on a netdev. The attachment is a bpf_link: it goes away with this process.

use std::fmt;

use aya::maps::{Array, MapData, PerCpuArray, XskMap};
use aya::programs::xdp::XdpMode as AyaMode;
use aya::programs::{ProgramError, Xdp};
use aya::{Ebpf, EbpfError};
use bond_ebpf::layout::{Counter, Verdict, maps};

use crate::config::XdpChoice;
use crate::xsk::StatsHandle;

/// Where a program really runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the generic hook.
    Generic,
}

impl XdpMode {
    /// The name in options and views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Why a program is not where it should be.
#[derive(Debug, thiserror::Error)]
pub enum ProgramFailure {
    /// The object or the verifier.
    #[error("cannot load the XDP programs: {0}")]
    Load(#[from] EbpfError),
    /// The object lacks what this code expects of it.
    #[error("the XDP object has no {0}: it and the command are of different versions")]
    Missing(&'static str),
    /// The kernel refused the program.
    #[error("the kernel refused XDP program {name}: {source}")]
    Refused {
        /// The program.
        name: &'static str,
        /// Its reason.
        source: ProgramError,
    },
    /// The kernel refused the attachment.
    #[error("cannot attach an XDP program to {ifname} in {mode} mode: {reason}")]
    Attach {
        /// The netdev.
        ifname: String,
        /// The mode tried.
        mode: &'static str,
        /// Its reason.
        reason: String,
    },
    /// A map operation failed.
    #[error("cannot write XDP map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// The kernel's reason.
        source: aya::maps::MapError,
    },
}

/// One attached instance of a program, with its own maps.
pub struct Program {
    mode: XdpMode,
    xsks: XskMap<MapData>,
    slave: Array<MapData, u32>,
    counters: PerCpuArray<MapData, [u64; 2]>,
    /// Holds the attachment.
    _ebpf: Ebpf,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Program {
    /// Loads `program` and attaches it to the netdev.
    ///
    /// # Errors
    /// [`ProgramFailure`], with nothing left attached.
    pub fn attach(
        program: &'static str,
        ifname: &str,
        ifindex: u32,
        choice: XdpChoice,
    ) -> Result<Self, ProgramFailure> {
        let mut ebpf = Ebpf::load(bond_ebpf::OBJECT)?;
        let xdp: &mut Xdp = ebpf
            .program_mut(program)
            .and_then(|program| program.try_into().ok())
            .ok_or(ProgramFailure::Missing(program))?;
        xdp.load().map_err(|source| ProgramFailure::Refused { name: program, source })?;
        let mode = attach(xdp, ifname, ifindex, choice)?;
        Ok(Self {
            mode,
            xsks: take_map(&mut ebpf, maps::XSKS)?,
            slave: take_map(&mut ebpf, maps::SLAVE)?,
            counters: take_map(&mut ebpf, maps::COUNTERS)?,
            _ebpf: ebpf,
        })
    }

    /// Where it runs.
    #[must_use]
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Directs the frames of `queue` to a socket. The kernel clears the entry when the socket closes.
    ///
    /// # Errors
    /// When the map refuses it.
    pub fn set_socket(&mut self, queue: u32, socket: StatsHandle) -> Result<(), ProgramFailure> {
        self.xsks
            .set(queue, socket.fd(), 0)
            .map_err(|source| ProgramFailure::Map { map: maps::XSKS, source })
    }

    /// Publishes the slave's word (`slave_flags`) to the program.
    ///
    /// # Errors
    /// When the map refuses it.
    pub fn set_flags(&mut self, flags: u32) -> Result<(), ProgramFailure> {
        self.slave
            .set(0, flags, 0)
            .map_err(|source| ProgramFailure::Map { map: maps::SLAVE, source })
    }

    /// Frames and bytes by verdict, summed over the CPUs. Zero where the map cannot be read.
    #[must_use]
    pub fn verdict(&self, verdict: Verdict) -> Counter {
        let Ok(cpus) = self.counters.get(&(verdict as u32), 0) else { return Counter::default() };
        cpus.iter().fold(Counter::default(), |sum, [frames, bytes]| Counter {
            frames: sum.frames + frames,
            bytes: sum.bytes + bytes,
        })
    }
}

fn attach(
    xdp: &mut Xdp,
    ifname: &str,
    ifindex: u32,
    choice: XdpChoice,
) -> Result<XdpMode, ProgramFailure> {
    let tries: &[(XdpMode, AyaMode)] = match choice {
        XdpChoice::Native => &[(XdpMode::Native, AyaMode::Driver)],
        XdpChoice::Generic => &[(XdpMode::Generic, AyaMode::Skb)],
        XdpChoice::Auto => &[(XdpMode::Native, AyaMode::Driver), (XdpMode::Generic, AyaMode::Skb)],
    };
    let mut refused = None;
    for (mode, flag) in tries {
        match xdp.attach_to_if_index(ifindex, *flag) {
            Ok(_link) => return Ok(*mode),
            Err(error) => {
                if choice == XdpChoice::Auto && *mode == XdpMode::Native {
                    tracing::warn!("{ifname}: no native XDP, trying generic: {}", describe(&error));
                }
                refused = Some((*mode, error));
            }
        }
    }
    let (mode, reason) =
        refused.map_or((XdpMode::Native, String::new()), |(mode, error)| (mode, describe(&error)));
    Err(ProgramFailure::Attach { ifname: ifname.to_owned(), mode: mode.name(), reason })
}

/// The errno behind aya's error, with what it means for an XDP attachment.
fn describe(error: &ProgramError) -> String {
    let ProgramError::SyscallError(call) = error else { return error.to_string() };
    let hint = match call.io_error.raw_os_error() {
        Some(libc::EBUSY) => " (another XDP program is attached)",
        Some(libc::EOPNOTSUPP) => " (the driver cannot; use --xdp-mode generic)",
        Some(libc::ENOSPC) => {
            " (a veth needs as many receive queues as its peer has transmit queues)"
        }
        Some(libc::ERANGE | libc::EINVAL) => " (the MTU is too large for the driver's XDP)",
        _ => "",
    };
    format!("{}{hint}", call.io_error)
}

fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, ProgramFailure>
where
    T: TryFrom<aya::maps::Map>,
{
    ebpf.take_map(name).and_then(|map| T::try_from(map).ok()).ok_or(ProgramFailure::Missing(name))
}
