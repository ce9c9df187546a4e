//! Doubt about the links, raised by a slave that refuses frames.
//!
//! A refusal proves nothing: a full ring refuses too. But carriers are looked at closely for a while, so that a link
//! that did go is found as soon as its carrier is off, and not with the next poll.

use std::time::Duration;

/// From one look to the next.
const STEP: Duration = Duration::from_micros(200);
/// How long a doubt lasts: a kernel that takes a link down refuses frames some time before it says so.
const LASTS: Duration = Duration::from_millis(10);
/// How long no doubt is taken up after one that was unfounded: an overloaded slave raises one with every batch.
const DEAF: Duration = Duration::from_millis(100);

/// Whether there is one. It begins calm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doubt {
    /// None; the next refusal raises one.
    #[default]
    Calm,
    /// Carriers are looked at until this time.
    Looking(Duration),
    /// Refusals mean nothing until this time.
    Deaf(Duration),
}

impl Doubt {
    /// Takes in whether a slave refused frames since it was calm; `now` is the time since the bond's start. True: look
    /// at the carriers.
    pub fn step(&mut self, refused: bool, now: Duration) -> bool {
        match *self {
            Self::Calm if refused => *self = Self::Looking(now + LASTS),
            Self::Looking(until) if now >= until => *self = Self::Deaf(now + DEAF),
            Self::Deaf(until) if now >= until => *self = Self::Calm,
            _ => {}
        }
        matches!(self, Self::Looking(_))
    }

    /// A carrier was lost: the doubt was right.
    pub fn confirm(&mut self) {
        *self = Self::Calm;
    }

    /// How soon to step again, if not with the next poll.
    pub fn pace(&self) -> Option<Duration> {
        matches!(self, Self::Looking(_)).then_some(STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_unfounded_doubt_ends_and_is_not_raised_again_at_once() {
        let mut doubt = Doubt::default();
        // Time in ms, refused; whether to look, and the state after it.
        let rows = [
            (0, false, false, Doubt::Calm),
            (5, true, true, Doubt::Looking(ms(15))),
            (6, true, true, Doubt::Looking(ms(15))),
            (14, false, true, Doubt::Looking(ms(15))),
            (15, true, false, Doubt::Deaf(ms(115))),
            (114, true, false, Doubt::Deaf(ms(115))),
            (115, true, false, Doubt::Calm),
            (116, true, true, Doubt::Looking(ms(126))),
        ];
        for (at, refused, look, after) in rows {
            assert_eq!((doubt.step(refused, ms(at)), doubt), (look, after), "at {at} ms");
        }
    }

    #[test]
    fn one_that_was_right_ends_at_once() {
        let mut doubt = Doubt::default();
        assert_eq!((doubt.step(true, ms(5)), doubt.pace()), (true, Some(STEP)));
        doubt.confirm();
        assert_eq!((doubt, doubt.pace()), (Doubt::Calm, None));
        assert!(doubt.step(true, ms(6)), "another slave may be lost right after it");
    }
}
