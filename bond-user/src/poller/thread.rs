//! A pinned thread of a worker: turn after turn, and asleep when there is nothing to do.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use bond_ebpf::layout::{MAX_QUEUES, MAX_SLAVES};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::command::{Command, Mailbox, Reply};
use super::counters::{Counters, WorkerCounters};
use super::descriptors::{Descriptors, Sockets};
use super::idle::{Idle, Rest};
use super::ingress::Ingress;
use super::pipeline::{Bell, Poller, Sender, SendingUmem};
use super::queue::{RxQueue, SlavePort, TxQueue};
use super::{Alarm, Dataplane, Poll, Rings, Umem};
use crate::snapshot::{Snapshot, SnapshotCell};
use crate::xsk::{Reclaimed, UmemId};

/// Turns without a frame from one look at the clock to the next: it takes half as long as such a turn.
const CLOCK_EVERY: u32 = 8;
/// Longest sleep: completions and counters are looked after at least this often.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The same while the kernel has not taken everything from a tx ring.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
/// Most descriptors that may end a sleep: the bell's, bond0's queue's, and those of all queues of all slaves.
const DESCRIPTORS: usize = 2 + MAX_SLAVES * MAX_QUEUES as usize;
/// How long a thread may take to answer a command before it counts as stuck.
const ANSWER: Duration = Duration::from_secs(2);

/// What a thread of a worker does.
pub(super) trait Task: Send + 'static {
    /// What it has of a slave.
    type Port: Sockets + Send;
    /// What it has of a UMEM.
    type Umem: Send;

    fn turn(&mut self, snapshot: Snapshot) -> usize;
    fn attach(&mut self, slot: u8, port: Self::Port, umem: Option<(UmemId, Self::Umem)>);
    fn detach(&mut self, slot: u8) -> Option<Self::Port>;
    /// Takes back what a slave held whose sockets are closed, and gives the UMEM `own` up.
    fn reclaim(
        &mut self,
        slot: u8,
        own: UmemId,
        snapshot: Snapshot,
    ) -> (Reclaimed, Option<Self::Umem>);
    /// The idle poll: waits for a frame or for the bell, for a while.
    fn sleep(&mut self, bell: &Bell) -> io::Result<()>;
    /// Whether a slave has refused frames since this was last asked.
    fn take_doubt(&mut self) -> bool;
    /// The descriptors that it uses from the start.
    fn descriptors(&mut self) -> Vec<RawFd>;
}

/// Where and how a thread runs.
#[derive(Debug)]
pub(super) struct ThreadSpec {
    pub(super) name: String,
    /// CPU to run on.
    pub(super) core: usize,
    pub(super) poll: Poll,
    /// Raised when a slave refuses frames.
    pub(super) alarm: Arc<Alarm>,
}

/// What both sides of a running thread share.
struct Shared<T: Task> {
    mailbox: Mailbox<T::Port, T::Umem>,
    stop: AtomicBool,
    bell: Arc<Bell>,
}

/// The control thread's handle.
pub(super) struct Thread<T: Task> {
    shared: Arc<Shared<T>>,
    /// `None` once it was joined.
    handle: Option<JoinHandle<io::Result<T>>>,
    core: usize,
}

impl<T: Task> Thread<T> {
    /// Starts `task`, to be woken up by `bell`.
    pub(super) fn spawn(
        spec: ThreadSpec,
        task: T,
        bell: Arc<Bell>,
        counters: Arc<Counters>,
        snapshot: Arc<SnapshotCell>,
    ) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { mailbox: Mailbox::default(), stop: AtomicBool::new(false), bell });
        let core = spec.core;
        let handle = std::thread::Builder::new().name(spec.name.clone()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&spec, task, &shared, &counters.worker, &snapshot)
        })?;
        Ok(Self { shared, handle: Some(handle), core })
    }

    /// The CPU it runs on.
    pub(super) fn core(&self) -> usize {
        self.core
    }

    /// Whether the thread has ended, which it does only when it failed or was stopped.
    pub(super) fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks for something and waits for the answer, 2 s at most.
    pub(super) fn ask(
        &self,
        command: Command<T::Port, T::Umem>,
    ) -> io::Result<Reply<T::Port, T::Umem>> {
        let stuck = || io::Error::new(io::ErrorKind::TimedOut, "the worker does not answer");
        self.shared.mailbox.ask(command).map_err(|_refused| stuck())?;
        self.shared.bell.ring()?;
        let deadline = Instant::now() + ANSWER;
        loop {
            if let Some(reply) = self.shared.mailbox.answer() {
                return reply;
            }
            if Instant::now() > deadline || self.is_finished() {
                return Err(stuck());
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Ends the thread and gives its task back, unless that was done before.
    pub(super) fn join(&mut self) -> Option<io::Result<T>> {
        let handle = self.handle.take()?;
        self.shared.stop.store(true, Relaxed);
        // If it cannot be woken, it looks up by itself before long.
        let _ = self.shared.bell.ring();
        let panicked = |_panic| Err(io::Error::other("the worker panicked"));
        Some(handle.join().unwrap_or_else(panicked))
    }
}

impl<T: Task> Drop for Thread<T> {
    fn drop(&mut self) {
        drop(self.join());
    }
}

fn run<T: Task>(
    spec: &ThreadSpec,
    mut task: T,
    shared: &Shared<T>,
    life: &WorkerCounters,
    snapshot: &SnapshotCell,
) -> io::Result<T> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: spec.core }) {
        return Err(io::Error::other(format!("cannot pin to CPU {}", spec.core)));
    }
    let mut kept = task.descriptors();
    kept.extend([shared.bell.as_fd(), spec.alarm.as_fd()].map(|fd| fd.as_raw_fd()));
    let descriptors = Descriptors::own(kept)?;
    let start = Instant::now();
    let (mut idle, mut slept) = (Idle::new(), false);
    let mut idle_turns = 0u32;
    while !shared.stop.load(Relaxed) {
        let now = snapshot.load();
        shared.mailbox.obey(|command| carry_out(&mut task, &descriptors, command, now));
        let moved = task.turn(now);
        life.turns.add(1);
        if task.take_doubt() {
            spec.alarm.raise();
            idle.doubt();
        }
        if moved > 0 {
            idle.moved(std::mem::take(&mut slept), || start.elapsed());
            continue;
        }
        life.idle_turns.add(1);
        idle_turns = idle_turns.wrapping_add(1);
        // No pause instruction between two looks: it is as long as a turn, and the frame waits for it.
        if spec.poll == Poll::Busy || !idle_turns.is_multiple_of(CLOCK_EVERY) {
            continue;
        }
        match idle.nothing(start.elapsed()) {
            Rest::Look => {}
            Rest::Yield => std::thread::yield_now(),
            Rest::Sleep => {
                life.sleeps.add(1);
                task.sleep(&shared.bell)?;
                slept = true;
            }
        }
    }
    Ok(task)
}

fn carry_out<T: Task>(
    task: &mut T,
    descriptors: &Descriptors,
    command: Command<T::Port, T::Umem>,
    now: Snapshot,
) -> io::Result<Reply<T::Port, T::Umem>> {
    Ok(match command {
        Command::Attach(slot, mut port, umem) => {
            if let Err(error) = descriptors.enter(&mut port) {
                // Its drop would close what has its numbers in this thread's table. The bond ends after this.
                let _ = ManuallyDrop::new((port, umem));
                return Err(error);
            }
            task.attach(slot, port, umem);
            Reply::Attached
        }
        Command::Detach(slot) => {
            let mut port = task.detach(slot);
            port.iter_mut().for_each(|port| descriptors.leave(port));
            Reply::Detached(port)
        }
        Command::Reclaim(slot, own) => {
            let (back, umem) = task.reclaim(slot, own, now);
            Reply::Reclaimed(back, umem)
        }
    })
}

impl<R: Rings<Rx: AsFd>> Task for Dataplane<R> {
    type Port = SlavePort<R>;
    type Umem = Umem<R::Memory>;

    fn turn(&mut self, snapshot: Snapshot) -> usize {
        self.turn(snapshot)
    }

    fn attach(&mut self, slot: u8, port: Self::Port, umem: Option<(UmemId, Self::Umem)>) {
        self.attach(slot, port, umem);
    }

    fn detach(&mut self, slot: u8) -> Option<Self::Port> {
        self.detach(slot)
    }

    fn reclaim(
        &mut self,
        slot: u8,
        own: UmemId,
        _snapshot: Snapshot,
    ) -> (Reclaimed, Option<Self::Umem>) {
        (self.reclaim(slot), self.remove_umem(own))
    }

    fn sleep(&mut self, bell: &Bell) -> io::Result<()> {
        let longest = if self.owes_kick() { &RETRY } else { &SLEEP };
        sleep_receiving(self.ingress(), bell, longest)
    }

    fn descriptors(&mut self) -> Vec<RawFd> {
        self.ingress().host_mut().socket().into_iter().collect()
    }

    fn take_doubt(&mut self) -> bool {
        self.take_doubt()
    }
}

impl<R: Rings<Rx: AsFd>> Task for Poller<R> {
    type Port = Vec<RxQueue<R::Rx>>;
    type Umem = Umem<R::Memory>;

    fn turn(&mut self, snapshot: Snapshot) -> usize {
        self.turn(snapshot)
    }

    fn attach(&mut self, slot: u8, port: Self::Port, umem: Option<(UmemId, Self::Umem)>) {
        self.attach(slot, port, umem);
    }

    fn detach(&mut self, slot: u8) -> Option<Self::Port> {
        self.detach(slot)
    }

    fn reclaim(
        &mut self,
        slot: u8,
        own: UmemId,
        _snapshot: Snapshot,
    ) -> (Reclaimed, Option<Self::Umem>) {
        let (fill, umem) = self.reclaim(slot, own);
        (Reclaimed { fill, tx: 0 }, umem)
    }

    fn sleep(&mut self, bell: &Bell) -> io::Result<()> {
        sleep_receiving(self.ingress_mut(), bell, &SLEEP)
    }

    fn descriptors(&mut self) -> Vec<RawFd> {
        let bell = self.bell().as_fd().as_raw_fd();
        self.ingress_mut().host_mut().socket().into_iter().chain([bell]).collect()
    }

    fn take_doubt(&mut self) -> bool {
        false // It sends nothing.
    }
}

impl<R: Rings> Task for Sender<R> {
    type Port = Vec<TxQueue<R::Tx>>;
    type Umem = SendingUmem<R::Memory>;

    fn turn(&mut self, snapshot: Snapshot) -> usize {
        self.turn(snapshot)
    }

    fn attach(&mut self, slot: u8, port: Self::Port, umem: Option<(UmemId, Self::Umem)>) {
        self.attach(slot, port, umem);
    }

    fn detach(&mut self, slot: u8) -> Option<Self::Port> {
        self.detach(slot)
    }

    fn reclaim(
        &mut self,
        slot: u8,
        own: UmemId,
        snapshot: Snapshot,
    ) -> (Reclaimed, Option<Self::Umem>) {
        (Reclaimed { fill: 0, tx: self.reclaim(slot, own, snapshot) }, None)
    }

    fn sleep(&mut self, bell: &Bell) -> io::Result<()> {
        let longest = if self.owes_kick() { &RETRY } else { &SLEEP };
        bell.doze().announce();
        let slept = if self.is_idle() {
            sleep(&mut [PollFd::new(bell, PollFlags::IN)], bell, longest)
        } else {
            Ok(())
        };
        bell.doze().end();
        slept
    }

    fn descriptors(&mut self) -> Vec<RawFd> {
        self.egress_mut().host_mut().socket().into_iter().collect()
    }

    fn take_doubt(&mut self) -> bool {
        self.take_doubt()
    }
}

/// Waits for a frame on any queue, for the bell, or for `longest`. What comes meanwhile finds full fill rings.
///
/// Not by epoll: a socket in an epoll set has a waiter at all times, and the kernel wakes the waiters of a copy-mode
/// socket for every frame it has sent (`sock_wfree`, net/core/sock.c).
fn sleep_receiving<R: Rings<Rx: AsFd>>(
    ingress: &mut Ingress<R>,
    bell: &Bell,
    longest: &Timespec,
) -> io::Result<()> {
    ingress.deepen();
    let mut descriptors = ArrayVec::<_, DESCRIPTORS>::new();
    descriptors.push(PollFd::new(bell, PollFlags::IN));
    descriptors.extend(ingress.queues().map(|queue| PollFd::new(queue.rings(), PollFlags::IN)));
    sleep(&mut descriptors, bell, longest)
}

fn sleep(descriptors: &mut [PollFd<'_>], bell: &Bell, longest: &Timespec) -> io::Result<()> {
    match poll(descriptors, Some(longest)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    // Which descriptor it was does not matter: every turn looks at all of them.
    bell.hush();
    Ok(())
}
