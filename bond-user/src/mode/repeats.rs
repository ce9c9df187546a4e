//! What is said several times after another slave became active: announcements (kernel: `send_peer_notif`) and IGMP
//! reports (`igmp_retrans`).

use std::time::Duration;

/// When to say it: `num` times, the first time at once, then each `delay`.
///
/// The kernel's announcements go out with its monitor, and their delay must be a multiple of miimon; here any will do.
#[derive(Clone, Debug)]
pub struct Repeats {
    num: u8,
    delay: Duration,
    /// How many are left, and when the next one is due.
    left: u8,
    next: Duration,
}

impl Repeats {
    /// None to send yet.
    #[must_use]
    pub const fn new(num: u8, delay: Duration) -> Self {
        Self { num, delay, left: 0, next: Duration::ZERO }
    }

    /// Another slave is active since `now`, a time since any one point.
    pub const fn changed(&mut self, now: Duration) {
        (self.left, self.next) = (self.num, now);
    }

    /// No slave is active: there is nowhere to send.
    pub const fn cancel(&mut self) {
        self.left = 0;
    }

    /// Whether to send one now. If so it counts as sent.
    pub fn due(&mut self, now: Duration) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            (self.left, self.next) = (self.left - 1, now + self.delay);
        }
        due
    }

    /// When the next one is due, if there is one.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        (self.left > 0).then_some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The times in ms at which one is sent, looking each millisecond.
    fn sent(repeats: &mut Repeats, from: u64, to: u64) -> Vec<u64> {
        (from..to).filter(|at| repeats.due(ms(*at))).collect()
    }

    #[test]
    fn the_first_at_once_and_the_others_at_their_times() {
        let mut repeats = Repeats::new(3, ms(100));
        assert_eq!((repeats.deadline(), sent(&mut repeats, 0, 500)), (None, vec![]));
        repeats.changed(ms(500));
        assert_eq!(repeats.deadline(), Some(ms(500)));
        assert_eq!(sent(&mut repeats, 500, 650), [500, 600]);
        assert_eq!(repeats.deadline(), Some(ms(700)));
        assert_eq!(sent(&mut repeats, 650, 1200), [700]);
        assert_eq!(repeats.deadline(), None);
    }

    #[test]
    fn another_change_begins_anew_and_none_active_ends_it() {
        let mut repeats = Repeats::new(2, ms(100));
        repeats.changed(ms(0));
        assert_eq!(sent(&mut repeats, 0, 50), [0]);
        repeats.changed(ms(50));
        assert_eq!(sent(&mut repeats, 50, 120), [50]);
        repeats.cancel();
        assert_eq!(sent(&mut repeats, 120, 500), Vec::<u64>::new());
    }

    #[test]
    fn none_if_none_are_wanted() {
        let mut repeats = Repeats::new(0, ms(100));
        repeats.changed(ms(1));
        assert_eq!((repeats.deadline(), repeats.due(ms(1))), (None, false));
    }

    #[test]
    fn a_late_look_does_not_send_two_at_once() {
        let mut repeats = Repeats::new(3, ms(10));
        repeats.changed(ms(0));
        assert_eq!(
            [100, 101, 110, 115, 120].map(|at| repeats.due(ms(at))),
            [true, false, true, false, true]
        );
    }
}
