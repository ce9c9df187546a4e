//! Slaves joining and leaving, at the start and while the bond runs.

use std::time::{Duration, Instant};

use super::BondError;
use super::bond::Bond;
use super::packet::PacketSocket;
use super::slot::{Attached, Slot};
use super::start::{save, slave_lock};
use crate::mode::Event;
use crate::netlink::Link;
use crate::poller::{Command, Reply};
use crate::port::{
    Candidate, CarrierFiles, Port, PortError, RunLock, Saved, Share, Wanted, own_umem,
};
use crate::watch::Source;
use crate::xsk::{BindMode, XskRings};

/// How long the kernel may take to let go of a closed socket's queue.
const LET_GO: Duration = Duration::from_secs(5);
/// Between two tries to take back a slave that could not be taken back.
const RETRY: Duration = Duration::from_secs(1);

impl Bond {
    /// Makes a netdev that was found fit a slave: settings, program, sockets, workers, first look.
    ///
    /// On an error the netdev is as it was.
    pub(super) fn join(&mut self, slot: u8, candidate: &Candidate) -> Result<(), BondError> {
        let ifindex = candidate.link.index;
        self.claim_slave(candidate)?;
        let mut saved = Saved::read(&mut self.nl, &candidate.link).map_err(PortError::from)?;
        if let Some(known) = self.state_file.slaves.iter().find(|known| known.ifindex == ifindex)
            && saved.mac == self.mac
        {
            // It was away, say in another network namespace, with the MAC that we gave it.
            saved.mac = known.mac;
        }
        self.state_file.slaves.retain(|known| known.name != saved.name && known.ifindex != ifindex);
        self.state_file.slaves.push(saved.clone());
        save(&self.state_file)?;
        let queues_max = &mut self.slot_mut(slot).queues_max;
        *queues_max = candidate.queues.max(*queues_max);
        let attached = self.open(slot, candidate, &saved).inspect_err(|_| {
            saved.put_back(&mut self.nl);
            self.slave_claims.retain(|(claimed, _)| *claimed != ifindex);
        })?;
        let what = format!(
            "{}: XDP {}, {}, {} receive queue(s)",
            candidate.link.name,
            attached.port.program.mode().name(),
            attached.port.bound.mode,
            attached.port.queues
        );
        tracing::info!("{what}");
        self.slot_mut(slot).attached = Some(attached);
        // Events that waited are older than the look that follows, and must not overrule it.
        self.read_events()?;
        let Self { slots, nl, .. } = self;
        let attached = &slots[usize::from(slot)].attached;
        let carrier = attached.as_ref().map_or(Ok(None), |attached| attached.poll_carrier(nl))?;
        let carrier = carrier.unwrap_or(false);
        self.evidence(slot, carrier, Source::Poll)
    }

    /// No other bond may take or restore this slave while we have it.
    fn claim_slave(&mut self, candidate: &Candidate) -> Result<(), BondError> {
        let Link { index, name, .. } = &candidate.link;
        if self.slave_claims.iter().any(|(claimed, _)| claimed == index) {
            return Ok(());
        }
        let taken = RunLock::take(&slave_lock(*index))
            .map_err(BondError::io(format!("cannot claim {name}")))?;
        let claim = taken.ok_or_else(|| PortError::ClaimedByOther(name.clone()))?;
        self.slave_claims.push((*index, claim));
        Ok(())
    }

    fn open(
        &mut self,
        slot: u8,
        candidate: &Candidate,
        saved: &Saved,
    ) -> Result<Attached, BondError> {
        let link = &candidate.link;
        let wanted = Wanted { mac: self.mac, mtu: self.mtu };
        let applied = saved.apply(&mut self.nl, wanted).map_err(PortError::from)?;
        applied.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let packet = PacketSocket::open(link.index)
            .map_err(BondError::io(format!("cannot open a packet socket on {}", link.name)))?;
        packet
            .all_multicast()
            .map_err(BondError::io(format!("{} refuses to receive all multicast", link.name)))?;
        if applied.mac_refused {
            packet
                .promiscuous()
                .map_err(BondError::io(format!("{} refuses promiscuous mode", link.name)))?;
            tracing::warn!(
                "{} refuses the bond's MAC: it keeps {} and is promiscuous",
                link.name,
                link.mac
            );
        }
        let carrier = CarrierFiles::open(&mut self.nl, link.index)?;
        if carrier.is_none() {
            tracing::warn!("{}: sysfs does not show its carrier, rtnetlink is asked", link.name);
        }
        let (mut port, shares) = Port::open(candidate, slot, &self.spec, &self.umems)?;
        self.hand_out(slot, shares)?;
        let receive = self.snapshot.receive.contains(slot);
        let gates = port.set_receive(receive).and_then(|()| port.open_gates());
        if let Err(error) = gates {
            self.close(slot, port.bound.mode)?;
            return Err(error.into());
        }
        Ok(Attached {
            port,
            carrier,
            admin_up: true,
            perm_mac: link.mac,
            mac: if applied.mac_refused { link.mac } else { self.mac },
            packet,
            promisc: applied.mac_refused,
            closed: None,
        })
    }

    fn hand_out(&mut self, slot: u8, shares: Vec<Share>) -> Result<(), BondError> {
        for (worker, Share { slave, umem }) in shares.into_iter().enumerate() {
            self.ask(worker, Command::Attach(slot, slave, umem))?;
        }
        Ok(())
    }

    fn ask(&self, worker: usize, command: Command<XskRings>) -> Result<Reply<XskRings>, BondError> {
        self.workers[worker].ask(command).map_err(|source| BondError::Worker { worker, source })
    }

    /// The netdev is gone: closes its sockets and takes its frames back.
    pub(super) fn leave(&mut self, slot: u8) -> Result<(), BondError> {
        let decision = self.policy.step(Event::Removed(slot));
        self.snapshot = decision.snapshot;
        self.published.publish(self.snapshot);
        let Some(attached) = self.slot_mut(slot).attached.take() else { return Ok(()) };
        let ifindex = attached.port.ifindex;
        self.slave_claims.retain(|(claimed, _)| *claimed != ifindex);
        self.close(slot, attached.port.bound.mode)
    }

    /// The slave has no carrier: closes its sockets and takes its frames back, until [`Self::reopen_sockets`].
    ///
    /// Without a carrier some drivers complete nothing in zero-copy mode: the frames stay on the NIC's ring, and
    /// come out as soon as it sends again, which may be much later. In copy mode the kernel drops them itself.
    pub(super) fn recycle(&mut self, slot: u8) -> Result<(), BondError> {
        match &mut self.slot_mut(slot).attached {
            Some(attached) if attached.port.bound.mode == BindMode::ZeroCopy => {
                attached.closed = Some(Instant::now());
                self.close(slot, BindMode::ZeroCopy)
            }
            _ => Ok(()),
        }
    }

    /// Opens what [`Self::recycle`] closed, once the kernel has let go of it. Until then such a slave stays down.
    pub(super) fn reopen_sockets(&mut self) -> Result<(), BondError> {
        for slot in self.slot_ids() {
            let Some(attached) = &mut self.slot_mut(slot).attached else { continue };
            let Some(since) = attached.closed else { continue };
            match attached.port.reopen() {
                Ok(shares) => {
                    attached.closed = None;
                    self.hand_out(slot, shares)?;
                    self.open_gates(slot)?;
                }
                Err(error) if since.elapsed() > LET_GO => self.expel(slot, &error)?,
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn open_gates(&mut self, slot: u8) -> Result<(), BondError> {
        let Some(attached) = &mut self.slot_mut(slot).attached else { return Ok(()) };
        Ok(attached.port.open_gates().map_err(PortError::from)?)
    }

    /// Gives a slave up for now: its netdev is put back as it was, and joins anew when that works.
    fn expel(&mut self, slot: u8, error: &PortError) -> Result<(), BondError> {
        let name = self.slot(slot).name.clone();
        tracing::warn!("{name}: cannot open its sockets anew: {error}");
        self.leave(slot)?;
        if let Some(saved) = self.state_file.slaves.iter().find(|saved| saved.name == name) {
            saved.put_back(&mut self.nl);
        }
        Ok(())
    }

    /// Closes a slave's sockets, which are bound in `mode`, and takes its frames back.
    fn close(&self, slot: u8, mode: BindMode) -> Result<(), BondError> {
        let own = (mode == BindMode::ZeroCopy).then_some(own_umem(slot));
        for worker in 0..self.workers.len() {
            // The answer holds the queues: closed here, on the control thread, because closing may block.
            drop(self.ask(worker, Command::Detach(slot))?);
            if let Reply::Reclaimed(back, umem) = self.ask(worker, Command::Reclaim(slot, own))? {
                tracing::debug!(
                    "worker {worker}: {} chunks back, {} frames lost, own UMEM {}",
                    back.fill,
                    back.tx,
                    umem.is_some()
                );
            }
        }
        Ok(())
    }

    /// Looks for slaves whose netdev is gone, and takes them in again when it is back by name.
    pub(super) fn take_back_slaves(&mut self) -> Result<(), BondError> {
        for slot in self.slot_ids() {
            let Slot { name, attached, retry, .. } = self.slot(slot);
            if attached.is_some() || Instant::now() < *retry {
                continue;
            }
            let name = name.clone();
            if self.nl.link(&name)?.is_none() {
                continue;
            }
            let result = self.take_back(slot, &name);
            let state = self.slot_mut(slot);
            match result {
                Ok(()) => {
                    state.refused = None;
                    tracing::info!("{name} is back");
                }
                Err(error @ (BondError::Worker { .. } | BondError::Deleted(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    state.retry = Instant::now() + RETRY;
                    let error = error.to_string();
                    if state.refused.as_ref() != Some(&error) {
                        tracing::warn!("{name} is back but cannot be a slave: {error}");
                        state.refused = Some(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn take_back(&mut self, slot: u8, name: &str) -> Result<(), BondError> {
        let candidate = Candidate::inspect(&mut self.nl, name)?;
        let bond = Link { name: self.config.name.clone(), mtu: self.mtu, ..candidate.link.clone() };
        candidate.check(&self.spec, &bond)?;
        // The UMEMs were made for as many queues as it had at the start.
        let (has, max) = (candidate.queues, self.slot(slot).queues_max);
        if has > max {
            return Err(PortError::TooManyQueues { name: name.to_owned(), has, max }.into());
        }
        self.join(slot, &candidate)
    }
}
