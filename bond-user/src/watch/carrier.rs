//! The carrier of one slave, as told by link events and by polling, whichever is first.
//!
//! Both are needed: the kernel may hold a link-down event back for up to a second (`linkwatch`'s
//! `linkwatch_nextevent`), and a poll sees only what is there when it looks.

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

/// A change of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether frames can be sent from now on.
    pub up: bool,
    /// The source that saw it first.
    pub source: Source,
    /// When it was seen, on the clock of [`Carrier::step`].
    pub since: Duration,
}

/// The link monitor of one slave. It begins down.
#[derive(Clone, Debug, Default)]
pub struct Carrier {
    last_change: Option<Verdict>,
    link_failure_count: u32,
}

impl Carrier {
    /// A monitor that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes evidence in, in the order in which it was had: events that are waiting come before a
    /// poll made after them. `now` is the time since the bond's start. Gives the verdict if it is
    /// another than before.
    pub fn step(&mut self, evidence: Evidence, now: Duration) -> Option<Verdict> {
        if evidence.carrier == self.up() {
            return None;
        }
        if !evidence.carrier {
            self.link_failure_count = self.link_failure_count.saturating_add(1);
        }
        self.last_change =
            Some(Verdict { up: evidence.carrier, source: evidence.source, since: now });
        self.last_change
    }

    /// Whether the link is up.
    pub fn up(&self) -> bool {
        self.last_change.is_some_and(|change| change.up)
    }

    /// The verdict in force; `None` until the link is first up.
    pub fn last_change(&self) -> Option<Verdict> {
        self.last_change
    }

    /// How often the link has gone from up to down (kernel: `link_failure_count`).
    pub fn link_failure_count(&self) -> u32 {
        self.link_failure_count
    }
}

#[cfg(test)]
mod tests {
    use Source::{Event, Poll};
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn whoever_sees_it_first() {
        let mut link = Carrier::new();
        // Time in ms, carrier, source; whether it is news; failures after it.
        let rows = [
            (0, false, Poll, false, 0),
            (10, true, Event, true, 0),
            (20, true, Poll, false, 0),
            (30, false, Poll, true, 1),
            (31, false, Event, false, 1),
            (50, true, Poll, true, 1),
            (50, true, Event, false, 1),
            (60, false, Event, true, 2),
            (70, false, Poll, false, 2),
        ];
        for (at, up, source, news, failures) in rows {
            let since = ms(at);
            let carrier = up;
            let verdict = link.step(Evidence { carrier, source }, since);
            assert_eq!(verdict, news.then_some(Verdict { up, source, since }), "at {at} ms");
            assert_eq!((link.up(), link.link_failure_count()), (up, failures), "at {at} ms");
        }
        let last = Verdict { up: false, source: Event, since: ms(60) };
        assert_eq!(link.last_change(), Some(last));
    }

    #[test]
    fn down_from_the_start_is_no_failure() {
        let mut link = Carrier::new();
        let down = Evidence { carrier: false, source: Event };
        assert_eq!(link.step(down, ms(5)), None);
        assert_eq!((link.up(), link.last_change(), link.link_failure_count()), (false, None, 0));
    }

    proptest! {
        #![proptest_config(crate::testing::property_tests())]

        #[test]
        fn verdicts_alternate_and_follow_the_evidence(
            evidence in prop::collection::vec((any::<bool>(), any::<bool>()), 0..100),
        ) {
            let mut link = Carrier::new();
            let mut failures = 0;
            for (at, (carrier, event)) in (0..).zip(evidence) {
                let source = if event { Event } else { Poll };
                let before = link.clone();
                match link.step(Evidence { carrier, source }, ms(at)) {
                    Some(verdict) => {
                        prop_assert_eq!(verdict, Verdict { up: !before.up(), source, since: ms(at) });
                        failures += u32::from(!verdict.up);
                    }
                    None => prop_assert_eq!(link.last_change(), before.last_change()),
                }
                prop_assert_eq!((link.up(), link.link_failure_count()), (carrier, failures));
            }
        }
    }
}
