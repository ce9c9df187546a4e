//! DPDK's testpmd with its bonding driver, over AF_XDP or packet sockets.

mod pages;

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bond_tests::{Port, bounded, wait_until};

use self::pages::HugePages;
use crate::{
    DEVICE_CPU, GENERATOR_CPU,
    device::{Mode, Running, Spec, Xdp},
    peers::System,
    process::Process,
    rig::{self, Rig},
};

pub(super) const PROGRAM: &str = "dpdk-testpmd";
const SHIM: &str = include_str!("shim.c");
const LIMIT: Duration = Duration::from_secs(30);
/// Memory of one testpmd; 32,768 buffers take a third of it.
const MEGABYTES: usize = 256;

pub(super) fn start(rig: &Rig, spec: &Spec) -> Result<Running> {
    let cable = rig.host_cable()?;
    let slaves: Vec<_> = rig.slaves().collect();
    let directory = tempfile::tempdir()?;
    let over_xdp = spec.system == System::DpdkAfXdp;
    if !over_xdp {
        [&cable.far].into_iter().chain(slaves.iter().copied()).try_for_each(rig::take_redirects)?;
    }
    let commands = directory.path().join("commands");
    fs::write(&commands, script(spec, slaves.len()))?;

    let pages = HugePages::reserve(MEGABYTES)?;
    let mut command = rig.host.command(PROGRAM);
    command.env("LD_PRELOAD", shim(directory.path())?);
    if spec.xdp == Xdp::Generic {
        // What the slaves' names begin with.
        command.env("GENERIC_XDP", "s");
    }
    command.args(["-l", &format!("{GENERATOR_CPU},{DEVICE_CPU}")]);
    command.args(["--main-lcore", &GENERATOR_CPU.to_string()]);
    command.args(["--in-memory", "--no-pci", "--no-telemetry", "-m", &MEGABYTES.to_string()]);
    command.arg(if pages.is_some() { "--single-file-segments" } else { "--no-huge" });
    for (number, port) in [&cable.far].into_iter().chain(slaves.iter().copied()).enumerate() {
        command.arg(vdev(over_xdp, number, port));
    }
    command.args(["--", "-i", "--total-num-mbufs=32768", "--burst=32", "--rxd=2048", "--txd=2048"]);
    command.arg("--disable-device-start").arg(format!("--cmdline-file={}", commands.display()));
    let mut process = Process::start(&mut command)?;
    let log = wait_until("testpmd forwards", LIMIT, || {
        process.check()?;
        Ok(Some(process.log()).filter(|log| log.contains("packet forwarding - ports=2")))
    })
    .with_context(|| format!("testpmd said:\n{}", process.log()))?;
    ensure!(!log.contains("failed to start"), "testpmd said:\n{log}");

    let sockets = if over_xdp { "copy sockets" } else { "packet sockets" };
    let hook = if over_xdp { attached(slaves[0])? } else { "no" };
    if spec.xdp == Xdp::Generic {
        slaves.into_iter().try_for_each(rig::take_redirects)?;
    }
    let memory = if pages.is_some() { "huge pages" } else { "no huge pages" };
    let facts = format!("{hook} XDP, {sockets}, {memory}");
    Ok(Running {
        processes: vec![process],
        host_port: cable.near,
        keep: Box::new((pages, directory)),
        facts,
    })
}

/// The commands that make the bond: port 0 is h1, then come the slaves, then the bond.
fn script(spec: &Spec, slaves: usize) -> String {
    let mode = match spec.mode {
        Mode::BalanceRr => 0,
        Mode::ActiveBackup => 1,
    };
    let bond = slaves + 1;
    let mut script = format!("create bonded device {mode} 0\n");
    for slave in 1..=slaves {
        // Writing to a String cannot fail.
        let _ = writeln!(script, "add bonding slave {slave} {bond}");
    }
    if spec.mode == Mode::ActiveBackup {
        let _ = writeln!(script, "set bonding primary 1 {bond}");
    }
    let _ = write!(script, "port start {bond}\nport start 0\nset portlist 0,{bond}\nstart\n");
    script
}

fn vdev(over_xdp: bool, number: usize, port: &Port) -> String {
    let name = &port.name;
    if over_xdp {
        // Its preferred busy polling is for drivers with an interrupt to put off.
        format!("--vdev=net_af_xdp{number},iface={name},busy_budget=0")
    } else {
        format!("--vdev=net_af_packet{number},iface={name}")
    }
}

/// Builds the library to preload.
fn shim(directory: &Path) -> Result<std::path::PathBuf> {
    let (source, library) = (directory.join("shim.c"), directory.join("shim.so"));
    fs::write(&source, SHIM)?;
    let mut cc = std::process::Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).arg("-ldl");
    let built = bounded(&mut cc, LIMIT)?;
    ensure!(built.code == Some(0), "cc: {}", built.stderr);
    Ok(library)
}

/// Where the XDP program of `port` really runs.
fn attached(port: &Port) -> Result<&'static str> {
    let list: serde_json::Value =
        serde_json::from_str(&port.netns.ip(&format!("-j link show {}", port.name))?)?;
    // XDP_ATTACHED_DRV and XDP_ATTACHED_SKB of linux/if_link.h.
    match list[0]["xdp"]["mode"].as_u64() {
        Some(1) => Ok("native"),
        Some(2) => Ok("generic"),
        other => anyhow::bail!("{} has no XDP program: mode {other:?}", port.name),
    }
}
