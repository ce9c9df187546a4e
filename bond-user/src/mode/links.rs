//! From what the monitors of the slaves say to decisions: the links of a bond and its policy, moved together.

use std::time::Duration;

use super::{Decision, Event, LinkSpeed, Policy};
use crate::snapshot::Snapshot;
use crate::watch::{Carrier, Delays, LinkEvent, LinkState};

/// The link monitor of every slave, by slot, and the policy that follows them.
#[derive(Clone, Debug)]
pub struct Links {
    carriers: Vec<Carrier>,
    policy: Policy,
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// The state that the slave has come to, before it was perhaps needed.
    pub state: LinkState,
    /// A slave that is up before its updelay is over, because the bond has no other.
    pub needed: Option<Needed>,
    /// What follows from all of it.
    pub decision: Decision,
}

/// A slave whose updelay ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its slot.
    pub slot: u8,
    /// What was left of its updelay.
    pub left: Duration,
}

impl Links {
    /// The links of `slaves` slaves that are all down.
    pub fn new(policy: Policy, slaves: usize, delays: Delays) -> Self {
        Self { carriers: vec![Carrier::new(delays); slaves], policy }
    }

    /// The monitor of a slave.
    pub fn carrier(&self, slot: u8) -> &Carrier {
        &self.carriers[usize::from(slot)]
    }

    /// What the data path is to do now.
    pub fn snapshot(&self) -> Snapshot {
        self.policy.snapshot()
    }

    /// Takes an event of the slave in `slot` in; `now` is the time since the bond's start. Gives what came of it, if its
    /// state is another than before.
    pub fn step(&mut self, slot: u8, event: LinkEvent, now: Duration) -> Option<News> {
        let state = self.carriers[usize::from(slot)].step(event, now)?;
        let decision = self.policy.step(match state {
            LinkState::Up => Event::LinkUp(slot),
            LinkState::Fail => Event::LinkFail(slot),
            // Updelay keeps it down.
            LinkState::Down | LinkState::Back => Event::LinkDown(slot),
        });
        Some(match self.needed(now) {
            None => News { state, needed: None, decision },
            Some(needed) => {
                self.carriers[usize::from(needed.slot)].step(LinkEvent::Needed, now);
                let decision = decision.then(self.policy.step(Event::LinkUp(needed.slot)));
                News { state, needed: Some(needed), decision }
            }
        })
    }

    /// The slave that cannot wait for the end of its updelay: nothing else can be sent on, and it is the next. In the
    /// kernel that is so when there is no active slave (`ignore_updelay`), or when the active one goes
    /// (`bond_find_best_slave`); in modes without one, only in those that hash.
    fn needed(&self, now: Duration) -> Option<Needed> {
        if !self.policy.is_stranded() {
            return None;
        }
        let (deadline, slot) = self.delayed(LinkState::Back).min()?;
        Some(Needed { slot, left: deadline.saturating_sub(now) })
    }

    /// Slaves in `state`, with the end of their delay.
    fn delayed(&self, state: LinkState) -> impl Iterator<Item = (Duration, u8)> {
        let slots = (0u8..).zip(&self.carriers);
        slots
            .filter(move |(_, carrier)| carrier.state() == state)
            .filter_map(|(slot, carrier)| Some((carrier.deadline()?, slot)))
    }

    /// When the first delay is over.
    pub fn deadline(&self) -> Option<Duration> {
        self.carriers.iter().filter_map(Carrier::deadline).min()
    }

    /// A slave whose delay is over by `now`: it is waiting for a [`LinkEvent::Timer`]. Those that come up are first, so
    /// that they are there when others go.
    pub fn due(&self, now: Duration) -> Option<u8> {
        let mut all = self.delayed(LinkState::Back).chain(self.delayed(LinkState::Fail));
        all.find(|(deadline, _)| *deadline <= now).map(|(_, slot)| slot)
    }

    /// The netdev of a slave is gone; its link was told so before.
    pub fn removed(&mut self, slot: u8) -> Decision {
        self.policy.step(Event::Removed(slot))
    }

    /// How fast a slave's link is.
    pub fn speed(&mut self, slot: u8, speed: LinkSpeed) -> Decision {
        self.policy.step(Event::Speed(slot, speed))
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
