//! A slave whose sockets are closed because it lost its link: what waited there is gone, and the slave comes back.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};
use bond::xsk::{BindMode, Geometry, XskMemory, XskRings};
use bond_tests::{
    BondProcess, ETHERTYPE, Faults, Flow, Mac, Pace, Port, Sink, State, Wire, XdpMode, exchange,
    native_and_generic, send, wait_until,
};

native_and_generic!(
    frames_that_waited_on_a_slave_that_is_set_down_never_come_out,
    a_slave_that_is_renamed_while_it_is_down_comes_back,
    a_slave_whose_queue_stays_taken_is_given_up_and_taken_in_later,
);

const FRAMES: u64 = 4000;
const RATE: u32 = 20_000;

fn start(wire: &Wire, xdp_mode: XdpMode) -> Result<BondProcess> {
    let arguments = format!("--iface eth0,eth1 --primary eth0 --xdp-mode {}", xdp_mode.name());
    BondProcess::start(&wire.host, "bond0", &arguments)
}

/// The active slave is set down in the middle of a flow, five times. The kernel would keep what is on the tx ring.
fn frames_that_waited_on_a_slave_that_is_set_down_never_come_out(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let mut bond = start(&wire, xdp_mode)?;
    let bond0 = bond.port()?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let rest = free(&bond.wait_until_whole()?);
    for round in 0..5 {
        let flow =
            Flow { id: round, source: bond0.mac, destination: Mac::local(2, 0), frames: FRAMES };
        let socket = bond0.packet_socket(ETHERTYPE)?;
        let sink = Sink::open(&flow, &far)?;
        let pace = Pace { rate: RATE, window: u64::MAX };
        thread::scope(|scope| {
            let sending = scope.spawn(|| send(&flow, &[socket], pace, None));
            thread::sleep(Duration::from_millis(50));
            wire.cables[0].near.set_up(false)?;
            sending.join().map_err(|_panic| anyhow!("the sender panicked"))?
        })?;
        let during = sink.finish()?;
        assert_eq!((during.faults.altered, during.faults.duplicated), (0, 0), "round {round}");
        assert!(during.counts().iter().all(|&count| count > 0), "{:?}", during.counts());

        let late = Sink::open(&flow, &far)?;
        wire.cables[0].near.set_up(true)?;
        bond.wait_for("eth0 is active again", |state| {
            state.is_whole() && state.active_slave.as_deref() == Some("eth0")
        })?;
        // What is sent after them would take them along.
        let next = Flow { id: 100 + round, frames: 100, ..flow };
        assert_eq!(exchange(&next, &[&bond0], &far)?.counts(), [100, 0], "round {round}");
        assert_eq!(late.finish()?.counts(), [0, 0], "round {round}");
        let back = bond.wait_for("the free frames are back", |state| free(state) == rest)?;
        assert_eq!(
            back.slave("eth0").map(|slave| slave.link_failure_count),
            Some(u64::from(round) + 1)
        );
    }
    bond.stop()
}

fn a_slave_that_is_renamed_while_it_is_down_comes_back(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let mut bond = start(&wire, xdp_mode)?;
    let bond0 = bond.port()?;
    wire.host.ip("link set eth0 down")?;
    wire.host.ip("link set eth0 name lan0")?;
    bond.wait_for("eth1 is active", |state| state.active_slave.as_deref() == Some("eth1"))?;
    wire.host.ip("link set lan0 up")?;
    bond.wait_for("it is active again", |state| state.active_slave.as_deref() == Some("eth0"))?;
    let flow = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: 1000 };
    let report = exchange(&flow, &[&bond0], &[&wire.cables[0].far, &wire.cables[1].far])?;
    assert_eq!((report.faults, report.counts()), (Faults::default(), vec![1000, 0]));
    bond.stop()
}

fn free(state: &State) -> Vec<u64> {
    state.umems().map(|umem| umem.free).collect()
}

/// Somebody else binds the queue while the slave's sockets are closed, and keeps it for longer than the bond waits.
fn a_slave_whose_queue_stays_taken_is_given_up_and_taken_in_later(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let mut bond = start(&wire, xdp_mode)?;
    let bond0 = bond.port()?;
    let slave = &wire.cables[0].near;
    let taken = wire.host.run(|| take_queue(slave))?;
    slave.set_up(true)?;
    bond.wait_for("eth0 is given up", |state| {
        state.slave("eth0").is_some_and(|slave| slave.ifindex.is_none())
    })?;
    assert!(bond.log().contains("eth0: cannot open its sockets anew: "), "{}", bond.log());
    wait_until("eth0 is refused", Duration::from_secs(10), || {
        Ok(bond.log().contains("eth0 is back but cannot be a slave: ").then_some(()))
    })?;
    let flow = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: 1000 };
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let alone = exchange(&flow, &[&bond0], &far)?;
    assert_eq!((alone.faults, alone.counts()), (Faults::default(), vec![0, 1000]));

    drop(taken);
    bond.wait_for("eth0 is back", |state| {
        state.is_whole() && state.active_slave.as_deref() == Some("eth0")
    })?;
    let again = exchange(&flow, &[&bond0], &far)?;
    assert_eq!((again.faults, again.counts()), (Faults::default(), vec![1000, 0]));
    bond.stop()
}

/// Sets the slave down until its queue could be bound: the bond tries to bind it as well, but less often.
fn take_queue(slave: &Port) -> Result<(XskMemory, XskRings)> {
    let geometry = Geometry::for_mtu(1500, false)?;
    let memory = XskMemory::new(0, geometry, geometry.chunks(1))?;
    for _ in 0..20 {
        slave.set_up(true)?;
        thread::sleep(Duration::from_millis(200));
        slave.set_up(false)?;
        let deadline = Instant::now() + Duration::from_millis(200);
        while Instant::now() < deadline {
            let bound = XskRings::bind(&slave.name, 0, &memory.handle(), geometry, BindMode::Copy);
            if let Ok(rings) = bound {
                return Ok((memory, rings));
            }
        }
    }
    bail!("the queue of {} was never free", slave.name)
}
