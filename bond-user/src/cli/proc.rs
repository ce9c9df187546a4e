//! The state as the kernel's bonding tells its own in /proc/net/bonding (`bond_procfs.c`), line by line, for scripts
//! that read it.

use std::fmt::{self, Write as _};

use bond_ebpf::hash::HashPolicy;

use crate::mode::Mode;
use crate::state::{BondState, SlaveState};

/// The whole text. `kernel` is the kernel's release, as `uname -r` tells it, which is the version of its driver. An option
/// that the bond does not have is told as the kernel's default.
pub(super) fn render(state: &BondState, kernel: &str) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = bond(&mut out, state, kernel);
    for slave in present(state) {
        let _ = slave_block(&mut out, slave);
    }
    out
}

/// A slave whose netdev is gone is none to the kernel.
fn present(state: &BondState) -> impl Iterator<Item = &SlaveState> {
    state.slaves.iter().filter(|slave| slave.ifindex.is_some())
}

fn bond(out: &mut String, state: &BondState, kernel: &str) -> fmt::Result {
    writeln!(out, "Ethernet Channel Bonding Driver: v{kernel}\n")?;
    // A newer bond may have a mode that this client knows by name only.
    let mode = state.mode.parse::<Mode>().ok();
    line(out, "Bonding Mode", mode.map_or(&*state.mode, |mode| mode.description()))?;
    match mode {
        Some(Mode::ActiveBackup) => active(out, state)?,
        Some(Mode::BalanceXor) => {
            line(out, "Transmit Hash Policy", hash_policy(&state.xmit_hash_policy))?;
        }
        Some(Mode::BalanceRr | Mode::Broadcast) | None => {}
    }
    line(out, "MII Status", &state.mii_status)?;
    line(out, "MII Polling Interval (ms)", state.miimon)?;
    line(out, "Up Delay (ms)", state.updelay)?;
    line(out, "Down Delay (ms)", state.downdelay)?;
    line(out, "Peer Notification Delay (ms)", state.peer_notif_delay)
}

/// The policy with the kernel's number, as far as this client knows it.
fn hash_policy(name: &str) -> String {
    let policy = HashPolicy::from_name(name);
    policy.map_or_else(|| name.to_owned(), |policy| format!("{name} ({})", policy.number()))
}

/// What a mode with an active slave tells of it.
fn active(out: &mut String, state: &BondState) -> fmt::Result {
    let here = |name: &&String| present(state).any(|slave| slave.port.ifname == **name);
    let reselect = &state.primary_reselect;
    match state.primary.as_ref().filter(here) {
        Some(name) => line(out, "Primary Slave", format!("{name} (primary_reselect {reselect})"))?,
        None => line(out, "Primary Slave", "None")?,
    }
    line(out, "Currently Active Slave", state.active_slave.as_deref().unwrap_or("None"))
}

fn slave_block(out: &mut String, slave: &SlaveState) -> fmt::Result {
    writeln!(out, "\nSlave Interface: {}", slave.port.ifname)?;
    line(out, "MII Status", &slave.mii_status)?;
    let speed = slave.speed.map_or_else(|| "Unknown".into(), |speed| format!("{speed} Mbps"));
    line(out, "Speed", speed)?;
    line(out, "Duplex", if slave.speed.is_some() { slave.duplex.as_str() } else { "Unknown" })?;
    line(out, "Link Failure Count", slave.link_failure_count)?;
    line(out, "Permanent HW addr", &slave.perm_hwaddr)?;
    line(out, "Slave queue ID", 0)
}

fn line(out: &mut String, key: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(out, "{key}: {value}")
}

#[cfg(test)]
mod tests;
