//! Where a process spends its time, by samples of cpu-clock.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray},
    programs::perf_event::{
        PerfEvent, PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent,
    },
};
use bond_bench_ebpf::layout::{Place, maps, programs};

use crate::{DEVICE_CPU, objects};

/// Time between two samples. One takes some 10 us on a virtual machine: five times as many are felt.
const PERIOD_NS: u64 = 250_000;

/// Samples the device's CPU until it is dropped.
pub struct Profiler {
    process: Array<MapData, u32>,
    samples: PerCpuArray<MapData, u64>,
    /// Holds the attachment.
    _ebpf: Ebpf,
}

/// Nanoseconds of the device's CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub user_ns: u64,
    pub kernel_ns: u64,
}

impl Spent {
    /// What was spent after `earlier`.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            user_ns: self.user_ns - earlier.user_ns,
            kernel_ns: self.kernel_ns - earlier.kernel_ns,
        }
    }
}

impl Profiler {
    pub fn attach() -> Result<Self> {
        let mut ebpf = objects::load()?;
        let program: &mut PerfEvent =
            ebpf.program_mut(programs::PROFILE).context("no profiler")?.try_into()?;
        program.load()?;
        program.attach(
            PerfEventConfig::Software(SoftwareEvent::CpuClock),
            PerfEventScope::AllProcessesOneCpu { cpu: u32::try_from(DEVICE_CPU)? },
            SamplePolicy::Period(PERIOD_NS),
            false,
        )?;
        let process = objects::map(&mut ebpf, maps::PROCESS)?;
        let samples = objects::map(&mut ebpf, maps::SAMPLES)?;
        Ok(Self { process, samples, _ebpf: ebpf })
    }

    /// From now on it is process `pid` that is looked at.
    pub fn look_at(&mut self, pid: u32) -> Result<()> {
        Ok(self.process.set(0, pid, 0)?)
    }

    /// What the processes looked at have spent until now.
    pub fn spent(&self) -> Result<Spent> {
        let time = |place: Place| -> Result<u64> {
            let samples: u64 = objects::per_cpu(&self.samples, place as u32)?.into_iter().sum();
            Ok(samples * PERIOD_NS)
        };
        Ok(Spent { user_ns: time(Place::User)?, kernel_ns: time(Place::Kernel)? })
    }
}
