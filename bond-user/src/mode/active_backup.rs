//! Mode 1, active-backup: one slave is active, and only its frames are delivered.
//!
//! A flooding peer sends the same broadcast to every link, so the frames of a backup are copies.

use std::cmp::Reverse;
use std::fmt;

use bond_ebpf::layout::MAX_SLAVES;
use bond_ebpf::select::SlaveSet;

use super::Roles;

/// `active` may be going down: then it stays active, but frames are sent on slaves that are up only.
pub(super) fn roles(up: SlaveSet, active: Option<u8>) -> Roles {
    Roles { usable: up, receive: active.into_iter().collect(), active }
}

/// When a better slave takes over from an active one that is up (kernel: `primary_reselect`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrimaryReselect {
    /// Whenever it is up.
    #[default]
    Always,
    /// When it is faster, or as fast and full duplex against half.
    Better,
    /// Not before the active one fails.
    Failure,
}

impl fmt::Display for PrimaryReselect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Better => "better",
            Self::Failure => "failure",
        })
    }
}

/// How fast a link is. Orders as primary_reselect=better does; what is not known is the slowest (to the kernel, whose
/// SPEED_UNKNOWN is the largest number, the fastest).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkSpeed {
    /// Speed in Mb/s; 0: not known.
    pub mbps: u32,
    /// Full duplex, as far as is known.
    pub full_duplex: bool,
}

impl fmt::Display for LinkSpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { mbps: 0, .. } => f.write_str("an unknown speed"),
            Self { mbps, full_duplex: true } => write!(f, "{mbps} Mb/s, full duplex"),
            Self { mbps, full_duplex: false } => write!(f, "{mbps} Mb/s"),
        }
    }
}

/// Who is preferred, and how strongly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    primary: Option<u8>,
    /// The primary has not been up since it became the primary or a slave: next time it takes over, whatever
    /// `reselect` is (kernel: `force_primary`).
    force_primary: bool,
    reselect: PrimaryReselect,
    /// Higher is preferred, where the primary is not up.
    prio: [i32; MAX_SLAVES],
    speed: [LinkSpeed; MAX_SLAVES],
}

impl Choice {
    pub(super) const fn new(primary: Option<u8>) -> Self {
        Self {
            primary,
            force_primary: true,
            reselect: PrimaryReselect::Always,
            prio: [0; MAX_SLAVES],
            speed: [LinkSpeed { mbps: 0, full_duplex: false }; MAX_SLAVES],
        }
    }

    pub(super) const fn prefer(&mut self, reselect: PrimaryReselect, prio: [i32; MAX_SLAVES]) {
        self.reselect = reselect;
        self.prio = prio;
    }

    pub(super) const fn set_primary(&mut self, primary: Option<u8>) {
        self.primary = primary;
        self.force_primary = true;
    }

    /// The slave is no slave for now.
    pub(super) fn removed(&mut self, slot: u8) {
        self.set_speed(slot, LinkSpeed::default());
        if self.primary == Some(slot) {
            self.force_primary = true;
        }
    }

    pub(super) fn set_speed(&mut self, slot: u8, speed: LinkSpeed) {
        self.speed[usize::from(slot)] = speed;
    }

    /// The kernel's choice (`bond_choose_primary_or_current`, `bond_find_best_slave`, and when `bond_miimon_commit`
    /// asks for it). `active` is the slave that is active until now, `failing` are those that are going down, and
    /// `came_up` is the one that is up since this event.
    pub(super) fn choose(
        &mut self,
        up: SlaveSet,
        failing: SlaveSet,
        active: Option<u8>,
        came_up: Option<u8>,
    ) -> Option<u8> {
        if let Some(active) = active
            && failing.contains(active)
            && !came_up.is_some_and(|slot| self.outranks(slot, active))
        {
            return Some(active);
        }
        let current = active.filter(|slot| up.contains(*slot));
        let primary = self.primary.filter(|slot| up.contains(*slot));
        let forced = primary.is_some() && std::mem::take(&mut self.force_primary);
        let best = primary.or_else(|| self.highest(up, current))?;
        let keep = current.filter(|current| !forced && !self.takes_over(best, *current));
        keep.or(Some(best))
    }

    /// Whether the choice is made anew when `slot` comes up beside this active slave.
    fn outranks(&self, slot: u8, active: u8) -> bool {
        self.primary == Some(slot) || self.prio(slot) > self.prio(active)
    }

    /// The slave of the highest prio: of several the current one, else the first.
    fn highest(&self, up: SlaveSet, current: Option<u8>) -> Option<u8> {
        up.iter().max_by_key(|slot| (self.prio(*slot), current == Some(*slot), Reverse(*slot)))
    }

    /// Whether `best` becomes active while `current` is up.
    fn takes_over(&self, best: u8, current: u8) -> bool {
        match self.reselect {
            PrimaryReselect::Always => true,
            PrimaryReselect::Better => {
                self.speed[usize::from(best)] > self.speed[usize::from(current)]
            }
            PrimaryReselect::Failure => false,
        }
    }

    fn prio(&self, slot: u8) -> i32 {
        self.prio[usize::from(slot)]
    }
}

#[cfg(test)]
#[path = "active_backup_tests.rs"]
mod tests;
