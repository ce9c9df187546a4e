//! The parts of the tests themselves, over plain cables and a plain bridge: a fault that the sink or the echo client
//! could not see would make every other test worthless.

use std::{
    fs,
    net::SocketAddrV4,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bond_tests::{
    ALL_ETHERTYPES, ETHERTYPE, Echo, EchoServer, Faults, Flow, ForeignXdp, Lan, Mac, Netns, Pace,
    PacketSocket, Sink, Snapshot, Switch, Wire, exchange, send,
};

const FRAMES: u64 = 20_000;
const PERIOD: Duration = Duration::from_millis(1);

fn flow(wire: &Wire) -> Flow {
    let cable = &wire.cables[0];
    Flow { id: 1, source: cable.near.mac, destination: cable.far.mac, frames: FRAMES }
}

#[test]
#[ignore = "needs root"]
fn a_wire_carries_every_frame_once_and_in_order() -> Result<()> {
    let wire = Wire::new(2, 2)?;
    let (near, far): (Vec<_>, Vec<_>) =
        wire.cables.iter().map(|cable| (&cable.near, &cable.far)).unzip();
    for (from, to) in [(&near, &far), (&far, &near)] {
        let start = Instant::now();
        let report = exchange(&flow(&wire), from, to)?;
        eprintln!("{FRAMES} frames in {:?}", start.elapsed());
        assert_eq!(report.faults, Faults::default());
        assert_eq!(report.counts(), [10_000, 10_000]);
        assert!(report.arrivals[0].sequence.iter().copied().eq((0..FRAMES).step_by(2)));
        assert!(report.arrivals[1].sequence.iter().copied().eq((1..FRAMES).step_by(2)));
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_sink_sees_lost_duplicated_altered_and_overtaking_frames() -> Result<()> {
    let wire = Wire::new(1, 1)?;
    let (near, far) = (&wire.cables[0].near, &wire.cables[0].far);
    let flow = Flow { frames: 10, ..flow(&wire) };
    let sink = Sink::open(&flow, &[far])?;
    let socket = near.packet_socket(ETHERTYPE)?;
    let mut buffer = [0; 1514];
    // 3 is missing, 5 comes twice, 8 before 7, and 9 has one flipped bit.
    for sequence in [0, 1, 2, 4, 5, 5, 6, 8, 7, 9] {
        let length = flow.write(sequence, &mut buffer);
        buffer[40] ^= u8::from(sequence == 9);
        assert!(socket.send(&buffer[..length])?);
    }
    let report = sink.finish()?;
    assert_eq!(report.faults, Faults { lost: 2, duplicated: 1, altered: 1 });
    assert_eq!(report.arrivals[0].sequence, [0, 1, 2, 4, 5, 5, 6, 8, 7]);
    assert_eq!(report.arrivals[0].out_of_order(), 1);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_flow_ends_in_time_when_its_frames_are_lost() -> Result<()> {
    let wire = Wire::new(1, 1)?;
    let flow = Flow { frames: 2000, ..flow(&wire) };
    // The frames go to a netdev that nobody listens on.
    let elsewhere = Wire::new(1, 1)?;
    let sink = Sink::open(&flow, &[&elsewhere.cables[0].far])?;
    let start = Instant::now();
    send(&flow, &[wire.cables[0].near.packet_socket(ETHERTYPE)?], Pace::default(), Some(&sink))?;
    assert_eq!(sink.finish()?.faults, Faults { lost: flow.frames, ..Faults::default() });
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn an_unplugged_cable_has_no_carrier_and_a_removed_one_can_be_laid_again() -> Result<()> {
    let wire = Wire::new(1, 1)?;
    let operstate = || -> Result<bool> { Ok(wire.host.ip("link show eth0")?.contains("LOWER_UP")) };
    assert!(operstate()?);
    wire.cables[0].pull()?;
    assert!(!operstate()?);
    wire.cables[0].plug()?;
    assert!(operstate()?);
    let before = Snapshot::take(&wire.host)?;
    wire.cables[0].remove()?;
    let gone = Snapshot::take(&wire.host)?;
    assert_eq!((before.links(), gone.links()), (vec!["eth0", "lo"], vec!["lo"]));
    wire.cable(0, 1)?;
    assert!(operstate()?);
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_snapshot_sees_every_kind_of_change() -> Result<()> {
    let wire = Wire::new(1, 1)?;
    let unchanged = Snapshot::take(&wire.host)?;
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&unchanged), [""; 0]);
    let program = ForeignXdp::attach(&wire.cables[0].near)?;
    assert_ne!(Snapshot::take(&wire.host)?.changes_since(&unchanged), [""; 0], "an XDP program");
    drop(program);
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&unchanged), [""; 0]);
    for (change, revert) in [
        ("link set eth0 mtu 1400", "link set eth0 mtu 1500"),
        ("link set eth0 address 02:00:00:00:09:09", "link set eth0 address 02:00:00:00:01:00"),
        ("link set eth0 promisc on", "link set eth0 promisc off"),
        ("address add 10.0.0.1/24 dev eth0", "address del 10.0.0.1/24 dev eth0"),
        ("link add bond0 type veth peer name bond0-xsk", "link del bond0"),
    ] {
        wire.host.ip(change)?;
        assert_ne!(Snapshot::take(&wire.host)?.changes_since(&unchanged), [""; 0], "{change}");
        wire.host.ip(revert)?;
        assert_eq!(Snapshot::take(&wire.host)?.changes_since(&unchanged), [""; 0], "{revert}");
    }
    assert!(
        wire.host.command("ethtool").args(["-K", "eth0", "gro", "on"]).output()?.status.success()
    );
    assert_ne!(Snapshot::take(&wire.host)?.changes_since(&unchanged), [""; 0], "an offload");
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn the_echo_client_measures_the_outage_of_a_pull() -> Result<()> {
    let lan = Lan::new(Switch::Plain)?;
    lan.host.ip("address add 10.3.3.120/24 dev eth0")?;
    let server = SocketAddrV4::new(Lan::PEER, 7);
    let _server = EchoServer::udp(&lan.peer, server)?;
    for echo in [Echo::udp(&lan.host, server, PERIOD)?, Echo::icmp(&lan.host, Lan::PEER, PERIOD)?] {
        thread::sleep(Duration::from_millis(200));
        let pulled = Instant::now();
        lan.port.pull()?;
        thread::sleep(Duration::from_millis(100));
        lan.port.plug()?;
        lan.peer.settle("eth0")?;
        let plugged = Instant::now();
        thread::sleep(Duration::from_millis(200));
        let samples = echo.samples();
        let (before, after) = (plugged - pulled, Instant::now());
        assert_eq!(samples.between(pulled - Duration::from_millis(150), pulled).lost(), 0);
        assert_eq!(samples.between(plugged, after - Duration::from_millis(50)).lost(), 0);
        let around = samples.between(pulled - 5 * PERIOD, plugged + 20 * PERIOD);
        let outage = around.outage(PERIOD);
        eprintln!("unplugged for {before:?}, outage {outage:?}, {} lost", around.lost());
        assert!(outage >= Duration::from_millis(90), "{outage:?}");
        assert!(outage <= before + 5 * PERIOD, "{outage:?}");
        assert!(around.lost() >= 80, "{}", around.lost());
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_listener_hears_one_netdev_and_not_what_it_sends() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let heard = |socket: &PacketSocket| -> Result<usize> {
        let mut buffer = [0; 2048];
        let mut count = 0;
        while socket.receive(&mut buffer)?.is_some() {
            count += 1;
        }
        Ok(count)
    };
    let sender = wire.cables[0].near.packet_socket(ALL_ETHERTYPES)?;
    let opposite = wire.cables[0].far.packet_socket(ALL_ETHERTYPES)?;
    let other = wire.cables[1].far.packet_socket(ALL_ETHERTYPES)?;
    let mut buffer = [0; 1514];
    for destination in [Mac::BROADCAST, Mac::MULTICAST, Mac::LINK_LOCAL] {
        let length = Flow { destination, ..flow(&wire) }.write(0, &mut buffer);
        assert!(sender.send(&buffer[..length])?);
    }
    assert_eq!((heard(&sender)?, heard(&opposite)?, heard(&other)?), (0, 3, 0));
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn a_namespace_ends_with_its_processes_and_also_when_its_maker_panics() -> Result<()> {
    let panicked = thread::spawn(|| {
        let netns = Netns::new("panic").expect("needs root");
        let mut child =
            netns.command("sleep").arg("100").stdout(Stdio::null()).spawn().expect("sleep");
        thread::sleep(Duration::from_millis(50));
        std::panic::panic_any((netns.name().to_owned(), thread::spawn(move || child.wait())));
    })
    .join()
    .expect_err("it panicked");
    let (name, child) = *panicked
        .downcast::<(String, thread::JoinHandle<std::io::Result<std::process::ExitStatus>>)>()
        .expect("the payload");
    assert!(!child.join().expect("no panic")?.success());
    assert!(!fs::exists(format!("/run/netns/{name}"))?);
    // What a dead process left goes at the next start of any: a pid of 2^22 is beyond the kernel's limit.
    let stale = "bt-4194304-0-host";
    assert!(Command::new("ip").args(["netns", "add", stale]).status()?.success());
    let status = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "a_listener_hears_one_netdev_and_not_what_it_sends"])
        .stdout(Stdio::null())
        .status()?;
    assert!(status.success());
    assert!(!fs::exists(format!("/run/netns/{stale}"))?);
    Ok(())
}
