//! From a configuration to a running bond: look at everything first, then change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::BondError;
use super::bond::Bond;
use super::fitter::{Fitter, Netdev, Tools};
use super::ipc::Ipc;
use super::links;
use super::privileges;
use super::signals::Signals;
use super::slot::Slot;
use super::uppers::Uppers;
use crate::config::{BindChoice, BondConfig, XdpChoice};
use crate::egress::{Host, HostShare, HostSpec, Moderation};
use crate::mode::{Mode, Policy, Repeats};
use crate::netlink::{Events, Netlink};
use crate::poller::{Alarm, Layout, Worker, WorkerSpec};
use crate::port::{Candidate, NapiFiles, PortError, PortSpec, RunLock, StateFile};
use crate::snapshot::SnapshotCell;
use crate::state::Failovers;
use crate::watch::Doubt;
use crate::xsk::{Geometry, XskRings};

/// From one report of the host's groups to the next (`bond_resend_igmp_join_requests_delayed`: HZ/5).
const RESEND_IGMP: Duration = Duration::from_millis(200);

/// What was found out before anything is changed.
struct Plan {
    config: BondConfig,
    spec: PortSpec,
    /// CPUs of the workers' threads, worker 0's first.
    cores: Vec<usize>,
    candidates: Vec<Candidate>,
}

/// Starts a bond. On an error the machine is as before.
pub(super) fn start(config: BondConfig, signals: &Signals) -> Result<Bond, BondError> {
    config.validate()?;
    privileges::check()?;
    privileges::raise_memlock();
    let mut nl = Netlink::new().map_err(BondError::io("cannot open a netlink socket"))?;
    let claim = claim(&config.name)?;
    clear_leftovers(&config.name, &mut nl)?;
    let plan = Plan::make(config, &mut nl)?;
    let mut state_file = StateFile::new(&plan.config.name, &nl)
        .map_err(BondError::io("cannot read this process's start time"))?;
    state_file.creating = true;
    save(&state_file)?;
    // From here on the state file tells what to undo: for us, or for whoever comes after a crash.
    let host = match plan.create_host(&mut nl, &mut state_file) {
        Ok(host) => host,
        Err(error) => return Err(undo(&state_file, &mut nl, error)),
    };
    match plan.assemble(nl, state_file.clone(), host, claim) {
        Ok((mut bond, candidates)) => match bond.take_in(candidates, signals) {
            Ok(()) => Ok(bond),
            Err(error) => {
                if let Err(left) = bond.stop() {
                    tracing::error!("{left}");
                }
                Err(error)
            }
        },
        Err(error) => {
            let mut nl = Netlink::new().map_err(BondError::io("cannot open a netlink socket"))?;
            Err(undo(&state_file, &mut nl, error))
        }
    }
}

/// The right to run this bond, for as long as it is held.
pub(super) fn claim(bond: &str) -> Result<RunLock, BondError> {
    let taken = RunLock::take(bond).map_err(BondError::io(format!("cannot claim {bond}")))?;
    taken.ok_or_else(|| {
        let pid = StateFile::load(bond).ok().flatten().map(|state| state.pid);
        BondError::Running { bond: bond.to_owned(), pid }
    })
}

/// Name of the claim of a slave.
pub(super) fn slave_lock(ifindex: u32) -> String {
    format!("slave-{ifindex}")
}

/// Puts back what a killed process left, and refuses to run a bond twice.
///
/// Returns the killed process's pid, if there was one.
pub(super) fn clear_leftovers(bond: &str, nl: &mut Netlink) -> Result<Option<u32>, BondError> {
    let read = || BondError::io(format!("cannot read the state file of {bond}"));
    let Some(mut left) = StateFile::load(bond).map_err(read())? else { return Ok(None) };
    if left.is_alive().map_err(read())? {
        return Err(BondError::Running { bond: bond.to_owned(), pid: Some(left.pid) });
    }
    tracing::warn!("putting back what process {} left of {bond}", left.pid);
    // A slave that another bond has taken since is that bond's to put back.
    let mut claims = Vec::new();
    for slave in std::mem::take(&mut left.slaves) {
        let claim = RunLock::take(&slave_lock(slave.ifindex));
        if let Some(claim) = claim.map_err(BondError::io("cannot claim a slave"))? {
            claims.push(claim);
            left.slaves.push(slave);
        }
    }
    restored(&left, nl).map(|()| Some(left.pid))
}

/// Undoes everything the state file knows.
pub(super) fn restored(state_file: &StateFile, nl: &mut Netlink) -> Result<(), BondError> {
    let errors: Vec<String> = state_file.cleanup(nl).iter().map(|e| format!("  {e}")).collect();
    if errors.is_empty() { Ok(()) } else { Err(BondError::Restore(errors.join("\n"))) }
}

fn undo(state_file: &StateFile, nl: &mut Netlink, error: BondError) -> BondError {
    if let Err(left) = restored(state_file, nl) {
        tracing::error!("{left}");
    }
    error
}

pub(super) fn save(state_file: &StateFile) -> Result<(), BondError> {
    state_file.save().map_err(BondError::io("cannot write the state file"))
}

/// Whether a default route of this network namespace goes through the netdev.
fn carries_default_route(name: &str) -> bool {
    // proc(5): route has the name first, then destination; ipv6_route the destination and its prefix first, the name last.
    let routes = |path| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = routes("/proc/net/route").lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > 7 && fields[0] == name && fields[1] == "00000000" && fields[7] == "00000000"
    });
    let v6 = routes("/proc/net/ipv6_route").lines().any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() == 10 && fields[9] == name && fields[1] == "00" && fields[0] == "0".repeat(32)
    });
    v4 || v6
}

impl Plan {
    fn make(config: BondConfig, nl: &mut Netlink) -> Result<Self, BondError> {
        let available: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
        let cores = config.worker_cores(&available)?;
        let candidates = config
            .slaves
            .iter()
            .map(|name| Candidate::inspect(nl, name))
            .collect::<Result<Vec<_>, PortError>>()?;
        if !config.force
            && let Some(name) = config.slaves.iter().find(|name| carries_default_route(name))
        {
            return Err(PortError::DefaultRoute(name.clone()).into());
        }
        Host::check(nl, &config.name)?;
        let zero_copy = config.bind != BindChoice::Copy
            && config.xdp != XdpChoice::Generic
            && candidates.iter().any(|candidate| candidate.features.zero_copy);
        let spec = PortSpec {
            xdp: config.xdp,
            bind: config.bind,
            geometry: Geometry::for_mtu(candidates[0].link.mtu, zero_copy)?,
            zero_copy,
            workers: u32::try_from(cores.len() / config.layout.threads()).unwrap_or(u32::MAX),
        };
        let first = &candidates[0].link;
        for candidate in &candidates {
            candidate.check_mtu(first)?;
            candidate.check(&spec)?;
        }
        Ok(Self { config, spec, cores, candidates })
    }

    fn create_host(&self, nl: &mut Netlink, state_file: &mut StateFile) -> Result<Host, BondError> {
        let host = Host::create(
            nl,
            &HostSpec {
                name: &self.config.name,
                mac: self.mac(),
                mtu: self.candidates[0].link.mtu,
                queues: self.spec.workers,
            },
        )?;
        state_file.bond_ifindex = Some(host.ifindex);
        state_file.port_ifindex = Some(host.port_ifindex);
        save(state_file)?;
        Ok(host)
    }

    fn mac(&self) -> crate::netlink::Mac {
        self.config.mac.unwrap_or(self.candidates[0].link.mac)
    }

    /// bond0, its workers and its socket; no slave yet.
    fn assemble(
        self,
        mut nl: Netlink,
        state_file: StateFile,
        mut host: Host,
        claim: RunLock,
    ) -> Result<(Bond, Vec<Candidate>), BondError> {
        let chunks: Vec<u32> = (0..self.spec.workers).map(|worker| self.chunks(worker)).collect();
        let shares = host.open(&mut nl, &self.config.name, self.spec.geometry, &chunks)?;
        let umems = Host::umems(&shares);
        let primary = self.config.primary.as_ref().and_then(|primary| {
            let slot = self.config.slaves.iter().position(|slave| slave == primary)?;
            u8::try_from(slot).ok()
        });
        let policy = Policy::new(self.config.mode, self.config.packets_per_slave, primary)
            .spreading(self.config.xmit_hash_policy, self.config.weights())
            .hearing_all(self.config.all_slaves_active);
        let links = links::configured(&self.config, policy);
        let published = Arc::new(SnapshotCell::new(links.snapshot()));
        let alarm = Arc::new(Alarm::new().map_err(BondError::io("cannot make an eventfd"))?);
        let workers = self.spawn(shares, &published, &alarm)?;
        host.open_gates()?;
        let bond = self.config.name.clone();
        let napi = NapiFiles::open(&bond).inspect_err(|error| {
            tracing::info!("frames for {bond} never gather, whatever the load: {error}");
        });
        let napi = napi.ok();
        let moderation = napi.is_some().then(Moderation::default);
        let tools = Tools { bond, spec: self.spec, umems, napi, nl, state_file };
        let bond = Bond {
            mac: self.mac(),
            mtu: self.candidates[0].link.mtu,
            events: Events::subscribe().map_err(BondError::io("cannot follow link events"))?,
            ipc: Ipc::listen(&self.config.name)?,
            slots: self.config.slaves.iter().cloned().map(Slot::new).collect(),
            snapshot: links.snapshot(),
            failovers: Failovers::default(),
            peer_notif: Repeats::new(self.config.num_peer_notif, self.config.peer_notif_period()),
            rejoin: Repeats::new(self.config.resend_igmp, RESEND_IGMP),
            uppers: Uppers::default(),
            started: Instant::now(),
            next_poll: Instant::now(),
            alarm,
            doubt: Doubt::default(),
            moderation,
            starting: true,
            nl: Netlink::new().map_err(BondError::io("cannot open a netlink socket"))?,
            fitter: Fitter::spawn(tools).map_err(BondError::io("cannot start a thread"))?,
            config: self.config,
            claim,
            host,
            workers,
            links,
            published,
        };
        Ok((bond, self.candidates))
    }

    /// Chunks of a worker's shared UMEM: for its queue of bond0 and its queues of every slave.
    fn chunks(&self, worker: u32) -> u32 {
        let share = |queues: u32| queues.saturating_sub(worker).div_ceil(self.spec.workers);
        let queues = self.candidates.iter().map(|candidate| share(candidate.queues)).sum::<u32>();
        self.spec.geometry.chunks(1 + queues) + self.stock()
    }

    /// Frames of a UMEM that the egress of a pipeline keeps for the copies of one slave's frames. In the other layout it
    /// has all.
    fn seam(&self) -> u32 {
        match self.config.layout {
            Layout::Pipeline => self.spec.geometry.seam(),
            Layout::RunToCompletion => 0,
        }
    }

    /// The same of the shared UMEM: for what crosses the seam into it, or for broadcast's duplicates.
    fn stock(&self) -> u32 {
        let slaves = match self.config.mode {
            Mode::Broadcast => u32::try_from(self.candidates.len()).unwrap_or(u32::MAX),
            _ => u32::from(self.spec.zero_copy),
        };
        slaves * self.seam()
    }

    fn spawn(
        &self,
        shares: Vec<HostShare>,
        published: &Arc<SnapshotCell>,
        alarm: &Arc<Alarm>,
    ) -> Result<Vec<Worker<XskRings>>, BondError> {
        let mut workers = Vec::new();
        let cores = self.cores.chunks(self.config.layout.threads());
        for (worker, ((queue, umem), cores)) in shares.into_iter().zip(cores).enumerate() {
            let spec = WorkerSpec {
                name: format!("{}-{worker}", self.config.name),
                layout: self.config.layout,
                cores: cores.to_vec(),
                poll: self.config.poll,
                stock: self.stock() as usize,
                seam: self.seam() as usize,
                alarm: Arc::clone(alarm),
            };
            let started = Worker::spawn(spec, queue, umem, published);
            workers.push(started.map_err(|source| BondError::Worker { worker, source })?);
        }
        Ok(workers)
    }
}

impl Bond {
    /// Opens the slaves one after the other, and waits for each one's link: no two are down for it at a time.
    fn take_in(&mut self, candidates: Vec<Candidate>, signals: &Signals) -> Result<(), BondError> {
        for (slot, candidate) in (0u8..).zip(candidates) {
            self.slot_mut(slot).queues_max = candidate.queues;
            self.fit(slot, Netdev::Found(Box::new(candidate)))?;
            while self.is_touching() {
                self.turn(signals)?;
                if signals.stop_asked() {
                    return Ok(());
                }
            }
        }
        self.starting = false;
        // Finding the first active slave, one slave after the other, was no failover.
        self.failovers = Failovers::default();
        let Self { config, workers, mac, mtu, .. } = self;
        let cores = workers.iter().flat_map(Worker::cores).map(|core| core.to_string());
        let cores: Vec<String> = cores.collect();
        tracing::info!(
            "{} is up: {} over {}, MAC {mac}, MTU {mtu}, {}, CPU {}",
            config.name,
            config.mode,
            config.slaves.join(", "),
            config.layout,
            cores.join(", ")
        );
        Ok(())
    }

    /// Ends the workers, closes everything, and puts the machine back as it was.
    pub(super) fn stop(self) -> Result<(), BondError> {
        let Self { ipc, fitter, host, workers, slots, claim, .. } = self;
        drop(ipc);
        let fitted = fitter.stop();
        // Programs first: nothing is redirected any more while the sockets close.
        let attached = slots.into_iter().filter_map(|slot| slot.attached);
        let claims: Vec<RunLock> = attached.map(|attached| attached.claim).collect();
        drop(host);
        for (worker, handle) in workers.into_iter().enumerate() {
            if let Err(source) = handle.stop() {
                tracing::error!("{}", BondError::Worker { worker, source });
            }
        }
        let Tools { mut nl, state_file, umems, .. } = fitted?;
        drop(umems);
        let restored = restored(&state_file, &mut nl);
        // Now others may have them.
        drop((claim, claims));
        restored
    }
}
