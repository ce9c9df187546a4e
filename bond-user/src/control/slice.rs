//! The control thread is woken at once, also where workers leave it no idle CPU.

use std::io;

/// What the control thread asks of the scheduler, ns: it works for some 10 us at a time. The kernel lets a thread that
/// wakes up go before one with longer slices (`do_preempt_short`, kernel/sched/fair.c), and takes 100 us at least.
const SLICE: u64 = 100_000;
/// Threads made by this one are scheduled as usual (`SCHED_FLAG_RESET_ON_FORK`, include/uapi/linux/sched.h).
const RESET_ON_FORK: u64 = 1;

/// Gives the calling thread a short slice. Only tuning: kernels before 6.12 know none, and wake it within 3 ms.
pub(super) fn shorten() {
    if let Err(error) = set(SLICE) {
        tracing::debug!("the control thread is scheduled as usual: {error}");
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a small struct")]
fn set(slice: u64) -> io::Result<()> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER.cast_unsigned(),
        sched_flags: RESET_ON_FORK,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: slice,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of a live struct, of the calling thread (0), and no flags (0).
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slice of the calling thread, as the kernel tells it.
    fn slice() -> u64 {
        let stat = std::fs::read_to_string("/proc/thread-self/sched").unwrap();
        let line = stat.lines().find(|line| line.starts_with("se.slice")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn this_thread_alone_has_a_short_slice() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
        let version: (u32, u32) = (numbers.next().unwrap(), numbers.next().unwrap());
        if version < (6, 12) || !std::fs::exists("/proc/thread-self/sched").unwrap() {
            println!(
                "skipped: Linux {release} has no slices of a thread's own, or does not tell them"
            );
            return;
        }
        std::thread::spawn(|| {
            let usual = slice();
            set(SLICE).unwrap();
            assert_eq!(slice(), SLICE);
            assert_eq!(std::thread::spawn(slice).join().unwrap(), usual);
        })
        .join()
        .unwrap();
    }
}
