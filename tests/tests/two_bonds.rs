//! Two bonds in one namespace, each with two workers on two queues, at work at the same time.

use std::thread;

use anyhow::{Context, Result};
use bond_tests::{
    BondProcess, ETHERTYPE, Faults, Flow, Mac, Pace, Port, Report, Sink, Snapshot, Wire, XdpMode,
    native_and_generic, send,
};
use rustix::thread::{CpuSet, sched_setaffinity};

native_and_generic!(two_bonds_work_side_by_side);

const FRAMES: u64 = 20_000;

fn two_bonds_work_side_by_side(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(4, 2)?;
    let before = Snapshot::take(&wire.host)?;
    let arguments = format!("--xdp-mode {} --queues 2 --cores 0,1", xdp_mode.name());
    let first = BondProcess::start(&wire.host, "bond0", &format!("--iface eth0,eth1 {arguments}"))?;
    let second =
        BondProcess::start(&wire.host, "bond1", &format!("--iface eth2,eth3 {arguments}"))?;
    for bond in [&first, &second] {
        let state = bond.show()?;
        assert_eq!(state.workers.iter().map(|worker| worker.core).collect::<Vec<_>>(), [0, 1]);
        assert!(state.slaves.iter().all(|slave| slave.queues == 2), "{state:#?}");
    }

    let (bond0, bond1) = (first.port()?, second.port()?);
    let (w0, w2) = (&wire.cables[0].far, &wire.cables[2].far);
    // Each queue of each bond in each direction; the two bonds at the same time.
    for cpu in [0, 1] {
        for [one, other] in [[(&bond0, w0), (&bond1, w2)], [(w0, &bond0), (w2, &bond1)]] {
            let [one, other] = thread::scope(|scope| {
                [one, other]
                    .map(|(from, to)| scope.spawn(move || exchange_on_queue(cpu, from, to)))
                    .map(|thread| thread.join().ok().context("a sender panicked"))
            });
            for report in [one??, other??] {
                assert_eq!(
                    report.faults,
                    Faults::default(),
                    "queue {cpu} to {}",
                    report.arrivals[0].port
                );
                assert_eq!(
                    report.arrivals[0].out_of_order(),
                    0,
                    "queue {cpu} to {}",
                    report.arrivals[0].port
                );
            }
        }
    }
    for state in [first.show()?, second.show()?] {
        let active = state
            .active_slave
            .clone()
            .and_then(|name| state.slave(&name).cloned())
            .context("no active slave")?;
        assert_eq!(
            (active.rx_packets, active.tx_packets),
            (2 * FRAMES, 2 * FRAMES),
            "{}",
            state.ifname
        );
    }
    first.stop()?;
    second.stop()?;
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0]);
    Ok(())
}

/// Sends a flow through queue `cpu` of `from`: the queue is the sending CPU's.
fn exchange_on_queue(cpu: usize, from: &Port, to: &Port) -> Result<Report> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set)?;
    let flow = Flow { id: 1, source: from.mac, destination: Mac::BROADCAST, frames: FRAMES };
    let sink = Sink::open(&flow, &[to])?;
    let socket = from.packet_socket(ETHERTYPE)?;
    socket.queue_by_cpu()?;
    let pace = Pace { rate: 30_000, ..Pace::default() };
    send(&flow, &[socket], pace, Some(&sink))?;
    sink.finish()
}
