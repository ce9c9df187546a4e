//! How a worker calls the control thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Rung when a slave refuses frames: who sends on a dead link is the first to know.
///
/// One system call, and none any more until the control thread listens again.
#[derive(Debug)]
pub struct Bell {
    rung: AtomicBool,
    wake: OwnedFd,
}

impl Bell {
    /// A bell that is listened for.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { rung: AtomicBool::new(false), wake })
    }

    /// Worker: calls.
    pub(super) fn ring(&self) {
        if !self.rung.load(Ordering::Relaxed) && !self.rung.swap(true, Ordering::AcqRel) {
            // If it cannot be woken, the control thread looks up by itself before long.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Control thread: whether it was rung since it was last listened for.
    #[must_use]
    pub fn is_rung(&self) -> bool {
        // Read off, or the next wait would end at once.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.rung.load(Ordering::Acquire)
    }

    /// Control thread: it may be rung again.
    pub fn listen(&self) {
        self.rung.store(false, Ordering::Release);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn wakes(bell: &Bell) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(bell, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn rings_once_until_it_is_listened_for_again() {
        let bell = Bell::new().unwrap();
        assert_eq!((wakes(&bell), bell.is_rung()), (false, false));
        bell.ring();
        bell.ring();
        assert_eq!((wakes(&bell), bell.is_rung(), wakes(&bell)), (true, true, false));
        bell.ring();
        assert_eq!((wakes(&bell), bell.is_rung()), (false, true));
        bell.listen();
        assert!(!bell.is_rung());
        bell.ring();
        assert_eq!((wakes(&bell), bell.is_rung()), (true, true));
    }
}
