//! The memory of a UMEM.

use std::io::Write as _;
use std::num::NonZeroU32;

use xsk_rs::config::{FrameSize, QueueSize, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;

use super::error::{XskError, chain};
use super::frame::{Desc, Frame, UmemId};
use crate::poller::{Depth, Memory};

/// Bytes before a received frame: `XDP_PACKET_HEADROOM`, include/uapi/linux/bpf.h.
const HEADROOM: u32 = 256;
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
        let room =
            |chunk_size: &u32| (chunk_size - HEADROOM) / step * step - FRAME_OVERHEAD - checksum;
        let chunk_size =
            CHUNK_SIZES.into_iter().find(|size| room(size) >= mtu).ok_or_else(|| {
                XskError::Mtu { mtu, max: CHUNK_SIZES.iter().map(room).max().unwrap_or(0) }
            })?;
        Ok(Self { chunk_size, rx_ring: 2048, tx_ring: 2048 })
    }

    /// How many chunks a queue may have with the kernel.
    #[must_use]
    pub fn depth(&self) -> Depth {
        Depth { fill: self.rx_ring as usize, tx: self.tx_ring as usize }
    }

    /// Chunks that `queues` queues need: all that they may have with the kernel, and frames on their way.
    #[must_use]
    pub fn chunks(&self, queues: u32) -> u32 {
        queues * (self.rx_ring + self.tx_ring) + 1024
    }
}

/// A handle for binding sockets to a UMEM; the UMEM lives as long as any handle, socket or memory.
#[derive(Clone, Debug)]
pub struct UmemHandle(pub(super) xsk_rs::Umem);

/// The chunks of a UMEM, and the last descriptor seen of each.
///
/// xsk-rs makes descriptors only when it registers the UMEM and when it reads a ring, so the whole
/// descriptor is remembered here and the rest of the program names chunks by index.
#[derive(Debug)]
pub struct XskMemory {
    id: UmemId,
    umem: xsk_rs::Umem,
    descs: Box<[FrameDesc]>,
    chunk_size: usize,
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
        Ok(Self { id, umem, descs: descs.into_boxed_slice(), chunk_size: chunk_size as usize })
    }

    /// A handle to bind sockets with.
    #[must_use]
    pub fn handle(&self) -> UmemHandle {
        UmemHandle(self.umem.clone())
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.descs.len()).unwrap_or(u32::MAX)
    }

    /// Remembers a descriptor that the kernel gave, and names it by chunk.
    ///
    /// A descriptor that is not wholly inside one chunk gets the chunk `u32::MAX`, which no ledger owns.
    pub(super) fn learn(&mut self, seen: FrameDesc) -> Desc {
        let (addr, len) = (seen.addr(), seen.lengths().data());
        let chunk = addr / self.chunk_size;
        let inside = addr % self.chunk_size + len <= self.chunk_size;
        match (self.descs.get_mut(chunk), u32::try_from(chunk), u32::try_from(len)) {
            (Some(known), Ok(chunk), Ok(len)) if inside => {
                *known = seen;
                Desc { chunk, len }
            }
            _ => Desc { chunk: u32::MAX, len: 0 },
        }
    }

    /// The chunk that a completion names; the descriptor that was sent stays remembered.
    pub(super) fn chunk_of(&self, seen: &FrameDesc) -> Desc {
        Desc { chunk: u32::try_from(seen.addr() / self.chunk_size).unwrap_or(u32::MAX), len: 0 }
    }

    /// The descriptor behind a chunk of ours.
    pub(super) fn recall(&self, desc: Desc) -> FrameDesc {
        self.descs[desc.chunk as usize]
    }
}

impl Memory for XskMemory {
    fn copy_from(&mut self, dst: &mut Frame, from: &Self, src: &Frame) {
        assert_eq!((dst.umem(), src.umem()), (self.id, from.id), "a frame of another UMEM");
        let src = from.recall(src.desc());
        // SAFETY: `src` is a descriptor of a chunk of `from` (`learn` checked its bounds), and its
        // token is borrowed here, so neither the kernel nor anyone else writes to it.
        let bytes = unsafe { from.umem.data(&src) };
        let known = &mut self.descs[dst.desc().chunk as usize];
        // SAFETY: `known` is a descriptor of a chunk of `self.umem`, and its token `dst` is
        // borrowed exclusively here, so nobody else reads or writes to it.
        let mut room = unsafe { self.umem.data_mut(known) };
        let mut cursor = room.cursor();
        cursor.set_pos(0);
        // Chunks of all UMEMs of a bond have one size; a shorter write would only cut the frame.
        let written = cursor.write(bytes.contents()).unwrap_or(0);
        dst.set_len(u32::try_from(written).unwrap_or(0));
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
