//! Sorting a batch by slave, so that each slave gets one submission and one kick.

use bond_ebpf::layout::MAX_SLAVES;
use bond_ebpf::select::{RoundRobin, SlaveSet};

use super::Batch;
use crate::mode::Mode;
use crate::snapshot::Snapshot;

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
    pub(super) fn sort(&mut self, snapshot: Snapshot, batch: &mut Batch) {
        match snapshot.mode {
            Mode::BalanceRr => self.round_robin(snapshot, batch),
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

    fn round_robin(&mut self, snapshot: Snapshot, batch: &mut Batch) {
        let Snapshot { usable, packets_per_slave, .. } = snapshot;
        if usable.is_empty() {
            // The caller drops the frames, with a reason.
            return;
        }
        self.used = usable;
        // A copy, because the lanes' memory is elsewhere for all that the compiler knows: it would write the
        // selector back after every frame.
        let mut round_robin = self.round_robin;
        for frame in batch.drain(..) {
            // Always, because a slave is usable.
            if let Some(slot) = round_robin.select(usable, packets_per_slave) {
                self.lanes[usize::from(slot)].push(frame);
            }
        }
        self.round_robin = round_robin;
    }

    /// The lanes that hold frames. The caller empties them.
    pub(super) fn lanes(&mut self) -> impl Iterator<Item = (u8, &mut Batch)> {
        // By the set, because the lanes lie far apart.
        let used = std::mem::take(&mut self.used);
        let lanes = (0u8..).zip(self.lanes.iter_mut());
        lanes.filter(move |(slot, lane)| used.contains(*slot) && !lane.is_empty())
    }
}
