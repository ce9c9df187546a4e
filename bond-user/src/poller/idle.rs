//! When an adaptive worker sleeps: it goes on looking for as long as the next frame is worth waiting for.

use std::time::Duration;

/// Longest gap between frames that is waited out awake. A sleeper's first frame comes later by the time of a wake-up,
/// 5 to 20 us; looking on costs the core.
const LONGEST: Duration = Duration::from_micros(250);
/// How long to look while gaps are longer than that: for the rest of a burst, and some.
const SHORTEST: Duration = Duration::from_micros(30);

/// How often a worker that waits awake lets others have its CPU: nobody should have to wait for the end of its time
/// slice, 3 ms. The next frame pays for it, with caches that are cold.
const YIELD: Duration = Duration::from_millis(1);
/// The same while a link is in doubt: the kernel's threads that take it down may want this CPU.
const YIELD_IN_DOUBT: Duration = Duration::from_micros(120);
/// Yields of a doubt: some 12 ms, in which such a thread will have come.
const DOUBT: u32 = 100;

/// What to do until the next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing.
    Look,
    /// Let others run who want to.
    Yield,
    /// Wait for a frame.
    Sleep,
}

/// Learns from the last gap whether the next one is worth it, as the kernel's `haltpoll` governor does. A silent bond
/// sleeps, and so does one whose frames are far apart; one with steady traffic never does.
///
/// It knows no clock: times are those since any one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    /// How long to look before sleeping.
    window: Duration,
    /// The time of the first turn without a frame since the last one with some.
    since: Option<Duration>,
    /// The last time that others could run.
    yielded: Duration,
    /// Yields until the doubt is over.
    doubt: u32,
}

impl Idle {
    pub(super) const fn new() -> Self {
        Self { window: SHORTEST, since: None, yielded: Duration::ZERO, doubt: 0 }
    }

    /// A turn without a frame ended at `now`: what to do.
    pub(super) fn nothing(&mut self, now: Duration) -> Rest {
        let since = *self.since.get_or_insert(now);
        if now - since >= self.window {
            self.yielded = now;
            Rest::Sleep
        } else if now - self.yielded >= if self.doubt > 0 { YIELD_IN_DOUBT } else { YIELD } {
            self.yielded = now;
            self.doubt = self.doubt.saturating_sub(1);
            Rest::Yield
        } else {
            Rest::Look
        }
    }

    /// A slave refuses frames.
    pub(super) const fn doubt(&mut self) {
        self.doubt = DOUBT;
    }

    /// A turn with frames ended; `now` is asked for the time only if that says something new.
    pub(super) fn moved(&mut self, slept: bool, now: impl FnOnce() -> Duration) {
        let since = self.since.take();
        if let Some(since) = since.filter(|_| slept) {
            self.window = if now() - since <= LONGEST { LONGEST } else { SHORTEST };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// When a worker that looks each microsecond from `start` on falls asleep before a frame that comes after `gap`, if
    /// it does.
    fn sleeps_after(idle: &mut Idle, start: u64, gap: u64) -> Option<u64> {
        let slept = (0..gap).find(|at| idle.nothing(us(start + at)) == Rest::Sleep);
        idle.moved(slept.is_some(), || us(start + gap));
        slept
    }

    #[test]
    fn steady_frames_keep_it_awake_and_rare_ones_do_not() {
        let mut idle = Idle::new();
        // The gap before a frame, and when the worker fell asleep in it.
        let rows = [
            (20, None),
            (100, Some(30)),
            (100, None),
            (249, None),
            (250, None),
            (5000, Some(250)),
            (1000, Some(30)),
            (251, Some(30)),
            (250, Some(30)),
            (10, None),
            (200, None),
        ];
        let mut now = 1000;
        for (gap, sleeps) in rows {
            assert_eq!(sleeps_after(&mut idle, now, gap), sleeps, "gap of {gap} us");
            now += gap;
        }
    }

    #[test]
    fn others_can_run_while_it_looks() {
        let mut idle = Idle::new();
        // A frame each 200 us, and when it yields meanwhile.
        let mut yields = |from: u64, to, in_doubt: bool| {
            if in_doubt {
                idle.doubt();
            }
            let mut yields = Vec::new();
            for at in from..to {
                if at.is_multiple_of(200) {
                    idle.moved(true, || us(at));
                }
                match idle.nothing(us(at)) {
                    Rest::Look => {}
                    Rest::Yield => yields.push(at),
                    Rest::Sleep => assert!(at < 200, "frames come often enough"),
                }
            }
            yields
        };
        assert_eq!(yields(0, 3000, false), [1199, 2199]);
        assert_eq!(yields(3000, 3400, true), [3000, 3120, 3240, 3360]);
        let doubtful: Vec<u64> = (0..96).map(|at| 3480 + at * 120).collect();
        let after = [15_880, 16_880];
        assert_eq!(yields(3400, 17_000, false), [&doubtful[..], &after[..]].concat());
    }

    #[test]
    fn the_clock_is_asked_after_a_sleep_only() {
        let mut idle = Idle::new();
        assert_eq!(idle.nothing(us(0)), Rest::Look);
        idle.moved(false, || unreachable!("nothing new"));
        idle.moved(true, || unreachable!("there was no turn without frames"));
    }
}
