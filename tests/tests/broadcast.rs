//! Mode broadcast: every frame on every slave that is up.

use anyhow::Result;
use bond_tests::{
    BondProcess, Faults, Flow, Mac, Port, Report, Wire, XdpMode, exchange, exchange_copies,
    native_and_generic,
};

const FRAMES: u64 = 50_000;

native_and_generic!(in_one_thread, in_two_threads);

fn in_one_thread(xdp_mode: XdpMode) -> Result<()> {
    every_frame_on_every_slave(xdp_mode, "")
}

fn in_two_threads(xdp_mode: XdpMode) -> Result<()> {
    every_frame_on_every_slave(xdp_mode, "--layout pipeline --cores 0,1")
}

/// Each of these netdevs has the whole flow in order; so all but the first have copies.
fn assert_all(report: &Report, ports: u64, what: &str) {
    let duplicated = (ports - 1) * FRAMES;
    assert_eq!(report.faults, Faults { duplicated, ..Faults::default() }, "{what}");
    for arrivals in &report.arrivals {
        assert!(arrivals.sequence.iter().copied().eq(0..FRAMES), "{what}: {}", arrivals.port);
    }
}

fn every_frame_on_every_slave(xdp_mode: XdpMode, arguments: &str) -> Result<()> {
    let wire = Wire::new(3, 1)?;
    let arguments = format!(
        "--iface eth0,eth1,eth2 --mode broadcast --xdp-mode {} {arguments}",
        xdp_mode.name()
    );
    let mut bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0: Port = bond.port()?;
    let far: Vec<&Port> = wire.cables.iter().map(|cable| &cable.far).collect();
    let outward = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: FRAMES };
    assert_all(&exchange_copies(&outward, &bond0, &far)?, 3, "to all three");

    wire.cables[1].pull()?;
    bond.wait_for("eth1 is down", |state| {
        state.slave("eth1").is_some_and(|slave| slave.mii_status == "down")
    })?;
    assert_all(&exchange_copies(&outward, &bond0, &[far[0], far[2]])?, 2, "to the other two");

    // What is duplicated by the peer's side arrives as often as it was sent.
    let inward = Flow { id: 2, source: Mac::local(2, 0), destination: bond0.mac, frames: FRAMES };
    let report = exchange(&inward, &[far[0], far[2]], &[&bond0])?;
    assert_eq!(report.faults, Faults::default(), "to the host");

    let state = bond.show()?;
    let sent = |name| state.slave(name).map(|slave| slave.tx_packets);
    let expected = [2 * FRAMES, FRAMES, 2 * FRAMES].map(Some);
    assert_eq!(["eth0", "eth1", "eth2"].map(sent), expected);
    assert!(state.slaves.iter().all(|slave| slave.drops["no_free_frame"] == 0));
    bond.stop()
}
