//! A cable is pulled: how long the bond is silent, where its frames go, and what it tells the network.

use std::{
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bond_tests::{
    ALL_ETHERTYPES, BondProcess, ETHERTYPE, Echo, EchoServer, Faults, Flow, Lan, LinkEvents, Mac,
    Pace, PacketSocket, Sink, Switch, Wire, XdpMode, exchange, native_and_generic, send,
};
use rustix::process::Signal;

const PERIOD: Duration = Duration::from_millis(1);
/// How long each state of the cables is kept.
const DWELL: Duration = Duration::from_millis(250);

native_and_generic!(
    active_backup_is_silent_for_a_few_milliseconds,
    the_carrier_poll_outruns_late_link_events,
    active_backup_goes_back_to_its_primary,
    balance_rr_leaves_the_dead_slave_and_takes_it_back,
    balance_rr_hears_a_slave_before_it_has_seen_its_link,
    a_failover_is_announced,
    announcements_are_repeated,
    groups_are_joined_again_on_the_new_slave,
);

/// An active-backup bond over [`Lan`], with its address set and the peer's known.
fn bonded(xdp_mode: XdpMode, arguments: &str) -> Result<(BondProcess, Lan)> {
    bonded_over(Lan::new(Switch::Plain)?, xdp_mode, arguments)
}

fn bonded_over(lan: Lan, xdp_mode: XdpMode, arguments: &str) -> Result<(BondProcess, Lan)> {
    let arguments = format!(
        "--iface eth0,eth1 --mode active-backup --xdp-mode {} {arguments}",
        xdp_mode.name()
    );
    let bond = BondProcess::start(&lan.host, "bond0", &arguments)?;
    bond.port()?.add_address("10.3.3.120/24")?;
    Ok((bond, lan))
}

fn active_backup_is_silent_for_a_few_milliseconds(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, lan) = bonded(xdp_mode, "")?;
    let server = SocketAddrV4::new(Lan::PEER, 7);
    let _server = EchoServer::udp(&lan.peer, server)?;
    let echo = Echo::udp(&lan.host, server, PERIOD)?;
    let mut pulls = Vec::new();
    for pull in 0..10 {
        let [active, other] = if pull % 2 == 0 { ["eth0", "eth1"] } else { ["eth1", "eth0"] };
        let cable = &lan.cables[pull % 2];
        thread::sleep(DWELL);
        let pulled = Instant::now();
        cable.pull()?;
        thread::sleep(DWELL);
        let state = bond.show()?;
        assert_eq!(state.active_slave.as_deref(), Some(other), "after pull {pull}");
        let last = state.failovers.last.context("no failover is told of")?;
        assert_eq!(
            (last.from.as_deref(), last.to.as_deref()),
            (Some(active), Some(other)),
            "after pull {pull}"
        );
        pulls.push((pulled, Instant::now()));
        cable.plug()?;
        bond.wait_until_whole()?;
    }
    thread::sleep(DWELL);
    let state = bond.show()?;
    assert_eq!(state.failovers.count, 10);
    assert_eq!(
        state.slaves.iter().map(|slave| slave.link_failure_count).collect::<Vec<_>>(),
        [5, 5]
    );

    let samples = echo.samples();
    let mut outages: Vec<_> =
        pulls.iter().map(|&(from, to)| samples.between(from - DWELL, to).outage(PERIOD)).collect();
    outages.sort();
    println!("{}: outages {outages:?}", xdp_mode.name());
    assert!((outages[4] + outages[5]) / 2 <= Duration::from_millis(3), "median of {outages:?}");
    assert!(outages[9] <= Duration::from_millis(20), "longest of {outages:?}");
    // A slave that comes back is a backup: nothing is lost from its plug to the next pull, which may catch a request that
    // is on its way.
    for (pull, (plug, next)) in pulls.iter().zip(&pulls[1..]).enumerate() {
        assert_eq!(samples.between(plug.1, next.0 - DWELL / 5).lost(), 0, "after plug {pull}");
    }
    bond.stop()
}

/// A NIC's lost carrier is told up to a second late when another one's was told just before. Two NICs at one switch that
/// goes away are such a case; here a cable that is none of the bond's is pulled first.
fn the_carrier_poll_outruns_late_link_events(xdp_mode: XdpMode) -> Result<()> {
    let lan = Lan::with_link_events(Switch::Plain, LinkEvents::Late)?;
    let bystander = Lan::with_link_events(Switch::Plain, LinkEvents::Late)?;
    let (mut bond, lan) = bonded_over(lan, xdp_mode, "--miimon 10")?;
    let echo = Echo::icmp(&lan.host, Lan::PEER, PERIOD)?;
    thread::sleep(DWELL);
    bystander.cables[0].pull()?;
    let pulled = Instant::now();
    lan.cables[0].pull()?;
    let state =
        bond.wait_for("eth1 is active", |state| state.active_slave.as_deref() == Some("eth1"))?;
    let reason = state.failovers.last.context("no failover is told of")?.reason;
    assert_eq!(reason, "eth0: no carrier, seen by carrier poll");
    thread::sleep(2 * DWELL);
    let outage = echo.samples().between(pulled - DWELL, pulled + DWELL).outage(PERIOD);
    println!("{}: outage {outage:?}", xdp_mode.name());
    assert!(outage <= Duration::from_millis(20), "{outage:?}");
    bond.stop()
}

fn active_backup_goes_back_to_its_primary(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, lan) = bonded(xdp_mode, "--primary eth1")?;
    assert_eq!(bond.show()?.active_slave.as_deref(), Some("eth1"));
    lan.cables[1].pull()?;
    bond.wait_for("eth0 is active", |state| state.active_slave.as_deref() == Some("eth0"))?;
    let echo = Echo::icmp(&lan.host, Lan::PEER, PERIOD)?;
    thread::sleep(DWELL);
    lan.cables[1].plug()?;
    bond.wait_for("eth1 is active", |state| state.active_slave.as_deref() == Some("eth1"))?;
    let back = Instant::now();
    thread::sleep(DWELL);
    let samples = echo.samples();
    let outage = samples.between(samples.0[0].sent, back + DWELL / 2).outage(PERIOD);
    // The switch may forward a moment after its port's link is up.
    assert!(outage <= Duration::from_millis(20), "{outage:?}");
    bond.stop()
}

fn balance_rr_leaves_the_dead_slave_and_takes_it_back(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let arguments = format!("--iface eth0,eth1 --mode balance-rr --xdp-mode {}", xdp_mode.name());
    let mut bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0 = bond.port()?;
    let flow = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: 10_000 };
    let far = [&wire.cables[0].far, &wire.cables[1].far];

    wire.cables[1].pull()?;
    let dead = |state: &bond_tests::State| {
        state.slave("eth1").map(|slave| (slave.mii_status.clone(), slave.tx_packets))
    };
    let down = bond.wait_for("eth1 is down", |state| {
        dead(state).is_some_and(|(status, _)| status == "down")
    })?;
    let report = exchange(&flow, &[&bond0], &far[..1])?;
    assert_eq!(report.faults, Faults::default(), "with one cable");
    assert_eq!(report.counts(), [10_000], "with one cable");
    assert_eq!(dead(&bond.show()?), dead(&down), "frames went to the dead slave");

    wire.cables[1].plug()?;
    bond.wait_until_whole()?;
    let report = exchange(&flow, &[&bond0], &far)?;
    assert_eq!(report.faults, Faults::default(), "with both cables again");
    assert_eq!(report.counts(), [5000, 5000], "with both cables again");
    bond.stop()
}

/// The other side may see the link first and send: in balance-rr such a frame is as good as any.
fn balance_rr_hears_a_slave_before_it_has_seen_its_link(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let arguments = format!("--iface eth0,eth1 --mode balance-rr --xdp-mode {}", xdp_mode.name());
    let mut bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0 = bond.port()?;
    wire.cables[1].pull()?;
    bond.wait_for("eth1 is down", |state| {
        state.slave("eth1").is_some_and(|slave| slave.mii_status == "down")
    })?;

    // Fewer frames than wait in a receive ring until the bond goes on.
    let flow = Flow { id: 1, source: Mac::local(2, 1), destination: bond0.mac, frames: 100 };
    let sink = Sink::open(&flow, &[&bond0])?;
    bond.signal(Signal::STOP)?;
    wire.cables[1].plug()?;
    send(&flow, &[wire.cables[1].far.packet_socket(ETHERTYPE)?], Pace::default(), None)?;
    bond.signal(Signal::CONT)?;
    assert_eq!(sink.finish()?.faults, Faults::default());
    bond.stop()
}

fn a_failover_is_announced(xdp_mode: XdpMode) -> Result<()> {
    let (bond, lan) = bonded(xdp_mode, "")?;
    let bond0 = bond.port()?;
    lan.host.sysctl("ipv6/conf/bond0/disable_ipv6", "0")?;
    bond0.add_address("fd03::120/64")?;
    let listener = lan.cables[1].far.packet_socket(ALL_ETHERTYPES)?;
    let before = frames(&listener, DWELL)?;
    lan.cables[0].pull()?;
    let heard = frames(&listener, DWELL)?;

    let arp = gratuitous_arp(bond0.mac, [10, 3, 3, 120]);
    let advertisement = unsolicited_na(
        bond0.mac,
        std::net::Ipv6Addr::new(0xfd03, 0, 0, 0, 0, 0, 0, 0x120).octets(),
    );
    for (name, expected) in [("gratuitous ARP", &arp[..]), ("unsolicited NA", &advertisement[..])] {
        let count =
            |frames: &[Vec<u8>]| frames.iter().filter(|frame| frame.starts_with(expected)).count();
        assert_eq!(count(&before), 0, "{name} before the failover");
        assert_eq!(count(&heard), 1, "{name}: heard {heard:02x?}");
    }
    bond.stop()
}

fn announcements_are_repeated(xdp_mode: XdpMode) -> Result<()> {
    let (bond, lan) = bonded(xdp_mode, "--num-peer-notif 3 --peer-notif-delay 100")?;
    let expected = gratuitous_arp(bond.port()?.mac, [10, 3, 3, 120]);
    let listener = lan.cables[1].far.packet_socket(ALL_ETHERTYPES)?;
    lan.cables[0].pull()?;
    let times =
        times_of(&listener, Duration::from_millis(600), |frame| frame.starts_with(&expected))?;
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(times[2] - times[0] >= Duration::from_millis(150), "{times:?}");
    bond.stop()
}

fn groups_are_joined_again_on_the_new_slave(xdp_mode: XdpMode) -> Result<()> {
    let (bond, lan) = bonded(xdp_mode, "--resend-igmp 3")?;
    let mac = bond.port()?.mac;
    // An address with autojoin makes the kernel join the group.
    lan.host.ip("address add 239.1.1.1/32 dev bond0 autojoin")?;
    thread::sleep(DWELL);
    let listener = lan.cables[1].far.packet_socket(ALL_ETHERTYPES)?;
    lan.cables[0].pull()?;
    // To the version 3 routers: one record, "exclude nobody", of the group.
    let header = [&[0x01, 0, 0x5e, 0, 0, 22], &mac.0[..]].concat();
    let record = [0, 0, 0, 1, 2, 0, 0, 0, 239, 1, 1, 1];
    let times = times_of(&listener, Duration::from_millis(900), |frame| {
        frame.starts_with(&header)
            && frame.get(26..30) == Some(&[10, 3, 3, 120])
            && frame.get(38) == Some(&0x22)
            && frame.get(42..54) == Some(&record)
    })?;
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(times[2] - times[0] >= Duration::from_millis(350), "{times:?}");
    bond.stop()
}

/// When such frames arrive at `listener` in `time`.
fn times_of(
    listener: &PacketSocket,
    time: Duration,
    is_one: impl Fn(&[u8]) -> bool,
) -> Result<Vec<Duration>> {
    let (start, mut times, mut buffer) = (Instant::now(), Vec::new(), [0; 2048]);
    while start.elapsed() < time {
        let frame = listener.receive(&mut buffer)?.map(|length| &buffer[..length]);
        times.extend(frame.filter(|frame| is_one(frame)).map(|_| start.elapsed()));
    }
    Ok(times)
}

/// What arrives at `listener` in `time`.
fn frames(listener: &PacketSocket, time: Duration) -> Result<Vec<Vec<u8>>> {
    let (start, mut frames, mut buffer) = (Instant::now(), Vec::new(), [0; 2048]);
    while start.elapsed() < time {
        frames.extend(listener.receive(&mut buffer)?.map(|length| buffer[..length].to_vec()));
    }
    Ok(frames)
}

/// RFC 5227 section 3: a broadcast request for the own address.
fn gratuitous_arp(mac: Mac, address: [u8; 4]) -> Vec<u8> {
    let ethernet = [&Mac::BROADCAST.0[..], &mac.0, &[0x08, 0x06]].concat();
    let request = [0, 1, 0x08, 0x00, 6, 4, 0, 1];
    [&ethernet[..], &request, &mac.0, &address, &[0; 6], &address].concat()
}

/// RFC 4861 section 7.2.6: to all nodes, override set, with the target's link-layer address.
fn unsolicited_na(mac: Mac, address: [u8; 16]) -> Vec<u8> {
    let all_nodes = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let mut message = [&[136, 0, 0, 0, 0x20, 0, 0, 0][..], &address, &[2, 1], &mac.0].concat();
    let pseudo_header = [&address[..], &all_nodes, &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
    let checksum = bond_tests::internet_checksum(&[pseudo_header, message.clone()].concat());
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let ethernet = [&[0x33, 0x33, 0, 0, 0, 1][..], &mac.0, &[0x86, 0xdd]].concat();
    let ipv6 = [&[0x60, 0, 0, 0, 0, 32, 58, 255][..], &address, &all_nodes].concat();
    [ethernet, ipv6, message].concat()
}
