//! The state for people. Words and order follow /proc/net/bonding where it has them.

use std::fmt::{self, Write as _};

use crate::mode::Mode;
use crate::state::{BondState, Drops, Failover, PortState, SlaveState};

/// The whole state as text.
pub(super) fn render(state: &BondState) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = bond(&mut out, state);
    for slave in &state.slaves {
        let _ = slave_block(&mut out, slave);
    }
    out
}

fn bond(out: &mut String, state: &BondState) -> fmt::Result {
    let mode = state.mode.parse::<Mode>().map_or("", |mode| mode.description());
    writeln!(out, "{}: {mode}, {}", state.ifname, state.mii_status)?;
    line(out, "Bonding Mode", &state.mode)?;
    match state.mode.parse() {
        Ok(Mode::ActiveBackup) => {
            line(out, "Primary Slave", primary(state))?;
            line(out, "Currently Active Slave", state.active_slave.as_deref().unwrap_or("None"))?;
        }
        Ok(Mode::BalanceRr) => line(out, "Packets Per Slave", state.packets_per_slave)?,
        Ok(Mode::BalanceXor) => line(out, "Transmit Hash Policy", &state.xmit_hash_policy)?,
        Ok(Mode::Broadcast) | Err(_) => {}
    }
    line(out, "MII Status", &state.mii_status)?;
    line(out, "MII Polling Interval (ms)", state.miimon)?;
    line(out, "Up Delay (ms)", state.updelay)?;
    line(out, "Down Delay (ms)", state.downdelay)?;
    line(out, "MAC Address", &state.address)?;
    line(out, "MTU", state.mtu)?;
    line(out, "Process", state.pid)?;
    line(out, "Layout", &state.layout)?;
    for worker in &state.workers {
        let frames: Vec<String> = worker
            .umems
            .iter()
            .map(|u| {
                format!(
                    "{} frames = {} free + {} held + {} fill + {} tx",
                    u.total, u.free, u.held, u.fill, u.tx
                )
            })
            .collect();
        let cpu = match worker.egress {
            None => format!("CPU {}", worker.thread.core),
            Some(egress) => format!("CPU {} and {}", worker.thread.core, egress.core),
        };
        let what = format!("{cpu}, poll {}, {}", state.poll, frames.join("; "));
        line(out, &format!("Worker {}", worker.worker), what)?;
    }
    match &state.failovers.last {
        Some(last) => line(out, "Failovers", failover(state.failovers.count, last))?,
        None => line(out, "Failovers", 0)?,
    }
    writeln!(out, "\nHost Interface: {} (our end: {})", state.ifname, state.host.ifname)?;
    port(out, &state.host)?;
    match state.gro_flush_timeout / 1000 {
        0 => Ok(()),
        us => line(out, "Overloaded", format!("frames gather for {us} us")),
    }
}

/// Not only the primary is chosen by primary_reselect, but also the slave of the highest prio.
fn primary(state: &BondState) -> String {
    let name = state.primary.as_deref().unwrap_or("None");
    let preferred = state.primary.is_some() || state.slaves.iter().any(|slave| slave.prio != 0);
    if preferred {
        format!("{name} (primary_reselect {})", state.primary_reselect)
    } else {
        name.to_owned()
    }
}

fn failover(count: u64, last: &Failover) -> String {
    let name = |slave: &Option<String>| slave.clone().unwrap_or_else(|| "none".into());
    format!(
        "{count}, last at {}: {} -> {} in {} us ({})",
        last.at,
        name(&last.from),
        name(&last.to),
        last.took_us,
        last.reason
    )
}

fn slave_block(out: &mut String, slave: &SlaveState) -> fmt::Result {
    writeln!(out, "\nSlave Interface: {}", slave.port.ifname)?;
    line(out, "State", &slave.state)?;
    line(out, "MII Status", format!("{} ({})", slave.mii_status, slave.evidence))?;
    line(out, "Link Failure Count", slave.link_failure_count)?;
    if slave.prio != 0 {
        line(out, "Priority", slave.prio)?;
    }
    line(out, "Permanent HW addr", &slave.perm_hwaddr)?;
    let promisc = if slave.promisc { " (refused the bond's MAC: promiscuous)" } else { "" };
    line(out, "Current HW addr", format!("{}{promisc}", slave.hwaddr))?;
    port(out, &slave.port)?;
    line(out, "Link-local frames passed", slave.link_local)
}

fn port(out: &mut String, port: &PortState) -> fmt::Result {
    let mode = format!("{}, {}, {} queue(s)", port.xdp_mode, port.bind_mode, port.queues);
    line(out, "XDP Mode", mode)?;
    line(out, "Received", format!("{} frames, {} bytes", port.rx_packets, port.rx_bytes))?;
    line(out, "Sent", format!("{} frames, {} bytes", port.tx_packets, port.tx_bytes))?;
    line(out, "Dropped", dropped(&port.drops))
}

/// Only the reasons that happened.
fn dropped(drops: &Drops) -> String {
    let reasons: Vec<String> = drops
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    if reasons.is_empty() { "0".into() } else { reasons.join(", ") }
}

fn line(out: &mut String, key: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "{:<26} {value}", format!("{key}:"))
}
