//! The pipeline layout: poller and egress on two cores.

use std::{thread, time::Duration};

use anyhow::Result;
use bond_tests::{
    BondProcess, Faults, Flow, Mac, Port, Wire, XdpMode, exchange, native_and_generic,
};

const FRAMES: u64 = 100_000;

native_and_generic!(
    active_backup_carries_every_frame_and_fails_over,
    balance_rr_splits_exactly_evenly,
    a_slave_that_vanishes_comes_back,
);

/// A bond over two bare cables, poller on CPU 0 and egress on CPU 1.
fn bonded(xdp_mode: XdpMode, arguments: &str) -> Result<(BondProcess, Port, Wire)> {
    let wire = Wire::new(2, 1)?;
    let arguments = format!(
        "--iface eth0,eth1 --layout pipeline --cores 0,1 --xdp-mode {} {arguments}",
        xdp_mode.name()
    );
    let bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0 = bond.port()?;
    Ok((bond, bond0, wire))
}

/// What the host sends to the peer.
fn outward(bond0: &Port, frames: u64) -> Flow {
    Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames }
}

/// What the peer sends to the host.
fn inward(bond0: &Port, frames: u64) -> Flow {
    Flow { id: 2, source: Mac::local(2, 0), destination: bond0.mac, frames }
}

fn active_backup_carries_every_frame_and_fails_over(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, bond0, wire) = bonded(xdp_mode, "--mode active-backup")?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let names = ["eth0", "eth1"];
    for active in [0, 1, 0] {
        let report = exchange(&outward(&bond0, FRAMES), &[&bond0], &far)?;
        assert_eq!(report.faults, Faults::default(), "host to wire over {}", names[active]);
        assert_eq!(report.counts()[active], 100_000, "host to wire over {}", names[active]);
        assert_eq!(report.arrivals[active].out_of_order(), 0, "over {}", names[active]);
        let report = exchange(&inward(&bond0, FRAMES), &[far[active]], &[&bond0])?;
        assert_eq!(report.faults, Faults::default(), "wire to host over {}", names[active]);
        assert_eq!(report.arrivals[0].out_of_order(), 0, "over {}", names[active]);

        wire.cables[active].pull()?;
        let other = names[1 - active];
        bond.wait_for("the other one is active", |state| {
            state.active_slave.as_deref() == Some(other)
        })?;
        wire.cables[active].plug()?;
        bond.wait_until_whole()?;
    }
    let state = bond.show()?;
    let counted = |name| state.slave(name).map(|slave| (slave.rx_packets, slave.tx_packets));
    let [twice, once] = [2, 1].map(|times| Some((times * FRAMES, times * FRAMES)));
    assert_eq!(names.map(counted), [twice, once]);
    assert_eq!((state.host.rx_packets, state.host.tx_packets), (3 * FRAMES, 3 * FRAMES));
    assert_eq!(state.failovers.count, 3);
    bond.stop()
}

fn balance_rr_splits_exactly_evenly(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode balance-rr")?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let report = exchange(&outward(&bond0, FRAMES), &[&bond0], &far)?;
    assert_eq!(report.faults, Faults::default(), "host to wire");
    let expected = [0, 1].map(|first| (first..FRAMES).step_by(2).collect::<Vec<_>>());
    for (arrivals, expected) in report.arrivals.iter().zip(&expected) {
        assert!(arrivals.sequence == *expected, "{} did not get its turns", arrivals.port);
    }
    let report = exchange(&inward(&bond0, FRAMES), &far, &[&bond0])?;
    assert_eq!(report.faults, Faults::default(), "wire to host");
    let state = bond.show()?;
    let counted = |name| state.slave(name).map(|slave| (slave.rx_packets, slave.tx_packets));
    let half = Some((FRAMES / 2, FRAMES / 2));
    assert_eq!([counted("eth0"), counted("eth1")], [half, half]);
    bond.stop()
}

/// A slave is deleted and made anew; both threads had gone to sleep before.
fn a_slave_that_vanishes_comes_back(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, bond0, mut wire) = bonded(xdp_mode, "--mode balance-rr")?;
    for round in 0..3 {
        thread::sleep(Duration::from_millis(300));
        wire.cables[1].remove()?;
        bond.wait_for("eth1 is gone", |state| {
            state.slave("eth1").is_some_and(|slave| slave.ifindex.is_none())
        })?;
        let report = exchange(&outward(&bond0, 1000), &[&bond0], &[&wire.cables[0].far])?;
        assert_eq!(report.faults, Faults::default(), "round {round}: with one slave");
        wire.cables[1] = wire.cable(1, 1)?;
        bond.wait_until_whole()?;
        let far = [&wire.cables[0].far, &wire.cables[1].far];
        let report = exchange(&outward(&bond0, 1000), &[&bond0], &far)?;
        assert_eq!(report.faults, Faults::default(), "round {round}: with both");
        assert_eq!(report.counts(), [500, 500], "round {round}: with both");
    }
    bond.stop()
}
