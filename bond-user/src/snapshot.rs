//! What the control thread tells the workers: one word, published whole, and beside it the weights, which stay as they are
//! while the bond runs.

use bond_ebpf::hash::HashPolicy;
use bond_ebpf::layout::MAX_SLAVES;
use bond_ebpf::select::{SlaveSet, Turn, Weights};
use crossbeam_utils::CachePadded;

use crate::mode::Mode;
use crate::sync::{AtomicU64, Ordering};

/// All that a worker needs to know about the bond to handle a batch. Slots are below
/// [`MAX_SLAVES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How to select among the usable slaves.
    pub mode: Mode,
    /// Slaves that frames may be sent on.
    pub usable: SlaveSet,
    /// Slaves whose frames are delivered.
    pub receive: SlaveSet,
    /// The slave that all frames are sent on, in modes that have one. While it is going down it is not usable, and
    /// nothing is sent.
    pub active: Option<u8>,
    /// Frames in a row to one slave, in balance-rr.
    pub packets_per_slave: u16,
    /// What balance-xor hashes.
    pub xmit_hash_policy: HashPolicy,
    /// Shares of the slaves in balance-rr and balance-xor.
    pub weights: Weights,
}

impl Snapshot {
    /// A turn of balance-rr.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        Turn { packets_per_slave: self.packets_per_slave, weights: self.weights }
    }

    /// The one slave that IGMP is sent on, in modes that have one: the active one, or in balance-rr the first that can be
    /// sent on.
    #[must_use]
    pub fn igmp_slave(&self) -> Option<u8> {
        match self.mode {
            Mode::BalanceRr => self.usable.first(),
            _ => self.active,
        }
    }
}

/// The byte that says that no slave is active.
const NO_SLOT: u8 = 0xff;

const _: () = assert!(MAX_SLAVES <= NO_SLOT as usize);

impl Snapshot {
    /// The word, from bit 0: `usable` 16, `receive` 16, `packets_per_slave` 16, `active` 8, `mode` 4, `xmit_hash_policy`
    /// 4.
    fn to_word(self) -> u64 {
        u64::from(self.usable.bits())
            | u64::from(self.receive.bits()) << 16
            | u64::from(self.packets_per_slave) << 32
            | u64::from(self.active.unwrap_or(NO_SLOT)) << 48
            | u64::from(self.mode.number()) << 56
            | u64::from(self.xmit_hash_policy.number()) << 60
    }

    /// The snapshot of a word that [`to_word`](Self::to_word) made.
    fn from_word(word: u64, weights: Weights) -> Self {
        let [u0, u1, r0, r1, p0, p1, active, how] = word.to_le_bytes();
        Self {
            usable: SlaveSet::from_bits(u16::from_le_bytes([u0, u1])),
            receive: SlaveSet::from_bits(u16::from_le_bytes([r0, r1])),
            packets_per_slave: u16::from_le_bytes([p0, p1]),
            active: (active != NO_SLOT).then_some(active),
            // Never the default: only snapshots are ever stored. It spares the workers a panic.
            mode: Mode::from_number(how & 0x0f).unwrap_or(Mode::ActiveBackup),
            xmit_hash_policy: HashPolicy::from_number(how >> 4).unwrap_or_default(),
            weights,
        }
    }
}

/// Where the control thread leaves the snapshot and the workers find it.
///
/// One word, so that a reader cannot see half of a change, and neither side ever waits. It has a
/// cache line for itself: the workers' copies of the line stay valid until a link changes. The weights
/// lie beside it and stay as they are.
#[derive(Debug)]
pub struct SnapshotCell {
    word: CachePadded<AtomicU64>,
    weights: Weights,
}

impl SnapshotCell {
    /// A cell that holds `snapshot`.
    pub fn new(snapshot: Snapshot) -> Self {
        let word = CachePadded::new(AtomicU64::new(snapshot.to_word()));
        Self { word, weights: snapshot.weights }
    }

    /// Replaces the snapshot by one with the same weights. Only the control thread does so, which makes the order of
    /// snapshots the order of its decisions.
    pub fn publish(&self, snapshot: Snapshot) {
        debug_assert_eq!(snapshot.weights, self.weights, "weights stay as they are");
        // Release: who sees the snapshot sees what was done before it, such as a slave taken in.
        self.word.store(snapshot.to_word(), Ordering::Release);
    }

    /// The snapshot last published; never an older one than the caller has seen before. A worker
    /// loads it once a batch.
    pub fn load(&self) -> Snapshot {
        Snapshot::from_word(self.word.load(Ordering::Acquire), self.weights)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn layout() {
        let snapshot = Snapshot {
            mode: Mode::ActiveBackup,
            usable: SlaveSet::from_bits(0x8003),
            receive: SlaveSet::from_bits(0x4002),
            active: Some(14),
            packets_per_slave: 0x1234,
            xmit_hash_policy: HashPolicy::VlanSrcMac,
            weights: Weights::EVEN,
        };
        assert_eq!(snapshot.to_word(), 0x510e_1234_4002_8003);
        let none = Snapshot {
            mode: Mode::BalanceRr,
            usable: SlaveSet::EMPTY,
            receive: SlaveSet::EMPTY,
            active: None,
            packets_per_slave: 1,
            xmit_hash_policy: HashPolicy::Layer2,
            weights: Weights::EVEN,
        };
        assert_eq!(none.to_word(), 0x00ff_0001_0000_0000);
    }

    proptest! {
        #![proptest_config(crate::testing::property_tests())]

        #[test]
        fn comes_back_as_published(
            mode in prop::sample::select(&Mode::ALL[..]),
            usable: u16,
            receive: u16,
            active in prop::option::of(0..16u8),
            packets_per_slave: u16,
            xmit_hash_policy in prop::sample::select(&HashPolicy::ALL[..]),
            weights: [u8; 16],
        ) {
            let weights = Weights::from_bytes(weights);
            let [usable, receive] = [usable, receive].map(SlaveSet::from_bits);
            let snapshot = Snapshot {
                mode,
                usable,
                receive,
                active,
                packets_per_slave,
                xmit_hash_policy,
                weights,
            };
            let cell = SnapshotCell::new(snapshot);
            prop_assert_eq!(cell.load(), snapshot);

            let other = Snapshot {
                usable: receive,
                receive: usable,
                active: None,
                ..snapshot
            };
            cell.publish(other);
            prop_assert_eq!(cell.load(), other);
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use loom::thread;

    use super::*;
    use crate::sync::{Arc, AtomicU32};

    /// A failover from slave 0 to none to slave 1.
    const HISTORY: [(u16, Option<u8>); 3] = [(1, Some(0)), (0, None), (2, Some(1))];

    fn snapshot(step: usize) -> Snapshot {
        let (slaves, active) = HISTORY[step];
        Snapshot {
            mode: Mode::ActiveBackup,
            usable: SlaveSet::from_bits(slaves),
            receive: SlaveSet::from_bits(slaves),
            active,
            packets_per_slave: 1,
            xmit_hash_policy: HashPolicy::Layer2,
            weights: Weights::EVEN,
        }
    }

    #[test]
    fn whole_in_order_and_after_what_came_before() {
        loom::model(|| {
            let cell = Arc::new(SnapshotCell::new(snapshot(0)));
            // Stands for what the control thread did before it publishes.
            let map = Arc::new(AtomicU32::new(0));
            let control = {
                let (cell, map) = (cell.clone(), map.clone());
                thread::spawn(move || {
                    for step in 1..HISTORY.len() {
                        map.fetch_add(1, Ordering::Relaxed);
                        cell.publish(snapshot(step));
                    }
                })
            };
            let mut seen = 0;
            for _ in 0..3 {
                let loaded = cell.load();
                let step = (0..3).find(|step| snapshot(*step) == loaded);
                let step = step.expect("a snapshot that was published");
                assert!(seen <= step, "an older snapshot after a newer one");
                assert!(step <= map.load(Ordering::Relaxed) as usize);
                seen = step;
            }
            control.join().unwrap();
            assert_eq!(cell.load(), snapshot(2));
        });
    }
}
