//! Slaves joining and leaving, at the start and while the bond runs: the control thread's half. What may take its time
//! is the fitter's.

use std::time::{Duration, Instant};

use super::BondError;
use super::bond::Bond;
use super::fitter::{Answer, Fit, Fitted, Job, Netdev};
use super::slot::{Attached, Slot, Sockets};
use crate::poller::{Command, Reply, SlavePort, WorkerCommand, WorkerReply};
use crate::port::{Bound, PortError, Share, Wanted, own_umem};
use crate::watch::{LinkEvent, Source};
use crate::xsk::{BindMode, XskRings};

/// How long the kernel may take to let go of a closed socket's queue.
const LET_GO: Duration = Duration::from_secs(5);
/// Between two tries to take back a slave that is not there, or could not be taken back.
const RETRY: Duration = Duration::from_secs(1);
/// How long a link may take to come back after its driver was touched: autonegotiation, and a slow switch.
const SETTLE: Duration = Duration::from_secs(10);

impl Bond {
    /// Has a netdev opened as the slave of `slot`.
    pub(super) fn fit(&mut self, slot: u8, netdev: Netdev) -> Result<(), BondError> {
        let wanted = Wanted { mac: self.mac, mtu: self.mtu };
        let state = self.slot_mut(slot);
        state.fitting = true;
        state.admin_up = true;
        state.retry = Instant::now() + RETRY;
        self.ask_fitter(slot, Job::Fit(Fit { slot, netdev, wanted }))
    }

    /// Asks for what will be answered.
    fn ask_fitter(&mut self, slot: u8, job: Job) -> Result<(), BondError> {
        self.slot_mut(slot).unanswered += 1;
        self.fitter.ask(job)
    }

    /// Carries on with what the fitter has done. An error of a slave that joins for the first time ends the bond.
    pub(super) fn hear_fitter(&mut self) -> Result<(), BondError> {
        for answer in self.fitter.answers() {
            match answer {
                Answer::Fitted(slot, result) => {
                    let state = self.slot_mut(slot);
                    state.unanswered -= 1;
                    state.fitting = false;
                    let result = result.and_then(|fitted| self.join(slot, *fitted));
                    self.joined(slot, result)?;
                }
                Answer::Closed(slot) => {
                    self.slot_mut(slot).unanswered -= 1;
                    self.reclaim(slot)?;
                }
                Answer::Reopened(slot, ifindex, result) => {
                    self.slot_mut(slot).unanswered -= 1;
                    self.reopened(slot, ifindex, result)?;
                }
                Answer::LinkMode(slot, ifindex, mode) => {
                    self.keep_link_mode(slot, ifindex, mode)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a slave that was opened in: workers, program flags, first look.
    fn join(&mut self, slot: u8, fitted: Fitted) -> Result<(), BondError> {
        let Fitted { mut attached, shares, touched } = fitted;
        let state = self.slot_mut(slot);
        attached.admin_up = state.admin_up;
        tracing::info!(
            "{}: XDP {}, {}, {} receive queue(s)",
            state.name,
            attached.port.program.mode().name(),
            attached.port.bound.mode,
            attached.port.queues
        );
        let ifindex = attached.port.ifindex;
        state.attached = Some(attached);
        self.give_mac(slot);
        if let Err(error) = self.open_gates(slot, shares) {
            self.expel(slot)?;
            return Err(error);
        }
        // Events that waited are older than the look that follows, and must not overrule it.
        self.read_events()?;
        let Self { slots, nl, .. } = self;
        let Some(attached) = &slots[usize::from(slot)].attached else { return Ok(()) };
        let Some(carrier) = attached.poll_carrier(nl)? else { return self.removed(ifindex) };
        self.slot_mut(slot).settling = touched.filter(|_| !carrier);
        self.look(slot, carrier, Source::Poll)
    }

    /// What came of a slave's joining.
    fn joined(&mut self, slot: u8, result: Result<(), BondError>) -> Result<(), BondError> {
        let starting = self.starting;
        let state = self.slot_mut(slot);
        match result {
            Ok(()) if starting => Ok(()),
            Ok(()) => {
                state.refused = None;
                tracing::info!("{} is back", state.name);
                Ok(())
            }
            Err(error @ (BondError::Worker { .. } | BondError::Deleted(_))) => Err(error),
            Err(error) if starting => Err(error),
            Err(BondError::Port(PortError::Missing(_))) => {
                state.refused = None;
                Ok(())
            }
            Err(error) => {
                let error = error.to_string();
                if state.refused.as_ref() != Some(&error) {
                    tracing::warn!("{} is back but cannot be a slave: {error}", state.name);
                    state.refused = Some(error);
                }
                Ok(())
            }
        }
    }

    /// Gives its sockets to the workers, and from then on frames.
    fn open_gates(&mut self, slot: u8, shares: Vec<Share>) -> Result<(), BondError> {
        for (worker, Share { slave, umem }) in shares.into_iter().enumerate() {
            self.ask(worker, Command::Attach(slot, slave, umem))?;
        }
        let receive = self.snapshot.receive.contains(slot);
        let Some(attached) = &mut self.slot_mut(slot).attached else { return Ok(()) };
        attached.port.set_receive(receive)?;
        Ok(attached.port.open_gates()?)
    }

    fn ask(
        &self,
        worker: usize,
        command: WorkerCommand<XskRings>,
    ) -> Result<WorkerReply<XskRings>, BondError> {
        self.workers[worker].ask(command).map_err(|source| BondError::Worker { worker, source })
    }

    /// The netdev is gone, or given up: closes its sockets, takes its frames back, and puts back what is left of it.
    pub(super) fn leave(&mut self, slot: u8) -> Result<(), BondError> {
        let decision = self.links.removed(slot);
        self.snapshot = decision.snapshot;
        self.published.publish(self.snapshot);
        let state = self.slot_mut(slot);
        state.settling = None;
        state.retry = Instant::now();
        let Some(attached) = state.attached.take() else { return Ok(()) };
        self.close(slot)?;
        self.fitter.ask(Job::Release(Box::new(attached)))
    }

    /// The slave has no carrier: closes its sockets and takes its frames back, until [`Self::reopen_sockets`].
    ///
    /// Without a carrier some drivers complete nothing in zero-copy mode: the frames stay on the NIC's ring, and
    /// come out as soon as it sends again, which may be much later. In copy mode the kernel drops them itself, unless
    /// the netdev is set down: then it leaves them on the tx ring (`xsk_sendmsg`, net/xdp/xsk.c).
    pub(super) fn recycle(&mut self, slot: u8) -> Result<(), BondError> {
        let Some(attached) = &mut self.slot_mut(slot).attached else { return Ok(()) };
        let keeps_none = attached.port.bound.mode == BindMode::Copy && attached.admin_up;
        if keeps_none || attached.sockets != Sockets::Open {
            return Ok(());
        }
        attached.sockets = Sockets::Closed(Instant::now());
        attached.port.unbind();
        self.close(slot)
    }

    /// Takes a slave's queues from the workers and has them closed. [`Self::reclaim`] follows.
    fn close(&mut self, slot: u8) -> Result<(), BondError> {
        let mut ports: Vec<SlavePort<XskRings>> = Vec::new();
        for worker in 0..self.workers.len() {
            if let Reply::Detached(port) = self.ask(worker, Command::Detach(slot))? {
                ports.extend(port);
            }
        }
        self.ask_fitter(slot, Job::Close(slot, ports))
    }

    /// The sockets of a slot are closed: takes its frames back.
    fn reclaim(&mut self, slot: u8) -> Result<(), BondError> {
        for worker in 0..self.workers.len() {
            let reply = self.ask(worker, Command::Reclaim(slot, own_umem(slot)))?;
            let Reply::Reclaimed(back, umem) = reply else { continue };
            tracing::debug!("worker {worker}: {} chunks back, {} frames lost", back.fill, back.tx);
            if let Some(umem) = umem {
                self.fitter.ask(Job::Unmap(umem))?;
            }
        }
        Ok(())
    }

    /// Has opened anew what [`Self::recycle`] closed, as soon as the kernel lets go of it. Until then such a slave
    /// stays down.
    pub(super) fn reopen_sockets(&mut self) -> Result<(), BondError> {
        for slot in self.slot_ids() {
            let Slot { unanswered: 0, attached: Some(attached), .. } = self.slot_mut(slot) else {
                continue;
            };
            match attached.sockets {
                Sockets::Open => continue,
                Sockets::Closed(_) => {}
                Sockets::ClosedWhileDown if !attached.admin_up => continue,
                Sockets::ClosedWhileDown => attached.sockets = Sockets::Closed(Instant::now()),
            }
            let binding = attached.port.binding();
            self.ask_fitter(slot, Job::Reopen(slot, binding))?;
        }
        Ok(())
    }

    fn reopened(
        &mut self,
        slot: u8,
        ifindex: u32,
        result: Result<(Bound, Vec<Share>), PortError>,
    ) -> Result<(), BondError> {
        let Slot { name, attached, .. } = self.slot_mut(slot);
        // It may have left meanwhile.
        let attached = attached.as_mut().filter(|attached| attached.port.ifindex == ifindex);
        match (attached, result) {
            (Some(attached), Ok((bound, shares))) => {
                attached.sockets = Sockets::Open;
                attached.port.rebind(bound);
                self.open_gates(slot, shares)
            }
            (None, Ok((_, shares))) => self.fitter.ask(Job::Discard(shares)),
            (Some(Attached { sockets: Sockets::Closed(since), .. }), Err(_))
                if since.elapsed() <= LET_GO =>
            {
                Ok(())
            }
            (Some(attached), Err(_)) if !attached.admin_up => {
                attached.sockets = Sockets::ClosedWhileDown;
                Ok(())
            }
            (Some(_), Err(error)) => {
                tracing::warn!("{name}: cannot open its sockets anew: {error}");
                self.expel(slot)
            }
            (None, Err(_)) => Ok(()),
        }
    }

    /// Gives a slave up for now: its netdev is put back as it was, and joins anew when that works.
    fn expel(&mut self, slot: u8) -> Result<(), BondError> {
        self.link_event(slot, LinkEvent::Gone(Source::Poll))?;
        self.leave(slot)?;
        self.slot_mut(slot).retry = Instant::now() + RETRY;
        Ok(())
    }

    /// Looks for slaves whose netdev is gone, and takes them in again when it is back by name: one after the other,
    /// so that no two links are touched at a time.
    pub(super) fn take_back_slaves(&mut self) -> Result<(), BondError> {
        for slot in self.slot_ids() {
            let Slot { name, queues_max, attached, retry, unanswered, .. } = self.slot(slot);
            let absent = attached.is_none() && *unanswered == 0 && Instant::now() >= *retry;
            if absent && !self.is_touching() {
                let netdev = Netdev::Absent { name: name.clone(), queues_max: *queues_max };
                self.fit(slot, netdev)?;
            }
        }
        Ok(())
    }

    /// A slave's driver is being touched, or its link has not come back from that.
    pub(super) fn is_touching(&self) -> bool {
        self.slots.iter().any(|slot| slot.fitting || slot.settling.is_some())
    }

    /// Ends the wait for the links of slaves that joined: they are there, or will not come soon.
    pub(super) fn settle(&mut self) {
        let Self { slots, links, .. } = self;
        for (slot, Slot { name, settling, .. }) in (0u8..).zip(slots) {
            let Some(since) = *settling else { continue };
            let waited = since.elapsed().as_millis();
            if links.carrier(slot).has_carrier() {
                tracing::info!("{name}: link back {waited} ms after its driver was touched");
            } else if since.elapsed() > SETTLE {
                tracing::warn!(
                    "{name}: its link is not back {waited} ms after its driver was touched"
                );
            } else {
                continue;
            }
            *settling = None;
        }
    }
}
