//! The memory of a UMEM.

use std::num::NonZeroU32;
use std::ptr::NonNull;

use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};

use super::error::{XskError, chain};
use super::frame::{Desc, Frame, UmemId};
use super::socket::{BindMode, DESCS};
use crate::poller::{Depth, Memory};

/// Bytes before a received frame: `XDP_PACKET_HEADROOM`, include/uapi/linux/bpf.h.
const HEADROOM: u16 = 256;
/// Bytes of a frame beside its MTU: Ethernet header and two VLAN tags.
const FRAME_OVERHEAD: u32 = 14 + 2 * 4;
/// Chunk sizes of an aligned UMEM: a power of two from 2048 up to the page size (net/xdp/xdp_umem.c).
const CHUNK_SIZES: [u32; 2] = [2048, 4096];
/// The checksum, for which drivers that use the chunk themselves want room: igb takes no MTU without it beside an XDP
/// program (`IGB_ETH_PKT_HDR_PAD`, drivers/net/ethernet/intel/igb/igb.h).
const CHECKSUM: u32 = 4;
/// Unit in which some NICs are told how much of a chunk they may fill: igb writes it to SRRCTL in KiB, rounded
/// down, and silently splits a longer frame in two descriptors (drivers/net/ethernet/intel/igb/igb_main.c).
const DRIVER_BUFFER_STEP: u32 = 1024;
/// Chunks that a queue in copy mode has ready for receiving at least, and while it is overloaded. All of them are in use
/// in turn, and the kernel, which copies through a mapping of small pages (`xdp_umem_addr_map`, net/xdp/xdp_umem.c), is
/// slower the more pages that are: with 2048 chunks a frame takes a fifth longer than with 512 or fewer.
const SHALLOW_FILL: u32 = 256;
/// Shortest frame that is worth a prefetch: a shorter one is two cache lines or less.
const PREFETCH_FROM: u16 = 256;

/// Sizes of a UMEM and of the rings on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// Slots of rx and fill ring, and chunks kept there.
    pub rx_ring: u32,
    /// Slots of tx and completion ring.
    pub tx_ring: u32,
}

impl Geometry {
    /// The smallest chunks that hold frames of `mtu`; `zero_copy`: also where a driver uses them itself.
    ///
    /// # Errors
    /// [`XskError::Mtu`] when no chunk does: multi-buffer frames are not supported.
    pub fn for_mtu(mtu: u32, zero_copy: bool) -> Result<Self, XskError> {
        let (step, checksum) = if zero_copy { (DRIVER_BUFFER_STEP, CHECKSUM) } else { (1, 0) };
        let room = |chunk_size: &u32| {
            (chunk_size - u32::from(HEADROOM)) / step * step - FRAME_OVERHEAD - checksum
        };
        let chunk_size =
            CHUNK_SIZES.into_iter().find(|size| room(size) >= mtu).ok_or_else(|| {
                XskError::Mtu { mtu, max: CHUNK_SIZES.iter().map(room).max().unwrap_or(0) }
            })?;
        Ok(Self { chunk_size, rx_ring: 2048, tx_ring: 2048 })
    }

    /// How many chunks a queue in `mode` may have with the kernel.
    #[must_use]
    pub fn depth(&self, mode: BindMode) -> Depth {
        let shallow = match mode {
            // The driver keeps as many as its own ring has slots.
            BindMode::ZeroCopy => self.rx_ring,
            BindMode::Copy => self.rx_ring.min(SHALLOW_FILL),
        };
        let [fill, shallow, tx] = [self.rx_ring, shallow, self.tx_ring].map(|n| n as usize);
        Depth { fill, shallow, tx }
    }

    /// Chunks that `queues` queues need: all that they may have with the kernel, and frames on their way.
    #[must_use]
    pub fn chunks(&self, queues: u32) -> u32 {
        queues * (self.rx_ring + self.tx_ring) + 1024
    }

    /// Chunks for copies into a UMEM from another one: all that a queue may have with the kernel, and a batch.
    #[must_use]
    pub fn seam(&self) -> u32 {
        self.tx_ring + DESCS
    }
}

/// A handle for binding sockets to a UMEM; the UMEM lives as long as any handle, socket or memory.
#[derive(Clone, Debug)]
pub struct UmemHandle(pub(super) xsk_rs::Umem);

/// The chunks of a UMEM: the rest of the program names them by index.
#[derive(Clone, Debug)]
pub struct XskMemory {
    id: UmemId,
    umem: xsk_rs::Umem,
    /// The first byte of the first chunk, in memory that lives as long as `umem`.
    base: NonNull<u8>,
    chunks: u32,
    /// Binary logarithm of the bytes of a chunk.
    chunk_shift: u32,
}

impl XskMemory {
    /// Maps and registers a UMEM of `chunks` chunks, whose frames carry `id`.
    ///
    /// # Errors
    /// [`XskError::Umem`].
    pub fn new(id: UmemId, geometry: Geometry, chunks: u32) -> Result<Self, XskError> {
        let Geometry { chunk_size, rx_ring, tx_ring } = geometry;
        let refused = |reason: String| XskError::Umem {
            mib: (u64::from(chunks) * u64::from(chunk_size)) >> 20,
            reason,
        };
        let size = |n| QueueSize::new(n).map_err(|e| refused(e.to_string()));
        let config = UmemConfig::builder()
            .frame_size(FrameSize::new(chunk_size).map_err(|e| refused(e.to_string()))?)
            .fill_queue_size(size(rx_ring)?)
            .comp_queue_size(size(tx_ring)?)
            .build()
            .map_err(|e| refused(e.to_string()))?;
        let count = NonZeroU32::new(chunks).ok_or_else(|| refused("no chunks".into()))?;
        let (umem, descs) =
            xsk_rs::Umem::new(config, count, false).map_err(|e| refused(chain(&e)))?;
        let first = descs.first().ok_or_else(|| refused("no chunks".into()))?;
        // SAFETY: the descriptor is of this UMEM, and nothing is read or written through the empty slice.
        let bytes = unsafe { umem.data(first) };
        let base = bytes.contents().as_ptr().cast_mut().wrapping_sub(first.addr());
        let base = NonNull::new(base).ok_or_else(|| refused("no memory".into()))?;
        Ok(Self { id, umem, base, chunks, chunk_shift: chunk_size.ilog2() })
    }

    /// A handle to bind sockets with.
    #[must_use]
    pub fn handle(&self) -> UmemHandle {
        UmemHandle(self.umem.clone())
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Names the frame at `addr` of the UMEM by chunk.
    ///
    /// One that is not wholly inside one chunk gets the chunk `u32::MAX`, which no ledger owns.
    pub(super) fn locate(&self, addr: u64, len: u32) -> Desc {
        let size = 1 << self.chunk_shift;
        let offset = addr % size;
        let inside = offset + u64::from(len) <= size;
        match (self.chunk_of(addr), u16::try_from(offset), u16::try_from(len)) {
            (Desc { chunk, .. }, Ok(offset), Ok(len)) if inside && chunk < self.chunks => {
                Desc { chunk, offset, len }
            }
            _ => Desc::empty(u32::MAX),
        }
    }

    /// The chunk that `addr` lies in.
    pub(super) fn chunk_of(&self, addr: u64) -> Desc {
        Desc::empty(u32::try_from(addr >> self.chunk_shift).unwrap_or(u32::MAX))
    }

    /// Where a frame of ours begins in the UMEM.
    pub(super) fn addr(&self, desc: Desc) -> u64 {
        (u64::from(desc.chunk) << self.chunk_shift) + u64::from(desc.offset)
    }

    /// Asks the CPU to fetch a frame of ours, which another core or a device has written.
    ///
    /// The kernel is about to copy it, frame by frame, and would wait for each; asked for together they come together.
    pub(super) fn prefetch(&self, desc: Desc) {
        if desc.len >= PREFETCH_FROM {
            prefetch(self.pointer(desc), desc.len);
        }
    }

    /// Bytes of a chunk behind its headroom.
    fn room(&self) -> u16 {
        u16::try_from(1_u32 << self.chunk_shift).unwrap_or(u16::MAX).saturating_sub(HEADROOM)
    }

    /// The first byte of a frame.
    ///
    /// # Panics
    /// If the chunk is not of this UMEM.
    fn pointer(&self, desc: Desc) -> *mut u8 {
        assert!(desc.chunk < self.chunks, "a chunk of another UMEM");
        // The offset is below the size of a chunk, so that this stays within the memory.
        self.base
            .as_ptr()
            .wrapping_add(((desc.chunk as usize) << self.chunk_shift) + usize::from(desc.offset))
    }
}

// SAFETY: the pointer points into the UMEM, which `umem` keeps and which belongs to no thread.
unsafe impl Send for XskMemory {}

/// A hint only, where the CPU has one.
#[cfg(target_arch = "x86_64")]
fn prefetch(bytes: *const u8, len: u16) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in (0..usize::from(len)).step_by(64) {
        // SAFETY: a prefetch of any address has no effect that a program could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(line).cast()) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn prefetch(_bytes: *const u8, _len: u16) {}

impl Memory for XskMemory {
    fn copy_from(&self, dst: &mut Frame, from: &Self, src: &Frame) {
        assert_eq!((dst.umem(), src.umem()), (self.id, from.id), "a frame of another UMEM");
        // Chunks of all UMEMs of a bond have one size; in a smaller one the frame would be cut.
        let len = src.len().min(self.room());
        dst.set_bytes(HEADROOM, len);
        let (source, target) = (from.pointer(src.desc()), self.pointer(dst.desc()));
        // SAFETY: both are within chunks of their UMEMs for `len` bytes (`locate` checked the source, `room` the target).
        // The tokens of both are borrowed here, so that neither the kernel nor anyone else touches them; and they are
        // of different UMEMs, or of different chunks of one.
        unsafe { std::ptr::copy_nonoverlapping(source, target, usize::from(len)) };
    }

    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        assert_eq!(frame.umem(), self.id, "a frame of another UMEM");
        let Desc { offset, len, .. } = frame.desc();
        let end = u32::from(offset) + u32::from(len);
        assert!(end <= 1 << self.chunk_shift, "a frame within its chunk");
        // SAFETY: the bytes are within a chunk of this UMEM, mapped and initialised by the kernel. The frame's token is borrowed for as long as they are, so that nobody writes to them.
        unsafe { std::slice::from_raw_parts(self.pointer(frame.desc()), usize::from(len)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_a_frame_with_two_tags() {
        let chunk_size =
            |mtu, zero_copy| Geometry::for_mtu(mtu, zero_copy).ok().map(|g| g.chunk_size);
        let rows = [
            (1500, Some(2048), Some(4096)),
            (998, Some(2048), Some(2048)),
            (999, Some(2048), Some(4096)),
            (1770, Some(2048), Some(4096)),
            (1771, Some(4096), Some(4096)),
            (3046, Some(4096), Some(4096)),
            (3047, Some(4096), None),
            (3818, Some(4096), None),
            (3819, None, None),
        ];
        for (mtu, copy, zero_copy) in rows {
            assert_eq!((chunk_size(mtu, false), chunk_size(mtu, true)), (copy, zero_copy), "{mtu}");
        }
    }
}
