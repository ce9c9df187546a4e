//! An AF_XDP socket with its four rings, bound to one queue of one netdev.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::str::FromStr as _;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue};

use super::error::{XskError, chain};
use super::frame::Desc;
use super::memory::{Geometry, UmemHandle, XskMemory};
use super::options::{self, StatsHandle};
use crate::poller::{BATCH, Descs, Kick, Rings};

/// Most descriptors moved at once.
#[expect(clippy::cast_possible_truncation, reason = "a batch is small")]
const DESCS: u32 = BATCH as u32;

/// How frames get between driver and UMEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindMode {
    /// The driver works on the UMEM itself.
    ZeroCopy,
    /// The kernel copies every frame.
    Copy,
}

impl BindMode {
    /// The name in options and views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
        }
    }

    fn flags(self) -> BindFlags {
        let mode = match self {
            Self::ZeroCopy => BindFlags::XDP_ZEROCOPY,
            Self::Copy => BindFlags::XDP_COPY,
        };
        mode | BindFlags::XDP_USE_NEED_WAKEUP
    }
}

impl fmt::Display for BindMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The rings of one AF_XDP socket. Dropping them closes it, which may block: no worker does so.
pub struct XskRings {
    rx: RxQueue,
    tx: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    mode: BindMode,
    scratch: [FrameDesc; BATCH],
}

impl XskRings {
    /// Binds a socket to `queue` of `ifname`.
    ///
    /// The first socket on a UMEM decides the mode; the others inherit it (`xsk_bind`, net/xdp/xsk.c).
    /// The mode really in force is read back.
    ///
    /// # Errors
    /// [`XskError::Bind`], also when zero-copy was asked for and the socket is in copy mode.
    pub fn bind(
        ifname: &str,
        queue: u32,
        umem: &UmemHandle,
        geometry: Geometry,
        mode: BindMode,
    ) -> Result<Self, XskError> {
        let refused = |reason: String| XskError::Bind {
            ifname: ifname.to_owned(),
            queue,
            mode: mode.name(),
            reason,
        };
        let size = |n| QueueSize::new(n).map_err(|e| refused(e.to_string()));
        let config = SocketConfig::builder()
            .rx_queue_size(size(geometry.rx_ring)?)
            .tx_queue_size(size(geometry.tx_ring)?)
            .bind_flags(mode.flags())
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .build();
        let interface = Interface::from_str(ifname).map_err(|e| refused(e.to_string()))?;
        // SAFETY: INHIBIT_PROG_LOAD is set, which is what the function asks for.
        let (tx, rx, own) = unsafe { Socket::new(config, &umem.0, &interface, queue) }
            .map_err(|e| refused(chain(&e)))?;
        let (fill, completion) =
            own.ok_or_else(|| refused("another socket of this bond is bound to it".into()))?;
        let fd = rx.fd().as_raw_fd();
        let real = if options::is_zero_copy(fd)? { BindMode::ZeroCopy } else { BindMode::Copy };
        if mode == BindMode::ZeroCopy && real == BindMode::Copy {
            return Err(refused("the kernel fell back to copy mode".into()));
        }
        if real == BindMode::Copy {
            options::raise_send_budget(fd, geometry.tx_ring);
        }
        let scratch = [FrameDesc::default(); BATCH];
        Ok(Self { rx, tx, fill, completion, mode: real, scratch })
    }

    /// The mode in force, as `XDP_OPTIONS` told.
    #[must_use]
    pub fn mode(&self) -> BindMode {
        self.mode
    }

    /// For statistics and the XSKMAP.
    #[must_use]
    pub fn stats(&self) -> StatsHandle {
        StatsHandle(self.rx.fd().as_raw_fd())
    }

    fn recall(&mut self, memory: &XskMemory, descs: &[Desc]) {
        for (slot, desc) in self.scratch.iter_mut().zip(descs) {
            *slot = memory.recall(*desc);
        }
    }
}

impl AsFd for XskRings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket stays open as long as `self.rx` lives, which the borrow guarantees.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }
}

impl fmt::Debug for XskRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XskRings")
            .field("fd", &self.rx.fd())
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl Rings for XskRings {
    type Memory = XskMemory;

    fn receive(&mut self, memory: &mut XskMemory, max: usize, out: &mut Descs) {
        let max = max.min(out.remaining_capacity());
        // SAFETY: the descriptors are only written to, and the rx ring is of the UMEM that `memory` maps.
        let seen = unsafe { self.rx.consume(&mut self.scratch[..max]) };
        out.extend(self.scratch[..seen].iter().map(|desc| memory.learn(*desc)));
    }

    unsafe fn transmit(&mut self, memory: &XskMemory, descs: &[Desc]) -> usize {
        let free = self.tx.nb_free(DESCS) as usize;
        let descs = &descs[..descs.len().min(free).min(BATCH)];
        self.recall(memory, descs);
        // SAFETY: by our own contract the descriptors are of this UMEM, the caller holds their only
        // tokens, and lends those that are taken.
        unsafe { self.tx.produce(&self.scratch[..descs.len()]) }
    }

    unsafe fn fill(&mut self, memory: &XskMemory, descs: &[Desc]) -> usize {
        let free = self.fill.nb_free(DESCS) as usize;
        let descs = &descs[..descs.len().min(free).min(BATCH)];
        self.recall(memory, descs);
        // SAFETY: as for `transmit`.
        unsafe { self.fill.produce(&self.scratch[..descs.len()]) }
    }

    fn complete(&mut self, memory: &XskMemory, out: &mut Descs) {
        let max = out.remaining_capacity();
        // SAFETY: the descriptors are only written to, and the ring is of the UMEM that `memory` maps.
        let seen = unsafe { self.completion.consume(&mut self.scratch[..max]) };
        out.extend(self.scratch[..seen].iter().map(|desc| memory.chunk_of(desc)));
    }

    fn kick(&mut self) -> Kick {
        if !self.tx.needs_wakeup() {
            return Kick::Done;
        }
        // Not through xsk-rs: its wake-up hides these answers.
        match rustix::net::send(self.as_fd(), &[], SendFlags::DONTWAIT) {
            // In copy mode: "SKB completed but not sent" (`__xsk_generic_xmit`, net/xdp/xsk.c).
            Err(Errno::BUSY) if self.mode == BindMode::Copy => Kick::Dropped,
            Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS) => Kick::Again,
            Err(Errno::NETDOWN | Errno::NXIO) => Kick::Down,
            // The man page knows no other error of a zero-length send; the frames stay on the ring.
            Ok(_) | Err(_) => Kick::Done,
        }
    }

    fn wake_fill(&mut self) {
        if self.fill.needs_wakeup() {
            // What it answers concerns receiving only, and a netdev that is down receives nothing.
            let _ = rustix::net::recv(self.as_fd(), &mut [0u8; 0][..], RecvFlags::DONTWAIT);
        }
    }
}
