//! A running bond, and what makes it change.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::failover::reason;
use super::fitter::Fitter;
use super::ipc::Ipc;
use super::signals::Signals;
use super::slot::{Slot, Sockets};
use super::{BondError, view};
use crate::config::BondConfig;
use crate::egress::{Host, Moderation};
use crate::mode::{self, Policy};
use crate::netlink::{Event, Events, Link, Mac, Netlink};
use crate::poller::{Alarm, Worker};
use crate::port::RunLock;
use crate::snapshot::{Snapshot, SnapshotCell};
use crate::state::Failovers;
use crate::watch::{Doubt, Evidence, Source};
use crate::xsk::XskRings;

/// How often to look while a slave is awaited or its sockets are to be opened anew, if miimon is longer.
const WAITING: Duration = Duration::from_millis(10);

/// Everything of a running bond. The control thread owns it; workers see the snapshot only.
#[derive(Debug)]
pub(super) struct Bond {
    pub(super) config: BondConfig,
    pub(super) mac: Mac,
    pub(super) mtu: u32,
    pub(super) nl: Netlink,
    pub(super) events: Events,
    pub(super) ipc: Ipc,
    /// The bond's name is ours.
    pub(super) claim: RunLock,
    /// Opens and closes slaves.
    pub(super) fitter: Fitter,
    pub(super) host: Host,
    pub(super) workers: Vec<Worker<XskRings>>,
    pub(super) slots: Vec<Slot>,
    pub(super) policy: Policy,
    pub(super) snapshot: Snapshot,
    pub(super) published: Arc<SnapshotCell>,
    pub(super) failovers: Failovers,
    pub(super) started: Instant,
    /// When all is looked after at the latest.
    pub(super) next_poll: Instant,
    /// Raised by workers whose slave refuses frames.
    pub(super) alarm: Arc<Alarm>,
    pub(super) doubt: Doubt,
    /// `None` where frames for the host cannot be made to gather.
    pub(super) moderation: Option<Moderation>,
    /// Not every slave has joined for the first time.
    pub(super) starting: bool,
}

impl Bond {
    /// Follows events until a stop is asked for, or something ends the bond.
    pub(super) fn serve(&mut self, signals: &Signals) -> Result<(), BondError> {
        while !signals.stop_asked() {
            self.turn(signals)?;
        }
        tracing::info!("stopping {}", self.config.name);
        Ok(())
    }

    /// Looks after everything once, waits for something to happen, and answers who asks.
    pub(super) fn turn(&mut self, signals: &Signals) -> Result<(), BondError> {
        if Instant::now() >= self.next_poll {
            self.check_workers()?;
            // Waiting events first: one that is older than the poll must not overrule it.
            self.read_events()?;
            self.reopen_sockets()?;
            self.poll_carriers()?;
            self.settle();
            self.moderate()?;
            if !self.starting {
                self.take_back_slaves()?;
            }
            self.next_poll = Instant::now() + self.pace();
        }
        self.wait(signals)?;
        self.hear_fitter()?;
        self.read_events()?;
        self.follow_doubt()?;
        self.ipc.answer(|| view::state(self));
        Ok(())
    }

    /// How soon to look after everything again: miimon, unless a slave waits for something.
    fn pace(&self) -> Duration {
        let waits = |slot: &Slot| {
            let open = slot.attached.as_ref().is_some_and(|a| a.sockets == Sockets::Open);
            !open || slot.settling.is_some()
        };
        let longest = if self.slots.iter().any(waits) { WAITING } else { Duration::MAX };
        self.config.miimon.min(longest)
    }

    /// The slave in a slot.
    pub(super) fn slot(&self, slot: u8) -> &Slot {
        &self.slots[usize::from(slot)]
    }

    pub(super) fn slot_mut(&mut self, slot: u8) -> &mut Slot {
        &mut self.slots[usize::from(slot)]
    }

    /// All slots; there are `MAX_SLAVES` at most.
    pub(super) fn slot_ids(&self) -> impl Iterator<Item = u8> + use<> {
        (0u8..).take(self.slots.len())
    }

    fn slot_of(&self, ifindex: u32) -> Option<u8> {
        self.slot_ids().find(|slot| self.slot(*slot).ifindex() == Some(ifindex))
    }

    fn wait(&self, signals: &Signals) -> Result<(), BondError> {
        let left = self.next_poll.saturating_duration_since(Instant::now());
        let left = left.min(self.doubt.pace().unwrap_or(Duration::MAX));
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let Self { events, fitter, ipc, alarm, .. } = self;
        let fds = [events.as_fd(), fitter.as_fd(), ipc.as_fd(), alarm.as_fd(), signals.as_fd()];
        let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(BondError::io("cannot wait for events")(errno.into())),
        }
    }

    fn check_workers(&mut self) -> Result<(), BondError> {
        let Some(ended) = self.workers.iter().position(Worker::is_finished) else { return Ok(()) };
        let source = match self.workers.remove(ended).stop() {
            Err(error) => error,
            Ok(()) => std::io::Error::other("it stopped by itself"),
        };
        Err(BondError::Worker { worker: ended, source })
    }

    pub(super) fn read_events(&mut self) -> Result<(), BondError> {
        let mut events = Vec::new();
        let mut lost = false;
        self.events
            .read(|event| events.push(event))
            .map_err(BondError::io("cannot read link events"))?;
        for event in events {
            match event {
                Event::Link(link) if link.index == self.host.ifindex => self.adopt_mac(link.mac),
                Event::Link(link) => match self.slot_of(link.index) {
                    Some(slot) => self.heard(slot, &link, Source::Event)?,
                    None => self.appeared(&link),
                },
                Event::Removed { index, .. } => self.removed(index)?,
                Event::Overrun => lost = true,
            }
        }
        // Last: what is polled is newer than all that was queued.
        if lost { self.ask_again() } else { Ok(()) }
    }

    /// Looks at every carrier: the kernel may hold an event back for a second.
    fn poll_carriers(&mut self) -> Result<(), BondError> {
        for slot in self.slot_ids() {
            let Self { slots, nl, .. } = self;
            let Some(attached) = &slots[usize::from(slot)].attached else { continue };
            let ifindex = attached.port.ifindex;
            match attached.poll_carrier(nl)? {
                Some(carrier) => self.look(slot, carrier, Source::Poll)?,
                None => self.removed(ifindex)?,
            }
        }
        Ok(())
    }

    /// Looks at the carriers closely while workers have reason to doubt one.
    fn follow_doubt(&mut self) -> Result<(), BondError> {
        let mut ends = self.doubt != Doubt::Calm;
        if self.doubt.step(self.alarm.is_raised(), self.started.elapsed()) {
            let usable = self.snapshot.usable;
            self.poll_carriers()?;
            if self.snapshot.usable != usable {
                self.doubt.confirm();
                ends = true;
            }
        }
        if ends && self.doubt == Doubt::Calm {
            self.alarm.listen();
        }
        Ok(())
    }

    /// Events were lost, and with them perhaps that a slave was set up or down: asks the kernel.
    fn ask_again(&mut self) -> Result<(), BondError> {
        for slot in self.slot_ids() {
            let Some(ifindex) = self.slot(slot).ifindex() else { continue };
            match self.nl.link_by_index(ifindex)? {
                Some(link) => self.heard(slot, &link, Source::Poll)?,
                None => self.removed(ifindex)?,
            }
        }
        Ok(())
    }

    /// What the kernel tells of a slave.
    fn heard(&mut self, slot: u8, link: &Link, source: Source) -> Result<(), BondError> {
        let Some(attached) = &mut self.slot_mut(slot).attached else { return Ok(()) };
        let set_down = attached.admin_up && !link.up;
        let carrier = attached.learn(link);
        self.look(slot, carrier, source)?;
        // Also when the poll had seen the carrier go before.
        if set_down { self.recycle(slot) } else { Ok(()) }
    }

    pub(super) fn removed(&mut self, ifindex: u32) -> Result<(), BondError> {
        if ifindex == self.host.ifindex {
            return Err(BondError::Deleted(self.config.name.clone()));
        }
        if let Some(slot) = self.slot_of(ifindex) {
            tracing::warn!("{} is gone", self.slot(slot).name);
            self.evidence(slot, false, Source::Event)?;
            self.leave(slot)?;
        }
        Ok(())
    }

    /// A netdev that is no slave appeared or changed: it may be one that was gone, or that is being opened. One that was
    /// refused has its time.
    fn appeared(&mut self, link: &Link) {
        let mut absent = self.slots.iter_mut().filter(|slot| slot.attached.is_none());
        let Some(slot) = absent.find(|slot| slot.name == link.name) else { return };
        slot.admin_up = link.up;
        if slot.refused.is_none() {
            slot.retry = Instant::now();
        }
    }

    /// One look at the carrier of a slave that is there.
    pub(super) fn look(
        &mut self,
        slot: u8,
        carrier: bool,
        source: Source,
    ) -> Result<(), BondError> {
        let state = self.slot(slot);
        let open = state.attached.as_ref().is_some_and(|a| a.sockets == Sockets::Open);
        if carrier && !open {
            return Ok(()); // Without sockets it cannot be used: the next poll looks again.
        }
        let was_up = state.carrier.up();
        self.evidence(slot, carrier, source)?;
        // By now frames go another way.
        if was_up && !carrier {
            self.recycle(slot)?;
        }
        let changed = self.slot(slot).carrier.up() != was_up;
        if changed { self.ask_link_mode(slot) } else { Ok(()) }
    }

    /// What is known of a slave's carrier, from wherever.
    pub(super) fn evidence(
        &mut self,
        slot: u8,
        carrier: bool,
        source: Source,
    ) -> Result<(), BondError> {
        let seen = Instant::now();
        let evidence = Evidence { carrier, source };
        let now = self.started.elapsed();
        let Some(verdict) = self.slot_mut(slot).carrier.step(evidence, now) else {
            return Ok(());
        };
        let name = self.slot(slot).name.clone();
        tracing::info!("{name}: link {}", if verdict.up { "up" } else { "down" });
        let event =
            if verdict.up { mode::Event::LinkUp(slot) } else { mode::Event::LinkDown(slot) };
        let decision = self.policy.step(event);
        let reason = reason(&name, &verdict);
        self.carry_out(&decision, reason, seen)
    }

    /// The host gave bond0 another MAC: the slaves follow (`bond_set_mac_address`), and the neighbours are told.
    fn adopt_mac(&mut self, mac: Mac) {
        if mac == self.mac {
            return;
        }
        tracing::info!("{} has MAC {mac} now: so have its slaves", self.config.name);
        self.mac = mac;
        self.slot_ids().for_each(|slot| self.give_mac(slot));
        if let Some(active) = self.snapshot.active {
            self.announce(active);
        }
    }

    /// Gives a slave bond0's MAC, or lets it receive all frames where that is refused.
    pub(super) fn give_mac(&mut self, slot: u8) {
        let Self { slots, nl, mac, .. } = self;
        let attached = &mut slots[usize::from(slot)].attached;
        let Some(attached) = attached.as_mut().filter(|a| a.mac != *mac && !a.promisc) else {
            return;
        };
        match nl.set_mac(attached.port.ifindex, *mac) {
            Ok(()) => attached.mac = *mac,
            Err(error) => {
                attached.promisc = attached.packet.promiscuous().is_ok();
                tracing::warn!("{error}; promiscuous mode instead: {}", attached.promisc);
            }
        }
    }
}
