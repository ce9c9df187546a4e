//! From a netdev to a slave, and back: what the fitter does.

use std::time::Instant;

use super::BondError;
use super::fitter::{Fitted, Netdev, Tools};
use super::packet::PacketSocket;
use super::slot::{Attached, Sockets};
use super::start::{save, slave_lock};
use crate::netlink::Link;
use crate::port::{
    Binding, Bound, Candidate, CarrierFiles, Ethtool, LinkMode, Port, PortError, RunLock, Saved,
    Share, Wanted,
};

impl Tools {
    /// Makes a netdev fit a slave: settings, program, sockets. On an error the netdev is as it was.
    pub(super) fn fit(
        &mut self,
        slot: u8,
        netdev: Netdev,
        wanted: Wanted,
    ) -> Result<Fitted, BondError> {
        let candidate = match netdev {
            Netdev::Found(candidate) => *candidate,
            Netdev::Absent { name, queues_max } => self.find(&name, queues_max)?,
        };
        let claim = claim(&candidate.link)?;
        let saved = self.remember(&candidate.link, wanted)?;
        self.open(slot, &candidate, &saved, wanted, claim).inspect_err(|_| {
            saved.put_back(&mut self.nl);
        })
    }

    /// Looks whether a netdev of that name can be a slave, as at the start, but for its MTU: the bond has one by now,
    /// and gives it.
    fn find(&mut self, name: &str, queues_max: u32) -> Result<Candidate, BondError> {
        let candidate = Candidate::inspect(&mut self.nl, name)?;
        candidate.check(&self.spec)?;
        // The UMEMs were made for as many queues as it had at the start.
        let (has, max) = (candidate.queues, queues_max);
        if has > max {
            return Err(PortError::TooManyQueues { name: name.to_owned(), has, max }.into());
        }
        Ok(candidate)
    }

    /// Writes down what is to be put back.
    fn remember(&mut self, link: &Link, wanted: Wanted) -> Result<Saved, BondError> {
        let mut saved = Saved::read(&mut self.nl, link).map_err(PortError::from)?;
        let slaves = &mut self.state_file.slaves;
        if let Some(known) = slaves.iter().find(|known| known.ifindex == link.index) {
            // It was away, say in another network namespace, with the MAC and the MTU that we gave it.
            if saved.mac == wanted.mac {
                saved.mac = known.mac;
            }
            if saved.mtu == wanted.mtu {
                saved.mtu = known.mtu;
            }
        }
        slaves.retain(|known| known.name != saved.name && known.ifindex != link.index);
        slaves.push(saved.clone());
        save(&self.state_file)?;
        Ok(saved)
    }

    fn open(
        &mut self,
        slot: u8,
        candidate: &Candidate,
        saved: &Saved,
        wanted: Wanted,
        claim: RunLock,
    ) -> Result<Fitted, BondError> {
        let link = &candidate.link;
        let touched = link.carrier.then(Instant::now);
        let applied = saved.apply(&mut self.nl, wanted).map_err(PortError::from)?;
        applied.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let packet = packet_socket(link, applied.mac_refused)?;
        let carrier = CarrierFiles::open(&mut self.nl, link.index)?;
        if carrier.is_none() {
            tracing::warn!("{}: sysfs does not show its carrier, rtnetlink is asked", link.name);
        }
        let (port, shares) = Port::open(candidate, slot, &self.spec, &self.umems)?;
        let attached = Attached {
            port,
            claim,
            carrier,
            admin_up: true,
            link_mode: self.link_mode(link.index),
            perm_mac: link.mac,
            mac: if applied.mac_refused { link.mac } else { wanted.mac },
            packet,
            promisc: applied.mac_refused,
            sockets: Sockets::Open,
        };
        Ok(Fitted { attached, shares, touched })
    }

    /// Binds the sockets of a slave anew, whatever its netdev is called by now.
    pub(super) fn reopen(&mut self, binding: &Binding) -> Result<(Bound, Vec<Share>), PortError> {
        let ifindex = binding.ifindex();
        let link = self.nl.link_by_index(ifindex)?;
        let link = link.ok_or_else(|| PortError::Missing(format!("number {ifindex}")))?;
        binding.bind(&link.name)
    }

    /// How the link of a netdev runs, whatever that is called by now. `None`: nobody knows, or it is gone.
    pub(super) fn link_mode(&mut self, ifindex: u32) -> Option<LinkMode> {
        let link = self.nl.link_by_index(ifindex).ok().flatten()?;
        Ethtool::new().and_then(|ethtool| ethtool.link_mode(&link.name)).ok().flatten()
    }

    /// Detaches a slave and puts its netdev back as it was, if there still is one.
    pub(super) fn release(&mut self, attached: Attached) {
        let Attached { port, claim, packet, .. } = attached;
        let ifindex = port.ifindex;
        drop((port, packet));
        if let Some(saved) = self.state_file.slaves.iter().find(|saved| saved.ifindex == ifindex) {
            saved.put_back(&mut self.nl);
        }
        drop(claim);
    }
}

/// No other bond may take or restore this slave while we have it.
fn claim(link: &Link) -> Result<RunLock, BondError> {
    let Link { index, name, .. } = link;
    let taken = RunLock::take(&slave_lock(*index))
        .map_err(BondError::io(format!("cannot claim {name}")))?;
    Ok(taken.ok_or_else(|| PortError::ClaimedByOther(name.clone()))?)
}

/// For what the control thread sends itself. It also makes the NIC hear what is for the bond.
fn packet_socket(link: &Link, promiscuous: bool) -> Result<PacketSocket, BondError> {
    let Link { index, name, mac, .. } = link;
    let packet = PacketSocket::open(*index)
        .map_err(BondError::io(format!("cannot open a packet socket on {name}")))?;
    packet
        .all_multicast()
        .map_err(BondError::io(format!("{name} refuses to receive all multicast")))?;
    if promiscuous {
        packet.promiscuous().map_err(BondError::io(format!("{name} refuses promiscuous mode")))?;
        tracing::warn!("{name} refuses the bond's MAC: it keeps {mac} and is promiscuous");
    }
    Ok(packet)
}
