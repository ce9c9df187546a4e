//! updelay and downdelay: a link that comes and goes is used and given up when it should be, and no sooner.

use std::{
    net::SocketAddrV4,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bond_tests::{
    BondProcess, Echo, EchoServer, Failover, Lan, State, Switch, XdpMode, native_and_generic,
};

const PERIOD: Duration = Duration::from_millis(1);
/// How much later than configured something may happen, on a machine that has other things to do: a wake-up, a carrier
/// that is told a moment after the plug is pulled, and the failover.
const TOLERANCE: Duration = Duration::from_millis(20);
/// A delay that no test waits for.
const LONG: u64 = 60_000;

native_and_generic!(
    downdelay_bridges_a_short_loss,
    downdelay_ends_on_time,
    updelay_keeps_a_primary_out_for_its_time,
    a_loss_during_updelay_begins_it_anew,
    updelay_is_skipped_when_nothing_can_be_used,
    balance_rr_leaves_a_slave_at_once_and_counts_it_after_downdelay,
);

fn bonded(xdp_mode: XdpMode, arguments: &str) -> Result<(BondProcess, Lan)> {
    let lan = Lan::new(Switch::Plain)?;
    let arguments = format!("--iface eth0,eth1 --xdp-mode {} {arguments}", xdp_mode.name());
    let bond = BondProcess::start(&lan.host, "bond0", &arguments)?;
    bond.port()?.add_address("10.3.3.120/24")?;
    Ok((bond, lan))
}

fn link_is(slave: &str, mii_status: &str) -> impl Fn(&State) -> bool {
    move |state| state.slave(slave).is_some_and(|slave| slave.mii_status == mii_status)
}

fn is_active(slave: &str) -> impl Fn(&State) -> bool {
    move |state| state.active_slave.as_deref() == Some(slave)
}

fn failures(state: &State) -> Vec<u64> {
    state.slaves.iter().map(|slave| slave.link_failure_count).collect()
}

fn last(state: State) -> Result<Failover> {
    state.failovers.last.context("no failover is told of")
}

/// Asserts that a failover came `delay` after the carrier had changed, as its reason tells: "eth0: no carrier for 300 ms,
/// seen by link event".
fn assert_on_time(last: &Failover, cause: &str, delay: Duration) -> Result<()> {
    let held = last.reason.strip_prefix(cause).and_then(|rest| rest.split_once(" ms, seen by "));
    let (held, _) = held.with_context(|| format!("{cause:?} is not the reason of {last:?}"))?;
    let held = Duration::from_millis(held.trim().parse()?);
    println!("{cause} {held:?}, {delay:?} configured");
    assert!(delay <= held && held <= delay + TOLERANCE, "{last:?} after {delay:?}");
    Ok(())
}

fn downdelay_bridges_a_short_loss(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, lan) = bonded(xdp_mode, &format!("--downdelay {LONG}"))?;
    let server = SocketAddrV4::new(Lan::PEER, 7);
    let _server = EchoServer::udp(&lan.peer, server)?;
    let echo = Echo::udp(&lan.host, server, PERIOD)?;
    thread::sleep(Duration::from_millis(250));
    lan.cables[0].pull()?;
    let state = bond.wait_for("eth0 is going down", link_is("eth0", "going down"))?;
    assert_eq!(state.active_slave.as_deref(), Some("eth0"));
    let evidence = &state.slave("eth0").context("eth0")?.evidence;
    let told = evidence.starts_with("no carrier for ") && evidence.contains(", going down in ");
    assert!(told, "{evidence}");

    lan.cables[0].plug()?;
    let plugged = Instant::now();
    let state = bond.wait_until_whole()?;
    assert_eq!(state.active_slave.as_deref(), Some("eth0"));
    assert_eq!((state.failovers.count, failures(&state)), (0, vec![0, 0]));
    thread::sleep(Duration::from_millis(250));
    // What the slave is sent while it has no carrier is dropped, and nothing waits anywhere to come out later.
    let lost = state.host.drops.get("no_usable_slave").copied().unwrap_or_default();
    assert!(lost > 0, "{:?}", state.host.drops);
    let after = echo.samples().between(plugged + TOLERANCE, plugged + Duration::from_millis(200));
    assert_eq!(after.lost(), 0, "of {} requests after the plug", after.0.len());
    drop(echo);
    bond.stop()
}

fn downdelay_ends_on_time(xdp_mode: XdpMode) -> Result<()> {
    const DOWNDELAY: Duration = Duration::from_millis(300);
    // A long miimon: it is no poll that ends the delay.
    let (mut bond, lan) = bonded(xdp_mode, "--downdelay 300 --miimon 60000")?;
    let server = SocketAddrV4::new(Lan::PEER, 7);
    let _server = EchoServer::udp(&lan.peer, server)?;
    let echo = Echo::udp(&lan.host, server, PERIOD)?;
    thread::sleep(Duration::from_millis(250));
    let start = Instant::now();
    lan.cables[0].pull()?;
    let state = bond.wait_for("eth1 is active", is_active("eth1"))?;
    assert_eq!((state.failovers.count, failures(&state)), (1, vec![1, 0]));
    assert_on_time(&last(state)?, "eth0: no carrier for ", DOWNDELAY)?;
    thread::sleep(Duration::from_millis(100));
    let outage = echo.samples().between(start, Instant::now()).outage(PERIOD);
    println!("{}: outage {outage:?}", xdp_mode.name());
    assert!(DOWNDELAY - 2 * PERIOD <= outage && outage <= DOWNDELAY + TOLERANCE, "{outage:?}");
    drop(echo);
    bond.stop()
}

fn updelay_keeps_a_primary_out_for_its_time(xdp_mode: XdpMode) -> Result<()> {
    const UPDELAY: Duration = Duration::from_millis(400);
    let (mut bond, lan) = bonded(xdp_mode, "--primary eth0 --updelay 400 --miimon 60000")?;
    let state = bond.wait_until_whole()?;
    assert_eq!((state.active_slave.as_deref(), state.updelay), (Some("eth0"), 400));
    lan.cables[0].pull()?;
    let state = bond.wait_for("eth1 is active", is_active("eth1"))?;
    let reason = last(state)?.reason;
    assert!(reason.starts_with("eth0: no carrier, seen by "), "{reason}");

    let plugged = Instant::now();
    lan.cables[0].plug()?;
    let state = bond.wait_for("eth0 is going back", link_is("eth0", "going back"))?;
    assert_eq!(state.active_slave.as_deref(), Some("eth1"));
    let evidence = &state.slave("eth0").context("eth0")?.evidence;
    assert!(
        evidence.starts_with("carrier for ") && evidence.contains(", going up in "),
        "{evidence}"
    );
    let state = bond.wait_for("eth0 is active", is_active("eth0"))?;
    assert!(plugged.elapsed() >= UPDELAY);
    assert_eq!((state.failovers.count, failures(&state)), (2, vec![1, 0]));
    assert_on_time(&last(state)?, "eth0: has carrier for ", UPDELAY)?;
    bond.stop()
}

fn a_loss_during_updelay_begins_it_anew(xdp_mode: XdpMode) -> Result<()> {
    const UPDELAY: Duration = Duration::from_millis(1000);
    let (mut bond, lan) = bonded(xdp_mode, "--primary eth0 --updelay 1000")?;
    bond.wait_until_whole()?;
    for failed in 1..3 {
        lan.cables[0].pull()?;
        let state = bond.wait_for("eth0 is down", link_is("eth0", "down"))?;
        assert_eq!(failures(&state), [failed, 0]);
        assert_eq!((state.active_slave.as_deref(), state.failovers.count), (Some("eth1"), 1));
        lan.cables[0].plug()?;
        bond.wait_for("eth0 is going back", link_is("eth0", "going back"))?;
    }
    let state = bond.wait_for("eth0 is active", is_active("eth0"))?;
    assert_on_time(&last(state)?, "eth0: has carrier for ", UPDELAY)?;
    bond.stop()
}

fn updelay_is_skipped_when_nothing_can_be_used(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, lan) = bonded(xdp_mode, &format!("--updelay {LONG}"))?;
    // The first slave is all there is at the start.
    let state = bond.wait_for("eth1 is going back", link_is("eth1", "going back"))?;
    assert_eq!((state.active_slave.as_deref(), state.mii_status.as_str()), (Some("eth0"), "up"));

    // The only one that is up goes: the other cannot wait any longer, and there is one failover.
    lan.cables[0].pull()?;
    let state = bond.wait_for("eth1 is active", is_active("eth1"))?;
    assert!(link_is("eth1", "up")(&state), "{state:?}");
    assert_eq!((state.failovers.count, state.mii_status.as_str()), (1, "up"));
    let failover = last(state)?;
    assert_eq!((failover.from.as_deref(), failover.to.as_deref()), (Some("eth0"), Some("eth1")));

    // Nothing is up: whoever comes is used at once.
    lan.cables[1].pull()?;
    bond.wait_for("nothing is up", |state| state.mii_status == "down")?;
    lan.cables[1].plug()?;
    bond.wait_for("eth1 is active", is_active("eth1"))?;
    lan.cables[0].plug()?;
    let state = bond.wait_for("eth0 is going back", link_is("eth0", "going back"))?;
    assert_eq!((state.active_slave.as_deref(), failures(&state)), (Some("eth1"), vec![1, 1]));
    bond.stop()
}

fn balance_rr_leaves_a_slave_at_once_and_counts_it_after_downdelay(
    xdp_mode: XdpMode,
) -> Result<()> {
    let (mut bond, lan) = bonded(xdp_mode, "--mode balance-rr --downdelay 1000 --updelay 300")?;
    bond.wait_until_whole()?;
    lan.cables[1].pull()?;
    let state = bond.wait_for("eth1 is going down", link_is("eth1", "going down"))?;
    let eth1 = state.slave("eth1").context("eth1")?;
    assert_eq!((eth1.state.as_str(), eth1.link_failure_count), ("backup", 0));
    // Back in time: no updelay either.
    lan.cables[1].plug()?;
    let state =
        bond.wait_for("eth1 is up or late", |state| !link_is("eth1", "going down")(state))?;
    assert!(link_is("eth1", "up")(&state), "{state:?}");
    lan.cables[1].pull()?;
    let state = bond.wait_for("eth1 is down", link_is("eth1", "down"))?;
    assert_eq!(failures(&state), [0, 1]);
    bond.stop()
}
