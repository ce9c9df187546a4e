//! A slave's driver lets go of the NIC, and takes it again, under traffic.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bond_tests::{BondProcess, Echo, Port};
use serde_json::{Value, json};

use crate::{
    Test,
    nics::{self, Cables},
    record,
    traffic::settled,
};

const PERIOD: Duration = Duration::from_millis(10);

pub(crate) fn tests() -> Vec<Test> {
    let rows = [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3])];
    let mut tests = Vec::from(rows.map(|(pair, cables)| {
        let run = move || unbind_and_bind(cables);
        Test { name: format!("{pair}/rebind"), run: Box::new(run) }
    }));
    tests.push(Test {
        name: "virtio+virtio+igb/join".to_owned(),
        run: Box::new(a_cable_is_pulled_while_another_slave_joins),
    });
    tests
}

/// The active slave's netdev goes away: the other one goes on. It comes back: the bond takes it in again, zero-copy.
fn unbind_and_bind(numbers: [u8; 2]) -> Result<()> {
    let cables = Cables::lay(&numbers)?;
    cables.bridge()?;
    let mut bond =
        BondProcess::start(&cables.host, "bond0", "--iface eth0,eth1 --mode active-backup")?;
    let whole = bond.wait_until_whole()?;
    let active = whole.active_slave.clone().context("no active slave")?;
    let slave = cables.near.iter().find(|port| port.name == active).context("which?")?;
    bond.port()?.add_address(Cables::HOST)?;
    let echo = Echo::icmp(&cables.host, Cables::PEER, PERIOD)?;
    cables.wait_for_answer(&echo)?;

    let (driver, device) = driver(slave)?;
    fs::write(driver.join("unbind"), &device)?;
    bond.wait_for("the other slave is active", |state| {
        state.active_slave.as_ref().is_some_and(|now| *now != active)
    })?;
    flows(&echo).context("after the driver let go")?;

    fs::write(driver.join("bind"), &device)?;
    nics::deal(slave)?;
    slave.set_up(true)?;
    let state = bond.wait_until_whole()?;
    let back = state.slave(&active).context("the slave is missing")?;
    ensure!(back.bind_mode == "zero-copy", "{active} is back in mode {}", back.bind_mode);
    flows(&echo).context("after the driver was back")?;
    settled(&mut bond, &whole)?;
    bond.stop()
}

/// igb resets its NIC when a slave is opened, more than once, and holds the kernel's RTNL lock meanwhile. A cable that is
/// pulled in this time is noticed all the same, and the resets count as no failure.
fn a_cable_is_pulled_while_another_slave_joins() -> Result<()> {
    let cables = Cables::lay(&[0, 1, 2])?;
    cables.bridge()?;
    let options = "--iface eth0,eth1,eth2 --mode active-backup --primary eth0";
    let mut bond = BondProcess::start(&cables.host, "bond0", options)?;
    let whole = bond.wait_until_whole()?;
    bond.port()?.add_address(Cables::HOST)?;
    let echo = Echo::icmp(&cables.host, Cables::PEER, PERIOD)?;
    cables.wait_for_answer(&echo)?;
    let igb = &cables.near[2];
    let (driver, device) = driver(igb)?;
    fs::write(driver.join("unbind"), &device)?;
    bond.wait_for("the igb is gone", |state| {
        state.slave("eth2").is_some_and(|slave| slave.ifindex.is_none())
    })?;
    fs::write(driver.join("bind"), &device)?;

    nics::deal(igb)?;
    let joins = Instant::now();
    cables.set_link(0, false);
    let over =
        bond.wait_for("eth1 is active", |state| state.active_slave.as_deref() == Some("eth1"))?;
    let joining = over.slave("eth2").is_some_and(|slave| slave.ifindex.is_none());
    bond.wait_for("the igb is up", |state| {
        state.slave("eth2").is_some_and(|slave| slave.mii_status == "up")
    })?;
    let join = joins.elapsed();
    thread::sleep(20 * PERIOD);
    let outage = echo.samples().between(joins - 10 * PERIOD, joins + join).outage(PERIOD);
    println!("@note the igb joined in {join:.0?}, the pulled cable cost {outage:.0?}");
    record(
        "join",
        json!({
            "pair": "virtio+virtio+igb",
            "join_ms": join.as_secs_f64() * 1e3,
            "outage_ms": outage.as_secs_f64() * 1e3,
        }),
    );
    ensure!(joining, "the igb had joined before the cable was pulled");
    ensure!(outage < join / 4, "{outage:?} without an answer, while the igb joined in {join:?}");

    cables.set_link(0, true);
    let back = bond.wait_until_whole()?;
    let failures: Vec<_> = back.slaves.iter().map(|slave| slave.link_failure_count).collect();
    ensure!(failures == [1, 0, 1], "link failures: {failures:?}");
    settled(&mut bond, &whole)?;
    bond.stop()
}

/// The driver of a NIC, and the name by which it knows the device.
fn driver(port: &Port) -> Result<(std::path::PathBuf, String)> {
    let links: Value =
        serde_json::from_str(&port.netns.ip(&format!("-d -j link show {}", port.name))?)?;
    let field =
        |name| links[0][name].as_str().with_context(|| format!("{} has no {name}", port.name));
    let (bus, device) = (field("parentbus")?, field("parentdev")?);
    let driver = Path::new("/sys/bus").join(bus).join("devices").join(device).join("driver");
    Ok((fs::canonicalize(driver)?, device.to_owned()))
}

/// Pings are answered.
fn flows(echo: &Echo) -> Result<()> {
    let from = Instant::now();
    thread::sleep(50 * PERIOD);
    let to = Instant::now();
    thread::sleep(20 * PERIOD);
    let pings = echo.samples().between(from, to);
    ensure!(
        pings.0.len() > 10 && pings.lost() < pings.0.len() / 2,
        "{} of {} pings lost",
        pings.lost(),
        pings.0.len()
    );
    Ok(())
}
