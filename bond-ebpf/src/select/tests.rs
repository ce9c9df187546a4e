extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::*;

fn set(slots: &[u8]) -> SlaveSet {
    slots.iter().copied().collect()
}

/// A turn of slaves with the same share.
fn even(packets_per_slave: u16) -> Turn {
    Turn { packets_per_slave, weights: Weights::EVEN }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..Default::default()
    }
}

#[test]
fn set_operations() {
    let mut slaves = set(&[15, 0, 3]);
    assert_eq!(slaves.bits(), 0b1000_0000_0000_1001);
    assert_eq!(slaves.len(), 3);
    assert_eq!(slaves.iter().collect::<Vec<_>>(), [0, 3, 15]);
    assert_eq!([0, 1, 2, 3].map(|n| slaves.nth(n)), [Some(0), Some(3), Some(15), None]);
    assert_eq!(
        [0, 1, 15, 16, 255].map(|slot| slaves.contains(slot)),
        [true, false, true, false, false]
    );
    assert_eq!(
        [0, 1, 3, 4, 15, 16].map(|start| slaves.first_from(start)),
        [0, 3, 3, 15, 15, 0].map(Some)
    );
    slaves.remove(0);
    slaves.remove(7);
    slaves.remove(200);
    assert_eq!(slaves, SlaveSet::from_bits(0b1000_0000_0000_1000));
    assert_eq!((slaves.first(), slaves.last()), (Some(3), Some(15)));
    assert_eq!(std::format!("{slaves:?}"), "{3, 15}");
    assert!(SlaveSet::EMPTY.is_empty() && !slaves.is_empty());
    assert_eq!(
        (SlaveSet::EMPTY.first(), SlaveSet::EMPTY.first_from(9), SlaveSet::EMPTY.len()),
        (None, None, 0)
    );
    assert_eq!((SlaveSet::EMPTY.last(), SlaveSet::EMPTY.hashed(7, Weights::EVEN)), (None, None));
}

#[test]
#[should_panic(expected = "slave slot out of range")]
fn no_slot_16() {
    SlaveSet::default().insert(16);
}

#[test]
fn round_robin_by_hand() {
    let mut one = RoundRobin::default();
    assert_eq!([(); 5].map(|()| one.select(set(&[0, 1]), even(1))), [0, 1, 0, 1, 0].map(Some));
    let mut three = RoundRobin::default();
    assert_eq!(
        [(); 8].map(|()| three.select(set(&[2, 5]), even(3))),
        [2, 2, 2, 5, 5, 5, 2, 2].map(Some)
    );
}

#[test]
fn goes_on_with_the_next_when_the_set_changes() {
    let (all, lost) = (set(&[0, 1, 2]), set(&[0, 2]));
    let mut selector = RoundRobin::default();
    assert_eq!(selector.run(all, even(4), 5), Some((0, 4)));
    assert_eq!(selector.run(all, even(4), 1), Some((1, 1)));
    assert_eq!(selector.run(lost, even(4), 9), Some((2, 4)), "slave 1 is lost in its turn");
    assert_eq!(selector.run(SlaveSet::EMPTY, even(4), 9), None);
    assert_eq!(selector.run(all, even(4), 9), Some((0, 4)));
    assert_eq!(
        selector.run(all, even(4), 9),
        Some((1, 4)),
        "and gets a whole turn when it is back"
    );
    assert_eq!(selector.run(all, even(4), 3), Some((2, 3)));
    assert_eq!(selector.run(all, even(2), 3), Some((0, 2)), "a shorter turn is already over");
}

#[test]
fn degenerate_arguments_make_progress() {
    let mut selector = RoundRobin::default();
    assert_eq!(selector.run(set(&[0, 1]), even(1), 0), Some((0, 0)));
    assert_eq!(
        selector.run(set(&[0, 1]), even(1), 1),
        Some((0, 1)),
        "an empty run is nobody's turn"
    );
    assert_eq!(selector.run(set(&[7]), even(u16::MAX), usize::MAX), Some((7, 65_535)));
    let widest = Turn { packets_per_slave: u16::MAX, weights: Weights::from_bytes([255; 16]) };
    assert_eq!(selector.run(set(&[9]), widest, usize::MAX), Some((9, 65_535 * 255)));
}

#[test]
#[cfg_attr(miri, ignore = "many frames")]
fn at_random_with_0_packets_per_slave() {
    let usable = set(&[1, 2, 7]);
    let mut selector = RoundRobin::default();
    assert_eq!(selector.run(usable, even(0), 9).map(|(_, run)| run), Some(1));
    assert_eq!(selector.run(SlaveSet::EMPTY, even(0), 9), None);
    // How often a slave follows a slave: 10,000 times each, and by chance 100 more or less.
    let mut pairs = [[0u32; 3]; 3];
    let rank = |slot: Option<u8>| usable.iter().position(|other| Some(other) == slot).unwrap();
    let mut last = rank(selector.select(usable, even(0)));
    for _ in 0..90_000 {
        let next = rank(selector.select(usable, even(0)));
        pairs[last][next] += 1;
        last = next;
    }
    assert!(pairs.as_flattened().iter().all(|pairs| (9_500..10_500).contains(pairs)), "{pairs:?}");
}

/// Weights of slots 1, 2 and 7; the others' do not matter.
fn weights(of: [u8; 3]) -> Weights {
    let mut bytes = [9; MAX_SLAVES];
    (bytes[1], bytes[2], bytes[7]) = (of[0], of[1], of[2]);
    Weights::from_bytes(bytes)
}

#[test]
fn weights_are_shares() {
    let (usable, mut selector) = (set(&[1, 2, 7]), RoundRobin::default());
    let turn = Turn { packets_per_slave: 2, weights: weights([3, 0, 2]) };
    let expected = [1, 1, 1, 1, 1, 1, 2, 2, 7, 7, 7, 7];
    for frame in 0..48 {
        let slot = selector.select(usable, turn);
        assert_eq!(slot, Some(expected[frame % expected.len()]), "frame {frame}");
    }
    // By hash: shares of every row of as many hashes as the weights' sum, and of the kernel's if all are the same.
    let slots = |weights| [0, 1, 2, 3, 4, 5, 6].map(|hash| usable.hashed(hash, weights).unwrap());
    assert_eq!(slots(weights([3, 0, 2])), [1, 1, 1, 2, 7, 7, 1]);
    assert_eq!(slots(weights([1, 1, 1])), [1, 2, 7, 1, 2, 7, 1]);
    assert_eq!(slots(Weights::EVEN), [1, 2, 7, 1, 2, 7, 1]);
}

#[test]
#[cfg_attr(miri, ignore = "many frames")]
fn three_to_one_is_75_and_25_percent() {
    let usable = set(&[0, 1]);
    let mut bytes = [1; MAX_SLAVES];
    bytes[0] = 3;
    let weights = Weights::from_bytes(bytes);
    for packets_per_slave in [0, 1, 7] {
        let (mut selector, mut frames) = (RoundRobin::default(), [0u32; 2]);
        let turn = Turn { packets_per_slave, weights };
        for _ in 0..28_000 {
            frames[usize::from(selector.select(usable, turn).unwrap())] += 1;
        }
        let slack = if packets_per_slave == 0 { 200 } else { 0 };
        assert!(frames[0].abs_diff(21_000) <= slack, "{packets_per_slave}: {frames:?}");
    }
}

fn some_set() -> impl Strategy<Value = SlaveSet> {
    (1..=u16::MAX).prop_map(SlaveSet::from_bits)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn set_is_its_bits(bits: u16) {
        let slaves = SlaveSet::from_bits(bits);
        let slots: Vec<u8> = (0..16).filter(|slot| bits >> slot & 1 == 1).collect();
        prop_assert_eq!(slaves.iter().collect::<Vec<_>>(), slots.clone());
        prop_assert_eq!(set(&slots), slaves);
        prop_assert_eq!(slaves.len() as usize, slots.len());
        for n in 0..17 {
            prop_assert_eq!(slaves.nth(n), slots.get(n as usize).copied());
        }
    }

    #[test]
    fn exactly_even_from_the_first_frame(usable in some_set(), turn in 1..40u16, frames in 1..2000usize) {
        let mut selector = RoundRobin::default();
        let slots: Vec<u8> = usable.iter().collect();
        for frame in 0..frames {
            let expected = slots[frame / usize::from(turn) % slots.len()];
            prop_assert_eq!(selector.select(usable, even(turn)), Some(expected));
        }
    }

    #[test]
    fn runs_and_single_frames_agree(
        steps in prop::collection::vec((any::<u16>(), 0..6u16, 1..12usize), 1..100),
    ) {
        let (mut batched, mut single) = (RoundRobin::default(), RoundRobin::default());
        for (bits, turn, want) in steps {
            let usable = SlaveSet::from_bits(bits);
            let Some((slot, run)) = batched.run(usable, even(turn), want) else {
                prop_assert!(usable.is_empty());
                prop_assert_eq!(single.select(usable, even(turn)), None);
                continue;
            };
            prop_assert!(usable.contains(slot) && 0 < run && run <= want);
            for _ in 0..run {
                prop_assert_eq!(single.select(usable, even(turn)), Some(slot));
            }
        }
    }

    #[test]
    fn even_right_after_any_change(
        history in prop::collection::vec((any::<u16>(), 1..6u16, 0..12usize), 0..20),
        usable in some_set(),
        turn in 1..6u16,
        skip in 0..12usize,
    ) {
        let mut selector = RoundRobin::default();
        for (bits, turn, frames) in history {
            for _ in 0..frames {
                selector.select(SlaveSet::from_bits(bits), even(turn));
            }
        }
        for _ in 0..skip {
            selector.select(usable, even(turn));
        }
        let mut frames = [0u16; MAX_SLAVES];
        for _ in 0..usable.len() * u32::from(turn) {
            frames[usize::from(selector.select(usable, even(turn)).unwrap())] += 1;
        }
        for slot in 0..16 {
            let share = if usable.contains(slot) { turn } else { 0 };
            prop_assert_eq!(frames[usize::from(slot)], share);
        }
    }
}
