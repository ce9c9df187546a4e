//! The thread that opens and closes slaves.
//!
//! Drivers take their time: some reset the NIC when a program is attached or a queue is bound, and hold the kernel's
//! RTNL lock meanwhile, for half a second and more. So this thread does what may wait for them, one job after the other,
//! and the control thread watches the links all the while.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::BondError;
use super::slot::Attached;
use crate::netlink::Netlink;
use crate::poller::{SlavePort, Umem};
use crate::port::{
    Binding, Bound, Candidate, LinkMode, NapiFiles, PortError, PortSpec, Share, StateFile, Wanted,
};
use crate::xsk::{UmemHandle, XskMemory, XskRings};

/// What the thread works with; it comes back when the thread ends.
#[derive(Debug)]
pub(super) struct Tools {
    /// Name of the bond.
    pub(super) bond: String,
    pub(super) spec: PortSpec,
    /// The shared UMEM of each worker.
    pub(super) umems: Vec<UmemHandle>,
    /// bond0's, where they can be had.
    pub(super) napi: Option<NapiFiles>,
    pub(super) nl: Netlink,
    /// Tells what to put back.
    pub(super) state_file: StateFile,
}

/// A slave to be opened.
#[derive(Debug)]
pub(super) struct Fit {
    pub(super) slot: u8,
    pub(super) netdev: Netdev,
    pub(super) wanted: Wanted,
}

/// Where to find it.
#[derive(Debug)]
pub(super) enum Netdev {
    /// It was looked at, and is fit.
    Found(Box<Candidate>),
    /// It may be back, with this name and at most so many receive queues.
    Absent { name: String, queues_max: u32 },
}

/// A slave that was opened; the workers know nothing of it yet.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) attached: Attached,
    pub(super) shares: Vec<Share>,
    /// When its driver was touched, if it had a carrier then.
    pub(super) touched: Option<Instant>,
}

/// What the control thread asks for.
#[derive(Debug)]
pub(super) enum Job {
    /// Opens a slave. Answered by [`Answer::Fitted`].
    Fit(Fit),
    /// Closes the sockets of a slot. Answered by [`Answer::Closed`].
    Close(u8, Vec<SlavePort<XskRings>>),
    /// Tries to bind the sockets of a slot anew. Answered by [`Answer::Reopened`].
    Reopen(u8, Binding),
    /// Reads speed and duplex of a slave, by ifindex. Answered by [`Answer::LinkMode`].
    LinkMode(u8, u32),
    /// Detaches a slave whose sockets are closed, and puts its settings back if the netdev is still there.
    Release(Box<Attached>),
    /// Closes sockets that no worker took.
    Discard(Vec<Share>),
    /// Lets frames for the host gather; zero: no longer.
    Gather(Duration),
    /// Unmaps a UMEM whose sockets are closed.
    Unmap(Umem<XskMemory>),
}

/// What comes back, in the order of the jobs.
#[derive(Debug)]
pub(super) enum Answer {
    /// The slave, or why the netdev cannot be one; it is as it was then.
    Fitted(u8, Result<Box<Fitted>, BondError>),
    Closed(u8),
    /// The sockets for this ifindex, or why the kernel refuses them.
    Reopened(u8, u32, Result<(Bound, Vec<Share>), PortError>),
    /// How the link with this ifindex runs, if its driver tells.
    LinkMode(u8, u32, Option<LinkMode>),
}

/// The control thread's handle. Dropping it leaves the thread to end by itself; [`Fitter::stop`] waits for it.
#[derive(Debug)]
pub(super) struct Fitter {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    /// Readable when there are answers.
    wake: OwnedFd,
    thread: JoinHandle<Tools>,
}

impl Fitter {
    pub(super) fn spawn(tools: Tools) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let bell = wake.try_clone()?;
        let (jobs, asked) = channel();
        let (answer, answers) = channel();
        let name = format!("{}-fit", tools.bond);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || work(tools, &asked, &answer, &bell))?;
        Ok(Self { jobs, answers, wake, thread })
    }

    /// Asks for something; what comes of it is among the answers later.
    ///
    /// # Errors
    /// When the thread has ended, which it does not by itself.
    pub(super) fn ask(&self, job: Job) -> Result<(), BondError> {
        self.jobs.send(job).map_err(|_job| ended())
    }

    /// What was done since the last call.
    pub(super) fn answers(&self) -> Vec<Answer> {
        // Before looking: whatever comes after it rings again.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        self.answers.try_iter().collect()
    }

    /// Ends the thread after the job in hand and those that wait, and gives back what it worked with. Slaves that
    /// were opened meanwhile are closed.
    pub(super) fn stop(self) -> Result<Tools, BondError> {
        let Self { jobs, thread, .. } = self;
        drop(jobs);
        thread.join().map_err(|_panic| ended())
    }
}

impl AsFd for Fitter {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn ended() -> BondError {
    BondError::io("cannot open or close slaves")(io::Error::other("the thread for it ended"))
}

fn work(mut tools: Tools, jobs: &Receiver<Job>, answers: &Sender<Answer>, bell: &OwnedFd) -> Tools {
    while let Ok(job) = jobs.recv() {
        let answer = match job {
            Job::Fit(Fit { slot, netdev, wanted }) => {
                Some(Answer::Fitted(slot, tools.fit(slot, netdev, wanted).map(Box::new)))
            }
            Job::Close(slot, ports) => {
                drop(ports);
                Some(Answer::Closed(slot))
            }
            Job::Reopen(slot, binding) => {
                Some(Answer::Reopened(slot, binding.ifindex(), tools.reopen(&binding)))
            }
            Job::LinkMode(slot, ifindex) => {
                Some(Answer::LinkMode(slot, ifindex, tools.link_mode(ifindex)))
            }
            Job::Release(attached) => {
                tools.release(*attached);
                None
            }
            Job::Discard(shares) => {
                drop(shares);
                None
            }
            Job::Gather(period) => {
                if let Some(Err(error)) = tools.napi.as_mut().map(|napi| napi.gather(period)) {
                    tracing::warn!("cannot let frames for {} gather: {error}", tools.bond);
                }
                None
            }
            Job::Unmap(umem) => {
                drop(umem);
                None
            }
        };
        if let Some(answer) = answer {
            // Nobody listens any more when the bond stops.
            let _ = answers.send(answer);
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    }
    tools
}
