//! How many chunks a queue has with the kernel.

/// The bounds. A UMEM has enough for all its queues at once, so that none, its slave dead or not, keeps another one from
/// sending or receiving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// For receiving, at most: it bridges bursts, and stalls of the worker.
    pub fill: usize,
    /// For receiving, at least. The kernel goes through all the chunks that it has, in turn: few of them stay in caches.
    pub shallow: usize,
    /// For sending: from the tx ring to the completion ring. The two rings alone would let twice as many in.
    pub tx: usize,
}

/// Turns after which the depth is looked at: 3 ms and more.
const WINDOW: u32 = 1 << 16;
/// Windows whose frames the chunks are to hold: so long may the worker be kept from its turns.
const STALL: usize = 4;
/// A sleeper's chunks, in shallow depths: two are what comes in 100 us at 5 million frames a second. The kernel goes
/// through all of them once the worker is awake, and those it has not had of late are cold.
const ASLEEP: usize = 2;
/// Frames found at once that are a burst: more will have come by the time that these are sent.
const BURST: usize = 16;

/// How many chunks the kernel is to have for receiving on one queue: enough for a stall at the rate of late, some more
/// while the worker sleeps, and all there may be at a burst. But while frames come faster than they are worked off, few:
/// then a deep queue saves none of them, it makes them late.
#[derive(Debug)]
pub(super) struct FillDepth {
    depth: Depth,
    /// But for an overload.
    chunks: usize,
    /// Frames received in full batches since the queue was last found empty.
    standing: usize,
    /// Turns and frames of this window.
    turns: u32,
    frames: usize,
    /// There was a burst in it.
    burst: bool,
}

impl FillDepth {
    pub(super) fn new(depth: Depth) -> Self {
        Self { depth, chunks: depth.fill, standing: 0, turns: 0, frames: 0, burst: false }
    }

    /// Takes in that a turn received `frames` of `max`, which is at least one. True: a burst begins, for which there are
    /// few chunks.
    pub(super) fn received(&mut self, frames: usize, max: usize) -> bool {
        match frames {
            0 => self.standing = 0,
            // As many as may be: there may be more.
            frames if frames == max => self.standing = self.standing.saturating_add(frames),
            _ => {}
        }
        self.frames += frames;
        self.turns += 1;
        let began = frames >= BURST && self.chunks < self.depth.fill;
        if frames >= BURST {
            (self.burst, self.chunks) = (true, self.depth.fill);
        }
        if self.turns == WINDOW {
            if !self.burst {
                self.chunks = (STALL * self.frames).clamp(self.depth.shallow, self.depth.fill);
            }
            (self.turns, self.frames, self.burst) = (0, 0, false);
        }
        began
    }

    /// The worker goes to sleep: what comes until it has woken up may be a burst.
    pub(super) fn deepen(&mut self) {
        self.chunks = self.chunks.max(self.depth.fill.min(ASLEEP * self.depth.shallow));
    }

    /// Frames come faster than they are worked off. What a burst can leave is gone after as many frames as the queue is
    /// deep; here there were full batches still.
    pub(super) fn is_overloaded(&self) -> bool {
        self.standing >= self.depth.fill
    }

    /// How many chunks now.
    pub(super) fn chunks(&self) -> usize {
        if self.is_overloaded() { self.depth.shallow } else { self.chunks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPTH: Depth = Depth { fill: 2048, shallow: 256, tx: 2048 };

    /// A window in which one turn out of `every` receives a frame.
    fn window(depth: &mut FillDepth, every: u32) {
        for turn in 0..WINDOW {
            assert!(!depth.received(usize::from(turn.is_multiple_of(every)), 64));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "half a million turns")]
    fn enough_for_four_windows_within_the_bounds() {
        let mut depth = FillDepth::new(DEPTH);
        assert_eq!(depth.chunks(), 2048);
        // A frame each so many turns, and the chunks then.
        for (every, chunks) in [(WINDOW, 256), (1024, 256), (256, 1024), (128, 2048), (1, 2048)] {
            window(&mut depth, every);
            assert_eq!(depth.chunks(), chunks, "a frame each {every} turns");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "half a million turns")]
    fn a_burst_has_all_at_once_and_until_a_window_without_one() {
        let mut depth = FillDepth::new(DEPTH);
        window(&mut depth, WINDOW);
        assert_eq!((depth.received(15, 64), depth.chunks()), (false, 256));
        assert_eq!((depth.received(16, 64), depth.chunks()), (true, 2048));
        assert_eq!((depth.received(64, 64), depth.chunks()), (false, 2048), "it goes on");
        for _ in 3..WINDOW {
            depth.received(0, 64);
        }
        assert_eq!(depth.chunks(), 2048, "a burst was in this window");
        window(&mut depth, WINDOW);
        assert_eq!(depth.chunks(), 256);
    }

    #[test]
    #[cfg_attr(miri, ignore = "half a million turns")]
    fn a_sleeper_has_more() {
        let mut depth = FillDepth::new(DEPTH);
        depth.deepen();
        assert_eq!(depth.chunks(), 2048, "not fewer than before");
        window(&mut depth, WINDOW);
        depth.deepen();
        assert_eq!(depth.chunks(), 512);
        assert_eq!((depth.received(64, 65), depth.chunks()), (true, 2048), "a burst");
        window(&mut depth, WINDOW);
        window(&mut depth, WINDOW);
        assert_eq!(depth.chunks(), 256);
    }

    #[test]
    fn few_while_overloaded() {
        let mut depth = FillDepth::new(DEPTH);
        for batch in 1..32 {
            depth.received(64, 64);
            assert!(!depth.is_overloaded(), "{batch} batches may be a burst");
        }
        depth.received(64, 64);
        assert_eq!((depth.is_overloaded(), depth.chunks()), (true, 256));
        depth.received(63, 64);
        assert!(depth.is_overloaded(), "not found empty");
        depth.received(0, 64);
        assert_eq!((depth.is_overloaded(), depth.chunks()), (false, 2048));
    }
}
