//! What follows from a mode's decision: it is published, noted, and told to the network.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant, SystemTime};

use super::bond::Bond;
use super::rejoin::Memberships;
use super::uppers::Tagged;
use super::{BondError, announce};
use crate::mode::{ActiveChange, Decision};
use crate::netlink::Address;
use crate::state::Failover;
use crate::watch::Verdict;

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

    /// Announces bond0 on the active slave if it is time to.
    pub(super) fn notify_peers(&mut self) {
        if self.peer_notif.due(self.started.elapsed())
            && let Some(active) = self.snapshot.active
        {
            self.announce(active);
        }
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

    /// Reports the IPv4 groups of bond0 and of the VLANs on it where IGMP goes now, if it is time to.
    pub(super) fn rejoin_groups(&mut self) {
        if !self.rejoin.due(self.started.elapsed()) {
            return;
        }
        let Ok(groups) = std::fs::read_to_string("/proc/thread-self/net/igmp") else { return };
        for netdev in self.netdevs() {
            let memberships = Memberships::parse(&groups, &netdev.name);
            let addresses = self.nl.addresses(netdev.ifindex).unwrap_or_default();
            let source = addresses.iter().find_map(|address| match address.ip {
                IpAddr::V4(ip) => Some(ip),
                IpAddr::V6(_) => None,
            });
            let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED);
            let slave = self.snapshot.igmp_slave().map(|slot| self.slot(slot));
            let Some(attached) = slave.and_then(|slot| slot.attached.as_ref()) else { return };
            for report in memberships.reports(netdev.mac, source) {
                if let Err(error) = attached.packet.send(&announce::tagged(&report, &netdev.tags)) {
                    tracing::warn!("cannot report the groups of {}: {error}", netdev.name);
                }
            }
        }
    }

    /// bond0 and the VLANs on it.
    fn netdevs(&self) -> Vec<Tagged> {
        let (name, ifindex) = (self.config.name.clone(), self.host.ifindex);
        let bond0 = Tagged { name, ifindex, mac: self.mac, tags: Vec::new() };
        std::iter::once(bond0).chain(self.uppers.on(ifindex)).collect()
    }

    /// Gratuitous ARP and unsolicited NA for the addresses of bond0 and of the VLANs on it, on the new active slave.
    pub(super) fn announce(&mut self, active: u8) {
        for netdev in self.netdevs() {
            self.announce_netdev(active, &netdev);
        }
    }

    fn announce_netdev(&mut self, active: u8, netdev: &Tagged) {
        let Tagged { name, ifindex, mac, tags } = netdev;
        let addresses = match self.nl.addresses(*ifindex) {
            Ok(addresses) => addresses,
            Err(error) => return tracing::warn!("cannot announce {name}: {error}"),
        };
        let router = is_ipv6_router(name);
        let Some(attached) = &self.slot(active).attached else { return };
        for Address { ip, .. } in addresses.into_iter().filter(|address| !address.tentative) {
            let frame = match ip {
                IpAddr::V4(ip) => announce::tagged(&announce::gratuitous_arp(*mac, ip), tags),
                IpAddr::V6(ip) => {
                    announce::tagged(&announce::unsolicited_na(*mac, ip, router), tags)
                }
            };
            if let Err(error) = attached.packet.send(&frame) {
                tracing::warn!("cannot announce {ip}: {error}");
            }
        }
    }
}

/// Whether the host forwards IPv6 that arrives on this netdev.
fn is_ipv6_router(name: &str) -> bool {
    std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{name}/forwarding"))
        .is_ok_and(|forwarding| forwarding.trim() != "0")
}

pub(super) fn reason(name: &str, verdict: &Verdict) -> String {
    let what = if verdict.up { "has carrier" } else { "no carrier" };
    format!("{name}: {what}, seen by {}", verdict.source)
}
