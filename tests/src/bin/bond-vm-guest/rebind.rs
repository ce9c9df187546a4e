//! A slave's driver lets go of the NIC, and takes it again, under traffic.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bond_tests::{BondProcess, Echo, Port};
use serde_json::Value;

use crate::{
    Test,
    nics::{self, Cables},
    traffic::audit,
};

const PERIOD: Duration = Duration::from_millis(10);

pub(crate) fn tests() -> Vec<Test> {
    let rows = [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3])];
    rows.map(|(pair, cables)| {
        let run = move || unbind_and_bind(cables);
        Test { name: format!("{pair}/rebind"), run: Box::new(run) }
    })
    .into()
}

/// The active slave's netdev goes away: the other one goes on. It comes back: the bond takes it in again, zero-copy.
fn unbind_and_bind(numbers: [u8; 2]) -> Result<()> {
    let cables = Cables::lay(numbers)?;
    cables.bridge()?;
    let mut bond =
        BondProcess::start(&cables.host, "bond0", "--iface eth0,eth1 --mode active-backup")?;
    let active = bond.wait_until_whole()?.active_slave.context("no active slave")?;
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
    audit(&bond.show()?)?;
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
