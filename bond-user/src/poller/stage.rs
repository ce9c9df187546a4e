//! Sorting a batch by slave, so that each slave gets one submission and one kick.

use bond_ebpf::hash::hash;
use bond_ebpf::header::is_igmp;
use bond_ebpf::layout::MAX_SLAVES;
use bond_ebpf::select::{RoundRobin, SlaveSet};

use super::Batch;
use crate::mode::Mode;
use crate::snapshot::Snapshot;
use crate::xsk::Frame;

/// What a mode may need of frames to sort them.
pub(super) trait Sight {
    /// The bytes of a frame.
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8];
    /// Another frame with the same bytes, to be sent on `slot`. `None`: there is no free chunk, which it has counted.
    fn duplicate(&mut self, frame: &Frame, slot: u8) -> Option<Frame>;
}

/// One lane a slave slot, filled by the bond's mode.
#[derive(Debug)]
pub(super) struct Stage {
    lanes: Box<[Batch; MAX_SLAVES]>,
    /// No other lane holds frames.
    used: SlaveSet,
    round_robin: RoundRobin,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self {
            lanes: Box::new(std::array::from_fn(|_| Batch::new())),
            used: SlaveSet::EMPTY,
            round_robin: RoundRobin::default(),
        }
    }

    /// Moves the frames of `batch` into the lanes. What stays in `batch` found no usable slave.
    ///
    /// The lanes are empty before; so each has room for the whole batch.
    pub(super) fn sort(&mut self, snapshot: Snapshot, batch: &mut Batch, sight: &mut impl Sight) {
        match snapshot.mode {
            Mode::BalanceRr => self.round_robin(snapshot, batch, sight),
            Mode::BalanceXor => self.by_hash(snapshot, batch, sight),
            Mode::Broadcast => self.duplicate_to_all(snapshot.usable, batch, sight),
            Mode::ActiveBackup => {
                // Active it stays while downdelay runs, but what is sent then would be lost or come late.
                if let Some(active) = snapshot.active.filter(|slot| snapshot.usable.contains(*slot))
                {
                    self.used.insert(active);
                    // Not swapped: that would move the room for a whole batch, however few its frames.
                    self.lanes[usize::from(active)].extend(batch.drain(..));
                }
            }
        }
    }

    /// In turn, but for IGMP: a switch that hears a join on one port sends the group there (kernel:
    /// `bond_xmit_roundrobin_slave_get`).
    fn round_robin(&mut self, snapshot: Snapshot, batch: &mut Batch, sight: &impl Sight) {
        let (usable, turn) = (snapshot.usable, snapshot.turn());
        // With no slave, the caller drops the frames, with a reason.
        let Some(first) = usable.first() else { return };
        self.used = usable;
        // A copy, because the lanes' memory is elsewhere for all that the compiler knows: it would write the
        // selector back after every frame.
        let mut round_robin = self.round_robin;
        for frame in batch.drain(..) {
            let slot = if is_igmp(sight.bytes(&frame)) {
                first
            } else {
                // Always one, because a slave is usable.
                round_robin.select(usable, turn).unwrap_or(first)
            };
            self.lanes[usize::from(slot)].push(frame);
        }
        self.round_robin = round_robin;
    }

    fn by_hash(&mut self, snapshot: Snapshot, batch: &mut Batch, sight: &impl Sight) {
        let Snapshot { usable, xmit_hash_policy, weights, .. } = snapshot;
        let Some(first) = usable.first() else { return };
        self.used = usable;
        for frame in batch.drain(..) {
            let hash = hash(sight.bytes(&frame), xmit_hash_policy);
            // Always one, because a slave is usable.
            let slot = usable.hashed(hash, weights).unwrap_or(first);
            self.lanes[usize::from(slot)].push(frame);
        }
    }

    /// Duplicates to all slaves but the last, which gets the frames themselves.
    fn duplicate_to_all(&mut self, usable: SlaveSet, batch: &mut Batch, sight: &mut impl Sight) {
        self.used = usable;
        let Some(last) = usable.last() else { return };
        for slot in usable.iter().filter(|slot| *slot != last) {
            let duplicates = batch.iter().filter_map(|frame| sight.duplicate(frame, slot));
            self.lanes[usize::from(slot)].extend(duplicates);
        }
        self.lanes[usize::from(last)].extend(batch.drain(..));
    }

    /// The lanes that hold frames. The caller empties them.
    pub(super) fn lanes(&mut self) -> impl Iterator<Item = (u8, &mut Batch)> {
        // By the set, because the lanes lie far apart.
        let used = std::mem::take(&mut self.used);
        let lanes = (0u8..).zip(self.lanes.iter_mut());
        lanes.filter(move |(slot, lane)| used.contains(*slot) && !lane.is_empty())
    }
}

#[cfg(test)]
mod tests;
