//! The rings that an AF_XDP socket shares with the kernel (net/xdp/xsk_queue.h), mapped for the data path.
//!
//! Single producer, single consumer: of each ring one end is ours and the other one the kernel's. xsk-rs makes the
//! socket and its rings; it moves every descriptor through two calls and a copy of five words, which is half of what a
//! frame costs in user space, so the ends are ours.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::options::MapOffset;

/// One mapping of one ring, unmapped when dropped.
struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Maps the ring at page offset `page` (`XDP_PGOFF_*`) of the socket `fd`.
    fn new(fd: BorrowedFd<'_>, page: u64, bytes: usize) -> io::Result<Self> {
        let (prot, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe { mmap(ptr::null_mut(), bytes, prot, flags, fd, page)? };
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { base, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is our mapping, and whoever has pointers into it drops with it.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// What both ends of a ring are made of. Descriptors of type `T` stand in `size` slots, a power of two.
struct Ring<T> {
    produced: NonNull<AtomicU32>,
    consumed: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    size: u32,
    /// Our index, and the kernel's as we last saw it: both run freely and wrap.
    ours: u32,
    theirs: u32,
    /// What the pointers point into.
    _mapping: Mapping,
}

// SAFETY: the pointers point into the mapping, which belongs to this value and to no thread.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Copy> Ring<T> {
    fn map(fd: BorrowedFd<'_>, page: u64, at: MapOffset, size: u32) -> io::Result<Self> {
        let [producer, consumer, flags, slots] = at.bytes;
        let mapping = Mapping::new(fd, page, slots + size as usize * size_of::<T>())?;
        let outside = || io::Error::other("the kernel's ring offsets are outside of the ring");
        let index = |offset: usize| {
            let inside = offset + size_of::<AtomicU32>() <= mapping.bytes;
            // SAFETY: the offset is inside the mapping.
            inside
                .then(|| unsafe { mapping.base.add(offset) }.cast::<AtomicU32>())
                .ok_or_else(outside)
        };
        Ok(Self {
            produced: index(producer)?,
            consumed: index(consumer)?,
            flags: index(flags)?,
            // SAFETY: the mapping was made as long as `slots` and all slots.
            slots: unsafe { mapping.base.add(slots) }.cast(),
            size,
            ours: 0,
            theirs: 0,
            _mapping: mapping,
        })
    }

    fn index(&self, of: NonNull<AtomicU32>) -> &AtomicU32 {
        // SAFETY: `map` made the pointer: it is inside the mapping that `self` owns, and the kernel aligns its indices to
        // cache lines and changes them atomically.
        unsafe { of.as_ref() }
    }

    /// The slot of an index.
    fn slot(&self, index: u32) -> NonNull<T> {
        // SAFETY: the masked index is below `size`, and there are `size` slots.
        unsafe { self.slots.add((index & (self.size - 1)) as usize) }
    }

    fn needs_wakeup(&self) -> bool {
        self.index(self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring where descriptors go to the kernel: fill or tx.
pub(super) struct ProducerRing<T>(Ring<T>);

impl<T: Copy> ProducerRing<T> {
    /// Maps the ring at page offset `page` of the socket `fd`; it has `size` slots, and nothing was put on it yet.
    pub(super) fn map(fd: BorrowedFd<'_>, page: u64, at: MapOffset, size: u32) -> io::Result<Self> {
        Ring::map(fd, page, at, size).map(Self)
    }

    /// Puts the first of `items` on the ring, as many as it has room for, `max` at most; returns how many.
    pub(super) fn put(&mut self, max: u32, items: impl Iterator<Item = T>) -> u32 {
        let ring = &mut self.0;
        let free = |ring: &Ring<T>| ring.size - ring.ours.wrapping_sub(ring.theirs).min(ring.size);
        if free(ring) < max {
            // Acquire: the kernel is done with the slots that its index has passed.
            ring.theirs = ring.index(ring.consumed).load(Ordering::Acquire);
        }
        let first = ring.ours;
        let mut index = first;
        for item in items.take(free(ring).min(max) as usize) {
            // SAFETY: the slot is free, so that the kernel does not look at it before the index below tells it to.
            unsafe { ring.slot(index).write(item) };
            index = index.wrapping_add(1);
        }
        if index != first {
            ring.ours = index;
            // Release: the kernel that sees the index sees the descriptors.
            ring.index(ring.produced).store(index, Ordering::Release);
        }
        index.wrapping_sub(first)
    }

    /// Whether the kernel asks for a wake-up (`XDP_RING_NEED_WAKEUP`).
    pub(super) fn needs_wakeup(&self) -> bool {
        self.0.needs_wakeup()
    }
}

/// A ring where descriptors come from the kernel: rx or completion.
pub(super) struct ConsumerRing<T>(Ring<T>);

impl<T: Copy> ConsumerRing<T> {
    /// Maps the ring at page offset `page` of the socket `fd`; it has `size` slots, and nothing was taken from it yet.
    pub(super) fn map(fd: BorrowedFd<'_>, page: u64, at: MapOffset, size: u32) -> io::Result<Self> {
        Ring::map(fd, page, at, size).map(Self)
    }

    /// Gives `out` the oldest descriptors, `max` at most; returns how many.
    pub(super) fn take(&mut self, max: u32, mut out: impl FnMut(T)) -> u32 {
        let ring = &mut self.0;
        // Never more than there are slots, whatever the kernel says.
        let ready = |ring: &Ring<T>| ring.theirs.wrapping_sub(ring.ours).min(ring.size);
        if ready(ring) < max {
            // Acquire: the descriptors were written before the index.
            ring.theirs = ring.index(ring.produced).load(Ordering::Acquire);
        }
        let count = ready(ring).min(max);
        if count == 0 {
            return 0;
        }
        for index in (0..count).map(|ahead| ring.ours.wrapping_add(ahead)) {
            // SAFETY: the slot is the consumer's until the index below has passed it, and any bits are a `T`.
            out(unsafe { ring.slot(index).read() });
        }
        ring.ours = ring.ours.wrapping_add(count);
        // Release: the kernel may write the slots, which were read.
        ring.index(ring.consumed).store(ring.ours, Ordering::Release);
        count
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::*;

    const AT: MapOffset = MapOffset { bytes: [0, 64, 128, 192] };
    const SIZE: u32 = 4;

    /// The two ends of one ring: ours and, by a second mapping of the same memory, the kernel's.
    fn ends() -> (ProducerRing<u64>, ConsumerRing<u64>) {
        let memory = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, 4096).unwrap();
        let producer = ProducerRing::map(memory.as_fd(), 0, AT, SIZE).unwrap();
        let consumer = ConsumerRing::map(memory.as_fd(), 0, AT, SIZE).unwrap();
        (producer, consumer)
    }

    fn take(ring: &mut ConsumerRing<u64>, max: u32) -> Vec<u64> {
        let mut taken = Vec::new();
        let count = ring.take(max, |item| taken.push(item));
        assert_eq!(count as usize, taken.len());
        taken
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn what_is_put_is_taken_once_in_order_and_never_more_than_there_is_room() {
        let (mut producer, mut consumer) = ends();
        assert_eq!(take(&mut consumer, 9).len(), 0);
        assert_eq!(producer.put(9, 0..9), 4);
        assert_eq!(producer.put(9, 9..18), 0);
        assert_eq!(take(&mut consumer, 3), [0, 1, 2]);
        assert_eq!(producer.put(2, 4..9), 2);
        assert_eq!(take(&mut consumer, 9), [3, 4, 5]);
        assert_eq!(producer.put(9, std::iter::empty()), 0);
        assert_eq!(take(&mut consumer, 9).len(), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn indices_wrap() {
        let (mut producer, mut consumer) = ends();
        let start = u32::MAX - 1;
        for ring in [&mut producer.0, &mut consumer.0] {
            (ring.ours, ring.theirs) = (start, start);
        }
        producer.0.index(producer.0.produced).store(start, Ordering::Relaxed);
        producer.0.index(producer.0.consumed).store(start, Ordering::Relaxed);
        for first in [0, 4, 8] {
            assert_eq!(producer.put(9, first..first + 9), 4);
            assert_eq!(take(&mut consumer, 9), Vec::from_iter(first..first + 4));
        }
        assert_eq!(producer.0.ours, start.wrapping_add(12));
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn an_index_from_nowhere_gives_no_more_than_the_slots() {
        let (mut producer, mut consumer) = ends();
        producer.0.index(producer.0.produced).store(1000, Ordering::Relaxed);
        assert_eq!(take(&mut consumer, 64).len(), 4);
        producer.0.index(producer.0.consumed).store(5000, Ordering::Relaxed);
        assert_eq!(producer.put(64, 0..64), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn the_flag_is_the_kernels() {
        let (producer, _) = ends();
        assert!(!producer.needs_wakeup());
        let flags = producer.0.index(producer.0.flags);
        flags.store(libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
        assert!(producer.needs_wakeup());
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn an_offset_outside_of_the_ring_is_refused() {
        let memory = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, 4096).unwrap();
        let at = MapOffset { bytes: [4096, 64, 128, 192] };
        let refused = ProducerRing::<u64>::map(memory.as_fd(), 0, at, SIZE).err().unwrap();
        assert_eq!(refused.to_string(), "the kernel's ring offsets are outside of the ring");
    }
}
