//! A descriptor table of a thread's own.
//!
//! In a table that threads share, every system call takes a counted reference to the file and drops it again (`fdget`,
//! fs/file.c), which is 2 % of what a lone frame costs.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// The first number that is not for standard input, output or error.
const FIRST: RawFd = 3;

/// The descriptor of a socket, which the process holds open, by its numbers.
#[derive(Clone, Copy, Debug)]
pub struct SocketFd {
    /// In the process's table.
    process: RawFd,
    /// In the table of the thread that uses the socket.
    thread: RawFd,
}

impl SocketFd {
    /// A socket that is used by threads with the process's table.
    #[must_use]
    pub const fn new(fd: RawFd) -> Self {
        Self { process: fd, thread: fd }
    }

    /// The number for the thread that uses the socket.
    #[must_use]
    pub const fn number(self) -> RawFd {
        self.thread
    }
}

/// What has sockets.
pub(super) trait Sockets {
    /// Calls `act` for each of them once.
    fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd));
}

impl<T: Sockets> Sockets for Vec<T> {
    fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd)) {
        self.iter_mut().for_each(|each| each.each_socket(act));
    }
}

/// The table of the calling thread: its own, or the process's where the kernel does not let it have one.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// The process, to copy descriptors from; `None` in its own table.
    process: Option<OwnedFd>,
}

impl Descriptors {
    /// Gives the calling thread a table with `kept` only, under the same numbers, and its standard streams.
    ///
    /// `kept` must be all that the thread uses from now on, besides what it [enters](Self::enter) or opens itself.
    ///
    /// # Errors
    /// When the kernel has no memory or number left for a descriptor.
    pub(super) fn own(mut kept: Vec<RawFd>) -> io::Result<Self> {
        if !can_copy() {
            return Ok(Self { process: None });
        }
        // SAFETY: the caller promises that this thread uses no other descriptor of the process.
        if unsafe { unshare_unsafe(UnshareFlags::FILES) }.is_err() {
            return Ok(Self { process: None });
        }
        // What stayed open here would stay open after the process has closed it: an attachment, a lock.
        kept.sort_unstable();
        let mut from = FIRST;
        for fd in kept {
            if from < fd {
                close_range(from.cast_unsigned(), fd.cast_unsigned() - 1)?;
            }
            from = from.max(fd + 1);
        }
        close_range(from.cast_unsigned(), u32::MAX)?;
        Ok(Self { process: Some(process()?) })
    }

    /// Lets this thread use the sockets of `port`.
    ///
    /// # Errors
    /// When the kernel has no memory or number left for a descriptor.
    pub(super) fn enter(&self, port: &mut impl Sockets) -> io::Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let mut result = Ok(());
        port.each_socket(&mut |socket| match pidfd_getfd(
            process,
            socket.process,
            PidfdGetfdFlags::empty(),
        ) {
            Ok(copy) => socket.thread = copy.into_raw_fd(),
            Err(error) => result = Err(error.into()),
        });
        result
    }

    /// Leaves the sockets of `port`, which it has entered, to other threads.
    pub(super) fn leave(&self, port: &mut impl Sockets) {
        if self.process.is_none() {
            return;
        }
        port.each_socket(&mut |socket| {
            // SAFETY: the number is of this thread's table, from `enter`, and nobody has it any more after this.
            drop(unsafe { OwnedFd::from_raw_fd(socket.thread) });
            socket.thread = socket.process;
        });
    }
}

impl Drop for Descriptors {
    /// Closes what is left, for who waits for the thread's end waits for its sockets: the kernel lets go of an ended
    /// thread's table some time after that.
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            drop(process);
            let _ = close_range(FIRST.cast_unsigned(), u32::MAX);
        }
    }
}

fn process() -> io::Result<OwnedFd> {
    Ok(pidfd_open(getpid(), PidfdFlags::empty())?)
}

/// Whether the kernel has what a table of one's own takes (Linux 5.9), and nobody forbids it.
fn can_copy() -> bool {
    let copied = process().and_then(|process| {
        Ok(pidfd_getfd(&process, process.as_raw_fd(), PidfdGetfdFlags::empty())?)
    });
    copied.is_ok() && close_range(u32::MAX, u32::MAX).is_ok()
}

/// Closes the descriptors of the thread's table from `first` to `last`.
fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: three numbers; the callers close what nobody uses.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use rustix::event::{EventfdFlags, eventfd};
    use rustix::io::fcntl_getfd;

    use super::*;

    struct Socket(SocketFd);

    impl Sockets for Socket {
        fn each_socket(&mut self, act: &mut impl FnMut(&mut SocketFd)) {
            act(&mut self.0);
        }
    }

    /// Whether this thread's table has the number.
    fn open(fd: RawFd) -> bool {
        // SAFETY: asked for its flags only, which is an error if it is not open.
        fcntl_getfd(unsafe { BorrowedFd::borrow_raw(fd) }).is_ok()
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn a_thread_has_what_it_keeps_and_enters() {
        // Numbers far above those of the other tests' descriptors, so that none of theirs is taken for one of these.
        let [kept, later] = [900, 901].map(|least| {
            let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            rustix::io::fcntl_dupfd_cloexec(&event, least).unwrap()
        });
        let (kept_number, later_number) = (kept.as_raw_fd(), later.as_raw_fd());
        let left = std::thread::spawn(move || {
            let own = Descriptors::own(vec![kept_number, kept_number]).unwrap();
            assert!(own.process.is_some(), "this kernel lets a thread have a table of its own");
            assert_eq!((open(kept_number), open(later_number)), (true, false));
            let mut socket = Socket(SocketFd::new(later_number));
            own.enter(&mut socket).unwrap();
            let here = socket.0.number();
            // SAFETY: open in this thread's table until it is left.
            let entered = unsafe { BorrowedFd::borrow_raw(here) };
            assert_eq!(rustix::io::write(entered, &7u64.to_ne_bytes()), Ok(8));
            own.leave(&mut socket);
            assert!(!open(here));
            drop(own);
            assert!(!open(kept_number));
            socket.0
        });
        assert_eq!(left.join().unwrap().number(), later_number);
        let mut value = [0; 8];
        rustix::io::read(&later, &mut value).unwrap();
        assert_eq!(u64::from_ne_bytes(value), 7, "one file, in two tables");
        assert!(open(kept_number) && open(later_number), "the process's table is as it was");
    }
}
