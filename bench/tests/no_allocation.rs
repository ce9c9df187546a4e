//! A worker's turn never allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use bond::mode::Mode;
use bond::poller::BATCH;
use bond::snapshot::Snapshot;
use bond_bench::micro::soft_bond::{Direction, MODES, SoftBond, snapshot};
use bond_ebpf::select::SlaveSet;

/// The system's allocator, counting.
struct Counting;

thread_local! {
    /// Calls of this thread's: other tests run beside it.
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocator calls during `act`.
fn calls(act: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    act();
    CALLS.get() - before
}

/// Allocator calls of 1000 turns with a full batch each, after 100 others.
fn calls_of_turns(bond: &mut SoftBond, direction: Direction) -> u64 {
    let mut turns = |count| {
        (0..count)
            .map(|_| {
                bond.arrive(direction);
                calls(|| assert_eq!(bond.turn(), BATCH))
            })
            .sum()
    };
    let _warm_up: u64 = turns(100);
    turns(1000)
}

#[test]
fn the_allocator_counts() {
    assert_eq!(calls(|| drop(black_box(Box::new(1)))), 2);
    let grow = || black_box(&mut black_box(vec![0u8; 1])).reserve_exact(100);
    assert_eq!(calls(grow), 3);
}

#[test]
fn every_mode_both_ways() {
    for mode in Mode::ALL {
        for packets_per_slave in [1, 3, 64] {
            let mut bond = SoftBond::new(Snapshot { packets_per_slave, ..snapshot(mode) });
            for direction in Direction::ALL {
                let calls = calls_of_turns(&mut bond, direction);
                assert_eq!(calls, 0, "{mode}, {packets_per_slave} frames a slave, {direction:?}");
            }
            // Broadcast sends more than it gets.
            if mode == Mode::Broadcast { bond.audit() } else { bond.check() }
        }
    }
}

#[test]
fn copies_between_umems() {
    for mode in MODES {
        let mut bond = SoftBond::with_umems(snapshot(mode), &[0]);
        for direction in Direction::ALL {
            assert_eq!(calls_of_turns(&mut bond, direction), 0, "{mode}, {direction:?}");
        }
        bond.check();
    }
}

#[test]
fn drops() {
    for mode in MODES {
        let nobody = Snapshot {
            usable: SlaveSet::EMPTY,
            receive: SlaveSet::EMPTY,
            active: None,
            ..snapshot(mode)
        };
        for direction in Direction::ALL {
            let mut bond = SoftBond::new(snapshot(mode));
            calls_of_turns(&mut bond, direction);
            for _ in 0..1000 {
                // What was under way when the last slave went down.
                bond.publish(snapshot(mode));
                bond.arrive(direction);
                bond.publish(nobody);
                assert_eq!(calls(|| assert_eq!(bond.turn(), BATCH)), 0, "{mode}, {direction:?}");
            }
            bond.audit();
        }
    }
}

#[test]
fn idle_turns() {
    let mut bond = SoftBond::new(snapshot(Mode::BalanceRr));
    assert_eq!(calls(|| assert_eq!((0..1000).map(|_| bond.turn()).sum::<usize>(), 0)), 0);
    bond.check();
}
