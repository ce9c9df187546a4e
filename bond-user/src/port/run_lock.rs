//! Claims between bond processes: of a bond's name, and of a slave.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::state_file::{remove_netns_dir, run_dir};

/// An exclusive claim, in the calling thread's network namespace. It ends when it is dropped, or with the process,
/// however that ends.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _file: File,
}

impl RunLock {
    /// Claims `name`, a bond's or `slave-IFINDEX`. `None`: another process has it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn take(name: &str) -> io::Result<Option<Self>> {
        let dir = run_dir()?;
        let path = dir.join(format!("{name}.lock"));
        loop {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(&dir)?;
            let mut options = fs::OpenOptions::new();
            let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = match opened {
                // The one who had it before us has just removed the directory.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
            // It may have been removed between opening and locking: then this lock excludes nobody.
            if fs::metadata(&path).is_ok_and(|now| Some(now.ino()) == inode(&file)) {
                return Ok(Some(Self { path, _file: file }));
            }
        }
    }
}

fn inode(file: &File) -> Option<u64> {
    file.metadata().ok().map(|metadata| metadata.ino())
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // A lock file that stays behind claims nothing.
        let _ = fs::remove_file(&self.path);
        remove_netns_dir();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::in_netns;

    #[test]
    #[ignore = "needs root"]
    fn a_name_is_claimed_once_and_leaves_nothing() {
        in_netns(|| {
            let lock = RunLock::take("bond0").unwrap().unwrap();
            assert!(RunLock::take("bond0").unwrap().is_none());
            let other = RunLock::take("slave-7").unwrap().unwrap();
            drop(lock);
            drop(RunLock::take("bond0").unwrap().unwrap());
            drop(other);
            assert!(!run_dir().unwrap().exists());
        });
    }
}
