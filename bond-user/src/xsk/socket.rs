//! An AF_XDP socket with its four rings, bound to one queue of one netdev.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, RawFd};
use std::str::FromStr as _;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, QueueSize, SocketConfig};
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue};

use super::error::{XskError, chain};
use super::frame::Desc;
use super::memory::{Geometry, UmemHandle, XskMemory};
use super::options::{self, StatsHandle};
use super::rings::{ConsumerRing, ProducerRing};
use crate::poller::{BATCH, Kick, Rings, RxRings, SocketFd, TxRings};

/// Most descriptors moved at once.
#[expect(clippy::cast_possible_truncation, reason = "a batch is small")]
pub(super) const DESCS: u32 = BATCH as u32;

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
#[derive(Debug)]
pub struct XskRings {
    rx: XskRx,
    tx: XskTx,
}

/// Rx and fill ring of a socket.
pub struct XskRx {
    rx: ConsumerRing<libc::xdp_desc>,
    fill: ProducerRing<u64>,
    mode: BindMode,
    fd: SocketFd,
    /// Keep it open: these two and the [`XskTx`]'s must all go before it closes.
    _xsk: (RxQueue, FillQueue),
}

/// Tx and completion ring of a socket.
pub struct XskTx {
    tx: ProducerRing<libc::xdp_desc>,
    completion: ConsumerRing<u64>,
    mode: BindMode,
    fd: SocketFd,
    /// Keep it open.
    _xsk: (TxQueue, CompQueue),
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
        let xsk = (tx, rx, fill, completion);
        let real = if options::is_zero_copy(fd)? { BindMode::ZeroCopy } else { BindMode::Copy };
        if mode == BindMode::ZeroCopy && real == BindMode::Copy {
            return Err(refused("the kernel fell back to copy mode".into()));
        }
        if real == BindMode::Copy {
            options::raise_send_budget(fd, geometry.tx_ring);
        }
        Self::map(fd, geometry, real, xsk)
            .map_err(|error| refused(format!("its rings cannot be mapped: {error}")))
    }

    /// Maps the rings, which nobody has used yet.
    fn map(
        fd: RawFd,
        geometry: Geometry,
        mode: BindMode,
        (tx_queue, rx_queue, fill_queue, comp_queue): (TxQueue, RxQueue, FillQueue, CompQueue),
    ) -> io::Result<Self> {
        let Geometry { rx_ring, tx_ring, .. } = geometry;
        let [rx, tx, fill, completion] = options::map_offsets(fd)?;
        // SAFETY: the queues keep the descriptor open.
        let socket = unsafe { BorrowedFd::borrow_raw(fd) };
        let rx = XskRx {
            rx: ConsumerRing::map(socket, libc::XDP_PGOFF_RX_RING.cast_unsigned(), rx, rx_ring)?,
            fill: ProducerRing::map(socket, libc::XDP_UMEM_PGOFF_FILL_RING, fill, rx_ring)?,
            mode,
            fd: SocketFd::new(fd),
            _xsk: (rx_queue, fill_queue),
        };
        let tx = XskTx {
            tx: ProducerRing::map(socket, libc::XDP_PGOFF_TX_RING.cast_unsigned(), tx, tx_ring)?,
            completion: ConsumerRing::map(
                socket,
                libc::XDP_UMEM_PGOFF_COMPLETION_RING,
                completion,
                tx_ring,
            )?,
            mode,
            fd: SocketFd::new(fd),
            _xsk: (tx_queue, comp_queue),
        };
        Ok(Self { rx, tx })
    }

    /// The mode in force, as `XDP_OPTIONS` told.
    #[must_use]
    pub fn mode(&self) -> BindMode {
        self.rx.mode
    }

    /// For statistics and the XSKMAP.
    #[must_use]
    pub fn stats(&self) -> StatsHandle {
        StatsHandle(self.rx.fd.number())
    }
}

impl AsFd for XskRx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket stays open as long as `self._xsk` lives, which the borrow guarantees; the number is one of
        // the thread that has the rings.
        unsafe { BorrowedFd::borrow_raw(self.fd.number()) }
    }
}

impl AsFd for XskTx {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: as for `XskRx`.
        unsafe { BorrowedFd::borrow_raw(self.fd.number()) }
    }
}

impl fmt::Debug for XskRx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fd, mode, .. } = self;
        f.debug_struct("XskRx").field("fd", fd).field("mode", mode).finish_non_exhaustive()
    }
}

impl fmt::Debug for XskTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fd, mode, .. } = self;
        f.debug_struct("XskTx").field("fd", fd).field("mode", mode).finish_non_exhaustive()
    }
}

/// At most a batch.
fn batch(max: usize) -> u32 {
    u32::try_from(max).unwrap_or(DESCS).min(DESCS)
}

impl Rings for XskRings {
    type Memory = XskMemory;
    type Rx = XskRx;
    type Tx = XskTx;

    fn split(self) -> (XskRx, XskTx) {
        (self.rx, self.tx)
    }
}

impl RxRings for XskRx {
    type Memory = XskMemory;

    fn receive(&mut self, memory: &XskMemory, max: usize, mut out: impl FnMut(Desc)) {
        self.rx.take(batch(max), |desc| out(memory.locate(desc.addr, desc.len)));
    }

    unsafe fn fill(&mut self, memory: &XskMemory, descs: impl Iterator<Item = Desc>) -> usize {
        self.fill.put(DESCS, descs.map(|desc| memory.addr(desc))) as usize
    }

    fn wake_fill(&mut self) {
        // In copy mode the kernel never asks (the flag is the drivers': `xsk_set_rx_need_wakeup`, net/xdp/xsk.c), and to
        // look costs a cache line that it writes to.
        if self.mode == BindMode::ZeroCopy && self.fill.needs_wakeup() {
            // What it answers concerns receiving only, and a netdev that is down receives nothing.
            let _ = rustix::net::recv(self.as_fd(), &mut [0u8; 0][..], RecvFlags::DONTWAIT);
        }
    }

    fn socket(&mut self) -> Option<&mut SocketFd> {
        Some(&mut self.fd)
    }
}

impl TxRings for XskTx {
    type Memory = XskMemory;

    unsafe fn transmit(&mut self, memory: &XskMemory, descs: impl Iterator<Item = Desc>) -> usize {
        let copy = self.mode == BindMode::Copy;
        let descs = descs.map(|desc| {
            if copy {
                memory.prefetch(desc);
            }
            libc::xdp_desc { addr: memory.addr(desc), len: u32::from(desc.len), options: 0 }
        });
        self.tx.put(DESCS, descs) as usize
    }

    fn complete(&mut self, memory: &XskMemory, mut out: impl FnMut(Desc)) -> usize {
        self.completion.take(DESCS, |addr| out(memory.chunk_of(addr))) as usize
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

    fn socket(&mut self) -> Option<&mut SocketFd> {
        Some(&mut self.fd)
    }
}
