//! SIGINT, SIGTERM and SIGHUP (the terminal is gone) as something to poll.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{RecvFlags, recv};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::BondError;

/// Readable once a stop was asked for.
#[derive(Debug)]
pub(super) struct Signals(UnixStream);

impl Signals {
    /// From now on none of them ends the process.
    pub(super) fn new() -> Result<Self, BondError> {
        let wrap = |source| BondError::Io { what: "cannot catch signals".into(), source };
        let (read, write) = UnixStream::pair().map_err(wrap)?;
        read.set_nonblocking(true).map_err(wrap)?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let write = write.try_clone().map_err(wrap)?;
            signal_hook::low_level::pipe::register(signal, write).map_err(wrap)?;
        }
        Ok(Self(read))
    }

    /// Whether a stop was asked for.
    pub(super) fn stop_asked(&self) -> bool {
        // A look only: it stays true.
        recv(&self.0, &mut [0; 1][..], RecvFlags::PEEK).is_ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
