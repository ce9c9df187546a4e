//! The thread around [`Dataplane::turn`]: pinned, and asleep when there is nothing to do.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::event::{EventfdFlags, Timespec, eventfd};

use super::command::{Command, Mailbox, Reply};
use super::{Counters, Dataplane, Rings};
use crate::snapshot::SnapshotCell;

/// Idle turns before an adaptive worker sleeps: some 50 us of looking again, which is what a wake-up costs.
const IDLE_TURNS: u32 = 128;
/// Longest sleep: completions and counters are looked after at least this often.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The same while the kernel has not taken everything from a tx ring.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// How long a worker may take to answer a command before it counts as stuck.
const ANSWER: Duration = Duration::from_secs(2);

/// How a worker waits for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Never sleeps: lowest latency, one whole core.
    Busy,
    /// Sleeps in epoll when it found nothing for a while.
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
    thread: JoinHandle<io::Result<Dataplane<R>>>,
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
        Ok(Self { shared, counters, thread, core })
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
        self.thread.is_finished()
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
    pub fn stop(self) -> io::Result<Dataplane<R>> {
        self.shared.stop.store(true, Relaxed);
        self.wake()?;
        self.thread.join().unwrap_or_else(|_panic| Err(io::Error::other("the worker panicked")))
    }

    fn wake(&self) -> io::Result<()> {
        rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes())?;
        Ok(())
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
    let mut sleep = Sleep::new(&plane, &shared.wake)?;
    let mut idle = 0;
    while !shared.stop.load(Relaxed) {
        if shared.mailbox.obey(&mut plane) {
            sleep = Sleep::new(&plane, &shared.wake)?;
        }
        let moved = plane.turn(snapshot.load());
        counters.worker.turns.add(1);
        if moved > 0 {
            idle = 0;
            continue;
        }
        counters.worker.idle_turns.add(1);
        idle += 1;
        if spec.poll == Poll::Busy || idle < IDLE_TURNS {
            std::hint::spin_loop();
        } else {
            counters.worker.sleeps.add(1);
            let longest = if plane.owes_kick() { &RETRY } else { &SLEEP };
            sleep.wait(&shared.wake, longest)?;
        }
    }
    Ok(plane)
}

/// The idle poll: everything that may end a worker's sleep.
struct Sleep {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Sleep {
    fn new<R: Rings + AsFd>(plane: &Dataplane<R>, wake: &OwnedFd) -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let nothing = epoll::EventData::new_u64(0);
        epoll::add(&set, wake, nothing, epoll::EventFlags::IN)?;
        for queue in plane.queues() {
            epoll::add(&set, queue.rings(), nothing, epoll::EventFlags::IN)?;
        }
        Ok(Self { epoll: set, events: Vec::with_capacity(1) })
    }

    /// Waits for a frame, a command or `longest`.
    fn wait(&mut self, wake: &OwnedFd, longest: &Timespec) -> io::Result<()> {
        self.events.clear();
        let room = rustix::buffer::spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, room, Some(longest)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Which descriptor it was does not matter: every turn looks at all of them.
        let _ = rustix::io::read(wake, &mut [0u8; 8]);
        Ok(())
    }
}
