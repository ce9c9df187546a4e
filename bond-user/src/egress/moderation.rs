//! When frames for the host are delivered in bulk.
//!
//! bond0 is polled by its NAPI once a frame, on the CPU that sends there: prompt, and as dear as the sending. A worker
//! that cannot keep up is late anyhow. So while frames come faster than they are worked off, bond0 lets them gather, as
//! a NIC with moderated interrupts does, and its poll is shared by a hundred of them.

use std::time::Duration;

/// Longest time that frames gather: what moderated NICs come with.
const LONGEST: Duration = Duration::from_micros(100);
/// Frames that gather at most. A veth's ring takes twice as many (`VETH_RING_SIZE`, drivers/net/veth.c).
const GATHERED: u32 = 128;
/// How long frames go on gathering after the last overload: with them gathered there may be none.
const LASTS: Duration = Duration::from_secs(1);

/// What a worker has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Turns of its loop.
    pub turns: u64,
    /// Those that found more on a slave's queue than a burst can leave there.
    pub overloaded_turns: u64,
    /// Frames sent to bond0.
    pub delivered: u64,
}

impl Work {
    fn since(self, earlier: Self) -> Self {
        Self {
            turns: self.turns - earlier.turns,
            overloaded_turns: self.overloaded_turns - earlier.overloaded_turns,
            delivered: self.delivered - earlier.delivered,
        }
    }

    fn is_overload(self) -> bool {
        self.overloaded_turns > self.turns / 2
    }
}

/// Whether frames gather, and for how long. They do not at first.
#[derive(Debug, Default)]
pub struct Moderation {
    /// What each worker had done at the last step, and when that was.
    last: (Vec<Work>, Duration),
    /// For how long frames gather; zero: not at all.
    period: Duration,
    /// Until when, unless there is an overload again.
    until: Duration,
}

impl Moderation {
    /// Takes in what the workers have done; `now` is the time since the bond's start. Some: what frames shall gather
    /// for from now on.
    pub fn step(&mut self, workers: Vec<Work>, now: Duration) -> Option<Duration> {
        let (last, then) = std::mem::replace(&mut self.last, (workers, now));
        let work = self.last.0.iter().zip(last).map(|(work, last)| work.since(last));
        let overloaded = work.filter(|work| work.is_overload());
        let period = overloaded.map(|work| gathering(work.delivered, now - then)).min();
        if period.is_some() {
            self.until = now + LASTS;
        }
        let period = match period {
            Some(period) if self.period.is_zero() => period,
            None if now >= self.until => Duration::ZERO,
            _ => self.period,
        };
        (std::mem::replace(&mut self.period, period) != period).then_some(period)
    }

    /// For how long frames gather; zero: not at all.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// How long they may, at the rate of `frames` in `time`.
fn gathering(frames: u64, time: Duration) -> Duration {
    let frames = u32::try_from(frames).unwrap_or(u32::MAX);
    (time * GATHERED).checked_div(frames).map_or(LONGEST, |time| time.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const US: Duration = Duration::from_micros(1);

    /// Work at `delivered` frames a ms, of which each step adds 10 ms.
    fn add(work: &mut Work, turns: u64, overloaded_turns: u64, delivered: u64) -> Vec<Work> {
        work.turns += turns;
        work.overloaded_turns += overloaded_turns;
        work.delivered += delivered;
        vec![*work]
    }

    #[test]
    fn frames_gather_while_there_is_an_overload_and_a_second_longer() {
        let (mut moderation, mut work) = (Moderation::default(), Work::default());
        let mut step = |at: u32, turns, overloaded, delivered| {
            moderation.step(add(&mut work, turns, overloaded, delivered), MS * at)
        };
        assert_eq!(step(0, 0, 0, 0), None);
        assert_eq!(step(10, 100, 50, 5_000), None, "half of the turns is a burst");
        assert_eq!(step(20, 100, 51, 10_000), Some(100 * US));
        assert_eq!(step(30, 100, 100, 12_000), None, "it lasts");
        assert_eq!(step(1029, 100, 0, 9_000), None, "gone, since less than a second");
        assert_eq!(step(1030, 1, 0, 90), Some(Duration::ZERO));
        assert_eq!(step(1040, 100, 0, 100), None);
        assert_eq!(step(1050, 100, 100, 10_000), Some(100 * US), "again");
    }

    #[test]
    fn half_of_the_ring_gathers_at_most() {
        // Frames delivered in 10 ms, and the period.
        for (delivered, period) in
            [(0, 100 * US), (12_800, 100 * US), (25_600, 50 * US), (128_000, 10 * US)]
        {
            let mut moderation = Moderation::default();
            moderation.step(vec![Work::default(); 2], Duration::ZERO);
            let busy = Work { turns: 100, overloaded_turns: 100, delivered };
            let idle = Work { turns: 100, overloaded_turns: 0, delivered: 500_000 };
            assert_eq!(moderation.step(vec![idle, busy], 10 * MS), Some(period), "{delivered}");
            assert_eq!(moderation.period(), period);
        }
    }

    #[test]
    fn a_worker_that_stands_still_is_not_overloaded() {
        let mut moderation = Moderation::default();
        for at in 0..3 {
            assert_eq!(moderation.step(vec![Work::default()], at * 10 * MS), None);
        }
    }
}
