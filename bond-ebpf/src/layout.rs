//! Layouts of the maps that the XDP programs and user space both touch.

/// Most slaves of one bond.
pub const MAX_SLAVES: usize = 16;
/// Most receive queues of one netdev, and so entries of its XSKMAP.
pub const MAX_QUEUES: u32 = 64;

/// Map names, as in the object's BTF.
pub mod maps {
    /// XSKMAP: receive queue -> AF_XDP socket.
    pub const XSKS: &str = "XSKS";
    /// ARRAY with one [`super::slave_flags`] word, written by the control thread only.
    pub const SLAVE: &str = "SLAVE";
    /// PERCPU_ARRAY of [`super::Counter`], indexed by [`super::Verdict`].
    pub const COUNTERS: &str = "COUNTERS";
}

/// Program names in the object.
pub mod programs {
    /// For a slave: inactive-slave filter, link-local pass, redirect.
    pub const SLAVE: &str = "bond_slave";
    /// For our end of bond0: redirect only.
    pub const HOST: &str = "bond_host";
}

/// Bits of the word in map `SLAVE`.
pub mod slave_flags {
    /// Frames of this slave are delivered to the bond. Clear on a backup (kernel: `bond_is_slave_inactive`).
    pub const RECEIVE: u32 = 1 << 0;
}

/// What a program did with a frame: index into `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// Redirected into the queue's AF_XDP socket.
    Redirect = 0,
    /// Link-local destination (01:80:C2:00:00:0X): passed to the slave's own netdev.
    PassLinkLocal = 1,
    /// Dropped: the slave is a backup.
    DropInactive = 2,
    /// No socket at this queue: passed to the slave's own netdev.
    PassNoSocket = 3,
    /// No socket at this queue of our end of bond0: dropped, since no stack is behind it.
    DropNoSocket = 4,
}

impl Verdict {
    /// Number of verdicts: entries of `COUNTERS`.
    pub const COUNT: u32 = 5;
}

/// One per-CPU counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counter {
    /// Frames.
    pub frames: u64,
    /// Bytes, without the FCS.
    pub bytes: u64,
}

/// From a slot as user space reads it from the map: its two words.
impl From<[u64; 2]> for Counter {
    fn from([frames, bytes]: [u64; 2]) -> Self {
        Self { frames, bytes }
    }
}
