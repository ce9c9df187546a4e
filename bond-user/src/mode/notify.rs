//! When the network is told of a new active slave (kernel: `send_peer_notif`, `bond_peer_notify_work`).

use std::time::Duration;

/// The announcements that follow a change: `num` of them, the first at once, then one each `delay`.
///
/// The kernel sends the later ones with its monitor, and so asks for a delay that is a multiple of miimon; here any will do.
#[derive(Clone, Debug)]
pub struct PeerNotif {
    num: u8,
    delay: Duration,
    /// How many are left, and when the next one is due.
    left: u8,
    next: Duration,
}

impl PeerNotif {
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
    fn sent(notif: &mut PeerNotif, from: u64, to: u64) -> Vec<u64> {
        (from..to).filter(|at| notif.due(ms(*at))).collect()
    }

    #[test]
    fn the_first_at_once_and_the_others_at_their_times() {
        let mut notif = PeerNotif::new(3, ms(100));
        assert_eq!((notif.deadline(), sent(&mut notif, 0, 500)), (None, vec![]));
        notif.changed(ms(500));
        assert_eq!(notif.deadline(), Some(ms(500)));
        assert_eq!(sent(&mut notif, 500, 650), [500, 600]);
        assert_eq!(notif.deadline(), Some(ms(700)));
        assert_eq!(sent(&mut notif, 650, 1200), [700]);
        assert_eq!(notif.deadline(), None);
    }

    #[test]
    fn another_change_begins_anew_and_none_active_ends_it() {
        let mut notif = PeerNotif::new(2, ms(100));
        notif.changed(ms(0));
        assert_eq!(sent(&mut notif, 0, 50), [0]);
        notif.changed(ms(50));
        assert_eq!(sent(&mut notif, 50, 120), [50]);
        notif.cancel();
        assert_eq!(sent(&mut notif, 120, 500), []);
    }

    #[test]
    fn none_if_none_are_wanted() {
        let mut notif = PeerNotif::new(0, ms(100));
        notif.changed(ms(1));
        assert_eq!((notif.deadline(), notif.due(ms(1))), (None, false));
    }

    #[test]
    fn a_late_look_does_not_send_two_at_once() {
        let mut notif = PeerNotif::new(3, ms(10));
        notif.changed(ms(0));
        assert_eq!([100, 101, 110, 115, 120].map(|at| notif.due(ms(at))), [
            true, false, true, false, true
        ]);
    }
}
