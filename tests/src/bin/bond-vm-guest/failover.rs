//! True carrier loss: the bond beside the kernel's own, on the same NICs.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bond_tests::{BondProcess, Echo, Port, wait_until};
use serde_json::{Value, json};

use crate::{Test, nics::Cables, record, traffic::settled};

/// Each of them with every bond, one after the other.
const ROUNDS: usize = 2;
/// Pulls of a cable, for each bond in each round.
const PULLS: usize = 5;
/// Between two pings.
const PERIOD: Duration = Duration::from_millis(5);
/// The emulated machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a state of the cables is kept: a reply that takes longer than that is lost.
const DWELL: Duration = Duration::from_millis(200);

pub(crate) fn tests() -> Vec<Test> {
    let rows = [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3])];
    rows.map(|(pair, cables)| {
        let run = move || beside_the_kernel(pair, &cables);
        Test { name: format!("{pair}/failover"), run: Box::new(run) }
    })
    .into()
}

/// The active slave loses its carrier again and again, under pings: our bond is back sooner than the kernel's.
fn beside_the_kernel(pair: &str, numbers: &[u8]) -> Result<()> {
    let cables = Cables::lay(numbers)?;
    cables.bridge()?;
    for round in 1..=ROUNDS {
        let ours = ours(&cables)?;
        tell(pair, round, ("bond", 10), &ours);
        let kernels = kernels(&cables, 100)?;
        tell(pair, round, ("kernel", 100), &kernels);
        let (ours, kernels) = (median(ours), median(kernels));
        ensure!(ours < kernels, "the kernel is sooner back: {kernels:.1} ms, we {ours:.1} ms");
    }
    // As often as ours looks, though no default: once is enough to show it.
    tell(pair, ROUNDS, ("kernel", 10), &kernels(&cables, 10)?);
    Ok(())
}

fn tell(pair: &str, round: usize, (bond, miimon): (&str, u32), outages: &[f64]) {
    println!("@note round {round}, {bond}, miimon {miimon}: outage in ms {outages:.1?}");
    record(
        "failover",
        json!({
            "pair": pair, "round": round, "bond": bond, "miimon": miimon, "outages_ms": outages,
        }),
    );
}

fn ours(cables: &Cables) -> Result<Vec<f64>> {
    let mut bond =
        BondProcess::start(&cables.host, "bond0", "--iface eth0,eth1 --mode active-backup")?;
    let before = bond.wait_until_whole()?;
    let bond0 = bond.port()?;
    bond0.add_address(Cables::HOST)?;
    let outages = outages(cables, &bond0, || Ok(bond.show()?.active_slave))?;
    let state = bond.wait_until_whole()?;
    ensure!(state.failovers.count >= PULLS as u64, "{:?}", state.failovers);
    settled(&mut bond, &before)?;
    bond.stop()?;
    Ok(outages)
}

/// The kernel's own bond over the host's NICs, in mode active-backup, with link on all of them.
pub(crate) fn kernel_bond(cables: &Cables, miimon: u32) -> Result<Port> {
    let host = &cables.host;
    // It would have 16 queues, each with memory of ours.
    let queues = "numrxqueues 1 numtxqueues 1";
    host.ip(&format!("link add bond1 {queues} type bond mode active-backup miimon {miimon}"))?;
    for port in &cables.near {
        port.set_up(false)?;
        host.ip(&format!("link set {} master bond1", port.name))?;
        port.set_up(true)?;
    }
    let bond1 = Port::new(host, "bond1", cables.near[0].mac);
    bond1.set_up(true)?;
    cables.near.iter().try_for_each(|port| cables.wait_for_link(port))?;
    Ok(bond1)
}

/// Its active slave.
pub(crate) fn kernels_active(bond1: &Port) -> Result<Option<String>> {
    let links: Value = serde_json::from_str(&bond1.netns.ip("-d -j link show bond1")?)?;
    let active = &links[0]["linkinfo"]["info_data"]["active_slave"];
    Ok(active.as_str().map(str::to_owned))
}

fn kernels(cables: &Cables, miimon: u32) -> Result<Vec<f64>> {
    let bond1 = kernel_bond(cables, miimon)?;
    bond1.add_address(Cables::HOST)?;
    let outages = outages(cables, &bond1, || kernels_active(&bond1))?;
    cables.host.ip("link del bond1")?;
    // The kernel's bond sets its slaves down when it goes.
    for port in &cables.near {
        port.set_up(true)?;
        cables.wait_for_link(port)?;
    }
    Ok(outages)
}

/// Pulls the cable of the active slave and plugs it in again, over and over, and returns for how many milliseconds no
/// ping was answered.
fn outages(
    cables: &Cables,
    bond: &Port,
    active: impl Fn() -> Result<Option<String>>,
) -> Result<Vec<f64>> {
    let echo = Echo::icmp(&bond.netns, Cables::PEER, PERIOD)?;
    cables.wait_for_answer(&echo)?;
    let mut outages = Vec::new();
    for _ in 0..PULLS {
        thread::sleep(DWELL);
        let from = active()?.context("no active slave")?;
        let number = cables.number(&from)?;
        let at = Instant::now();
        cables.set_link(number, false);
        wait_until("another slave is active", PATIENCE, || {
            Ok(active()?.filter(|now| *now != from))
        })?;
        thread::sleep(DWELL);
        let until = Instant::now();
        cables.set_link(number, true);
        cables.wait_for_link(&cables.near[number])?;
        // Pings of which the cable caught the reply on its way count as well.
        let pings = echo.samples().between(at - 10 * PERIOD, until - DWELL / 2);
        ensure!(pings.lost() < pings.0.len(), "no ping was answered after {from} was pulled");
        outages.push(pings.outage(PERIOD).as_secs_f64() * 1e3);
    }
    Ok(outages)
}

fn median(mut outages: Vec<f64>) -> f64 {
    outages.sort_by(f64::total_cmp);
    outages[outages.len() / 2]
}
