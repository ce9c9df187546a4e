//! Waking a consumer that sleeps, for the price of one fence a batch while it does not.

use crate::sync::{AtomicBool, Ordering, fence};

/// Whether a ring's consumer sleeps, or is about to.
///
/// It says so first and looks at the ring then; the producer pushes first and looks here then. Of two who each store
/// first and load then, with a sequentially consistent fence between, one at least sees the other's store: either the
/// consumer finds the item and stays awake, or the producer finds it asleep and wakes it up.
#[derive(Debug, Default)]
pub struct Doze(AtomicBool);

impl Doze {
    /// Consumer, before it looks at the ring a last time and goes to sleep.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Consumer, after it woke up or did not go to sleep after all.
    pub fn end(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Producer, after a push: whether the consumer must be woken up. Says so once for one announcement.
    #[must_use]
    pub fn must_wake(&self) -> bool {
        fence(Ordering::SeqCst);
        let asleep = self.0.load(Ordering::Relaxed);
        if asleep {
            self.0.store(false, Ordering::Relaxed);
        }
        asleep
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[test]
    fn one_announcement_is_one_wake_up() {
        let doze = Doze::default();
        assert!(!doze.must_wake());
        doze.announce();
        assert!(doze.must_wake());
        assert!(!doze.must_wake());
        doze.announce();
        doze.end();
        assert!(!doze.must_wake());
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use arrayvec::ArrayVec;
    use loom::thread;

    use super::*;
    use crate::ring::{Consumer, ring};
    use crate::sync::{Arc, AtomicU32};

    /// Wake-ups that were sent and not yet taken: the counter of an eventfd, which synchronises as a system call does.
    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Bell {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }

        fn take(&self) -> u32 {
            self.0.swap(0, Ordering::AcqRel)
        }
    }

    /// What the consumer took, and whether it sleeps with nobody to wake it up.
    fn sleep(consumer: &mut Consumer<u32>, doze: &Doze, bell: &Bell) -> bool {
        doze.announce();
        if consumer.is_empty() && bell.take() == 0 {
            return true;
        }
        doze.end();
        false
    }

    /// The producer pushes two items one by one; the consumer pops, and tries to sleep in between. When both are done,
    /// a consumer that went to sleep was woken up or has everything.
    #[test]
    fn nobody_sleeps_while_an_item_waits() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring(2).unwrap();
            let shared = Arc::new((Doze::default(), Bell::default()));
            let pushing = {
                let shared = shared.clone();
                thread::spawn(move || {
                    for item in 0..2 {
                        let mut batch = ArrayVec::from([item]);
                        assert_eq!(producer.push_from(&mut batch), 1);
                        if shared.0.must_wake() {
                            shared.1.ring();
                        }
                    }
                })
            };
            let (doze, bell) = &*shared;
            let mut taken = ArrayVec::<u32, 2>::new();
            let mut asleep = false;
            for _ in 0..2 {
                consumer.pop_into(&mut taken);
                asleep = sleep(&mut consumer, doze, bell);
                if asleep {
                    break;
                }
            }
            pushing.join().unwrap();
            assert!(!asleep || bell.take() > 0 || consumer.is_empty(), "asleep over an item");
            consumer.pop_into(&mut taken);
            assert_eq!(taken.as_slice(), [0, 1]);
        });
    }
}
