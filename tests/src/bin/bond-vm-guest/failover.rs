//! True carrier loss: the bond beside the kernel's own, on the same NICs.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bond_tests::{BondProcess, Echo, Port, State, wait_until};
use serde_json::Value;

use crate::{Test, nics::Cables, traffic::audit};

/// Pulls of a cable, for each bond.
const PULLS: usize = 9;
/// Between two pings.
const PERIOD: Duration = Duration::from_millis(5);
/// The emulated machine is slow.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a state of the cables is kept: a reply that takes longer than that is lost.
const DWELL: Duration = Duration::from_millis(500);

pub(crate) fn tests() -> Vec<Test> {
    let rows = [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3])];
    rows.map(|(pair, cables)| {
        let run = move || beside_the_kernel(cables);
        Test { name: format!("{pair}/failover"), run: Box::new(run) }
    })
    .into()
}

/// The active slave loses its carrier again and again, under pings: our bond is back sooner than the kernel's.
fn beside_the_kernel(numbers: [u8; 2]) -> Result<()> {
    let cables = Cables::lay(numbers)?;
    cables.bridge()?;
    let ours = ours(&cables)?;
    println!("@note outage in ms, bond, miimon 10: {}", list(&ours));
    let kernels = kernels(&cables)?;
    println!("@note outage in ms, kernel, miimon 100: {}", list(&kernels));
    let (ours, kernels) = (median(ours), median(kernels));
    println!("@note median {ours:.1} ms, kernel {kernels:.1} ms: ratio {:.2}", ours / kernels);
    ensure!(ours < kernels, "the kernel's bond is sooner back: {kernels:.1} ms, ours {ours:.1} ms");
    Ok(())
}

fn ours(cables: &Cables) -> Result<Vec<Duration>> {
    let mut bond =
        BondProcess::start(&cables.host, "bond0", "--iface eth0,eth1 --mode active-backup")?;
    let before = bond.wait_until_whole()?;
    let bond0 = bond.port()?;
    bond0.add_address(Cables::HOST)?;
    let outages = outages(cables, &bond0, || Ok(bond.show()?.active_slave))?;
    let state = bond.show()?;
    ensure!(state.is_whole(), "not every slave is back: {state:#?}");
    ensure!(state.failovers.count >= PULLS as u64, "{:?}", state.failovers);
    audit(&state)?;
    println!("@note free frames before {:?}, after {:?}", free(&before), free(&state));
    bond.stop()?;
    Ok(outages)
}

fn free(state: &State) -> Vec<u64> {
    state.umems().map(|umem| umem.free).collect()
}

fn kernels(cables: &Cables) -> Result<Vec<Duration>> {
    let host = &cables.host;
    host.ip("link add bond1 type bond mode active-backup miimon 100")?;
    for port in &cables.near {
        port.set_up(false)?;
        host.ip(&format!("link set {} master bond1", port.name))?;
        port.set_up(true)?;
    }
    let bond1 = Port::new(host, "bond1", cables.near[0].mac);
    bond1.set_up(true)?;
    bond1.add_address(Cables::HOST)?;
    for port in &cables.near {
        cables.wait_for_link(port)?;
    }
    let active = || {
        let links: Value = serde_json::from_str(&host.ip("-d -j link show bond1")?)?;
        let active = &links[0]["linkinfo"]["info_data"]["active_slave"];
        Ok(active.as_str().map(str::to_owned))
    };
    let outages = outages(cables, &bond1, active)?;
    host.ip("link del bond1")?;
    Ok(outages)
}

/// Pulls the cable of the active slave and plugs it in again, over and over, and returns how long no ping was answered.
fn outages(
    cables: &Cables,
    bond: &Port,
    active: impl Fn() -> Result<Option<String>>,
) -> Result<Vec<Duration>> {
    let echo = Echo::icmp(&bond.netns, Cables::PEER, PERIOD)?;
    cables.wait_for_answer(&echo)?;
    let mut outages = Vec::new();
    for _ in 0..PULLS {
        thread::sleep(DWELL);
        let from = active()?.context("no active slave")?;
        let number = cables.near.iter().position(|port| port.name == from).context("which?")?;
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
        outages.push(pings.outage(PERIOD));
    }
    Ok(outages)
}

fn list(outages: &[Duration]) -> String {
    let each = outages.iter().map(|outage| format!("{:.0}", outage.as_secs_f64() * 1e3));
    each.collect::<Vec<_>>().join(", ")
}

/// In milliseconds. Not the mean: once in a while igb resets itself on carrier loss and holds the kernel's rtnl lock
/// meanwhile, which delays whoever learns of the loss by half a second in this machine.
fn median(mut outages: Vec<Duration>) -> f64 {
    outages.sort();
    outages[outages.len() / 2].as_secs_f64() * 1e3
}
