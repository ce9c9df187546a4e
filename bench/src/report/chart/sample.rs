//! Small reports for tests.

use crate::{
    device::{Direction, Spec},
    machine::Environment,
    micro,
    report::{Facts, Figure, Measurement, Name, Report, SCHEMA},
};

/// From the host to the wire, 64 bytes, without a load and a ratio.
pub(in crate::report) fn measured(name: Name, spec: Spec, values: &[f64]) -> Measurement {
    let unit = match name {
        Name::Rate | Name::RateWithoutLoss | Name::RateAtLoss => "frames/s",
        Name::Overtaken => "%",
        Name::UserTime | Name::CpuTime => "ns/frame",
        Name::Latency50 | Name::Latency99 | Name::Latency999 => "us",
        Name::Idle => "% of a core",
        Name::Outage => "ms",
    };
    Measurement {
        name,
        unit: unit.to_owned(),
        spec,
        direction: Direction::HostToWire,
        length: 64,
        load: None,
        figure: Figure::of(values.to_vec()),
        ratio: None,
    }
}

/// The same under a load.
pub(in crate::report) fn loaded(name: Name, load: &str, spec: Spec, values: &[f64]) -> Measurement {
    Measurement { load: Some(load.to_owned()), ..measured(name, spec, values) }
}

/// One figure of a micro benchmark, all samples alike.
pub(in crate::report) fn micro(name: &str, ns: f64) -> micro::Figure {
    let (name, unit) = (name.to_owned(), "ns".to_owned());
    micro::Figure { name, unit, median: ns, min: ns, max: ns, n: 10 }
}

/// Of a machine that is nobody's.
pub(in crate::report) fn report(measurements: Vec<Measurement>) -> Report {
    let mut specs: Vec<_> = measurements.iter().map(|one| one.spec).collect();
    specs.sort_unstable();
    specs.dedup();
    let facts = |spec| Facts { spec, facts: "native XDP, copy sockets".to_owned() };
    Report {
        schema: SCHEMA,
        environment: Environment {
            kernel: "6.18.0".to_owned(),
            cpu: "A CPU".to_owned(),
            cpus: 2,
            governor: "none".to_owned(),
            date: "2026-01-02T03:04:05Z".to_owned(),
        },
        devices: specs.into_iter().map(facts).collect(),
        missing: Vec::new(),
        repeated: 0,
        measurements,
        micro: Vec::new(),
    }
}
