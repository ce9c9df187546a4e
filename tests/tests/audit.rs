//! No frame of a UMEM is ever lost, also when a slave goes away and comes back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use bond_tests::{
    BondProcess, ETHERTYPE, Faults, Flow, Mac, Pace, PacketSocket, State, Wire, XdpMode, exchange,
    native_and_generic, send,
};

native_and_generic!(frames_add_up_when_a_slave_goes_and_comes_back);

fn frames_add_up_when_a_slave_goes_and_comes_back(xdp_mode: XdpMode) -> Result<()> {
    let mut wire = Wire::new(2, 1)?;
    let arguments = format!("--iface eth0,eth1 --mode balance-rr --xdp-mode {}", xdp_mode.name());
    let mut bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0 = bond.port()?;
    let total = at_rest(&mut bond, "before any traffic")?;

    // Both directions at once, while a slave goes and comes back, by its name, ten times.
    let outward = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: 500 };
    let inward = Flow { id: 2, source: Mac::local(2, 0), destination: bond0.mac, frames: 500 };
    let sockets = [bond0.packet_socket(ETHERTYPE)?, wire.cables[0].far.packet_socket(ETHERTYPE)?];
    let done = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let [out_socket, in_socket] = sockets;
        let senders = [
            scope.spawn(|| send_until(&done, &outward, &[out_socket])),
            scope.spawn(|| send_until(&done, &inward, &[in_socket])),
        ];
        let outcome = (0..10).try_for_each(|round| replace_slave(&mut wire, &mut bond, round));
        done.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().ok().context("a sender panicked")??;
        }
        outcome
    })?;
    assert_eq!(at_rest(&mut bond, "after the slave came back")?, total);

    // It is a slave like before.
    let flow = Flow { frames: 20_000, ..outward };
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let report = exchange(&flow, &[&bond0], &far)?;
    assert_eq!(report.faults, Faults::default());
    assert_eq!(report.counts(), [10_000, 10_000]);
    let report = exchange(&Flow { frames: 20_000, ..inward }, &far, &[&bond0])?;
    assert_eq!(report.faults, Faults::default());
    assert_eq!(at_rest(&mut bond, "at the end")?, total);
    bond.stop()
}

/// Sends `flow` again and again, to whom it may concern.
fn send_until(done: &AtomicBool, flow: &Flow, sockets: &[PacketSocket]) -> Result<()> {
    let pace = Pace { rate: 20_000, ..Pace::default() };
    while !done.load(Ordering::Relaxed) {
        send(flow, sockets, pace, None)?;
    }
    Ok(())
}

fn replace_slave(wire: &mut Wire, bond: &mut BondProcess, round: u32) -> Result<()> {
    thread::sleep(Duration::from_millis(50));
    wire.cables[1].remove()?;
    bond.wait_for(&format!("round {round}: eth1 is gone"), |state| {
        state
            .slave("eth1")
            .is_some_and(|slave| slave.ifindex.is_none() && slave.mii_status == "down")
    })?;
    assert_adds_up(&bond.show()?, "without eth1");
    wire.cables[1] = wire.cable(1, 1)?;
    bond.wait_until_whole()?;
    assert_adds_up(&bond.show()?, "with eth1 again");
    Ok(())
}

/// Waits until no frame is on its way, checks that each one is in its place, and returns how many there are.
fn at_rest(bond: &mut BondProcess, when: &str) -> Result<Vec<u64>> {
    let what = format!("{when}: every frame is free or in a fill ring");
    let state = bond
        .wait_for(&what, |state| state.umems().all(|umem| umem.free + umem.fill == umem.total))?;
    assert_adds_up(&state, when);
    Ok(state.umems().map(|umem| umem.total).collect())
}

fn assert_adds_up(state: &State, when: &str) {
    for umem in state.umems() {
        assert_eq!(umem.free + umem.held + umem.fill + umem.tx, umem.total, "{when}: {umem:?}");
    }
}
