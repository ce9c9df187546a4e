//! Frames in both directions, every byte checked, with the kernel's copies counted.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bond_tests::{
    BondProcess, ETHERTYPE, Echo, Faults, Flow, Mac, Pace, Port, Report, Sink, State, send,
};
use serde_json::json;

use crate::{
    Test,
    copies::{Copies, Counts},
    nics::Cables,
    record,
};

pub(crate) const FRAMES: u64 = 20_000;
/// igb's receive ring of 256 loses frames when more are on the way than it can take.
const PACE: Pace = Pace { rate: 80_000, window: 128 };
const ZERO_COPY: [&str; 2] = ["zero-copy", "zero-copy"];

/// A pair of NICs and how their sockets shall be bound.
#[derive(Clone, Copy)]
struct Pair {
    name: &'static str,
    cables: [u8; 2],
    bound: [&'static str; 2],
}

const PAIRS: [Pair; 4] = [
    Pair { name: "virtio+virtio", cables: [0, 1], bound: ZERO_COPY },
    Pair { name: "igb+igb", cables: [2, 3], bound: ZERO_COPY },
    Pair { name: "virtio+igb", cables: [0, 2], bound: ZERO_COPY },
    Pair { name: "virtio+copy", cables: [0, 4], bound: ["zero-copy", "copy"] },
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for pair in PAIRS {
        // The second slave is the active one: of a mixed pair, the one that copies.
        for (mode, options) in [
            ("active-backup", "--mode active-backup --primary eth1"),
            ("balance-rr", "--mode balance-rr"),
        ] {
            let run = move || intact(pair, mode, options);
            tests.push(Test { name: format!("{}/{mode}", pair.name), run: Box::new(run) });
        }
    }
    tests
}

/// Frames pass in both directions, each socket in its best mode: none lost, altered or duplicated, none copied that
/// need not be. The peer answers pings.
fn intact(pair: Pair, mode: &str, options: &str) -> Result<()> {
    let cables = Cables::lay(&pair.cables)?;
    let arguments = format!("--iface eth0,eth1 {options}");
    let mut bond = BondProcess::start(&cables.host, "bond0", &arguments)?;
    let before = bond.wait_until_whole()?;
    for (slave, bound) in before.slaves.iter().zip(pair.bound) {
        let modes = (slave.xdp_mode.as_str(), slave.bind_mode.as_str());
        ensure!(modes == ("native", bound), "{}: {modes:?}", slave.ifname);
    }
    let bond0 = bond.port()?;
    let senders = senders(&cables, &before);
    let copies = Copies::count()?;

    let out = Flow { id: 1, source: bond0.mac, destination: Mac::local(9, 9), frames: FRAMES };
    let outward = exchange(&out, &[&bond0], &[&cables.far[0], &cables.far[1]])?;
    ensure!(outward.faults == Faults::default(), "host to wire: {:?}", outward.faults);
    let inward = Flow { id: 2, source: out.destination, destination: bond0.mac, ..out };
    let report = exchange(&inward, &senders, &[&bond0])?;
    let after = bond.show()?;
    ensure!(report.faults == Faults::default(), "wire to host: {:?}\n{after:#?}", report.faults);
    let seam = seam(pair, &before, &after, &outward.counts())?;
    let slaves = only_copy_mode_copies(pair, &copies.read()?)?;
    audit(&after)?;
    let faults = [outward.faults, report.faults];
    let faults = faults.map(|Faults { lost, altered, duplicated }| [lost, altered, duplicated]);
    let faults = [0, 1, 2].map(|fault| faults[0][fault] + faults[1][fault]);
    record(
        "traffic",
        json!({
            "pair": pair.name, "mode": mode, "bound": pair.bound, "frames": FRAMES, "faults": faults, "seam_copies": seam,
            "kernel_copies": slaves,
        }),
    );

    ping(&cables, &bond0)?;
    bond.stop()
}

/// The far ends through which the host is reached.
fn senders<'a>(cables: &'a Cables, state: &State) -> Vec<&'a Port> {
    let reaches = |number: &usize| {
        state.active_slave.as_ref().is_none_or(|active| *active == cables.near[*number].name)
    };
    (0..2).filter(reaches).map(|number| &cables.far[number]).collect()
}

/// Exactly the frames that change UMEM were copied at the seam: those of zero-copy slaves. Returns how many.
fn seam(pair: Pair, before: &State, after: &State, sent: &[usize]) -> Result<u64> {
    let mut copied = 0;
    let mut received = 0;
    for (number, (now, then)) in after.slaves.iter().zip(&before.slaves).enumerate() {
        let copies = now.seam_copies - then.seam_copies;
        let zero_copy = pair.bound[number] == "zero-copy";
        let expected = if zero_copy { u64::try_from(sent[number])? } else { 0 };
        ensure!(copies == expected, "{}: {copies} seam copies of {expected}", now.ifname);
        copied += copies;
        received += if zero_copy { now.rx_packets - then.rx_packets } else { 0 };
    }
    let copies = after.host.seam_copies - before.host.seam_copies;
    ensure!(copies == received, "bond0: {copies} seam copies of {received}");
    Ok(copied + copies)
}

/// The kernel copied for sockets in copy mode only. bond0's own end, a veth, is one: it shows that copies are counted.
/// Returns how many frames it copied for the slaves.
fn only_copy_mode_copies(pair: Pair, counts: &Counts) -> Result<u64> {
    let mut slaves = 0;
    let mut ways = BTreeMap::<_, usize>::new();
    for ((_, netdev), count) in counts {
        *ways.entry(netdev.as_str()).or_default() += 1;
        slaves += if netdev == "bond0-xsk" { 0 } else { *count };
        let least = if netdev == "bond0-xsk" { FRAMES } else { 1 };
        ensure!(*count >= least, "copies were not counted: {counts:?}");
    }
    let copying = [("bond0-xsk", "copy"), ("eth0", pair.bound[0]), ("eth1", pair.bound[1])];
    let expected =
        copying.into_iter().filter(|(_, bound)| *bound == "copy").map(|(name, _)| (name, 2));
    ensure!(ways == expected.collect(), "other frames were copied: {counts:?}");
    Ok(slaves)
}

/// Every frame is somewhere, and none is lost.
pub(crate) fn audit(state: &State) -> Result<()> {
    for umem in state.umems() {
        let sum = umem.free + umem.held + umem.fill + umem.tx;
        ensure!(sum == umem.total, "frames do not add up: {umem:?}");
    }
    Ok(())
}

/// Waits until as many frames are free as were `before`, and all add up.
pub(crate) fn settled(bond: &mut BondProcess, before: &State) -> Result<()> {
    let free = |state: &State| state.umems().map(|umem| umem.free).collect::<Vec<_>>();
    let wanted = free(before);
    let what = format!("the free frames are {wanted:?} again");
    audit(&bond.wait_for(&what, |state| free(state) == wanted).context("frames are missing")?)
}

pub(crate) fn exchange(flow: &Flow, from: &[&Port], to: &[&Port]) -> Result<Report> {
    let sink = Sink::open(flow, to)?;
    let sockets: Result<Vec<_>> = from.iter().map(|port| port.packet_socket(ETHERTYPE)).collect();
    send(flow, &sockets?, PACE, Some(&sink))?;
    sink.finish()
}

/// The peer answers the host's pings.
fn ping(cables: &Cables, bond0: &Port) -> Result<()> {
    const PERIOD: Duration = Duration::from_millis(10);
    cables.bridge()?;
    bond0.add_address(Cables::HOST)?;

    let echo = Echo::icmp(&cables.host, Cables::PEER, PERIOD)?;
    cables.wait_for_answer(&echo)?;
    let from = Instant::now();
    std::thread::sleep(50 * PERIOD);
    let to = Instant::now();
    std::thread::sleep(20 * PERIOD);
    let pings = echo.samples().between(from, to);
    ensure!(
        pings.0.len() > 10 && pings.lost() == 0,
        "{} of {} pings lost",
        pings.lost(),
        pings.0.len()
    );
    Ok(())
}
