//! The generator: BPF_PROG_RUN with live XDP frames, one long call that a signal ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::{
    Ebpf, TestRunAttrs, TestRunOptions,
    maps::{Array, MapData, PerCpuArray},
    programs::{ProgramError, TestRun as _, Xdp},
};
use bond_bench_ebpf::{
    frame::{ETHERTYPE, ETHERTYPE_AT, FILLER_AT, LENGTH_AT, filler},
    layout::{self, Sent, maps, programs},
};
use bond_tests::{Mac, Netns};
use signal_hook::consts::SIGUSR1;

use crate::{GENERATOR_CPU, objects};

/// Frames of one turn of the kernel's loop: what NAPI would take at once.
const BATCH: u32 = 64;
/// Longest that the generator may take to start, and to end.
const LIMIT: Duration = Duration::from_secs(5);

/// What to send, and where.
#[derive(Clone, Debug)]
pub struct Stream {
    pub netns: Netns,
    /// The netdevs' indices; they take turns.
    pub ports: Vec<u32>,
    pub source: Mac,
    pub destination: Mac,
    /// Bytes of a frame, without the FCS.
    pub length: usize,
    /// From one frame to the next; none: as fast as possible.
    pub period: Option<Duration>,
}

impl Stream {
    /// The frame as the program finds it: all but what differs from one to the next.
    fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0; self.length];
        frame[..6].copy_from_slice(&self.destination.0);
        frame[6..12].copy_from_slice(&self.source.0);
        frame[ETHERTYPE_AT..LENGTH_AT].copy_from_slice(&ETHERTYPE.to_be_bytes());
        let length = u16::try_from(self.length).unwrap_or(u16::MAX);
        frame[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&length.to_ne_bytes());
        for (word, at) in frame[FILLER_AT..].chunks_exact_mut(8).zip((FILLER_AT..).step_by(8)) {
            word.copy_from_slice(&filler(at).to_ne_bytes());
        }
        frame
    }

    fn layout(&self) -> layout::Stream {
        let port = |number| self.ports.get(number).copied().map_or(0, u64::from);
        layout::Stream {
            period_ns: self
                .period
                .map_or(0, |period| u64::try_from(period.as_nanos()).unwrap_or(u64::MAX)),
            ports: [port(0), port(1)],
            ways: self.ports.len() as u64,
        }
    }
}

/// The program, ready to run.
pub struct Generator {
    ebpf: Ebpf,
    stream: Array<MapData, [u64; 4]>,
    sent: PerCpuArray<MapData, [u64; 2]>,
}

/// Counts what is being sent.
pub struct Sending<'a>(&'a PerCpuArray<MapData, [u64; 2]>);

impl Sending<'_> {
    /// Frames since the generator was loaded.
    pub fn frames(&self) -> Result<u64> {
        Ok(objects::per_cpu(self.0, 0)?.into_iter().map(|sent| Sent::from(sent).frames).sum())
    }
}

impl Generator {
    pub fn load() -> Result<Self> {
        // Its arrival ends a system call; the handler has nothing to do.
        signal_hook::flag::register(SIGUSR1, Arc::new(AtomicBool::new(false)))?;
        let mut ebpf = objects::load()?;
        objects::xdp(&mut ebpf, programs::GENERATE)?;
        let stream = objects::map(&mut ebpf, maps::STREAM)?;
        let sent = objects::map(&mut ebpf, maps::SENT)?;
        Ok(Self { ebpf, stream, sent })
    }

    /// Frames since it was loaded.
    pub fn sent(&self) -> Result<u64> {
        Sending(&self.sent).frames()
    }

    /// Sends `stream` while `during` runs.
    pub fn run<T>(
        &mut self,
        stream: &Stream,
        during: impl FnOnce(&Sending<'_>) -> Result<T>,
    ) -> Result<T> {
        self.stream.set(0, <[u64; 4]>::from(stream.layout()), 0)?;
        let program: &Xdp =
            self.ebpf.program(programs::GENERATE).context("no generator")?.try_into()?;
        let frame = stream.frame();
        // A paced stream must not wait for a batch to be full.
        let batch = if stream.period.is_some() { 1 } else { BATCH };
        let thread_id = AtomicI32::new(0);
        let call = || {
            ensure!(
                core_affinity::set_for_current(core_affinity::CoreId { id: GENERATOR_CPU }),
                "no CPU {GENERATOR_CPU}"
            );
            yield_to_all()?;
            thread_id.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
            let options = TestRunOptions {
                data_in: Some(&frame),
                repeat: i32::MAX.cast_unsigned(),
                attrs: TestRunAttrs::new().xdp_live_frames(batch),
                ..TestRunOptions::new()
            };
            match program.test_run(options) {
                Err(ProgramError::SyscallError(error))
                    if error.io_error.raw_os_error() == Some(libc::EINTR) =>
                {
                    Ok(())
                }
                Err(error) => Err(error).context("BPF_PROG_RUN"),
                Ok(_) => Err(anyhow!("the generator ended by itself")),
            }
        };
        thread::scope(|scope| {
            let running = scope.spawn(|| stream.netns.run(call));
            let outcome = during(&Sending(&self.sent));
            end(&running, &thread_id)?;
            running.join().map_err(|_panic| anyhow!("the generator panicked"))??;
            outcome
        })
    }
}

/// Lets everybody else go before the calling thread: it stands for a wire, and must not keep the kernel's threads from
/// their work.
fn yield_to_all() -> Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: it reads a live struct, for the calling thread (0).
    let outcome = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter) };
    ensure!(outcome == 0, "SCHED_IDLE: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Ends the call of the generator's thread.
fn end(running: &thread::ScopedJoinHandle<'_, Result<()>>, thread_id: &AtomicI32) -> Result<()> {
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    let tries = LIMIT.as_millis();
    for _ in 0..tries {
        if running.is_finished() {
            return Ok(());
        }
        let thread = thread_id.load(Ordering::Acquire);
        // A signal that comes before the call is lost: hence the next try.
        if thread != 0 {
            // SAFETY: it takes three numbers; a thread that has ended gets no signal.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, SIGUSR1) };
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(anyhow!("the generator does not end"))
}
