//! Layouts of the maps. User space reads and writes them as arrays of words.

/// Names of the programs in the object.
pub mod programs {
    /// For BPF_PROG_RUN with live frames: makes each one a frame of the stream and sends it.
    pub const GENERATE: &str = "generate";
    /// For a receiver: checks, counts and drops.
    pub const SINK: &str = "sink";
    /// The device under test that is a devmap redirect.
    pub const FORWARD: &str = "forward";
    /// For cpu-clock: counts where a process spends its time.
    pub const PROFILE: &str = "profile";
}

/// Names of the maps in the object.
pub mod maps {
    /// ARRAY of one [`super::Stream`].
    pub const STREAM: &str = "STREAM";
    /// PERCPU_ARRAY of one [`super::Sent`].
    pub const SENT: &str = "SENT";
    /// PERCPU_ARRAY of one [`super::Tally`].
    pub const TALLY: &str = "TALLY";
    /// PERCPU_ARRAY of frames by latency: [`super::bucket`].
    pub const LATENCY: &str = "LATENCY";
    /// DEVMAP: where `forward` sends to.
    pub const PORTS: &str = "PORTS";
    /// ARRAY of one word: how many of `PORTS` are used, in turn.
    pub const WAYS: &str = "WAYS";
    /// ARRAY of one word: the process that `profile` counts.
    pub const PROCESS: &str = "PROCESS";
    /// PERCPU_ARRAY of [`super::Place`].
    pub const SAMPLES: &str = "SAMPLES";
}

/// What the generator sends.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Stream {
    /// From one frame to the next; 0: as fast as it can.
    pub period_ns: u64,
    /// The netdevs to send on, in turn.
    pub ports: [u64; 2],
    /// How many of `ports` are used: 1 or 2.
    pub ways: u64,
}

impl From<Stream> for [u64; 4] {
    fn from(Stream { period_ns, ports: [first, second], ways }: Stream) -> Self {
        [period_ns, first, second, ways]
    }
}

/// What the generator has done.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Sent {
    /// Frames sent, and the sequence number of the next.
    pub frames: u64,
    /// When the next one is due, of a stream with a period.
    pub due_ns: u64,
}

impl From<[u64; 2]> for Sent {
    fn from([frames, due_ns]: [u64; 2]) -> Self {
        Self { frames, due_ns }
    }
}

/// What a sink has seen on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// Frames of a stream.
    pub frames: u64,
    /// Those with a wrong field, length or filler.
    pub bad: u64,
    /// Those that came after one with a higher sequence number.
    pub late: u64,
    /// Frames of something else.
    pub other: u64,
    /// One more than the highest sequence number.
    pub next: u64,
}

impl From<[u64; 5]> for Tally {
    fn from([frames, bad, late, other, next]: [u64; 5]) -> Self {
        Self { frames, bad, late, other, next }
    }
}

/// Where `profile` found a CPU.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Place {
    /// In the process, user space.
    User = 0,
    /// In the process, kernel: its system calls, and the softirqs on top of them.
    Kernel = 1,
    /// Elsewhere.
    Elsewhere = 2,
}

impl Place {
    /// Entries of `SAMPLES`.
    pub const COUNT: u32 = 3;
}

/// Buckets an octave of latency is divided into: a reading is at most 1/256 off.
const STEPS: u32 = 1 << STEP_BITS;
const STEP_BITS: u32 = 7;
/// Entries of `LATENCY`: enough for a second.
pub const BUCKETS: u32 = STEPS * (31 - STEP_BITS);

/// The entry of `LATENCY` for a latency in ns.
#[inline(always)]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "clamped before")]
pub const fn bucket(ns: u64) -> u32 {
    let ns = if ns < 1 << 30 { ns as u32 } else { (1 << 30) - 1 };
    if ns < STEPS {
        return ns;
    }
    // By halves: the BPF target has no instruction for the highest bit.
    let (mut top, mut rest) = (0, ns);
    let mut half = 16;
    while half > 0 {
        if rest >> half != 0 {
            top += half;
            rest >>= half;
        }
        half /= 2;
    }
    (top - STEP_BITS + 1) * STEPS + ((ns >> (top - STEP_BITS)) & (STEPS - 1))
}

/// The lowest latency of an entry, in ns.
#[must_use]
pub const fn lowest(bucket: u32) -> u64 {
    let (octave, step) = (bucket / STEPS, bucket % STEPS);
    if octave == 0 { step as u64 } else { ((STEPS + step) as u64) << (octave - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_begins_with_its_lowest() {
        for entry in 0..BUCKETS {
            assert_eq!(bucket(lowest(entry)), entry);
            assert_eq!(bucket(lowest(entry + 1) - 1), entry);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }
}
