//! Frames for the host gather under a load that no worker can take, and only then.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bond_bench::{
    device::{Device, Direction, Mode, Spec},
    generator::Generator,
    peers::System,
};
use bond_tests::{State, bond, wait_until};

const LIMIT: Duration = Duration::from_secs(5);

fn state(device: &Device) -> State {
    let shown = bond(&device.rig.host, "show bond0 -j").unwrap();
    serde_json::from_str(&shown.stdout).unwrap()
}

/// bond0's setting, in ns, as the kernel tells it.
fn in_force(device: &Device) -> u64 {
    // It mounts the namespace's own sysfs at /sys.
    let netns = &device.rig.host;
    let mut command = netns.command("unshare");
    command.args([
        "-m",
        "sh",
        "-c",
        "mount -t sysfs sysfs /sys && cat /sys/class/net/bond0/gro_flush_timeout",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "needs root"]
fn frames_gather_under_an_overload_only() {
    let device = Device::start(Spec::new(System::Bond, Mode::ActiveBackup)).unwrap();
    let mut generator = Generator::load().unwrap();
    device.run(true).unwrap();

    let calm = device.stream(Direction::WireToHost, 64, Some(Duration::from_micros(100)));
    let timeout = generator.run(&calm, |_| {
        std::thread::sleep(Duration::from_millis(300));
        Ok(state(&device).gro_flush_timeout)
    });
    assert_eq!((timeout.unwrap(), in_force(&device)), (0, 0), "at 10 kpps");

    let flood = device.stream(Direction::WireToHost, 64, None);
    let timeout = generator.run(&flood, |_| {
        wait_until("frames gather", LIMIT, || {
            let timeout = state(&device).gro_flush_timeout;
            Ok((timeout > 0).then_some(timeout))
        })
    });
    let timeout = timeout.unwrap();
    assert!((10_000..=100_000).contains(&timeout), "{timeout} ns");
    assert_eq!(in_force(&device), timeout, "it lasts for a second");
    assert!(device.sink(Direction::WireToHost).tally().unwrap().frames > 1000);

    wait_until("frames gather no longer", LIMIT, || {
        Ok((state(&device).gro_flush_timeout == 0).then_some(()))
    })
    .unwrap();
    assert_eq!(in_force(&device), 0);
}
