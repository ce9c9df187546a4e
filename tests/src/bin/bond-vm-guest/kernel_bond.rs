//! AF_XDP on a bond of the kernel's, and on ours, over the same NICs.

use anyhow::{Context, Result, ensure};
use bond_tests::{BondProcess, Flow, Mac, bond};
use serde_json::json;

use crate::{
    Test,
    failover::{kernel_bond, kernels_active},
    nics::Cables,
    record,
    traffic::exchange,
};

const FRAMES: u64 = 1000;

pub(crate) fn tests() -> Vec<Test> {
    vec![Test { name: "virtio+virtio/kernel-bond".to_owned(), run: Box::new(beside_ours) }]
}

/// One process with AF_XDP sockets, on two NICs and on the kernel's bond over them.
fn beside_ours() -> Result<()> {
    let cables = Cables::lay(&[0, 1])?;
    let ours = through(&cables, "eth0,eth1", "", 0)?;
    ensure!(ours == [FRAMES; 2], "our bond lost frames: {ours:?}");

    let bond1 = kernel_bond(&cables, 100)?;
    let active = kernels_active(&bond1)?.context("no active slave")?;
    let active = cables.number(&active)?;
    let refused = bond(&cables.host, "run bond0 --iface bond1 --bind-mode zero-copy")?;
    ensure!(refused.code == Some(1), "{refused:?}");
    let reason = refused.stderr.lines().last().unwrap_or_default();
    println!("@note on the kernel's bond, zero-copy: {reason}");
    ensure!(reason.contains("bond1: its driver (bonding) has no AF_XDP zero-copy"), "{reason}");
    let options = "--bind-mode zero-copy";
    record("refused", json!({ "on": "the kernel's bond", "options": options, "reason": reason }));

    let native = through(&cables, "bond1", "--xdp-mode native", active)?;
    // The frames run through the program on the slave, and AF_XDP takes none of another netdev than it is bound to.
    ensure!(native == [FRAMES, 0], "on the kernel's bond in native mode: {native:?}");
    let generic = through(&cables, "bond1", "--xdp-mode generic", active)?;
    ensure!(generic == [FRAMES; 2], "in generic mode frames are lost: {generic:?}");
    cables.host.ip("link del bond1")?;
    Ok(())
}

/// Frames that arrive of those sent to the wire, and of those received from it through cable `active`.
fn through(cables: &Cables, slaves: &str, options: &str, active: usize) -> Result<[u64; 2]> {
    let mut process =
        BondProcess::start(&cables.host, "bond0", &format!("--iface {slaves} {options}"))?;
    let state = process.wait_until_whole()?;
    let bond0 = process.port()?;
    let out = Flow { id: 1, source: bond0.mac, destination: Mac::local(9, 9), frames: FRAMES };
    let inward = Flow { id: 2, source: out.destination, destination: bond0.mac, ..out };
    let sent = exchange(&out, &[&bond0], &[&cables.far[active]])?.faults;
    let received = exchange(&inward, &[&cables.far[active]], &[&bond0])?.faults;
    process.stop()?;
    let arrived = [FRAMES - sent.lost, FRAMES - received.lost];
    let slave = &state.slaves[0];
    let on = if slaves == "bond1" { "the kernel's bond" } else { "the NICs" };
    println!("@note on {on}: {} {}, {arrived:?} of {FRAMES}", slave.xdp_mode, slave.bind_mode);
    record(
        "delivered",
        json!({
            "on": on, "options": options, "xdp": slave.xdp_mode, "bound": slave.bind_mode,
            "frames": FRAMES, "sent": arrived[0], "received": arrived[1],
        }),
    );
    Ok(arrived)
}
