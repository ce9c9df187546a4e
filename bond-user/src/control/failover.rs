//! What follows from a mode's decision: it is published, noted, and told to the network.

use std::time::{Duration, Instant, SystemTime};

use super::BondError;
use super::bond::Bond;
use crate::mode::{ActiveChange, Decision};
use crate::state::Failover;
use crate::watch::{Carrier, Seen};

impl Bond {
    /// Publishes what the mode decided, and tells the network about a new active slave.
    pub(super) fn carry_out(
        &mut self,
        decision: &Decision,
        reason: String,
        seen: Instant,
    ) -> Result<(), BondError> {
        let before = std::mem::replace(&mut self.snapshot, decision.snapshot);
        // Workers first: from here on frames go the new way.
        self.published.publish(self.snapshot);
        self.publish_receive()?;
        let took = seen.elapsed();
        if before.usable.is_empty() != self.snapshot.usable.is_empty() {
            self.host.set_carrier(&mut self.nl, !self.snapshot.usable.is_empty())?;
        }
        let now = self.started.elapsed();
        match self.snapshot.igmp_slave() {
            None => self.rejoin.cancel(),
            igmp_slave if igmp_slave != before.igmp_slave() => self.rejoin.changed(now),
            Some(_) => {}
        }
        if let Some(change) = decision.active_changed {
            self.note_failover(change, reason, took);
            match change.to {
                Some(_) => self.peer_notif.changed(now),
                None => self.peer_notif.cancel(),
            }
            self.notify_peers();
        }
        self.rejoin_groups();
        Ok(())
    }

    /// Tells each slave's XDP program whether its frames are delivered.
    fn publish_receive(&mut self) -> Result<(), BondError> {
        for (slot, state) in (0u8..).zip(&mut self.slots) {
            if let Some(attached) = &mut state.attached {
                attached.port.set_receive(self.snapshot.receive.contains(slot))?;
            }
        }
        Ok(())
    }

    fn note_failover(&mut self, change: ActiveChange, reason: String, took: Duration) {
        let name = |slot: Option<u8>| slot.map(|slot| self.slot(slot).name.clone());
        let (from, to) = (name(change.from), name(change.to));
        let text = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".into());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::info!("active slave: {} -> {} in {took_us} us ({reason})", text(&from), text(&to));
        if from.is_none() && self.failovers.last.is_none() {
            return; // The first choice is no failover.
        }
        self.failovers.count += 1;
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        self.failovers.last = Some(Failover { from, to, reason, took_us, at });
    }
}

/// Why a slave's link has another state now.
pub(super) fn reason(name: &str, carrier: &Carrier, now: Duration) -> String {
    let Some(Seen { carrier, source, since }) = carrier.seen() else {
        return format!("{name}: no carrier yet");
    };
    let what = if carrier { "has carrier" } else { "no carrier" };
    // Zero, unless there was a delay.
    let held = now.saturating_sub(since).as_millis();
    let held = if held > 0 { format!(" for {held} ms") } else { String::new() };
    format!("{name}: {what}{held}, seen by {source}")
}
