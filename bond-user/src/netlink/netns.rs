//! Which network namespace this is.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
};

use super::Netlink;

/// The initial network namespace's inode, fixed since Linux 6.18 (`NET_NS_INIT_INO` of linux/nsfs.h).
const INITIAL_INODE: u64 = 0xefff_fff9;

/// The inode of the calling thread's network namespace. `None` in the initial one, or rather in that of process 1, which
/// is what counts in a container.
///
/// Where a security module hides process 1, the initial namespace is known by its inode; before Linux 6.18 it then
/// counts as any other.
pub fn inode() -> io::Result<Option<u64>> {
    let own = fs::metadata("/proc/thread-self/ns/net")?.ino();
    let initial = fs::metadata("/proc/1/ns/net").map_or(INITIAL_INODE, |init| init.ino());
    Ok((own != initial).then_some(own))
}

/// The number of the network namespace that `nl` acts in: never used again until the host reboots, unlike the inode.
/// `None` before Linux 5.14.
pub fn cookie(nl: &Netlink) -> Option<u64> {
    let (mut cookie, mut length) = (0_u64, libc::socklen_t::try_from(size_of::<u64>()).ok()?);
    // SAFETY: the descriptor is open while `nl` is borrowed; SO_NETNS_COOKIE writes 8 bytes, the length of `cookie`.
    let result = unsafe {
        libc::getsockopt(
            nl.wire.socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}
