//! A worker as the control thread sees it: one pinned thread, or two.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::command::{Command, Reply};
use super::pipeline::{Bell, Poller, Sender, Stock, pipeline};
use super::queue::{Queue, SlavePort};
use super::thread::{Thread, ThreadSpec};
use super::{Alarm, Counters, Dataplane, Rings, Umem};
use crate::snapshot::SnapshotCell;
use crate::xsk::{Census, Reclaimed};

/// How a worker waits for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Never sleeps: lowest latency, one whole core a thread.
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

/// What threads a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One, which does everything.
    RunToCompletion,
    /// Two: the poller receives, the egress sends.
    Pipeline,
}

impl Layout {
    /// The name in options and views.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunToCompletion => "run-to-completion",
            Self::Pipeline => "pipeline",
        }
    }

    /// Threads of a worker, each on a CPU of its own.
    #[must_use]
    pub const fn threads(self) -> usize {
        match self {
            Self::RunToCompletion => 1,
            Self::Pipeline => 2,
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where and how a worker runs.
#[derive(Clone, Debug)]
pub struct WorkerSpec {
    /// Thread name, 15 bytes at most; 14 in the pipeline layout, whose second thread adds an `e`.
    pub name: String,
    /// Which threads it has.
    pub layout: Layout,
    /// CPU of each thread: in the pipeline layout the poller's, then the egress's.
    pub cores: Vec<usize>,
    /// How they wait.
    pub poll: Poll,
    /// Frames of the shared UMEM that the pipeline's egress keeps for copies.
    pub stock: usize,
    /// The same of a slave's own UMEM.
    pub seam: usize,
    /// Raised when a slave refuses frames.
    pub alarm: Arc<Alarm>,
}

/// What the control thread asks of a worker.
pub type WorkerCommand<R> = Command<SlavePort<R>, Umem<<R as Rings>::Memory>>;
/// A worker's answer.
pub type WorkerReply<R> = Reply<SlavePort<R>, Umem<<R as Rings>::Memory>>;

/// The threads of a worker, and what each of them counts.
enum Threads<R: Rings<Rx: AsFd>> {
    RunToCompletion(Thread<Dataplane<R>>, [Arc<Counters>; 1]),
    Pipeline(Thread<Poller<R>>, Thread<Sender<R>>, [Arc<Counters>; 2]),
}

/// The control thread's handle of a running worker.
pub struct Worker<R: Rings<Rx: AsFd>> {
    threads: Threads<R>,
    seam: usize,
}

impl<R: Rings<Rx: AsFd>> fmt::Debug for Worker<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("cores", &self.cores()).finish_non_exhaustive()
    }
}

impl<R: Rings<Rx: AsFd>> Worker<R> {
    /// Starts a worker with its queue of bond0, and no slave yet. `umem` is the one of `host`.
    ///
    /// # Errors
    /// When a thread, its bell or a ring cannot be made.
    pub fn spawn(
        spec: WorkerSpec,
        host: Queue<R>,
        umem: Umem<R::Memory>,
        snapshot: &Arc<SnapshotCell>,
    ) -> io::Result<Self> {
        let WorkerSpec { name, layout, cores, poll, stock, seam, alarm } = spec;
        let bell = Arc::new(Bell::new()?);
        let snapshot = || Arc::clone(snapshot);
        let thread = |name: String, thread: usize| -> io::Result<ThreadSpec> {
            let core = cores.get(thread).copied();
            let core = core.ok_or_else(|| io::Error::other("a CPU a thread is needed"))?;
            Ok(ThreadSpec { name, core, poll, alarm: Arc::clone(&alarm) })
        };
        let threads = match layout {
            Layout::RunToCompletion => {
                let counters = Arc::new(Counters::default());
                let plane = Dataplane::new(host, umem, Arc::clone(&counters));
                let plane = plane.map_err(io::Error::other)?;
                let counted = Arc::clone(&counters);
                let spec = thread(name, 0)?;
                let thread = Thread::spawn(spec, plane, bell, counted, snapshot())?;
                Threads::RunToCompletion(thread, [counters])
            }
            Layout::Pipeline => {
                let counters = [(); 2].map(|()| Arc::new(Counters::default()));
                let halves = pipeline(host, umem, stock, counters.clone(), Arc::clone(&bell));
                let (poller, sender) = halves.map_err(io::Error::other)?;
                let [received, sent] = counters.clone();
                let own = Arc::new(Bell::new()?);
                let second = thread(format!("{name}e"), 1)?;
                let egress = Thread::spawn(second, sender, bell, sent, snapshot())?;
                let poller = Thread::spawn(thread(name, 0)?, poller, own, received, snapshot())?;
                Threads::Pipeline(poller, egress, counters)
            }
        };
        Ok(Self { threads, seam })
    }

    /// What each of its threads counts: in the pipeline layout the poller, then the egress.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        match &self.threads {
            Threads::RunToCompletion(_, counters) => counters,
            Threads::Pipeline(_, _, counters) => counters,
        }
    }

    /// The censuses of the UMEMs that exist.
    pub fn umems(&self) -> impl Iterator<Item = Census> {
        Counters::umems(self.counters())
    }

    /// The CPUs that its threads run on.
    #[must_use]
    pub fn cores(&self) -> Vec<usize> {
        match &self.threads {
            Threads::RunToCompletion(thread, _) => vec![thread.core()],
            Threads::Pipeline(poller, egress, _) => vec![poller.core(), egress.core()],
        }
    }

    /// Whether a thread has ended, which it does only when it failed or was stopped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        match &self.threads {
            Threads::RunToCompletion(thread, _) => thread.is_finished(),
            Threads::Pipeline(poller, egress, _) => poller.is_finished() || egress.is_finished(),
        }
    }

    /// Asks for something and waits for the answer, 2 s a thread at most.
    ///
    /// # Errors
    /// When the worker does not answer.
    pub fn ask(&self, command: WorkerCommand<R>) -> io::Result<WorkerReply<R>> {
        match &self.threads {
            Threads::RunToCompletion(thread, _) => thread.ask(command),
            Threads::Pipeline(poller, egress, _) => ask_both(poller, egress, self.seam, command),
        }
    }

    /// Ends the threads, and closes their sockets here.
    ///
    /// # Errors
    /// What ended a thread, if it was not this call.
    pub fn stop(self) -> io::Result<()> {
        match self.threads {
            Threads::RunToCompletion(mut thread, _) => ended(thread.join()),
            Threads::Pipeline(mut poller, mut egress, _) => {
                // Both before either's sockets close.
                let joined = (poller.join(), egress.join());
                ended(joined.0)?;
                ended(joined.1)
            }
        }
    }
}

fn ended<T>(joined: Option<io::Result<T>>) -> io::Result<()> {
    joined.unwrap_or_else(|| Err(io::Error::other("the worker was stopped before"))).map(drop)
}

/// Asks both threads of a pipeline, in the order in which neither gets a frame of what it does not know: the egress is
/// the first to take a slave in, and the last to let it go.
fn ask_both<R: Rings<Rx: AsFd>>(
    poller: &Thread<Poller<R>>,
    egress: &Thread<Sender<R>>,
    seam: usize,
    command: WorkerCommand<R>,
) -> io::Result<WorkerReply<R>> {
    match command {
        Command::Attach(slot, port, mut umem) => {
            let (rx, tx) = port.split();
            let sending = umem.as_mut().map(|(id, umem)| {
                let stock = Stock::new(umem, seam);
                (*id, (umem.for_sending(), stock))
            });
            egress.ask(Command::Attach(slot, tx, sending))?;
            poller.ask(Command::Attach(slot, rx, umem))?;
            Ok(Reply::Attached)
        }
        Command::Detach(slot) => {
            let (received, sent) =
                (poller.ask(Command::Detach(slot))?, egress.ask(Command::Detach(slot))?);
            match (received, sent) {
                (Reply::Detached(Some(rx)), Reply::Detached(Some(tx))) => {
                    Ok(Reply::Detached(Some(SlavePort::join((rx, tx)))))
                }
                _ => Ok(Reply::Detached(None)),
            }
        }
        Command::Reclaim(slot, own) => {
            // The egress first: it sends the last frames back.
            let (sent, received) = (
                egress.ask(Command::Reclaim(slot, own))?,
                poller.ask(Command::Reclaim(slot, own))?,
            );
            let (Reply::Reclaimed(lost, _), Reply::Reclaimed(back, umem)) = (sent, received) else {
                return Err(io::Error::other("the worker answers something else"));
            };
            Ok(Reply::Reclaimed(Reclaimed { fill: back.fill, tx: lost.tx }, umem))
        }
    }
}
