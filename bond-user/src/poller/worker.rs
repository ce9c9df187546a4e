//! The thread around [`Dataplane::turn`]: pinned, and asleep when there is nothing to do.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use bond_ebpf::layout::{MAX_QUEUES, MAX_SLAVES};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::command::{Command, Mailbox, Reply};
use super::idle::{Idle, Rest};
use super::{Alarm, Counters, Dataplane, Rings};
use crate::snapshot::SnapshotCell;

/// Turns without a frame from one look at the clock to the next: it takes half as long as such a turn.
const CLOCK_EVERY: u32 = 8;
/// Longest sleep: completions and counters are looked after at least this often.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The same while the kernel has not taken everything from a tx ring.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// Most descriptors that may end a sleep: the wake-up's, bond0's queue's, and those of all queues of all slaves.
const DESCRIPTORS: usize = 2 + MAX_SLAVES * MAX_QUEUES as usize;
/// How long a worker may take to answer a command before it counts as stuck.
const ANSWER: Duration = Duration::from_secs(2);

/// How a worker waits for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Never sleeps: lowest latency, one whole core.
    Busy,
    /// Sleeps in poll while frames are far apart.
    Adaptive,
}

impl Poll {
    /// The name in options and views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Adaptive => "adaptive",
        }
    }
}

impl fmt::Display for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where and how a worker runs.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// Thread name, 15 bytes at most.
    pub name: String,
    /// CPU to run on.
    pub core: usize,
    /// How it waits.
    pub poll: Poll,
    /// Raised when a slave refuses frames.
    pub alarm: Arc<Alarm>,
}

/// What both sides of a running worker share.
struct Shared<R: Rings> {
    mailbox: Mailbox<R>,
    stop: AtomicBool,
    /// Ends the worker's sleep.
    wake: OwnedFd,
}

/// The control thread's handle of a running worker.
pub struct Worker<R: Rings> {
    shared: Arc<Shared<R>>,
    counters: Arc<Counters>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<io::Result<Dataplane<R>>>>,
    core: usize,
}

impl<R: Rings> fmt::Debug for Worker<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("core", &self.core).finish_non_exhaustive()
    }
}

impl<R> Worker<R>
where
    R: Rings + AsFd + Send + 'static,
    R::Memory: Send,
{
    /// Starts a worker on `plane`.
    ///
    /// # Errors
    /// When the thread or its wake-up descriptor cannot be made.
    pub fn spawn(
        spec: WorkerSpec,
        plane: Dataplane<R>,
        counters: Arc<Counters>,
        snapshot: Arc<SnapshotCell>,
    ) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared =
            Arc::new(Shared { mailbox: Mailbox::default(), stop: AtomicBool::new(false), wake });
        let core = spec.core;
        let thread = std::thread::Builder::new().name(spec.name.clone()).spawn({
            let (shared, counters) = (Arc::clone(&shared), Arc::clone(&counters));
            move || run(&spec, plane, &shared, &counters, &snapshot)
        })?;
        Ok(Self { shared, counters, thread: Some(thread), core })
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The CPU it runs on.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }

    /// Whether the thread has ended, which it does only when it failed or was stopped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks for something and waits for the answer, 2 s at most.
    ///
    /// # Errors
    /// When the worker does not answer.
    pub fn ask(&self, command: Command<R>) -> io::Result<Reply<R>> {
        let stuck = || io::Error::new(io::ErrorKind::TimedOut, "the worker does not answer");
        self.shared.mailbox.ask(command).map_err(|_refused| stuck())?;
        self.wake()?;
        let deadline = Instant::now() + ANSWER;
        loop {
            if let Some(reply) = self.shared.mailbox.answer() {
                return Ok(reply);
            }
            if Instant::now() > deadline || self.is_finished() {
                return Err(stuck());
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Ends the thread and gives its data plane back, so that its sockets close here.
    ///
    /// # Errors
    /// What ended the thread, if it was not this call.
    pub fn stop(mut self) -> io::Result<Dataplane<R>> {
        self.join().unwrap_or_else(|| Err(io::Error::other("the worker was stopped before")))
    }
}

impl<R: Rings> Worker<R> {
    fn wake(&self) -> io::Result<()> {
        rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn join(&mut self) -> Option<io::Result<Dataplane<R>>> {
        let thread = self.thread.take()?;
        self.shared.stop.store(true, Relaxed);
        // If it cannot be woken, it looks up by itself before long.
        let _ = self.wake();
        let panicked = |_panic| Err(io::Error::other("the worker panicked"));
        Some(thread.join().unwrap_or_else(panicked))
    }
}

impl<R: Rings> Drop for Worker<R> {
    fn drop(&mut self) {
        drop(self.join());
    }
}

fn run<R: Rings + AsFd>(
    spec: &WorkerSpec,
    mut plane: Dataplane<R>,
    shared: &Shared<R>,
    counters: &Counters,
    snapshot: &SnapshotCell,
) -> io::Result<Dataplane<R>> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: spec.core }) {
        return Err(io::Error::other(format!("cannot pin to CPU {}", spec.core)));
    }
    let start = Instant::now();
    let (mut idle, mut slept) = (Idle::new(), false);
    let mut idle_turns = 0u32;
    while !shared.stop.load(Relaxed) {
        shared.mailbox.obey(&mut plane);
        let moved = plane.turn(snapshot.load());
        counters.worker.turns.add(1);
        if plane.take_doubt() {
            spec.alarm.raise();
        }
        if moved > 0 {
            idle.moved(std::mem::take(&mut slept), || start.elapsed());
            continue;
        }
        counters.worker.idle_turns.add(1);
        // No pause instruction between two looks: it is as long as a turn, and the frame waits for it.
        if spec.poll == Poll::Busy {
            continue;
        }
        idle_turns = idle_turns.wrapping_add(1);
        if !idle_turns.is_multiple_of(CLOCK_EVERY) {
            continue;
        }
        match idle.nothing(start.elapsed()) {
            Rest::Look => {}
            Rest::Yield => std::thread::yield_now(),
            Rest::Sleep => {
                counters.worker.sleeps.add(1);
                let longest = if plane.owes_kick() { &RETRY } else { &SLEEP };
                sleep(&plane, &shared.wake, longest)?;
                slept = true;
            }
        }
    }
    Ok(plane)
}

/// The idle poll: waits for a frame, a command or `longest`.
///
/// Not by epoll: a socket in an epoll set has a waiter at all times, and the kernel wakes the waiters of a copy-mode
/// socket for every frame it has sent (`sock_wfree`, net/core/sock.c).
fn sleep<R: Rings + AsFd>(
    plane: &Dataplane<R>,
    wake: &OwnedFd,
    longest: &Timespec,
) -> io::Result<()> {
    let mut descriptors = ArrayVec::<_, DESCRIPTORS>::new();
    descriptors.push(PollFd::new(wake, PollFlags::IN));
    descriptors.extend(plane.queues().map(|queue| PollFd::new(queue.rings(), PollFlags::IN)));
    match poll(&mut descriptors, Some(longest)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // Which descriptor it was does not matter: every turn looks at all of them.
    let _ = rustix::io::read(wake, &mut [0u8; 8]);
    Ok(())
}
