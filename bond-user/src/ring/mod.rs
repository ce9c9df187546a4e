//! The ring between poller and egress: bounded, one producer, one consumer, wait-free, batched.
//!
//! The indices are the kernel's ring indices (`xsk_queue.h`): free-running `u32` that wrap, each
//! stored by one side only, so that `produced - consumed` is the length and no slot is lost to tell
//! full from empty. A batch costs one `Release` store and at most one `Acquire` load, because each
//! side remembers the other's index and looks again only when what it remembers is not enough.
//!
//! ```
//! use arrayvec::ArrayVec;
//!
//! let (mut producer, mut consumer) = bond::ring::ring(4)?;
//! let mut batch = ArrayVec::from([1, 2, 3, 4, 5, 6]);
//! assert_eq!(producer.push_from(&mut batch), 4);
//! assert_eq!(batch.as_slice(), [5, 6]);
//!
//! let mut taken = ArrayVec::<i32, 3>::new();
//! assert_eq!(consumer.pop_into(&mut taken), 3);
//! assert_eq!(taken.as_slice(), [1, 2, 3]);
//! # Ok::<(), bond::ring::RingError>(())
//! ```

use std::fmt;
use std::mem::MaybeUninit;

use arrayvec::ArrayVec;
use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell};

pub use doze::Doze;

mod doze;
#[cfg(all(test, feature = "loom"))]
mod loom_tests;
#[cfg(all(test, not(feature = "loom")))]
mod tests;

/// Why a ring was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The capacity asked for cannot be had.
    #[error("a ring of {0} items is not possible: choose a power of two from 1 to 2147483648")]
    Capacity(usize),
}

/// Makes a ring that holds `capacity` items, a power of two from 1 to 2^31, and gives its two ends.
pub fn ring<T: Send>(capacity: usize) -> Result<(Producer<T>, Consumer<T>), RingError> {
    ring_from(capacity, 0)
}

/// [`ring`] whose indices begin at `start`.
fn ring_from<T: Send>(
    capacity: usize,
    start: u32,
) -> Result<(Producer<T>, Consumer<T>), RingError> {
    // A power of two that fits in 32 bits is at most 2^31, which leaves lengths unambiguous.
    if !u32::try_from(capacity).is_ok_and(u32::is_power_of_two) {
        return Err(RingError::Capacity(capacity));
    }
    let shared = Arc::new(Shared {
        produced: CachePadded::new(AtomicU32::new(start)),
        consumed: CachePadded::new(AtomicU32::new(start)),
        slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
    });
    let producer = Producer { shared: shared.clone(), produced: start, consumed: start };
    let consumer = Consumer { shared, produced: start, consumed: start };
    Ok((producer, consumer))
}

/// What both ends see. The slots `consumed..produced` hold items and are the consumer's; the
/// others hold nothing and are the producer's.
struct Shared<T> {
    /// Items ever pushed, modulo 2^32; stored by the producer.
    produced: CachePadded<AtomicU32>,
    /// Items ever popped, modulo 2^32; stored by the consumer.
    consumed: CachePadded<AtomicU32>,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: the ends reach disjoint slots through a shared reference, and a slot changes hands by
// the Release store and Acquire load of an index; items only move, from one thread to the other.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn capacity(&self) -> usize {
        self.slots.len()
    }

    fn slot(&self, index: u32) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[index as usize & (self.slots.len() - 1)]
    }

    /// Moves `item` into the slot of `index`.
    ///
    /// # Safety
    /// The caller is the producer, and the slot is free: `index` is at least `produced` and below
    /// `consumed + capacity`.
    unsafe fn write(&self, index: u32, item: T) {
        self.slot(index).with_mut(|slot| {
            // SAFETY: the pointer is valid and aligned, and nobody else touches a free slot.
            unsafe { slot.cast::<T>().write(item) }
        });
    }

    /// Moves the item out of the slot of `index`.
    ///
    /// # Safety
    /// The caller is the consumer, and the slot holds an item: `index` is at least `consumed` and
    /// below `produced`. The caller takes the item once, then moves `consumed` past it.
    unsafe fn read(&self, index: u32) -> T {
        self.slot(index).with_mut(|slot| {
            // SAFETY: the pointer is valid and aligned, the slot is initialised, and the producer
            // leaves it alone until `consumed` has passed it.
            unsafe { slot.cast::<T>().read() }
        })
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed, because the last `Arc` to go has seen all that either end did.
        let produced = self.produced.load(Ordering::Relaxed);
        let mut index = self.consumed.load(Ordering::Relaxed);
        while index != produced {
            // SAFETY: both ends are gone, so the items left are ours, and each is taken once.
            drop(unsafe { self.read(index) });
            index = index.wrapping_add(1);
        }
    }
}

/// The end of a ring where items go in.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Our index.
    produced: u32,
    /// The consumer's index as we last saw it: it may be further on.
    consumed: u32,
}

impl<T> Producer<T> {
    /// Moves items from the front of `batch` into the ring, in order, as many as fit; the rest
    /// stays in `batch`. Returns how many went in.
    pub fn push_from<const N: usize>(&mut self, batch: &mut ArrayVec<T, N>) -> usize {
        if self.known_free() < batch.len() {
            self.refresh();
        }
        let pushed = self.known_free().min(batch.len());
        if pushed == 0 {
            return 0;
        }
        for item in batch.drain(..pushed) {
            // SAFETY: we are the producer, and `pushed` slots from `produced` on are free.
            unsafe { self.shared.write(self.produced, item) };
            self.produced = self.produced.wrapping_add(1);
        }
        // Release: the consumer that sees the index sees the items.
        self.shared.produced.store(self.produced, Ordering::Release);
        pushed
    }

    /// Number of items that fit now; the consumer can only make it more.
    pub fn free(&mut self) -> usize {
        self.refresh();
        self.known_free()
    }

    /// Number of items that the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    fn known_free(&self) -> usize {
        self.capacity() - self.produced.wrapping_sub(self.consumed) as usize
    }

    fn refresh(&mut self) {
        // Acquire: the consumer is done with the slots that its index has passed.
        self.consumed = self.shared.consumed.load(Ordering::Acquire);
    }
}

/// The end of a ring where items come out.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// The producer's index as we last saw it: it may be further on.
    produced: u32,
    /// Our index.
    consumed: u32,
}

impl<T> Consumer<T> {
    /// Moves the oldest items to the end of `batch`, in order, as many as there are and `batch`
    /// still holds. Returns how many came out.
    pub fn pop_into<const N: usize>(&mut self, batch: &mut ArrayVec<T, N>) -> usize {
        let room = batch.remaining_capacity();
        if self.known_len() < room {
            self.refresh();
        }
        let popped = self.known_len().min(room);
        if popped == 0 {
            return 0;
        }
        for _ in 0..popped {
            // SAFETY: we are the consumer, and `popped` slots from `consumed` on hold items; the
            // index passes each at once, so that it is taken once.
            batch.push(unsafe { self.shared.read(self.consumed) });
            self.consumed = self.consumed.wrapping_add(1);
        }
        // Release: the producer that sees the index may write the slots, which we have read.
        self.shared.consumed.store(self.consumed, Ordering::Release);
        popped
    }

    /// Number of items in the ring now; the producer can only make it more.
    pub fn len(&mut self) -> usize {
        self.refresh();
        self.known_len()
    }

    /// Whether no item is in the ring now.
    pub fn is_empty(&mut self) -> bool {
        self.len() == 0
    }

    /// Number of items that the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.shared.capacity()
    }

    fn known_len(&self) -> usize {
        self.produced.wrapping_sub(self.consumed) as usize
    }

    fn refresh(&mut self) {
        // Acquire: the items that the producer's index has passed are in their slots.
        self.produced = self.shared.produced.load(Ordering::Acquire);
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.capacity())
            .field("produced", &self.produced)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.capacity())
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}
