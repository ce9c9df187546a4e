//! Frames in both directions, every byte checked, with the kernel's copies counted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bond_tests::{
    BondProcess, ETHERTYPE, Echo, Faults, Flow, Mac, Pace, Port, Report, Sink, State, send,
};

use crate::{
    Test,
    copies::{Copies, Counts},
    nics::Cables,
};

const FRAMES: u64 = 20_000;
/// igb's receive ring of 256 loses frames when more are on the way than it can take.
const PACE: Pace = Pace { rate: 80_000, window: 128 };
/// The pairs of drivers, and the cables they are on.
const PAIRS: [(&str, [u8; 2]); 3] =
    [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3]), ("virtio+igb", [0, 2])];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (pair, cables) in PAIRS {
        for mode in ["active-backup", "balance-rr"] {
            let run = move || intact(cables, mode);
            tests.push(Test { name: format!("{pair}/{mode}"), run: Box::new(run) });
        }
    }
    tests
}

/// Frames pass in both directions, zero-copy: none lost, altered or duplicated. The peer answers pings.
fn intact(numbers: [u8; 2], mode: &str) -> Result<()> {
    let cables = Cables::lay(numbers)?;
    let arguments = format!("--iface eth0,eth1 --mode {mode}");
    let mut bond = BondProcess::start(&cables.host, "bond0", &arguments)?;
    let state = bond.wait_until_whole()?;
    for slave in &state.slaves {
        let modes = (slave.xdp_mode.as_str(), slave.bind_mode.as_str());
        ensure!(modes == ("native", "zero-copy"), "{}: {modes:?}", slave.ifname);
    }
    let bond0 = bond.port()?;
    let senders = senders(&cables, &state);
    let copies = Copies::count()?;

    let out = Flow { id: 1, source: bond0.mac, destination: Mac::local(9, 9), frames: FRAMES };
    let report = exchange(&out, &[&bond0], &[&cables.far[0], &cables.far[1]])?;
    ensure!(report.faults == Faults::default(), "host to wire: {:?}", report.faults);
    let inward = Flow { id: 2, source: out.destination, destination: bond0.mac, ..out };
    let report = exchange(&inward, &senders, &[&bond0])?;
    ensure!(
        report.faults == Faults::default(),
        "wire to host: {:?}\n{:#?}",
        report.faults,
        bond.show()?
    );
    only_bond0_copies(&copies.read()?)?;
    audit(&bond.show()?)?;

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

/// The slaves' sockets copied nothing. bond0's own end, a veth, can only copy: it shows that copies are counted.
fn only_bond0_copies(counts: &Counts) -> Result<()> {
    let netdevs: Vec<&str> = counts.keys().map(|(_, netdev)| netdev.as_str()).collect();
    ensure!(netdevs == ["bond0-xsk", "bond0-xsk"], "frames were copied: {counts:?}");
    ensure!(counts.values().all(|&count| count >= FRAMES), "copies were not counted: {counts:?}");
    Ok(())
}

/// Every frame is somewhere, and none is lost.
pub(crate) fn audit(state: &State) -> Result<()> {
    for umem in state.umems() {
        let sum = umem.free + umem.held + umem.fill + umem.tx;
        ensure!(sum == umem.total, "frames do not add up: {umem:?}");
    }
    Ok(())
}

fn exchange(flow: &Flow, from: &[&Port], to: &[&Port]) -> Result<Report> {
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
    std::thread::sleep(100 * PERIOD);
    let to = Instant::now();
    std::thread::sleep(20 * PERIOD);
    let pings = echo.samples().between(from, to);
    ensure!(
        pings.0.len() > 20 && pings.lost() == 0,
        "{} of {} pings lost",
        pings.lost(),
        pings.0.len()
    );
    Ok(())
}
