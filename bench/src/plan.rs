//! Which devices are measured, and how thoroughly.

use crate::{
    device::{Direction, Layout, Mode, Poll, Spec, Xdp},
    peers::{System, other_bond},
};

/// How thoroughly.
#[derive(Clone, Debug)]
pub struct Plan {
    pub specs: Vec<Spec>,
    pub rounds: usize,
    /// Bytes of a frame, without the FCS.
    pub lengths: Vec<usize>,
    /// The ways for which the latency is taken.
    pub latency: &'static [Direction],
    /// Of a device's rate, for the latency.
    pub loads: Vec<f64>,
    /// While cables are pulled.
    pub pull_loads: Vec<PullLoad>,
    pub pulls: usize,
    /// Whether to look for the rates without loss.
    pub loss: bool,
}

/// What is sent while a cable is pulled.
#[derive(Clone, Copy, Debug)]
pub enum PullLoad {
    /// Frames a second.
    Rate(u32),
    /// A part of what the device forwards.
    Part(f64),
}

impl Plan {
    /// Ends within 5 minutes.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            specs: native().into_iter().filter(|spec| spec.system.is_contender()).collect(),
            rounds: 5,
            lengths: vec![64, 1514],
            latency: &[Direction::HostToWire],
            loads: Vec::new(),
            pull_loads: vec![PullLoad::Rate(10_000)],
            pulls: 10,
            loss: false,
        }
    }

    /// Ends within 40 minutes.
    #[must_use]
    pub fn full() -> Self {
        let mut specs = native();
        let generic = |spec: &&Spec| spec.system.has_generic_mode();
        let mut more: Vec<_> =
            specs.iter().filter(generic).map(|spec| Spec { xdp: Xdp::Generic, ..*spec }).collect();
        for mode in Mode::ALL {
            more.push(Spec { poll: Poll::Busy, ..Spec::new(System::Bond, mode) });
            more.push(Spec { layout: Layout::Pipeline, ..Spec::new(System::Bond, mode) });
            more.push(Spec { slaves: 1, ..Spec::new(System::Bond, mode) });
        }
        specs.append(&mut more);
        Self {
            specs,
            rounds: 9,
            lengths: vec![64, 512, 1514],
            latency: &[Direction::HostToWire, Direction::WireToHost],
            loads: vec![0.1, 0.5, 0.9],
            pull_loads: vec![PullLoad::Rate(1_000), PullLoad::Rate(10_000), PullLoad::Part(0.5)],
            pulls: 50,
            loss: true,
        }
    }
}

/// Every system in the modes it has, with native XDP and two slaves.
fn native() -> Vec<Spec> {
    let others = other_bond().map(|_| System::OtherBond);
    let systems = System::ALL.into_iter().chain(others);
    systems
        .flat_map(|system| system.modes().iter().map(move |mode| Spec::new(system, *mode)))
        .collect()
}
