use serde_json::{Value, json};

use super::*;

const ROUND_ROBIN: &str = "\
Ethernet Channel Bonding Driver: v6.12.30-amd64

Bonding Mode: load balancing (round-robin)
MII Status: up
MII Polling Interval (ms): 10
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 0

Slave Interface: eth0
MII Status: up
Speed: 10000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:10
Slave queue ID: 0

Slave Interface: eth1
MII Status: up
Speed: 100 Mbps
Duplex: half
Link Failure Count: 2
Permanent HW addr: 02:00:00:00:00:11
Slave queue ID: 0
";

const ACTIVE_BACKUP: &str = "\
Ethernet Channel Bonding Driver: v6.12.30-amd64

Bonding Mode: fault-tolerance (active-backup)
Primary Slave: eth1 (primary_reselect better)
Currently Active Slave: eth0
MII Status: up
MII Polling Interval (ms): 100
Up Delay (ms): 200
Down Delay (ms): 300
Peer Notification Delay (ms): 400

Slave Interface: eth0
MII Status: up
Speed: 25000 Mbps
Duplex: full
Link Failure Count: 0
Permanent HW addr: 02:00:00:00:00:10
Slave queue ID: 0

Slave Interface: eth1
MII Status: down
Speed: Unknown
Duplex: Unknown
Link Failure Count: 3
Permanent HW addr: 02:00:00:00:00:11
Slave queue ID: 0
";

const NO_SLAVE_LEFT: &str = "\
Ethernet Channel Bonding Driver: v6.12.30-amd64

Bonding Mode: fault-tolerance (active-backup)
Primary Slave: None
Currently Active Slave: None
MII Status: down
MII Polling Interval (ms): 10
Up Delay (ms): 0
Down Delay (ms): 0
Peer Notification Delay (ms): 0
";

/// What a port has that the text does not tell.
fn port(ifname: &str) -> Value {
    json!({
        "ifname": ifname, "xdp_mode": "native", "bind_mode": "copy", "queues": 1,
        "rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0,
        "seam_copies": 0, "kicks_down": 0, "drops": {},
    })
}

/// One object of two; the second wins.
fn with(mut tree: Value, rest: &Value) -> Value {
    for (key, value) in rest.as_object().unwrap() {
        tree[key] = value.clone();
    }
    tree
}

fn slave(number: u32, mii_status: &str, link: (Option<u32>, &str), failures: u32) -> Value {
    let told = json!({
        "ifindex": 10 + number, "state": "backup", "mii_status": mii_status, "evidence": "",
        "speed": link.0, "duplex": link.1, "link_failure_count": failures,
        "perm_hwaddr": format!("02:00:00:00:00:1{number}"), "hwaddr": "02:00:00:00:00:10",
        "promisc": false, "link_local": 0,
    });
    with(told, &port(&format!("eth{number}")))
}

fn bond0(told: Value, slaves: &[Value]) -> BondState {
    let rest = json!({
        "ifname": "bond0", "pid": 1, "packets_per_slave": 1, "address": "02:00:00:00:00:10",
        "mtu": 1500, "layout": "run-to-completion", "poll": "adaptive", "workers": [],
        "host": port("bond0-xsk"), "slaves": slaves, "failovers": { "count": 0, "last": null },
    });
    serde_json::from_value(with(told, &rest)).unwrap()
}

fn round_robin() -> BondState {
    let slaves =
        [slave(0, "up", (Some(10_000), "full"), 0), slave(1, "up", (Some(100), "half"), 2)];
    let told = json!({
        "mode": "balance-rr", "miimon": 10, "primary": null, "active_slave": null,
        "mii_status": "up",
    });
    bond0(told, &slaves)
}

fn active_backup() -> BondState {
    let slaves =
        [slave(0, "up", (Some(25_000), "full"), 0), slave(1, "down", (None, "unknown"), 3)];
    let told = json!({
        "mode": "active-backup", "miimon": 100, "primary": "eth1", "active_slave": "eth0",
        "mii_status": "up", "primary_reselect": "better", "updelay": 200, "downdelay": 300,
        "peer_notif_delay": 400,
    });
    bond0(told, &slaves)
}

fn no_slave_left() -> BondState {
    let gone = json!({ "ifindex": null, "perm_hwaddr": "", "speed": null, "duplex": "unknown" });
    let told = json!({
        "mode": "active-backup", "miimon": 10, "primary": "eth1", "active_slave": null,
        "mii_status": "down",
    });
    bond0(told, &[with(slave(1, "down", (None, "unknown"), 1), &gone)])
}

#[test]
fn the_whole_text() {
    for (state, text) in [
        (round_robin(), ROUND_ROBIN),
        (active_backup(), ACTIVE_BACKUP),
        (no_slave_left(), NO_SLAVE_LEFT),
    ] {
        assert_eq!(render(&state, "6.12.30-amd64"), text);
    }
}

#[test]
fn without_a_primary_and_with_what_an_older_bond_does_not_tell() {
    let mut state = active_backup();
    state.primary = None;
    for slave in &mut state.slaves {
        (slave.speed, slave.duplex) = (None, String::new());
    }
    let expected = ACTIVE_BACKUP
        .replace("eth1 (primary_reselect better)", "None")
        .replace("25000 Mbps\nDuplex: full", "Unknown\nDuplex: Unknown");
    assert_eq!(render(&state, "6.12.30-amd64"), expected);
}

#[test]
fn a_mode_of_a_newer_version_has_its_name() {
    let state = BondState { mode: "802.3ad".into(), ..round_robin() };
    let expected = ROUND_ROBIN.replace("load balancing (round-robin)", "802.3ad");
    assert_eq!(render(&state, "6.12.30-amd64"), expected);
}

/// What monitoring scripts look for in the kernel's file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    mode: String,
    active: Option<String>,
    slaves: Vec<ReadSlave>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct ReadSlave {
    name: String,
    mii_status: String,
    failures: u32,
    perm_hwaddr: String,
}

/// Reads the kernel's file: `key: value` lines; a slave's block begins with its name and ends with an empty line.
fn read(text: &str) -> Read {
    let mut read = Read::default();
    for block in text.split("\n\n") {
        let fields: Vec<_> = block.lines().filter_map(|line| line.split_once(": ")).collect();
        let value = |key| fields.iter().find(|(found, _)| *found == key).map(|(_, v)| *v);
        if let Some(name) = value("Slave Interface") {
            read.slaves.push(ReadSlave {
                name: name.into(),
                mii_status: value("MII Status").unwrap().into(),
                failures: value("Link Failure Count").unwrap().parse().unwrap(),
                perm_hwaddr: value("Permanent HW addr").unwrap().into(),
            });
        } else if let Some(mode) = value("Bonding Mode") {
            read.mode = mode.into();
            read.active = value("Currently Active Slave").map(Into::into);
        }
    }
    read
}

#[test]
fn a_parser_of_the_kernels_file_reads_it() {
    let slave = |name: &str, mii_status: &str, failures, perm_hwaddr: &str| ReadSlave {
        name: name.into(),
        mii_status: mii_status.into(),
        failures,
        perm_hwaddr: perm_hwaddr.into(),
    };
    let expected = Read {
        mode: "load balancing (round-robin)".into(),
        active: None,
        slaves: vec![
            slave("eth0", "up", 0, "02:00:00:00:00:10"),
            slave("eth1", "up", 2, "02:00:00:00:00:11"),
        ],
    };
    assert_eq!(read(&render(&round_robin(), "6.12")), expected);
    let expected = Read {
        mode: "fault-tolerance (active-backup)".into(),
        active: Some("eth0".into()),
        slaves: vec![
            slave("eth0", "up", 0, "02:00:00:00:00:10"),
            slave("eth1", "down", 3, "02:00:00:00:00:11"),
        ],
    };
    assert_eq!(read(&render(&active_backup(), "6.12")), expected);
    let expected = Read {
        mode: "fault-tolerance (active-backup)".into(),
        active: Some("None".into()),
        slaves: vec![],
    };
    assert_eq!(read(&render(&no_slave_left(), "6.12")), expected);
}

#[test]
fn balance_xor_tells_its_hash_and_broadcast_nothing() {
    let told = |mode, policy| {
        let told = json!({
            "mode": mode, "miimon": 10, "primary": null, "active_slave": null,
            "mii_status": "up", "xmit_hash_policy": policy,
        });
        let text = render(&bond0(told, &[]), "6.12.30-amd64");
        text.lines().skip(2).take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    let hash = |line| ["Bonding Mode: load balancing (xor)", line, "MII Status: up"];
    assert_eq!(told("balance-xor", "layer3+4"), hash("Transmit Hash Policy: layer3+4 (1)"));
    assert_eq!(told("balance-xor", "layer9"), hash("Transmit Hash Policy: layer9"));
    assert_eq!(
        told("broadcast", "layer2"),
        [
            "Bonding Mode: fault-tolerance (broadcast)",
            "MII Status: up",
            "MII Polling Interval (ms): 10"
        ]
    );
}
