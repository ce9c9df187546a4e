//! Which slave the kernel's own bond gives a frame to, beside ours.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bond_ebpf::hash::{HashPolicy, hash};
use bond_tests::{ALL_ETHERTYPES, Mac, Port, Wire, wait_until};

use crate::Test;

const FRAMES: u32 = 10_000;
/// Bytes of a frame: all headers, and its number at the end.
const LENGTH: usize = 140;
const SLAVES: u8 = 3;

pub(crate) fn tests() -> Vec<Test> {
    let test = |policy: HashPolicy| Test {
        name: format!("hash/{}", policy.name()),
        run: Box::new(move || same_slaves(policy)),
    };
    HashPolicy::ALL.map(test).into()
}

/// Random frames through a bond of the kernel's: each leaves by the slave that our hash says.
fn same_slaves(policy: HashPolicy) -> Result<()> {
    let wire = Wire::new(SLAVES, 1)?;
    let name = policy.name();
    let options = format!("mode balance-xor miimon 100 xmit_hash_policy {name}");
    wire.host.ip(&format!("link add bond1 type bond {options}"))?;
    for slave in 0..SLAVES {
        wire.host.ip(&format!("link set eth{slave} down"))?;
        wire.host.ip(&format!("link set eth{slave} master bond1"))?;
    }
    wire.host.ip("link set bond1 up")?;
    wait_until("the kernel's bond has all its slaves", Duration::from_secs(10), || {
        let text =
            wire.host.run(|| Ok(fs::read_to_string("/proc/thread-self/net/bonding/bond1")?))?;
        Ok((text.matches("MII Status: up").count() == 1 + usize::from(SLAVES)).then_some(()))
    })?;

    let listen = |cable: &bond_tests::Cable| cable.far.packet_socket(ALL_ETHERTYPES);
    let sockets = wire.cables.iter().map(listen).collect::<Result<Vec<_>>>()?;
    let bond1 = Port::new(&wire.host, "bond1", Mac::local(1, 0)).packet_socket(ALL_ETHERTYPES)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut expected = Vec::new();
    for number in 0..FRAMES {
        let frame = random.frame(number);
        while !bond1.send(&frame)? {}
        expected.push(u8::try_from(hash(&frame, policy) % u32::from(SLAVES))?);
    }
    let (mut heard, mut buffer) = (0, [0; 2048]);
    for (slave, socket) in (0..SLAVES).zip(&sockets) {
        while let Some(length) = socket.receive(&mut buffer)? {
            // The kernel's own frames are shorter.
            let Some(number) = (length == LENGTH).then(|| buffer[..LENGTH].last_chunk()).flatten()
            else {
                continue;
            };
            let number = u32::from_be_bytes(*number);
            let ours = *expected.get(number as usize).context("a frame that was not sent")?;
            let frame = &buffer[..54];
            ensure!(ours == slave, "frame {number}: kernel {slave}, ours {ours}: {frame:02x?}");
            heard += 1;
        }
    }
    ensure!(heard == FRAMES, "{heard} of {FRAMES} frames arrived");
    let shares = (0..SLAVES).map(|slave| expected.iter().filter(|other| **other == slave).count());
    println!(
        "@note {name}: {FRAMES} of {FRAMES} as by the kernel, {:?}",
        shares.collect::<Vec<_>>()
    );
    Ok(())
}

/// xorshift64: the frames are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[4]
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    fn one_of(&mut self, values: &[u8]) -> u8 {
        values[self.below(values.len())]
    }

    /// Random bytes from one unicast address to another, with headers of some protocols, and `number` at the end. No VLAN
    /// tags: the kernel's bond does not look through them in a frame, and ours does.
    fn frame(&mut self, number: u32) -> [u8; LENGTH] {
        let mut frame = [(); LENGTH].map(|()| self.byte());
        frame[0] &= 0xfe;
        frame[6] &= 0xfe;
        match self.next() % 8 {
            0 => frame[12..14].copy_from_slice(&[0x88, 0xb5]),
            1..4 => self.ipv4(&mut frame),
            4..6 => self.ipv6(&mut frame),
            6 => {
                let end = self.ipv4_with(&mut frame, 14, 1);
                frame[end] = self.one_of(&[3, 4, 5, 11, 12]);
                let protocol = self.one_of(&PROTOCOLS);
                self.ipv4_with(&mut frame, end + 8, protocol);
            }
            _ => {
                let end = self.ipv6_with(&mut frame, 14, 58);
                frame[end] = self.one_of(&[1, 2, 3, 4]);
                let protocol = self.one_of(&PROTOCOLS);
                self.ipv6_with(&mut frame, end + 8, protocol);
            }
        }
        frame[LENGTH - 4..].copy_from_slice(&number.to_be_bytes());
        frame
    }

    fn ipv4(&mut self, frame: &mut [u8; LENGTH]) {
        let protocol = self.one_of(&PROTOCOLS);
        let end = self.ipv4_with(frame, 14, protocol);
        if self.next().is_multiple_of(4) {
            frame[20] |= 0x20; // more fragments
        }
        frame[end] = self.one_of(&ICMP_TYPES);
    }

    /// An IPv4 header at `at`, with the ethertype of one. Returns where it ends.
    fn ipv4_with(&mut self, frame: &mut [u8; LENGTH], at: usize, protocol: u8) -> usize {
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        let words = 5 + self.below(3);
        frame[at] = 0x40 | u8::try_from(words).unwrap_or(5);
        frame[at + 6..at + 8].copy_from_slice(&[0x40, 0]);
        frame[at + 9] = protocol;
        at + 4 * words
    }

    fn ipv6(&mut self, frame: &mut [u8; LENGTH]) {
        let protocol = self.one_of(&PROTOCOLS);
        let end = self.ipv6_with(frame, 14, protocol);
        frame[end] = self.one_of(&ICMP_TYPES);
    }

    fn ipv6_with(&mut self, frame: &mut [u8; LENGTH], at: usize, next: u8) -> usize {
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[at] = 0x60;
        frame[at + 6] = next;
        at + 40
    }
}

/// ICMP, TCP, UDP, DCCP, GRE, ESP, AH, ICMPv6, SCTP, UDP-Lite, and one that nobody has.
const PROTOCOLS: [u8; 11] = [1, 6, 17, 33, 47, 50, 51, 58, 132, 136, 200];
/// With an identifier, without one, and errors, whose inner packet is then no packet.
const ICMP_TYPES: [u8; 10] = [0, 8, 9, 13, 14, 128, 129, 133, 3, 1];
