//! The state machine of the control thread: link events in, snapshots out.

use bond_ebpf::hash::HashPolicy;
use bond_ebpf::layout::MAX_SLAVES;
use bond_ebpf::select::{SlaveSet, Weights};

use super::active_backup::Choice;
use super::{LinkSpeed, Mode, PrimaryReselect, Roles, active_backup, all_slaves};
use crate::snapshot::Snapshot;

/// What the control thread has learnt. Slots are below [`bond_ebpf::layout::MAX_SLAVES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The slave in this slot can carry frames.
    LinkUp(u8),
    /// The slave in this slot has lost its carrier and is going down: its downdelay runs.
    LinkFail(u8),
    /// The slave in this slot cannot carry frames any more.
    LinkDown(u8),
    /// The netdev of the slave in this slot is gone. Its slot stays its own, so that a primary that
    /// comes back by name is the primary again.
    Removed(u8),
    /// The slot of the slave to prefer, if any. Modes without an active slave ignore it.
    Primary(Option<u8>),
    /// How fast the link of the slave in this slot is. It is not known from when the link is down until this tells.
    Speed(u8, LinkSpeed),
}

/// What an event leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the data path is to do from now on.
    pub snapshot: Snapshot,
    /// Set when another slave than before is active: time to tell the neighbours.
    pub active_changed: Option<ActiveChange>,
}

impl Decision {
    /// The one decision that this and the `next` make.
    pub(super) fn then(self, next: Self) -> Self {
        let active_changed = match (self.active_changed, next.active_changed) {
            (Some(ActiveChange { from, .. }), Some(ActiveChange { to, .. })) => {
                (from != to).then_some(ActiveChange { from, to })
            }
            (first, second) => first.or(second),
        };
        Self { active_changed, ..next }
    }
}

/// A change of the active slave: `from` and `to` differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveChange {
    /// Slot that was active.
    pub from: Option<u8>,
    /// Slot that is active now.
    pub to: Option<u8>,
}

/// The policy of one bond. A slave whose link was never up is down.
#[derive(Clone, Debug)]
pub struct Policy {
    mode: Mode,
    packets_per_slave: u16,
    xmit_hash_policy: HashPolicy,
    weights: Weights,
    all_slaves_active: bool,
    choice: Choice,
    up: SlaveSet,
    failing: SlaveSet,
    active: Option<u8>,
}

impl Policy {
    /// A policy with every slave down. `packets_per_slave` is for balance-rr, `primary` (a slot) for
    /// active-backup; the other modes ignore them.
    pub const fn new(mode: Mode, packets_per_slave: u16, primary: Option<u8>) -> Self {
        Self {
            mode,
            packets_per_slave,
            xmit_hash_policy: HashPolicy::Layer2,
            weights: Weights::EVEN,
            all_slaves_active: false,
            choice: Choice::new(primary),
            up: SlaveSet::EMPTY,
            failing: SlaveSet::EMPTY,
            active: None,
        }
    }

    /// The same with another hash for balance-xor, and shares of the slaves in it and in balance-rr; the other modes ignore
    /// them.
    pub const fn spreading(self, xmit_hash_policy: HashPolicy, weights: Weights) -> Self {
        Self { xmit_hash_policy, weights, ..self }
    }

    /// The same with the frames of backups delivered too, or not; the other modes have no backups.
    pub const fn hearing_all(self, all_slaves_active: bool) -> Self {
        Self { all_slaves_active, ..self }
    }

    /// With another `primary_reselect` than always, and slaves that are preferred, by slot; for active-backup.
    #[must_use]
    pub const fn prefer(mut self, reselect: PrimaryReselect, prio: [i32; MAX_SLAVES]) -> Self {
        self.choice.prefer(reselect, prio);
        self
    }

    /// Takes an event in. An event that says nothing new changes nothing.
    ///
    /// # Panics
    /// If a slot is not below [`MAX_SLAVES`].
    pub fn step(&mut self, event: Event) -> Decision {
        let came_up = self.learn(event);
        let from = self.active;
        if self.mode == Mode::ActiveBackup {
            self.active = self.choice.choose(self.up, self.failing, from, came_up);
        }
        let to = self.active;
        let active_changed = (from != to).then_some(ActiveChange { from, to });
        Decision { snapshot: self.snapshot(), active_changed }
    }

    /// Notes what an event says. Gives the slave that may take over even from one that is only going down.
    fn learn(&mut self, event: Event) -> Option<u8> {
        match event {
            Event::LinkUp(slot) => {
                let news = !self.up.contains(slot);
                self.up.insert(slot);
                self.failing.remove(slot);
                return news.then_some(slot);
            }
            Event::LinkFail(slot) if self.up.contains(slot) => {
                self.up.remove(slot);
                self.failing.insert(slot);
            }
            Event::LinkFail(_) => {}
            Event::LinkDown(slot) => {
                self.lose(slot);
                self.choice.set_speed(slot, LinkSpeed::default());
            }
            Event::Removed(slot) => {
                self.lose(slot);
                self.choice.removed(slot);
            }
            Event::Primary(primary) => {
                self.choice.set_primary(primary);
                return primary.filter(|slot| self.up.contains(*slot));
            }
            Event::Speed(slot, speed) if self.up.contains(slot) || self.failing.contains(slot) => {
                self.choice.set_speed(slot, speed);
            }
            Event::Speed(..) => {}
        }
        None
    }

    fn lose(&mut self, slot: u8) {
        self.up.remove(slot);
        self.failing.remove(slot);
    }

    /// No slave is up, and none is active: who comes next is welcome at once.
    pub(super) fn is_stranded(&self) -> bool {
        self.up.is_empty() && self.active.is_none()
    }

    /// What the data path is to do now.
    pub fn snapshot(&self) -> Snapshot {
        let Roles { usable, mut receive, active } = match self.mode {
            Mode::BalanceRr | Mode::BalanceXor | Mode::Broadcast => all_slaves::roles(self.up),
            Mode::ActiveBackup => active_backup::roles(self.up, self.active),
        };
        if self.all_slaves_active {
            receive = SlaveSet::from_bits(u16::MAX);
        }
        Snapshot {
            mode: self.mode,
            usable,
            receive,
            active,
            packets_per_slave: self.packets_per_slave,
            xmit_hash_policy: self.xmit_hash_policy,
            weights: self.weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use Event::{LinkDown, LinkFail, LinkUp, Primary, Removed, Speed};
    use proptest::prelude::*;

    use super::*;

    fn set(slots: &[u8]) -> SlaveSet {
        slots.iter().copied().collect()
    }

    /// Steps through `rows` of event, up slaves after it, and active slave after it.
    fn active_backup(primary: Option<u8>, rows: &[(Event, &[u8], Option<u8>)]) {
        let mut policy = Policy::new(Mode::ActiveBackup, 1, primary);
        let mut from = None;
        for &(event, up, to) in rows {
            let expected = Decision {
                snapshot: Snapshot {
                    mode: Mode::ActiveBackup,
                    usable: set(up),
                    receive: to.into_iter().collect(),
                    active: to,
                    packets_per_slave: 1,
                    xmit_hash_policy: HashPolicy::Layer2,
                    weights: Weights::EVEN,
                },
                active_changed: (from != to).then_some(ActiveChange { from, to }),
            };
            assert_eq!(policy.step(event), expected, "{event:?}");
            from = to;
        }
    }

    #[test]
    fn without_a_primary_the_active_slave_stays() {
        active_backup(
            None,
            &[
                (LinkDown(0), &[], None),
                (LinkUp(1), &[1], Some(1)),
                (LinkUp(0), &[0, 1], Some(1)),
                (LinkUp(2), &[0, 1, 2], Some(1)),
                (LinkDown(2), &[0, 1], Some(1)),
                (LinkUp(2), &[0, 1, 2], Some(1)),
                (LinkDown(1), &[0, 2], Some(0)),
                (LinkUp(1), &[0, 1, 2], Some(0)),
                (Removed(0), &[1, 2], Some(1)),
                (Removed(1), &[2], Some(2)),
                (LinkDown(2), &[], None),
                (LinkUp(15), &[15], Some(15)),
            ],
        );
    }

    #[test]
    fn the_primary_takes_over_whenever_it_is_up() {
        active_backup(
            Some(2),
            &[
                (LinkUp(0), &[0], Some(0)),
                (LinkUp(1), &[0, 1], Some(0)),
                (LinkUp(2), &[0, 1, 2], Some(2)),
                (LinkDown(2), &[0, 1], Some(0)),
                (LinkDown(0), &[1], Some(1)),
                (LinkUp(0), &[0, 1], Some(1)),
                (LinkUp(2), &[0, 1, 2], Some(2)),
                (Removed(2), &[0, 1], Some(0)),
                (LinkUp(2), &[0, 1, 2], Some(2)),
                (Primary(None), &[0, 1, 2], Some(2)),
                (Primary(Some(1)), &[0, 1, 2], Some(1)),
                (Primary(Some(9)), &[0, 1, 2], Some(1)),
            ],
        );
    }

    #[test]
    fn the_others_send_on_every_slave_that_is_up_and_hear_all() {
        for mode in [Mode::BalanceRr, Mode::BalanceXor, Mode::Broadcast] {
            let mut policy = Policy::new(mode, 3, Some(1))
                .spreading(HashPolicy::Layer34, Weights::from_bytes([5; 16]));
            let rows: [(Event, &[u8]); 6] = [
                (LinkUp(1), &[1]),
                (LinkUp(0), &[0, 1]),
                (Primary(Some(0)), &[0, 1]),
                (LinkDown(1), &[0]),
                (Removed(0), &[]),
                (LinkUp(1), &[1]),
            ];
            for (event, up) in rows {
                let expected = Decision {
                    snapshot: Snapshot {
                        mode,
                        usable: set(up),
                        receive: EVERY_SLAVE,
                        active: None,
                        packets_per_slave: 3,
                        xmit_hash_policy: HashPolicy::Layer34,
                        weights: Weights::from_bytes([5; 16]),
                    },
                    active_changed: None,
                };
                assert_eq!(policy.step(event), expected, "{mode}: {event:?}");
            }
        }
    }

    #[test]
    fn backups_are_heard_if_all_slaves_shall_be() {
        let mut policy = Policy::new(Mode::ActiveBackup, 1, None).hearing_all(true);
        for event in [LinkUp(1), LinkUp(0), LinkDown(1), LinkDown(0)] {
            assert_eq!(policy.step(event).snapshot.receive, EVERY_SLAVE, "{event:?}");
        }
    }

    const EVERY_SLAVE: SlaveSet = SlaveSet::from_bits(u16::MAX);

    fn event() -> impl Strategy<Value = Event> {
        let slot = || prop_oneof![0..4u8, 0..16u8];
        prop_oneof![
            4 => slot().prop_map(LinkUp),
            4 => slot().prop_map(LinkDown),
            1 => slot().prop_map(Removed),
            1 => prop::option::of(slot()).prop_map(Primary),
        ]
    }

    proptest! {
        #![proptest_config(crate::testing::property_tests())]

        #[test]
        fn invariants_hold_after_every_event(
            mode in prop::sample::select(&Mode::ALL[..]),
            mut primary in prop::option::of(0..4u8),
            events in prop::collection::vec(event(), 0..60),
        ) {
            let mut policy = Policy::new(mode, 7, primary);
            let mut up = [false; 16];
            let mut before = policy.snapshot();
            prop_assert!(before.usable.is_empty());
            let delivered =
                if mode.has_active_slave() { SlaveSet::EMPTY } else { EVERY_SLAVE };
            prop_assert_eq!(before.receive, delivered);
            prop_assert_eq!(before.active, None);
            for event in events {
                match event {
                    LinkUp(slot) => up[usize::from(slot)] = true,
                    LinkDown(slot) | Removed(slot) => up[usize::from(slot)] = false,
                    Primary(slot) => primary = slot,
                    LinkFail(_) | Speed(..) => {}
                }
                let mut twin = policy.clone();
                let Decision { snapshot: now, active_changed } = policy.step(event);

                let usable: SlaveSet = (0..16).filter(|slot| up[usize::from(*slot)]).collect();
                prop_assert_eq!((now.mode, now.packets_per_slave, now.usable), (mode, 7, usable));
                match mode {
                    Mode::BalanceRr | Mode::BalanceXor | Mode::Broadcast => {
                        prop_assert_eq!((now.receive, now.active), (EVERY_SLAVE, None));
                    }
                    Mode::ActiveBackup => {
                        prop_assert_eq!(now.active.is_some(), !usable.is_empty());
                        prop_assert!(now.active.is_none_or(|active| usable.contains(active)));
                        prop_assert_eq!(now.receive, now.active.into_iter().collect());
                        let primary = primary.filter(|primary| usable.contains(*primary));
                        let kept = before.active.filter(|active| usable.contains(*active));
                        prop_assert!(primary.or(kept).is_none_or(|slot| now.active == Some(slot)));
                    }
                }
                let change = ActiveChange { from: before.active, to: now.active };
                prop_assert_eq!(active_changed, (change.from != change.to).then_some(change));

                prop_assert_eq!(twin.step(event), Decision { snapshot: now, active_changed });
                prop_assert_eq!(policy.snapshot(), now);
                let again = Decision { snapshot: now, active_changed: None };
                prop_assert_eq!(policy.step(event), again);
                before = now;
            }
        }
    }
}
