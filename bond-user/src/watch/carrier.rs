//! The link monitor of one slave: its carrier, as told by link events and by polling, whichever is first, and the delays
//! until something is made of a change.
//!
//! Both sources are needed: the kernel may hold a link-down event back for up to a second (`linkwatch`'s
//! `linkwatch_nextevent`), and a poll sees only what is there when it looks.
//!
//! The states and rules are those of the kernel's miimon (`bond_miimon_inspect` and `bond_miimon_commit`,
//! drivers/net/bonding/bond_main.c). Its delays are counted in polls, and so rounded down to miimon; these end on time.

use std::fmt;
use std::time::Duration;

/// Where a piece of evidence comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A netlink link event.
    Event,
    /// A look at the carrier, every miimon.
    Poll,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "link event",
            Self::Poll => "carrier poll",
        })
    }
}

/// What a source says about the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whether there is a carrier.
    pub carrier: bool,
    /// Who says so.
    pub source: Source,
}

/// What moves a link monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Evidence, in the order in which it was had: events that are waiting come before a poll made after them.
    Carrier(Evidence),
    /// Time has passed: a delay may be over.
    Timer,
    /// There is no other slave: the updelay that runs ends now.
    Needed,
    /// The netdev is gone or given up, as this source tells. No delay helps against that.
    Gone(Source),
}

/// The state of a link (`BOND_LINK_*` in include/uapi/linux/if_bonding.h). Displays as the kernel's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Frames can be sent.
    Up,
    /// The carrier is lost, and downdelay runs.
    Fail,
    /// Frames cannot be sent.
    #[default]
    Down,
    /// The carrier is back, and updelay runs.
    Back,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Fail => "going down",
            Self::Down => "down",
            Self::Back => "going back",
        })
    }
}

/// How long a change of the carrier must last before something is made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the carrier to [`LinkState::Up`].
    pub updelay: Duration,
    /// From its loss to [`LinkState::Down`].
    pub downdelay: Duration,
}

/// A change of the carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whether there is one since then.
    pub carrier: bool,
    /// Who saw the change first.
    pub source: Source,
    /// When, on the clock of [`Carrier::step`].
    pub since: Duration,
}

/// The link monitor of one slave. It begins down.
#[derive(Clone, Debug, Default)]
pub struct Carrier {
    delays: Delays,
    state: LinkState,
    seen: Option<Seen>,
    link_failure_count: u32,
}

impl Carrier {
    /// A monitor that has seen nothing yet.
    pub fn new(delays: Delays) -> Self {
        Self { delays, ..Self::default() }
    }

    /// Takes an event in. `now` is the time since the bond's start. Gives the state if it is another than before.
    ///
    /// What is seen counts first, and then the time: a carrier that is seen again when downdelay has just run out is no
    /// failure, as in the kernel.
    pub fn step(&mut self, event: LinkEvent, now: Duration) -> Option<LinkState> {
        let before = self.state;
        match event {
            LinkEvent::Carrier(evidence) => self.notice(evidence, now),
            LinkEvent::Gone(source) => {
                self.notice(Evidence { carrier: false, source }, now);
                self.state = LinkState::Down;
            }
            LinkEvent::Needed if self.state == LinkState::Back => self.state = LinkState::Up,
            LinkEvent::Needed | LinkEvent::Timer => {}
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.state =
                if self.state == LinkState::Fail { LinkState::Down } else { LinkState::Up };
        }
        if self.state == before {
            return None;
        }
        if self.state == LinkState::Down {
            self.link_failure_count = self.link_failure_count.saturating_add(1);
        }
        Some(self.state)
    }

    fn notice(&mut self, Evidence { carrier, source }: Evidence, now: Duration) {
        if carrier == self.has_carrier() {
            return;
        }
        self.seen = Some(Seen { carrier, source, since: now });
        self.state = match (self.state, carrier) {
            (LinkState::Up, false) => LinkState::Fail,
            (LinkState::Fail, true) => LinkState::Up,
            (LinkState::Down, true) => LinkState::Back,
            (LinkState::Back, false) => LinkState::Down,
            (state, _) => state,
        };
    }

    /// The state of the link.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Whether there is a carrier, by the last evidence.
    pub fn has_carrier(&self) -> bool {
        self.seen.is_some_and(|seen| seen.carrier)
    }

    /// The last change of the carrier; `None` until there is one.
    pub fn seen(&self) -> Option<Seen> {
        self.seen
    }

    /// When the delay that runs is over, on the clock of [`step`](Self::step): time for a [`LinkEvent::Timer`].
    pub fn deadline(&self) -> Option<Duration> {
        // A delay begins with a change of the carrier, and another change ends it.
        let since = self.seen?.since;
        match self.state {
            LinkState::Fail => Some(since + self.delays.downdelay),
            LinkState::Back => Some(since + self.delays.updelay),
            LinkState::Up | LinkState::Down => None,
        }
    }

    /// How often the link has become [`LinkState::Down`] (kernel: `link_failure_count`). A loss that downdelay bridges
    /// does not count, one during updelay does.
    pub fn link_failure_count(&self) -> u32 {
        self.link_failure_count
    }

    /// Why the state is what it is, for people: "no carrier for 0.3 s, seen by link event, going down in 1.2 s".
    pub fn evidence(&self, now: Duration) -> String {
        let Some(Seen { carrier, source, since }) = self.seen else {
            return "no carrier yet".into();
        };
        let what = if carrier { "carrier" } else { "no carrier" };
        let held = now.saturating_sub(since).as_secs_f64();
        let text = format!("{what} for {held:.1} s, seen by {source}");
        let Some(deadline) = self.deadline() else { return text };
        let next = if carrier { "up" } else { "down" };
        format!("{text}, going {next} in {:.1} s", deadline.saturating_sub(now).as_secs_f64())
    }
}

#[cfg(test)]
#[path = "carrier_tests.rs"]
mod tests;
