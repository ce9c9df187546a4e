//! How long nothing arrives after the far end of the active slave's cable was set down.

use std::{thread, time::Duration};

use anyhow::Result;
use bond::netlink::Netlink;

use super::{About, Bench, percent, period, rate_of};
use crate::{
    device::{Direction, Mode, Poll},
    plan::PullLoad,
    report::{Measurement, Name},
    rig,
};

const LENGTH: usize = 64;
/// Longer than any outage that ends by itself.
const DOWN: Duration = Duration::from_millis(150);
/// From the plug until the device has taken the slave back, and the primary is active again.
const UP: Duration = Duration::from_millis(350);
/// The last frames arrive within this time.
const UNDER_WAY: Duration = Duration::from_millis(10);

/// The native bonds in active-backup that notice a carrier, `pulls` pulls under each of `loads`; parts are of `rates`.
pub fn failover(
    bench: &mut Bench,
    rates: &[Measurement],
    loads: &[PullLoad],
    pulls: usize,
) -> Result<Vec<Measurement>> {
    let numbers = bench.select(|spec| {
        spec.is_native()
            && spec.mode == Mode::ActiveBackup
            && spec.poll == Poll::Adaptive
            && spec.system.fails_over()
    });
    let (direction, length) = (Direction::HostToWire, LENGTH);
    let rounds = std::mem::replace(&mut bench.rounds, pulls);
    let mut out = Vec::new();
    for load in loads {
        let readings = bench.turns("failover", &numbers, |bench, device| {
            let rate = match *load {
                PullLoad::Rate(rate) => f64::from(rate),
                PullLoad::Part(part) => {
                    part * rate_of(rates, &bench.devices[device], direction, length)?
                }
            };
            let period = period(rate);
            let lost = pull(bench, device, period)?;
            Ok(lost as f64 * period.as_secs_f64() * 1e3)
        })?;
        let text = match *load {
            PullLoad::Rate(rate) => format!("{} kpps", rate / 1000),
            PullLoad::Part(part) => percent(part),
        };
        let about = About { name: Name::Outage, unit: "ms", direction, length, load: Some(text) };
        out.extend(bench.measurements(&about, &numbers, readings));
    }
    bench.rounds = rounds;
    Ok(out)
}

/// Pulls the active slave's cable and plugs it in again; how many frames were lost by the pull.
fn pull(bench: &mut Bench, device: usize, period: Duration) -> Result<u64> {
    let Bench { devices, generator, .. } = bench;
    let device = &devices[device];
    let stream = device.stream(Direction::HostToWire, LENGTH, Some(period));
    let (sink, cable) = (&device.wire_sink, &device.rig.cables[0]);
    // Ready before, so that the pull is one message: a program to be started would keep the device from its CPU, and
    // what waits for it meanwhile would be lost too.
    let mut wire = cable.far.netns.run(|| Ok(Netlink::new()?))?;
    let far = rig::index(&cable.far)?;
    device.run(true)?;
    thread::sleep(UP);
    let (sent, arrived) = (generator.sent()?, sink.tally()?.frames);
    generator.run(&stream, |_| {
        thread::sleep(DOWN);
        wire.set_down(far)?;
        thread::sleep(DOWN);
        Ok(())
    })?;
    thread::sleep(UNDER_WAY);
    let (sent, arrived) = (generator.sent()? - sent, sink.tally()?.frames - arrived);
    cable.plug()?;
    thread::sleep(UP);
    device.run(false)?;
    Ok(sent.saturating_sub(arrived))
}
