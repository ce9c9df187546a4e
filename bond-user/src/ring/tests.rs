use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;

/// Counts its drops.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn capacities() {
    for capacity in [1, 2, 1024] {
        let (mut producer, mut consumer) = ring::<u8>(capacity).unwrap();
        assert_eq!((producer.capacity(), producer.free()), (capacity, capacity));
        assert_eq!((consumer.capacity(), consumer.len()), (capacity, 0));
    }
    for capacity in [0, 3, 1023, (1 << 31) + 1, 1 << 32, usize::MAX] {
        let error = ring::<u8>(capacity).unwrap_err();
        assert_eq!(error, RingError::Capacity(capacity));
    }
}

#[test]
fn keeps_order_and_leaves_what_does_not_fit() {
    let (mut producer, mut consumer) = ring(4).unwrap();
    let mut batch = ArrayVec::from([1, 2, 3, 4, 5, 6]);
    assert_eq!(producer.push_from(&mut batch), 4);
    assert_eq!(batch.as_slice(), [5, 6]);
    assert_eq!(producer.push_from(&mut batch), 0);
    assert_eq!(batch.as_slice(), [5, 6]);

    let mut taken = ArrayVec::<_, 3>::new();
    taken.push(0);
    assert_eq!(consumer.pop_into(&mut taken), 2);
    assert_eq!(taken.as_slice(), [0, 1, 2]);
    assert_eq!(consumer.pop_into(&mut taken), 0, "the batch is full");

    assert_eq!(producer.push_from(&mut batch), 2);
    let mut taken = ArrayVec::<_, 8>::new();
    assert_eq!(consumer.pop_into(&mut taken), 4);
    assert_eq!(taken.as_slice(), [3, 4, 5, 6]);
    assert_eq!(consumer.pop_into(&mut taken), 0, "the ring is empty");
}

#[test]
fn indices_wrap() {
    for start in u32::MAX - 4..=u32::MAX {
        let (mut producer, mut consumer) = ring_from(4, start).unwrap();
        for round in 0..4u32 {
            let mut batch: ArrayVec<u32, 4> = (round * 3..round * 3 + 3).collect();
            assert_eq!(producer.push_from(&mut batch), 3);
            assert_eq!((producer.free(), consumer.len()), (1, 3));
            let mut taken = ArrayVec::<u32, 4>::new();
            assert_eq!(consumer.pop_into(&mut taken), 3);
            let expected = [round * 3, round * 3 + 1, round * 3 + 2];
            assert_eq!(taken.as_slice(), expected);
            assert_eq!((producer.free(), consumer.len()), (4, 0));
        }
    }
}

#[test]
fn drops_what_is_inside_once() {
    let drops = AtomicUsize::new(0);
    for producer_first in [true, false] {
        drops.store(0, Ordering::Relaxed);
        let (mut producer, mut consumer) = ring_from(4, u32::MAX - 1).unwrap();
        let mut batch: ArrayVec<_, 5> = (0..5).map(|_| Counted(&drops)).collect();
        assert_eq!(producer.push_from(&mut batch), 4);
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(batch);
        assert_eq!(drops.load(Ordering::Relaxed), 1, "the one that did not fit");

        let mut taken = ArrayVec::<_, 1>::new();
        assert_eq!(consumer.pop_into(&mut taken), 1);
        drop(taken);
        assert_eq!(drops.load(Ordering::Relaxed), 2);

        if producer_first {
            drop(producer);
            assert_eq!(consumer.len(), 3, "they outlive the producer");
            drop(consumer);
        } else {
            drop(consumer);
            assert_eq!(producer.free(), 1);
            drop(producer);
        }
        assert_eq!(drops.load(Ordering::Relaxed), 5);
    }
}

#[test]
fn two_threads_exact_sequence() {
    let items: u64 = if cfg!(miri) { 500 } else { 1_000_000 };
    let (mut producer, mut consumer) = ring_from(64, u32::MAX - 100).unwrap();
    let pushing = thread::spawn(move || {
        let mut sequence = 0..items;
        let mut batch = ArrayVec::<u64, 32>::new();
        while !(batch.is_empty() && sequence.is_empty()) {
            let room = batch.remaining_capacity();
            batch.extend(sequence.by_ref().take(room));
            if producer.push_from(&mut batch) == 0 {
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    let mut taken = ArrayVec::<u64, 48>::new();
    while next < items {
        if consumer.pop_into(&mut taken) == 0 {
            thread::yield_now();
        }
        for item in taken.drain(..) {
            assert_eq!(item, next);
            next += 1;
        }
    }
    pushing.join().unwrap();
    assert!(consumer.is_empty());
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Push from a batch of so many.
    Push(usize),
    /// Pop into a batch with so much room.
    Pop(usize),
    Free,
    Len,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..=8usize).prop_map(Op::Push),
        4 => (0..=8usize).prop_map(Op::Pop),
        1 => Just(Op::Free),
        1 => Just(Op::Len),
    ]
}

proptest! {
    #![proptest_config(crate::testing::property_tests())]

    #[test]
    fn behaves_as_a_bounded_queue(
        capacity in (0..5u32).prop_map(|shift| 1usize << shift),
        start in prop_oneof![any::<u32>(), u32::MAX - 40..=u32::MAX],
        ops in prop::collection::vec(op(), 0..100),
    ) {
        let (mut producer, mut consumer) = ring_from(capacity, start).unwrap();
        let mut oracle = VecDeque::new();
        let mut sequence = 0u32..;
        for op in ops {
            match op {
                Op::Push(len) => {
                    let mut batch: ArrayVec<u32, 8> = sequence.by_ref().take(len).collect();
                    let offered = batch.clone();
                    let fits = len.min(capacity - oracle.len());
                    prop_assert_eq!(producer.push_from(&mut batch), fits);
                    prop_assert_eq!(&batch[..], &offered[fits..]);
                    oracle.extend(&offered[..fits]);
                }
                Op::Pop(room) => {
                    let mut batch: ArrayVec<u32, 8> = (room..8).map(|_| u32::MAX).collect();
                    let expected: Vec<u32> = oracle.drain(..room.min(oracle.len())).collect();
                    prop_assert_eq!(consumer.pop_into(&mut batch), expected.len());
                    prop_assert_eq!(&batch[8 - room..], &expected[..]);
                }
                Op::Free => prop_assert_eq!(producer.free(), capacity - oracle.len()),
                Op::Len => prop_assert_eq!(consumer.len(), oracle.len()),
            }
        }
    }
}
