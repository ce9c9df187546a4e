//! `bond show`: the JSON keeps its keys and types, the text says what people look for.

use std::time::Duration;

use anyhow::Result;
use bond_tests::{BondProcess, Netns, State, Wire, XdpMode, bond, bounded, native_and_generic};
use serde_json::Value;

native_and_generic!(
    the_json_has_the_promised_keys_and_values,
    the_text_has_the_kernels_words,
    the_text_for_scripts_is_the_kernels,
    a_pipeline_shows_both_its_threads,
);

const BOND: &[(&str, &str)] = &[
    ("ifname", "string"),
    ("pid", "number"),
    ("mode", "string"),
    ("miimon", "number"),
    ("updelay", "number"),
    ("downdelay", "number"),
    ("packets_per_slave", "number"),
    ("xmit_hash_policy", "string"),
    ("all_slaves_active", "number"),
    ("num_peer_notif", "number"),
    ("peer_notif_delay", "number"),
    ("resend_igmp", "number"),
    ("primary", "string"),
    ("primary_reselect", "string"),
    ("active_slave", "string"),
    ("mii_status", "string"),
    ("address", "string"),
    ("mtu", "number"),
    ("layout", "string"),
    ("poll", "string"),
    ("workers", "array"),
    ("host", "object"),
    ("slaves", "array"),
    ("failovers", "object"),
];
const WORKER: &[(&str, &str)] =
    &[("worker", "number"), ("core", "number"), ("egress", "null"), ("umems", "array")];
const UMEM: &[(&str, &str)] = &[
    ("total", "number"),
    ("free", "number"),
    ("held", "number"),
    ("fill", "number"),
    ("tx", "number"),
];
const PORT: &[(&str, &str)] = &[
    ("ifname", "string"),
    ("xdp_mode", "string"),
    ("bind_mode", "string"),
    ("rx_packets", "number"),
    ("rx_bytes", "number"),
    ("tx_packets", "number"),
    ("tx_bytes", "number"),
    ("drops", "object"),
];
const SLAVE: &[(&str, &str)] = &[
    ("ifindex", "number"),
    ("mii_status", "string"),
    ("state", "string"),
    ("weight", "number"),
    ("link_failure_count", "number"),
    ("prio", "number"),
    ("speed", "number"),
    ("duplex", "string"),
    ("perm_hwaddr", "string"),
    ("hwaddr", "string"),
    ("queues", "number"),
    ("promisc", "bool"),
];
const FAILOVERS: &[(&str, &str)] = &[("count", "number"), ("last", "object")];
const FAILOVER: &[(&str, &str)] = &[
    ("from", "string"),
    ("to", "string"),
    ("reason", "string"),
    ("took_us", "number"),
    ("at", "string"),
];

fn assert_keys(value: &Value, keys: &[(&str, &str)]) {
    for (key, kind) in keys {
        let actual = match &value[key] {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert_eq!(actual, *kind, "{key} in {value:#}");
    }
}

/// A bond that has seen one failover, from eth1 to eth0.
fn after_a_failover(xdp_mode: XdpMode) -> Result<(BondProcess, Wire)> {
    let wire = Wire::new(2, 1)?;
    let arguments = format!(
        "--iface eth0,eth1 --primary eth1 --primary-reselect better --prio eth0=-3 --miimon 20 \
         --downdelay 40 --xdp-mode {}",
        xdp_mode.name()
    );
    let mut bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    bond.wait_until_whole()?;
    wire.cables[1].pull()?;
    bond.wait_for("eth0 is active", |state| state.active_slave.as_deref() == Some("eth0"))?;
    Ok((bond, wire))
}

fn the_json_has_the_promised_keys_and_values(xdp_mode: XdpMode) -> Result<()> {
    let (running, wire) = after_a_failover(xdp_mode)?;
    let shown = bond(&wire.host, "show bond0 --json")?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let state: Value = serde_json::from_str(&shown.stdout)?;

    assert_keys(&state, BOND);
    assert_keys(&state["workers"][0], WORKER);
    assert_keys(&state["workers"][0]["umems"][0], UMEM);
    assert_keys(&state["host"], PORT);
    assert_keys(&state["slaves"][0], PORT);
    assert_keys(&state["slaves"][0], SLAVE);
    assert_keys(&state["failovers"], FAILOVERS);
    assert_keys(&state["failovers"]["last"], FAILOVER);

    for (pointer, expected) in [
        ("/ifname", "bond0"),
        ("/mode", "active-backup"),
        ("/primary", "eth1"),
        ("/primary_reselect", "better"),
        ("/active_slave", "eth0"),
        ("/mii_status", "up"),
        ("/address", "02:00:00:00:01:00"),
        ("/layout", "run-to-completion"),
        ("/poll", "adaptive"),
        ("/host/ifname", "bond0-xsk"),
        ("/slaves/0/state", "active"),
        ("/slaves/0/mii_status", "up"),
        ("/slaves/0/xdp_mode", xdp_mode.name()),
        ("/slaves/0/bind_mode", "copy"),
        ("/slaves/1/state", "backup"),
        ("/slaves/1/mii_status", "down"),
        ("/slaves/1/hwaddr", "02:00:00:00:01:00"),
        ("/slaves/1/perm_hwaddr", "02:00:00:00:01:01"),
        ("/slaves/1/duplex", "full"),
        ("/failovers/last/from", "eth1"),
        ("/failovers/last/to", "eth0"),
    ] {
        assert_eq!(state.pointer(pointer), Some(&Value::from(expected)), "{pointer}");
    }
    for (pointer, expected) in [
        ("/miimon", 20),
        ("/updelay", 0),
        ("/downdelay", 40),
        ("/packets_per_slave", 1),
        ("/mtu", 1500),
        ("/slaves/0/queues", 1),
        ("/slaves/0/prio", -3),
        ("/slaves/1/prio", 0),
        ("/slaves/0/speed", 10_000),
        ("/slaves/0/link_failure_count", 0),
        ("/slaves/0/drops/inactive_slave", 0),
        ("/slaves/0/drops/no_usable_slave", 0),
        ("/slaves/0/drops/tx_full", 0),
        ("/slaves/1/link_failure_count", 1),
        ("/failovers/count", 1),
    ] {
        assert_eq!(state.pointer(pointer), Some(&Value::from(expected)), "{pointer}");
    }
    running.stop()
}

fn the_text_has_the_kernels_words(xdp_mode: XdpMode) -> Result<()> {
    let (running, wire) = after_a_failover(xdp_mode)?;
    let shown = bond(&wire.host, "show bond0")?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    // The value of a key is what follows it and a colon, as in /proc/net/bonding.
    let values = |key: &str| -> Vec<String> {
        let lines = shown
            .stdout
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
        lines.map(|value| value.trim().to_owned()).collect()
    };
    let primary = "eth1 (primary_reselect better)";
    assert_eq!(values("Primary Slave"), [primary], "{}", shown.stdout);
    assert_eq!(values("Up Delay (ms)"), ["0"], "{}", shown.stdout);
    assert_eq!(values("Down Delay (ms)"), ["40"], "{}", shown.stdout);
    assert_eq!(values("Priority"), ["-3"], "{}", shown.stdout);
    assert_eq!(values("Currently Active Slave"), ["eth0"], "{}", shown.stdout);
    assert_eq!(values("Slave Interface"), ["eth0", "eth1"], "{}", shown.stdout);
    assert_eq!(values("Link Failure Count"), ["0", "1"], "{}", shown.stdout);
    assert_eq!(values("MII Polling Interval (ms)"), ["20"], "{}", shown.stdout);
    assert_eq!(values("Layout"), ["run-to-completion"], "{}", shown.stdout);
    for word in ["active-backup", xdp_mode.name(), "eth1: no carrier"] {
        assert!(shown.stdout.contains(word), "no {word:?} in {}", shown.stdout);
    }
    running.stop()?;
    let shown = bond(&wire.host, "show bond0")?;
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(3), ""));
    assert!(shown.stderr.contains("bond0 is not running"), "{}", shown.stderr);
    Ok(())
}

/// After the first line, which tells the kernel's release.
const PROC: &str = "
Bonding Mode: fault-tolerance (active-backup)
Primary Slave: eth1 (primary_reselect better)
Currently Active Slave: eth0
MII Status: up
MII Polling Interval (ms): 20
Up Delay (ms): 0
Down Delay (ms): 40
Peer Notification Delay (ms): 0

Slave Interface: eth0
MII Status: up
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:01:00
Slave queue ID: 0

Slave Interface: eth1
MII Status: down
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 1
Permanent HW addr: 02:00:00:00:01:01
Slave queue ID: 0
";

/// A veth always has 10000 Mbps, also without a carrier.
fn the_text_for_scripts_is_the_kernels(xdp_mode: XdpMode) -> Result<()> {
    let (running, wire) = after_a_failover(xdp_mode)?;
    let shown = bond(&wire.host, "show --proc bond0")?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert_eq!(shown.stdout, format!("Ethernet Channel Bonding Driver: v{kernel}{PROC}"));
    let both = bond(&wire.host, "show --proc --json")?;
    assert_eq!((both.code, both.stdout.as_str()), (Some(2), ""));
    running.stop()
}

#[test]
#[ignore = "needs root"]
fn speed_and_duplex_are_read_again_when_the_carrier_comes() -> Result<()> {
    let host = Netns::new("host")?;
    let _open = host.tap("eth0")?;
    let set = |speed: &str, duplex: &str| -> Result<()> {
        let mut ethtool = host.command("ethtool");
        ethtool.args(["-s", "eth0", "speed", speed, "duplex", duplex]);
        let set = bounded(&mut ethtool, Duration::from_secs(5))?;
        assert_eq!((set.code, set.stderr.as_str()), (Some(0), ""));
        Ok(())
    };
    let told = |state: &State| {
        let slave = &state.slaves[0];
        (slave.mii_status.clone(), slave.speed, slave.duplex.clone())
    };
    let expected = |mii_status: &str, speed: u64, duplex: &str| {
        (mii_status.to_owned(), Some(speed), duplex.to_owned())
    };
    host.ip("link set eth0 carrier off")?;
    set("100", "full")?;
    let mut running = BondProcess::start(&host, "bond0", "--iface eth0 --xdp-mode generic")?;
    assert_eq!(told(&running.show()?), expected("down", 100, "full"));
    set("2500", "half")?;
    host.ip("link set eth0 carrier on")?;
    running.wait_for("the new speed", |state| told(state) == expected("up", 2500, "half"))?;
    let text = bond(&host, "show --proc")?.stdout;
    assert!(text.contains("\nSpeed: 2500 Mbps\nDuplex: half\n"), "{text}");
    running.stop()
}

fn a_pipeline_shows_both_its_threads(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let arguments = format!("--iface eth0,eth1 --layout pipeline --xdp-mode {}", xdp_mode.name());
    let running = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let state: Value = serde_json::from_str(&bond(&wire.host, "show bond0 -j")?.stdout)?;
    assert_eq!(state["layout"], "pipeline");
    assert_eq!(
        (&state["workers"][0]["core"], &state["workers"][0]["egress"]["core"]),
        (&0.into(), &1.into())
    );
    let text = bond(&wire.host, "show bond0")?.stdout;
    for word in ["pipeline", "CPU 0 and 1, poll adaptive"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    running.stop()
}
