//! What is measured, one file each.

mod failover;
mod idle;
mod latency;
mod loss;
mod profile;
mod rate;

use std::time::Duration;

use anyhow::{Context as _, Result};
use indicatif::{ProgressBar, ProgressStyle};

pub use self::{
    failover::failover, idle::idle, latency::latency, loss::loss, profile::profile, rate::rate,
};
use crate::{
    device::{Device, Direction, Spec},
    generator::Generator,
    peers::System,
    profile::Profiler,
    report::{Figure, Measurement, Name},
    window::{Load, Window, measure},
};

/// More foreign use than this many cores disturbs a window.
const FOREIGN: f64 = 0.08;
/// How often a disturbed window is repeated before it is taken as it is.
const REPEATS: u32 = 3;

/// What all parts need.
pub struct Bench {
    pub devices: Vec<Device>,
    pub rounds: usize,
    generator: Generator,
    bar: ProgressBar,
    /// Windows that were repeated because others used the machine.
    pub repeated: u32,
}

impl Bench {
    pub fn new(devices: Vec<Device>, rounds: usize) -> Result<Self> {
        let style = ProgressStyle::with_template("{elapsed:>4} {wide_bar} {prefix}: {msg:40}")?;
        let bar = ProgressBar::new(0).with_style(style);
        Ok(Self { devices, rounds, generator: Generator::load()?, bar, repeated: 0 })
    }

    /// The devices that `wanted` holds of.
    fn select(&self, wanted: impl Fn(&Spec) -> bool) -> Vec<usize> {
        (0..self.devices.len()).filter(|number| wanted(&self.devices[*number].spec)).collect()
    }

    /// Takes turns: all of `devices` in every round, in random order. What changes about the machine within minutes is
    /// the same for all of a round. The readings are in the devices' order.
    fn turns<T>(
        &mut self,
        part: &'static str,
        devices: &[usize],
        mut turn: impl FnMut(&mut Self, usize) -> Result<T>,
    ) -> Result<Vec<Vec<T>>> {
        self.bar.set_prefix(part);
        self.bar.inc_length((devices.len() * self.rounds) as u64);
        let mut readings: Vec<_> = devices.iter().map(|_| Vec::new()).collect();
        let mut order: Vec<_> = (0..devices.len()).collect();
        for _ in 0..self.rounds {
            fastrand::shuffle(&mut order);
            for &place in &order {
                self.bar.set_message(self.devices[devices[place]].spec.to_string());
                readings[place].push(turn(self, devices[place])?);
                self.bar.inc(1);
            }
        }
        Ok(readings)
    }

    /// Measures a device, again if others used the machine meanwhile.
    fn measure(
        &mut self,
        device: usize,
        load: Load,
        profiler: Option<&Profiler>,
    ) -> Result<Window> {
        let mut window = measure(&self.devices[device], &mut self.generator, load, profiler)?;
        for _ in 0..REPEATS {
            if window.foreign <= FOREIGN {
                break;
            }
            self.repeated += 1;
            window = measure(&self.devices[device], &mut self.generator, load, profiler)?;
        }
        Ok(window)
    }

    /// Ends the progress bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// The measurements of `name`, each with its ratio to our bond's in the same mode.
    fn measurements(
        &self,
        about: &About,
        devices: &[usize],
        readings: Vec<Vec<f64>>,
    ) -> Vec<Measurement> {
        let figures: Vec<_> = readings.into_iter().map(Figure::of).collect();
        let spec = |place: usize| self.devices[devices[place]].spec;
        let bond = |spec: Spec| {
            let wanted = Spec { xdp: spec.xdp, ..Spec::new(System::Bond, spec.mode) };
            devices.iter().position(|device| self.devices[*device].spec == wanted)
        };
        let measurement = |(place, figure): (usize, &Figure)| Measurement {
            name: about.name,
            unit: about.unit.to_owned(),
            spec: spec(place),
            direction: about.direction,
            length: about.length,
            load: about.load.clone(),
            figure: figure.clone(),
            ratio: bond(spec(place))
                .map(|bond| figure.ratio_to(&figures[bond]))
                .filter(|ratio| ratio.n > 0),
        };
        figures.iter().enumerate().map(measurement).collect()
    }
}

/// The rate of `device`, in frames a second, that was measured before.
fn rate_of(
    measured: &[Measurement],
    device: &Device,
    direction: Direction,
    length: usize,
) -> Result<f64> {
    let is_it = |one: &&Measurement| {
        one.name == Name::Rate
            && one.spec == device.spec
            && (one.direction, one.length) == (direction, length)
    };
    let found = measured.iter().find(is_it);
    Ok(found.context("a part of a rate asks for the part `rate`")?.figure.median)
}

/// From one frame to the next at `rate` frames a second.
fn period(rate: f64) -> Duration {
    Duration::from_secs_f64(1.0 / rate)
}

/// How loads that are a part of a rate are called.
fn percent(part: f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

/// What all measurements of one turn have in common.
struct About {
    name: Name,
    unit: &'static str,
    direction: Direction,
    length: usize,
    load: Option<String>,
}
