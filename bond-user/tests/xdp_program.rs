//! The XDP programs through the kernel's verifier and its `BPF_PROG_TEST_RUN`: what happens to a frame,
//! and what is counted.

use std::os::fd::{AsRawFd as _, OwnedFd};

use aya::{
    Ebpf, TestRunOptions,
    maps::{Array, MapError, PerCpuArray, XskMap},
    programs::{TestRun as _, Xdp},
};
use bond_ebpf::{
    OBJECT,
    layout::{Counter, MAX_QUEUES, Verdict, maps, programs, slave_flags},
};
use rustix::net::{AddressFamily, SocketType};

// linux/bpf.h, enum xdp_action.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

const UNICAST: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
const BROADCAST: [u8; 6] = [0xff; 6];
const LACP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x02];
const LLDP: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x0e];
const PAST_LINK_LOCAL: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x10];

/// One loaded program with its maps. `BPF_PROG_TEST_RUN` runs it as if on queue 0 of `lo`.
struct Program {
    ebpf: Ebpf,
    name: &'static str,
    sockets: Vec<OwnedFd>,
}

impl Program {
    fn load(name: &'static str) -> Self {
        let mut ebpf =
            Ebpf::load(OBJECT).expect("the object is well-formed and its maps can be made");
        let program: &mut Xdp =
            ebpf.program_mut(name).expect(name).try_into().expect("an XDP program");
        program.load().expect("the verifier accepts the program");
        Self { ebpf, name, sockets: Vec::new() }
    }

    fn set_flags(&mut self, flags: u32) {
        let map = self.ebpf.map_mut(maps::SLAVE).expect(maps::SLAVE);
        let mut slave = Array::<_, u32>::try_from(map).expect("an array of words");
        slave.set(0, flags, 0).expect("one entry");
    }

    /// Puts an AF_XDP socket, which need not be bound for this, at `queue`.
    fn add_socket(&mut self, queue: u32) {
        let socket = rustix::net::socket(AddressFamily::XDP, SocketType::RAW, None)
            .expect("an AF_XDP socket");
        let map = self.ebpf.map_mut(maps::XSKS).expect(maps::XSKS);
        XskMap::try_from(map)
            .expect("an XSKMAP")
            .set(queue, socket.as_raw_fd(), 0)
            .expect("a free entry");
        self.sockets.push(socket);
    }

    /// Runs the program on one frame of `length` bytes and gives its verdict in the kernel's words.
    fn run(&self, destination: [u8; 6], length: usize) -> u32 {
        let mut frame = vec![0; length];
        frame[..6].copy_from_slice(&destination);
        let program: &Xdp =
            self.ebpf.program(self.name).expect(self.name).try_into().expect("an XDP program");
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        program.test_run(options).expect("a test run").return_value
    }

    /// Counters of all verdicts, in their order, summed over the CPUs.
    fn counters(&self) -> [Counter; Verdict::COUNT as usize] {
        let map = self.ebpf.map(maps::COUNTERS).expect(maps::COUNTERS);
        let counters = PerCpuArray::<_, [u64; 2]>::try_from(map).expect("per-CPU counters");
        std::array::from_fn(|verdict| {
            let verdict = u32::try_from(verdict).expect("a handful of verdicts");
            let slots = counters.get(&verdict, 0).expect("a counter a verdict");
            slots.iter().fold(Counter::default(), |sum, &slot| {
                let Counter { frames, bytes } = slot.into();
                Counter { frames: sum.frames + frames, bytes: sum.bytes + bytes }
            })
        })
    }

    /// Asserts that one frame ends as `action` and is counted as `verdict`, and nothing else.
    fn check(&self, destination: [u8; 6], length: usize, action: u32, verdict: Verdict) {
        let mut expected = self.counters();
        let counter = &mut expected[verdict as usize];
        counter.frames += 1;
        counter.bytes += u64::try_from(length).expect("a frame's length");

        assert_eq!(self.run(destination, length), action, "{destination:02x?}");
        assert_eq!(self.counters(), expected, "{destination:02x?} is counted as {verdict:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn link_local_goes_up_the_slaves_own_netdev() {
    let mut program = Program::load(programs::SLAVE);
    program.add_socket(0);
    for flags in [0, slave_flags::RECEIVE] {
        program.set_flags(flags);
        program.check(LACP, 124, XDP_PASS, Verdict::PassLinkLocal);
        program.check(LLDP, 60, XDP_PASS, Verdict::PassLinkLocal);
    }
}

#[test]
#[ignore = "needs root"]
fn backup_delivers_nothing() {
    let mut program = Program::load(programs::SLAVE);
    program.add_socket(0);
    // A slave nobody has written about yet is a backup too.
    for destination in [UNICAST, BROADCAST, PAST_LINK_LOCAL] {
        program.check(destination, 60, XDP_DROP, Verdict::DropInactive);
    }
    program.set_flags(slave_flags::RECEIVE);
    program.check(UNICAST, 60, XDP_REDIRECT, Verdict::Redirect);
    program.set_flags(0);
    program.check(UNICAST, 1514, XDP_DROP, Verdict::DropInactive);
}

#[test]
#[ignore = "needs root"]
fn slave_redirects_to_the_socket_of_the_frames_queue() {
    let mut program = Program::load(programs::SLAVE);
    program.set_flags(slave_flags::RECEIVE);
    program.check(UNICAST, 60, XDP_PASS, Verdict::PassNoSocket);
    program.add_socket(1);
    program.check(UNICAST, 60, XDP_PASS, Verdict::PassNoSocket);
    program.add_socket(0);
    for destination in [UNICAST, BROADCAST, PAST_LINK_LOCAL] {
        program.check(destination, 1514, XDP_REDIRECT, Verdict::Redirect);
    }
}

#[test]
#[ignore = "needs root"]
fn host_redirects_everything_and_passes_nothing() {
    let mut program = Program::load(programs::HOST);
    program.check(UNICAST, 60, XDP_DROP, Verdict::DropNoSocket);
    program.add_socket(0);
    // Neither the slave's flags, which are clear here, nor link-local addresses mean anything.
    for destination in [UNICAST, BROADCAST, LACP] {
        program.check(destination, 14, XDP_REDIRECT, Verdict::Redirect);
    }
}

#[test]
#[ignore = "needs root"]
fn every_queue_has_its_entry_and_no_other() {
    let mut program = Program::load(programs::SLAVE);
    program.add_socket(MAX_QUEUES - 1);
    let map = program.ebpf.map_mut(maps::XSKS).expect(maps::XSKS);
    let mut sockets = XskMap::try_from(map).expect("an XSKMAP");
    let beyond = sockets.set(MAX_QUEUES, program.sockets[0].as_raw_fd(), 0);
    assert!(matches!(
        beyond,
        Err(MapError::OutOfBounds { index: MAX_QUEUES, max_entries: MAX_QUEUES })
    ));
}
