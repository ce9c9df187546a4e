//! What the network is told of a new active slave: announcements of the addresses, and reports of the groups.

use std::net::{IpAddr, Ipv4Addr};

use super::announce;
use super::bond::Bond;
use super::rejoin::Memberships;
use super::uppers::Tagged;
use crate::netlink::Address;

impl Bond {
    /// Announces bond0 on the active slave if it is time to.
    pub(super) fn notify_peers(&mut self) {
        if self.peer_notif.due(self.started.elapsed())
            && let Some(active) = self.snapshot.active
        {
            self.announce(active);
        }
    }

    /// Reports the IPv4 groups of bond0 and of the VLANs on it where IGMP goes now, if it is time to.
    pub(super) fn rejoin_groups(&mut self) {
        if !self.rejoin.due(self.started.elapsed()) {
            return;
        }
        let groups = match std::fs::read_to_string("/proc/thread-self/net/igmp") {
            Ok(groups) => groups,
            Err(error) => return tracing::warn!("cannot report the host's groups: {error}"),
        };
        for netdev in self.netdevs() {
            let memberships = Memberships::parse(&groups, &netdev.name);
            if memberships.is_empty() {
                continue; // Most hosts have none, and the kernel need not be asked for addresses.
            }
            let addresses = self.nl.addresses(netdev.ifindex).unwrap_or_default();
            let source = addresses.iter().find_map(|address| match address.ip {
                IpAddr::V4(ip) if !ip.is_multicast() => Some(ip),
                _ => None,
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
        let ours = |address: &Address| !address.tentative && !address.ip.is_multicast();
        for Address { ip, .. } in addresses.into_iter().filter(ours) {
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
