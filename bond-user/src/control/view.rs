//! From the running bond to its state tree.

use std::sync::Arc;
use std::time::Duration;

use bond_ebpf::layout::Verdict as XdpVerdict;

use super::bond::Bond;
use super::slot::Slot;
use crate::egress::Moderation;
use crate::poller::{Counters, DropReason, Totals, Worker, WorkerCounters};
use crate::port::{LinkMode, Program, XdpMode};
use crate::state::{BondState, Drops, PortState, SlaveState, ThreadState, UmemState, WorkerState};
use crate::watch::Carrier;
use crate::xsk::{BindMode, Census, PortId, SocketStats, XskRings};

/// The state now.
pub(super) fn state(bond: &Bond) -> BondState {
    let snapshot = bond.snapshot;
    let active = snapshot.active.map(|slot| bond.slot(slot).name.clone());
    BondState {
        ifname: bond.config.name.clone(),
        pid: std::process::id(),
        mode: bond.config.mode.to_string(),
        miimon: ms(bond.config.miimon),
        updelay: ms(bond.config.updelay),
        downdelay: ms(bond.config.downdelay),
        packets_per_slave: bond.config.packets_per_slave,
        xmit_hash_policy: bond.config.xmit_hash_policy.name().into(),
        all_slaves_active: bond.config.all_slaves_active.into(),
        num_peer_notif: bond.config.num_peer_notif,
        peer_notif_delay: ms(bond.config.peer_notif_delay),
        resend_igmp: bond.config.resend_igmp,
        primary: bond.config.primary.clone(),
        primary_reselect: bond.config.primary_reselect.unwrap_or_default().to_string(),
        active_slave: active,
        mii_status: up_down(!snapshot.usable.is_empty()),
        address: bond.mac.to_string(),
        mtu: bond.mtu,
        layout: bond.config.layout.to_string(),
        poll: bond.config.poll.to_string(),
        workers: bond.workers.iter().enumerate().map(|(at, w)| worker(at, w)).collect(),
        gro_flush_timeout: gather_ns(bond),
        host: host(bond),
        slaves: (0u8..).zip(&bond.slots).map(|(slot, state)| slave(bond, slot, state)).collect(),
        failovers: bond.failovers.clone(),
    }
}

fn gather_ns(bond: &Bond) -> u64 {
    let period = bond.moderation.as_ref().map(Moderation::period).unwrap_or_default();
    u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)
}

fn worker(at: usize, worker: &Worker<XskRings>) -> WorkerState {
    let mut threads = worker.cores().into_iter().zip(worker.counters()).map(thread);
    WorkerState {
        worker: at,
        thread: threads.next().unwrap_or_default(),
        egress: threads.next(),
        umems: worker.umems().map(umem).collect(),
    }
}

fn thread((core, counters): (usize, &Arc<Counters>)) -> ThreadState {
    let WorkerCounters { turns, idle_turns, overloaded_turns, sleeps } = &*counters.worker;
    ThreadState {
        core,
        turns: turns.get(),
        idle_turns: idle_turns.get(),
        overloaded_turns: overloaded_turns.get(),
        sleeps: sleeps.get(),
    }
}

fn umem(census: Census) -> UmemState {
    let Census { total, free, held, fill, tx } = census;
    UmemState { total, free, held, fill, tx }
}

fn totals(bond: &Bond, port: PortId) -> Totals {
    Totals::of(bond.workers.iter().flat_map(Worker::counters).map(|counters| &**counters), port)
}

fn host(bond: &Bond) -> PortState {
    let program = bond.host.program();
    let mut drops = drops(&totals(bond, PortId::HOST), bond.host.stats());
    let unheard = program.map_or(0, |program| program.verdict(XdpVerdict::DropNoSocket).frames);
    drops.insert("no_socket".into(), unheard);
    let queues = u32::try_from(bond.workers.len()).unwrap_or(u32::MAX);
    let modes = program.map(|program| (program.mode(), BindMode::Copy));
    port(bond.host.port_name.clone(), queues, modes, &totals(bond, PortId::HOST), drops)
}

fn slave(bond: &Bond, slot: u8, state: &Slot) -> SlaveState {
    let attached = state.attached.as_ref();
    let carrier = bond.links.carrier(slot);
    let program = attached.map(|attached| &attached.port.program);
    let verdict = |verdict| program.map_or(0, |p: &Program| p.verdict(verdict).frames);
    let totals = totals(bond, PortId::slave(slot));
    let stats = attached.map_or_else(SocketStats::default, |attached| attached.port.stats());
    let mut drops = drops(&totals, stats);
    *drops.entry(DropReason::InactiveSlave.name().into()).or_default() +=
        verdict(XdpVerdict::DropInactive);
    let sends = if bond.config.mode.has_active_slave() {
        bond.snapshot.active == Some(slot)
    } else {
        bond.snapshot.usable.contains(slot)
    };
    let mac = |mac: Option<crate::netlink::Mac>| mac.map_or_else(String::new, |m| m.to_string());
    let modes = attached.map(|a| (a.port.program.mode(), a.port.bound.mode));
    let queues = attached.map_or(0, |attached| attached.port.queues);
    let link_mode = attached.and_then(|attached| attached.link_mode);
    SlaveState {
        ifindex: state.ifindex(),
        state: if sends { "active" } else { "backup" }.into(),
        mii_status: carrier.state().to_string(),
        evidence: evidence(bond, state, carrier),
        link_failure_count: carrier.link_failure_count(),
        prio: bond.config.prio_of(&state.name),
        weight: bond.config.weight_of(&state.name),
        speed: link_mode.map(|mode| mode.speed),
        duplex: link_mode.map_or("unknown", LinkMode::duplex).into(),
        perm_hwaddr: mac(attached.map(|attached| attached.perm_mac)),
        hwaddr: mac(attached.map(|attached| attached.mac)),
        promisc: attached.is_some_and(|attached| attached.promisc),
        link_local: verdict(XdpVerdict::PassLinkLocal),
        port: port(state.name.clone(), queues, modes, &totals, drops),
    }
}

/// "carrier for 12.3 s, seen by link event".
fn evidence(bond: &Bond, state: &Slot, carrier: &Carrier) -> String {
    if state.attached.is_none() {
        return if bond.starting { "joining" } else { "interface is gone" }.into();
    }
    carrier.evidence(bond.started.elapsed())
}

fn drops(totals: &Totals, stats: SocketStats) -> Drops {
    let SocketStats { rx_dropped, rx_ring_full, rx_fill_ring_empty, tx_invalid } = stats;
    let ours = DropReason::ALL.into_iter().zip(totals.drops).map(|(r, n)| (r.name().into(), n));
    let kernels = [
        ("xsk_rx_dropped", rx_dropped),
        ("xsk_rx_ring_full", rx_ring_full),
        ("xsk_rx_fill_ring_empty", rx_fill_ring_empty),
        ("xsk_tx_invalid", tx_invalid),
    ];
    ours.chain(kernels.map(|(reason, n)| (reason.into(), n))).collect()
}

fn port(
    ifname: String,
    queues: u32,
    modes: Option<(XdpMode, BindMode)>,
    totals: &Totals,
    drops: Drops,
) -> PortState {
    PortState {
        ifname,
        xdp_mode: modes.map_or("none", |(xdp, _)| xdp.name()).into(),
        bind_mode: modes.map_or("none", |(_, bind)| bind.name()).into(),
        queues,
        rx_packets: totals.rx_frames,
        rx_bytes: totals.rx_bytes,
        tx_packets: totals.tx_frames,
        tx_bytes: totals.tx_bytes,
        seam_copies: totals.seam_copies,
        kicks_down: totals.kicks_down,
        drops,
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn up_down(up: bool) -> String {
    if up { "up" } else { "down" }.into()
}
