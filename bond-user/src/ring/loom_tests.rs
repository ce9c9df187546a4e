//! Every interleaving of a small ring, and every value that its loads may return.
//!
//! No side waits for the other, so the models are finite: each makes a number of attempts, and
//! what is left is taken when the producer has ended.

use loom::thread;

use super::*;

fn fill<const N: usize>(batch: &mut ArrayVec<u32, N>, sequence: &mut impl Iterator<Item = u32>) {
    let room = batch.remaining_capacity();
    batch.extend(sequence.take(room));
}

/// The producer pushes 1, 2, 3, ... in `attempts` batches of `P`; the consumer pops in as many
/// batches of `C`. Slots are used again and the indices wrap.
fn in_order<const P: usize, const C: usize>(attempts: usize) {
    loom::model(move || {
        let (mut producer, mut consumer) = ring_from(2, u32::MAX - 1).expect("a power of two");
        let pushing = thread::spawn(move || {
            let mut sequence = 1..;
            let mut batch = ArrayVec::<u32, P>::new();
            let mut pushed = 0;
            for _ in 0..attempts {
                fill(&mut batch, &mut sequence);
                pushed += producer.push_from(&mut batch);
            }
            pushed
        });
        let mut taken = Vec::new();
        let mut pop = || {
            let mut batch = ArrayVec::<u32, C>::new();
            let popped = consumer.pop_into(&mut batch);
            taken.extend(batch);
            popped
        };
        for _ in 0..attempts {
            pop();
        }
        let pushed = pushing.join().expect("no race in the producer");
        while pop() > 0 {}
        let expected: Vec<u32> = (1..).take(pushed).collect();
        assert_eq!(taken, expected);
    });
}

#[test]
fn single_items_in_order() {
    in_order::<1, 1>(4);
}

#[test]
fn batches_in_order() {
    in_order::<2, 2>(3);
}

#[test]
fn uneven_batches_in_order() {
    in_order::<3, 1>(3);
    in_order::<1, 3>(4);
}

/// What one side is told about the other is a bound that it can rely on.
#[test]
fn free_and_len_are_bounds() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring_from(2, u32::MAX).unwrap();
        let mut batch = ArrayVec::from([1, 2]);
        assert_eq!(producer.push_from(&mut batch), 2);
        let popping = thread::spawn(move || {
            let mut batch = ArrayVec::<u32, 1>::new();
            consumer.pop_into(&mut batch);
            let len = consumer.len();
            let mut batch = ArrayVec::<u32, 3>::new();
            assert!(consumer.pop_into(&mut batch) >= len);
        });
        let free = producer.free();
        let mut batch = ArrayVec::from([3, 4]);
        assert!(producer.push_from(&mut batch) >= free);
        popping.join().unwrap();
    });
}

/// loom reports an item that is lost as a leaked `Arc`, and one that is dropped twice as a panic.
#[test]
fn ends_dropped_in_two_threads() {
    loom::model(|| {
        let alive = Arc::new(());
        let (mut producer, mut consumer) = ring_from(2, u32::MAX).unwrap();
        let mut batch = ArrayVec::from([alive.clone(), alive.clone()]);
        let pushing = thread::spawn(move || {
            producer.push_from(&mut batch);
        });
        let mut taken = ArrayVec::<_, 1>::new();
        consumer.pop_into(&mut taken);
        drop(consumer);
        pushing.join().unwrap();
        drop(taken);
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}
