//! How a worker calls the control thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// Raised when a slave refuses frames: who sends on a dead link is the first to know.
///
/// One system call, and none any more until the control thread listens again.
#[derive(Debug)]
pub struct Alarm {
    raised: AtomicBool,
    wake: OwnedFd,
}

impl Alarm {
    /// An alarm that is listened for.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { raised: AtomicBool::new(false), wake })
    }

    /// Worker: calls.
    pub(super) fn raise(&self) {
        if !self.raised.load(Ordering::Relaxed) && !self.raised.swap(true, Ordering::AcqRel) {
            // If it cannot be woken, the control thread looks up by itself before long.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Control thread: whether it was raised since it was last listened for.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        // Read off, or the next wait would end at once.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.raised.load(Ordering::Acquire)
    }

    /// Control thread: it may be raised again.
    pub fn listen(&self) {
        self.raised.store(false, Ordering::Release);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn wakes(alarm: &Alarm) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn raised_once_until_it_is_listened_for_again() {
        let alarm = Alarm::new().unwrap();
        assert_eq!((wakes(&alarm), alarm.is_raised()), (false, false));
        alarm.raise();
        alarm.raise();
        assert_eq!((wakes(&alarm), alarm.is_raised(), wakes(&alarm)), (true, true, false));
        alarm.raise();
        assert_eq!((wakes(&alarm), alarm.is_raised()), (false, true));
        alarm.listen();
        assert!(!alarm.is_raised());
        alarm.raise();
        assert_eq!((wakes(&alarm), alarm.is_raised()), (true, true));
    }
}
