//! sysfs, where netlink does not tell, or takes the kernel's RTNL lock for it.

use std::fs::File;
use std::io;
use std::num::ParseIntError;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// A mount of sysfs. It shows the netdevs of one network namespace.
#[derive(Debug)]
pub(super) struct Sysfs(OwnedFd);

impl Sysfs {
    /// That of the calling thread's network namespace, mounted nowhere. It takes CAP_SYS_ADMIN.
    pub(super) fn own() -> io::Result<Self> {
        let context = fsopen("sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
        Ok(Self(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?))
    }

    /// The one at /sys, which may be that of another network namespace.
    pub(super) fn mounted() -> io::Result<Self> {
        Ok(Self(File::open("/sys")?.into()))
    }

    /// A file of the netdev that has this name now; it stays that netdev's.
    pub(super) fn netdev_file(&self, name: &str, what: &str, access: OFlags) -> io::Result<File> {
        let path = Path::new("class/net").join(name).join(what);
        Ok(openat(&self.0, path, access | OFlags::CLOEXEC, Mode::empty())?.into())
    }
}

/// The number in a sysfs file, which is read whole from its start each time.
pub(super) fn number<T: FromStr<Err = ParseIntError>>(file: &File) -> io::Result<T> {
    let mut text = [0; 24];
    let length = file.read_at(&mut text, 0)?;
    let text = str::from_utf8(&text[..length]).map_err(io::Error::other)?;
    text.trim_end().parse().map_err(io::Error::other)
}
