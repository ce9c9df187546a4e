//! What is seen of the slaves' links, and what is done about it.

use std::time::Instant;

use super::BondError;
use super::bond::Bond;
use super::failover::reason;
use super::slot::Sockets;
use crate::config::BondConfig;
use crate::mode::{Links, Needed, News, Policy};
use crate::netlink::Link;
use crate::watch::{Delays, Doubt, Evidence, LinkEvent, LinkState, Source};

/// The links of a bond's slaves, all down, with the delays and preferences of its configuration.
pub(super) fn configured(config: &BondConfig, policy: Policy) -> Links {
    let BondConfig { slaves, primary_reselect, updelay, downdelay, .. } = config;
    let policy = policy.prefer(primary_reselect.unwrap_or_default(), config.prios());
    Links::new(policy, slaves.len(), Delays { updelay: *updelay, downdelay: *downdelay })
}

impl Bond {
    /// Looks at every carrier: the kernel may hold an event back for a second.
    pub(super) fn poll_carriers(&mut self) -> Result<(), BondError> {
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
    pub(super) fn follow_doubt(&mut self) -> Result<(), BondError> {
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

    /// Ends the updelays and downdelays that are over, unless a last look shows that they were for nothing.
    pub(super) fn end_delays(&mut self) -> Result<(), BondError> {
        if self.links.deadline().is_none_or(|end| end > self.started.elapsed()) {
            return Ok(());
        }
        self.poll_carriers()?;
        while let Some(slot) = self.links.due(self.started.elapsed()) {
            self.link_event(slot, LinkEvent::Timer)?;
        }
        Ok(())
    }

    /// What the kernel tells of a slave.
    pub(super) fn heard(&mut self, slot: u8, link: &Link, source: Source) -> Result<(), BondError> {
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
            self.link_event(slot, LinkEvent::Gone(Source::Event))?;
            self.leave(slot)?;
        }
        Ok(())
    }

    /// A netdev that is no slave appeared or changed: it may be one that was gone, or that is being opened. One that was
    /// refused has its time.
    pub(super) fn appeared(&mut self, link: &Link) {
        self.uppers.learn(link);
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
        let attached = self.slot(slot).attached.as_ref();
        let open = attached.is_some_and(|attached| attached.sockets == Sockets::Open);
        if carrier && !open {
            return Ok(()); // Without sockets it cannot be used: the next poll looks again.
        }
        let lost = self.links.carrier(slot).state() == LinkState::Up && !carrier;
        self.link_event(slot, LinkEvent::Carrier(Evidence { carrier, source }))?;
        // By now no frame goes this way.
        if lost { self.recycle(slot) } else { Ok(()) }
    }

    /// Something happened to a slave's link, or is over.
    pub(super) fn link_event(&mut self, slot: u8, event: LinkEvent) -> Result<(), BondError> {
        let (seen, now) = (Instant::now(), self.started.elapsed());
        let Some(news) = self.links.step(slot, event, now) else { return Ok(()) };
        self.log(slot, &news);
        let reason = reason(&self.slot(slot).name, self.links.carrier(slot), now);
        self.carry_out(&news.decision, reason, seen)?;
        let changed = matches!(news.state, LinkState::Up | LinkState::Down).then_some(slot);
        let needed = news.needed.map(|needed| needed.slot);
        changed.into_iter().chain(needed).try_for_each(|slot| self.ask_link_mode(slot))
    }

    fn log(&self, slot: u8, News { state, needed, .. }: &News) {
        let name = &self.slot(slot).name;
        let (up, down) = (self.config.updelay.as_millis(), self.config.downdelay.as_millis());
        match state {
            LinkState::Up | LinkState::Down => tracing::info!("{name}: link {state}"),
            LinkState::Fail => tracing::info!("{name}: link {state} in {down} ms"),
            LinkState::Back => tracing::info!("{name}: link {state}, up in {up} ms"),
        }
        if let Some(Needed { slot, left }) = needed {
            let (name, left) = (&self.slot(*slot).name, left.as_millis());
            tracing::info!("{name}: link up {left} ms early, because there is no other");
        }
    }
}
