//! The control socket: whoever connects gets the state as one JSON line.

use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::BondError;
use crate::port::socket_path;
use crate::state::BondState;

/// Clients answered in one go; more wait for the next turn of the control thread.
const CLIENTS: usize = 16;

/// /run/bond/NAME.sock. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Ipc {
    listener: UnixListener,
    path: PathBuf,
}

impl Ipc {
    /// Listens beside the state file. A socket that a dead process left there is replaced.
    pub(super) fn listen(bond: &str) -> Result<Self, BondError> {
        let path = socket_path(bond).map_err(BondError::io("cannot find /run/bond"))?;
        let wrap =
            |source| BondError::Io { what: format!("cannot listen on {}", path.display()), source };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(wrap(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&path).map_err(wrap)?;
        // The state tells nothing that `ip link` would not tell to everybody.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).map_err(wrap)?;
        listener.set_nonblocking(true).map_err(wrap)?;
        Ok(Self { listener, path })
    }

    /// Answers whoever waits. A client that does not take its answer at once loses it: the answer
    /// fits a socket buffer, and the control thread waits for nobody.
    pub(super) fn answer(&self, state: impl FnOnce() -> BondState) {
        let mut clients = Vec::new();
        while clients.len() < CLIENTS
            && let Ok((client, _)) = self.listener.accept()
        {
            clients.push(client);
        }
        if clients.is_empty() {
            return;
        }
        let Ok(mut answer) = serde_json::to_vec(&state()) else { return };
        answer.push(b'\n');
        for mut client in clients {
            let sent = client.set_nonblocking(true).and_then(|()| client.write_all(&answer));
            if let Err(error) = sent {
                tracing::debug!("a client of the control socket left early: {error}");
            }
        }
    }
}

impl AsFd for Ipc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Ipc {
    fn drop(&mut self) {
        // Nothing to do about a file that is gone or cannot be removed: the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}
