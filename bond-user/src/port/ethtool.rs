//! Offloads, driver and channels of a netdev, through SIOCETHTOOL (`net/ethtool/ioctl.c`).

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

/// Offloads that let a host hand down frames which a NIC would have to finish: checksums missing,
/// several frames in one buffer, one frame in pieces, or a VLAN tag beside the frame. A veth passes them on as they
/// are, and XDP loses the tag.
pub(crate) const UNFINISHED: &[&str] = &[
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-scatter-gather",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-udp-segmentation",
    "tx-sctp-segmentation",
    "tx-generic-segmentation",
    "tx-vlan-hw-insert",
    "tx-vlan-stag-hw-insert",
];
/// A veth with it has NAPI, which lets frames gather.
pub(crate) const GRO: &str = "rx-gro";
/// Whatever merges received frames into larger ones, which generic XDP would then see, or takes the VLAN tag off them.
pub(crate) const RX_ALTERING: &[&str] =
    &[GRO, "rx-gro-hw", "rx-lro", "rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

// linux/ethtool.h
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_SFEATURES: u32 = 0x3b;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETH_SS_FEATURES: u32 = 4;
/// `ETH_GSTRING_LEN`: bytes of a feature's name, padded with zeros.
const NAME_BYTES: usize = 32;

/// Room for every command used here; the longest answer is that of ETHTOOL_GSTRINGS.
const BUFFER_WORDS: usize = 2048;
/// As many names of features as fit in the buffer after `cmd`, `string_set` and `len`. Kernels have 64 at most.
const MAX_FEATURES: usize = (BUFFER_WORDS - 3) * 4 / NAME_BYTES;

/// What the administrator asks of offloads ("requested" in `ethtool -k`), by the kernel's names. What is in force can be
/// less: segmentation is off while checksums are, and comes back with them. So the request is what is saved and put back.
pub(super) type Offloads = BTreeMap<String, bool>;

/// Queues in use (`struct ethtool_channels`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    pub rx: u32,
    pub tx: u32,
    pub combined: u32,
}

impl Channels {
    pub const fn rx_queues(self) -> u32 {
        self.rx + self.combined
    }

    pub const fn tx_queues(self) -> u32 {
        self.tx + self.combined
    }
}

/// A socket for ethtool commands in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Ethtool {
    socket: OwnedFd,
}

pub(super) type Result<T> = std::result::Result<T, Errno>;

impl Ethtool {
    pub fn new() -> Result<Self> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket })
    }

    /// The driver's name: "veth", "ice". `None` when the driver does not tell.
    pub fn driver(&self, ifname: &str) -> Result<Option<String>> {
        // struct ethtool_drvinfo: cmd, then 32 bytes of name.
        supported(
            self.call(ifname, &[ETHTOOL_GDRVINFO])
                .map(|answer| text(&answer[1..1 + NAME_BYTES / 4])),
        )
    }

    /// The queues in use. `None` when the driver does not tell.
    pub fn channels(&self, ifname: &str) -> Result<Option<Channels>> {
        // struct ethtool_channels: cmd, max_{rx,tx,other,combined}, {rx,tx,other,combined}_count.
        let answer = supported(self.call(ifname, &[ETHTOOL_GCHANNELS]))?;
        Ok(answer.map(|a| Channels { rx: a[5], tx: a[6], combined: a[8] }))
    }

    /// What is asked of those of `features` that the netdev has and lets be changed.
    pub fn offloads(&self, ifname: &str, features: &[&str]) -> Result<Offloads> {
        let names = self.feature_names(ifname)?;
        let blocks = self.features(ifname, names.len())?;
        let offloads = names.into_iter().enumerate().filter_map(|(bit, name)| {
            let block = &blocks[bit / 32];
            let has = |bits: u32| bits >> (bit % 32) & 1 != 0;
            (has(block.available) && features.contains(&name.as_str()))
                .then(|| (name, has(block.requested)))
        });
        Ok(offloads.collect())
    }

    /// Asks for exactly these, and leaves every other feature alone. One that the netdev lacks is passed over.
    pub fn set_offloads(&self, ifname: &str, offloads: &Offloads) -> Result<()> {
        let names = self.feature_names(ifname)?;
        let blocks = names.len().div_ceil(32);
        // struct ethtool_sfeatures: cmd, size, then {valid, requested} per 32 features.
        let mut command = vec![0; 2 + 2 * blocks];
        command[..2].copy_from_slice(&[ETHTOOL_SFEATURES, word(blocks)]);
        for (bit, name) in names.iter().enumerate() {
            if let Some(&on) = offloads.get(name) {
                command[2 + bit / 32 * 2] |= 1 << (bit % 32);
                command[3 + bit / 32 * 2] |= u32::from(on) << (bit % 32);
            }
        }
        self.call(ifname, &command).map(drop)
    }

    /// The names of all features, by bit.
    fn feature_names(&self, ifname: &str) -> Result<Vec<String>> {
        // struct ethtool_sset_info: cmd, reserved, mask (64 bits), one count per bit of the mask.
        let (low, high) = (1 << ETH_SS_FEATURES, 0);
        let mask = if cfg!(target_endian = "little") { [low, high] } else { [high, low] };
        let answer = self.call(ifname, &[ETHTOOL_GSSET_INFO, 0, mask[0], mask[1]])?;
        let count = answer[4] as usize;
        if count > MAX_FEATURES {
            return Err(Errno::OVERFLOW);
        }
        // struct ethtool_gstrings: cmd, string_set, len, names.
        let answer = self.call(ifname, &[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, word(count)])?;
        Ok(answer[3..].chunks_exact(NAME_BYTES / 4).take(count).map(text).collect())
    }

    /// The state of `count` features, 32 per block.
    fn features(&self, ifname: &str, count: usize) -> Result<Vec<FeatureBlock>> {
        // struct ethtool_gfeatures: cmd, size, then {available, requested, active, never_changed} per 32 features.
        let blocks = count.div_ceil(32);
        let answer = self.call(ifname, &[ETHTOOL_GFEATURES, word(blocks)])?;
        let blocks = answer[2..].chunks_exact(4).take(blocks);
        Ok(blocks.map(|b| FeatureBlock { available: b[0], requested: b[1] }).collect())
    }

    /// Runs one command: the words of its structure, the first being its number. Returns the structure as the kernel
    /// leaves it, with zeros after it.
    pub(super) fn call(&self, ifname: &str, command: &[u32]) -> Result<Box<[u32; BUFFER_WORDS]>> {
        let mut buffer = Box::new([0; BUFFER_WORDS]);
        buffer[..command.len()].copy_from_slice(command);
        let mut request = libc::ifreq {
            ifr_name: [0; libc::IFNAMSIZ],
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: buffer.as_mut_ptr().cast() },
        };
        if ifname.len() >= libc::IFNAMSIZ {
            return Err(Errno::NODEV);
        }
        for (to, from) in request.ifr_name.iter_mut().zip(ifname.bytes()) {
            *to = from.cast_signed();
        }
        // SAFETY: `request` is the ifreq SIOCETHTOOL takes and its data pointer is to `buffer`, which lives across the
        // call and holds the whole structure of each command: at most 12 + 32 * MAX_FEATURES bytes, that of the names.
        let result =
            unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        // ETHTOOL_SFEATURES returns flags when a request is taken but not all of it comes into force.
        if result < 0 {
            return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        Ok(buffer)
    }
}

/// 32 features of a netdev, one bit each.
struct FeatureBlock {
    available: u32,
    requested: u32,
}

/// `None` for what the driver does not offer.
pub(super) fn supported<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(Errno::OPNOTSUPP) => Ok(None),
        other => other.map(Some),
    }
}

/// The text in words that hold bytes up to a zero.
fn text(words: &[u32]) -> String {
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes());
    let bytes: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A count as the kernel's structures hold it. Counts here are at most MAX_FEATURES.
fn word(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{
        Mac, Netlink, VethSpec,
        testing::{in_netns, run},
    };

    fn veth() -> Ethtool {
        let spec =
            VethSpec { name: "v0", peer: "v1", mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, queues: 2 };
        Netlink::new().unwrap().create_veth(&spec).unwrap();
        Ethtool::new().unwrap()
    }

    /// `requested` with every value replaced.
    fn all(offloads: &Offloads, on: bool) -> Offloads {
        offloads.keys().map(|name| (name.clone(), on)).collect()
    }

    #[test]
    #[ignore = "needs root"]
    fn driver_and_channels() {
        in_netns(|| {
            let ethtool = veth();
            assert_eq!(ethtool.driver("v0").unwrap().as_deref(), Some("veth"));
            let channels = ethtool.channels("v0").unwrap().unwrap();
            assert_eq!((channels.rx_queues(), channels.tx_queues()), (2, 2));
            assert_eq!(ethtool.channels("lo"), Ok(None));
            assert_eq!(ethtool.driver("absent"), Err(Errno::NODEV));
            assert_eq!(ethtool.driver("a-name-of-16-byt"), Err(Errno::NODEV));
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn checksums_off_and_back_restores_segmentation_too() {
        in_netns(|| {
            let ethtool = veth();
            run("ethtool -K v0 tx-checksum-sctp off");
            let before = run("ethtool -k v0");
            assert!(before.contains("tx-tcp-segmentation: on"));

            let saved = ethtool.offloads("v0", UNFINISHED).unwrap();
            let expected = UNFINISHED.iter().map(|name| (*name, *name != "tx-checksum-sctp"));
            assert_eq!(saved, expected.map(|(name, on)| (name.to_owned(), on)).collect());
            ethtool.set_offloads("v0", &all(&saved, false)).unwrap();
            let off = run("ethtool -k v0");
            assert!(off.contains("tx-checksumming: off"), "{off}");
            assert!(off.contains("tx-tcp-segmentation: off"), "{off}");
            assert!(off.contains("scatter-gather: off"), "{off}");

            ethtool.set_offloads("v0", &saved).unwrap();
            assert_eq!(run("ethtool -k v0"), before);
        });
    }

    #[test]
    #[ignore = "needs root"]
    fn other_features_are_left_alone() {
        in_netns(|| {
            let ethtool = veth();
            let before = run("ethtool -k v0");
            let saved = ethtool.offloads("v0", RX_ALTERING).unwrap();
            ethtool.set_offloads("v0", &all(&saved, true)).unwrap();
            let on = run("ethtool -k v0");
            let changed: Vec<_> =
                before.lines().zip(on.lines()).filter(|(a, b)| a != b).map(|(_, b)| b).collect();
            assert_eq!(changed, ["generic-receive-offload: on"]);
            ethtool.set_offloads("v0", &saved).unwrap();
            assert_eq!(run("ethtool -k v0"), before);
        });
    }
}
