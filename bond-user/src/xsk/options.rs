//! Socket options of AF_XDP sockets that xsk-rs has no word for.

use std::io;
use std::os::fd::RawFd;

use super::error::XskError;

/// Largest send budget of one wake-up in copy mode (`XDP_MAX_TX_SKB_BUDGET`, Linux 6.17; 32 before).
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Bytes of socket buffers that copy-mode sending may hold: 2048 frames of 2 KiB truesize and slack.
const SEND_BUFFER: libc::c_int = 8 << 20;

/// The kernel's own counters of one socket (`struct xdp_statistics`, include/uapi/linux/if_xdp.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketStats {
    /// Received frames dropped for other reasons than the next two.
    pub rx_dropped: u64,
    /// Received frames dropped because the rx ring was full.
    pub rx_ring_full: u64,
    /// Received frames dropped because the fill ring was empty.
    pub rx_fill_ring_empty: u64,
    /// Descriptors refused by the kernel for sending.
    pub tx_invalid: u64,
}

impl std::ops::AddAssign for SocketStats {
    fn add_assign(&mut self, other: Self) {
        self.rx_dropped += other.rx_dropped;
        self.rx_ring_full += other.rx_ring_full;
        self.rx_fill_ring_empty += other.rx_fill_ring_empty;
        self.tx_invalid += other.tx_invalid;
    }
}

/// Reads the statistics of a socket that a worker owns, without owning it.
///
/// The control thread forgets the handle before it has the socket closed.
#[derive(Clone, Copy, Debug)]
pub struct StatsHandle(pub(super) RawFd);

impl StatsHandle {
    /// The descriptor, for the XSKMAP.
    #[must_use]
    pub fn fd(self) -> RawFd {
        self.0
    }

    /// The kernel's counters now.
    ///
    /// # Errors
    /// [`XskError::Option`].
    pub fn read(self) -> Result<SocketStats, XskError> {
        let stats: libc::xdp_statistics = get(self.0, libc::XDP_STATISTICS)
            .map_err(|source| XskError::Option { option: "XDP_STATISTICS", source })?;
        Ok(SocketStats {
            rx_dropped: stats.rx_dropped,
            rx_ring_full: stats.rx_ring_full,
            rx_fill_ring_empty: stats.rx_fill_ring_empty_descs,
            tx_invalid: stats.tx_invalid_descs,
        })
    }
}

/// Where the parts of a ring are in its mapping, in bytes: producer index, consumer index, flags, first slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct MapOffset {
    pub(super) bytes: [usize; 4],
}

/// Where the parts of the rings of a socket are (`struct xdp_mmap_offsets`): rx, tx, fill, completion.
pub(super) fn map_offsets(fd: RawFd) -> io::Result<[MapOffset; 4]> {
    let libc::xdp_mmap_offsets { rx, tx, fr, cr } = get(fd, libc::XDP_MMAP_OFFSETS)?;
    // They are within one mapping, and so fit.
    let byte = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    let parts = |ring: libc::xdp_ring_offset| {
        let libc::xdp_ring_offset { producer, consumer, desc, flags } = ring;
        MapOffset { bytes: [producer, consumer, flags, desc].map(byte) }
    };
    Ok([rx, tx, fr, cr].map(parts))
}

/// Whether the socket was really bound in zero-copy mode.
pub(super) fn is_zero_copy(fd: RawFd) -> Result<bool, XskError> {
    let options: libc::xdp_options = get(fd, libc::XDP_OPTIONS)
        .map_err(|source| XskError::Option { option: "XDP_OPTIONS", source })?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Lets one wake-up of a copy-mode socket send a whole tx ring. Both are only tuning: an older kernel
/// or missing privilege is no error.
pub(super) fn raise_send_budget(fd: RawFd, frames: u32) {
    let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER);
    let _ = set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, frames.cast_signed());
}

fn get<T>(fd: RawFd, option: libc::c_int) -> io::Result<T>
where
    T: zeroed::Plain,
{
    let mut value = T::ZERO;
    let mut len = socklen::<T>();
    // SAFETY: `value` is a live plain C struct of `len` bytes, exclusively borrowed for the call.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_XDP, option, (&raw mut value).cast(), &raw mut len)
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

fn set(fd: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = socklen::<libc::c_int>();
    // SAFETY: `value` is a live int of `len` bytes that the kernel only reads.
    let result = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(clippy::cast_possible_truncation, reason = "option structs are small")]
const fn socklen<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Plain C structs that the kernel may fill in.
mod zeroed {
    /// Any bit pattern is a value of the type.
    pub(super) trait Plain {
        /// All zero.
        const ZERO: Self;
    }

    impl Plain for libc::xdp_options {
        const ZERO: Self = Self { flags: 0 };
    }

    impl Plain for libc::xdp_mmap_offsets {
        const ZERO: Self = {
            let ring = libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
            Self { rx: ring, tx: ring, fr: ring, cr: ring }
        };
    }

    impl Plain for libc::xdp_statistics {
        const ZERO: Self = Self {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
    }
}
