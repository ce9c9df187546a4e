//! What cannot work is refused: the exit code says so, the message names the thing and the remedy, nothing has changed.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    time::Duration,
};

use anyhow::Result;
use bond_tests::{BondProcess, Finished, ForeignXdp, Netns, Snapshot, Wire, binary, bond, bounded};

/// An error of the configuration or of the machine.
const ERROR: i32 = 1;
/// An error of the command line itself.
const USAGE: i32 = 2;

/// `bond run <arguments>` ends with `code`, says all of `words`, and changes nothing.
fn assert_refused(netns: &Netns, arguments: &str, code: i32, words: &[&str]) -> Result<()> {
    let before = Snapshot::take(netns)?;
    let refused = bond(netns, &format!("run {arguments}"))?;
    assert_says(&refused, arguments, code, words);
    assert_eq!(
        Snapshot::take(netns)?.changes_since(&before),
        [""; 0],
        "after bond run {arguments}"
    );
    Ok(())
}

fn assert_says(refused: &Finished, arguments: &str, code: i32, words: &[&str]) {
    assert_eq!(refused.code, Some(code), "bond run {arguments}: {refused:?}");
    assert_eq!(refused.stdout, "", "bond run {arguments}");
    for word in words {
        assert!(
            refused.stderr.contains(word),
            "bond run {arguments}: no {word:?} in {}",
            refused.stderr
        );
    }
}

#[test]
#[ignore = "needs root"]
fn an_interface_that_cannot_be_a_slave() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let refused =
        |arguments: &str, words: &[&str]| assert_refused(&wire.host, arguments, ERROR, words);
    refused("bond0 --iface eth0,eth9", &["no interface eth9", "ip link"])?;
    refused("bond0 --iface eth0,eth0", &["eth0 is named twice", "each slave once"])?;
    refused("bond0 --iface eth0,lo", &["lo is not an Ethernet interface"])?;
    refused("eth0 --iface eth0,eth1", &["eth0", "another name"])?;
    assert_refused(&wire.host, "bond0", USAGE, &["--iface"])?;

    wire.host.ip("address add 10.9.0.1/24 dev eth1")?;
    wire.host.ip("route add default via 10.9.0.254")?;
    refused("bond0 --iface eth0,eth1", &["eth1 carries the default route", "--force"])?;
    wire.host.ip("address flush dev eth1")?;

    wire.host.ip("link set eth1 mtu 1400")?;
    refused("bond0 --iface eth0,eth1", &["eth1 has MTU 1400", "ip link set eth1 mtu 1500"])?;
    wire.host.ip("link set eth1 mtu 1500")?;

    wire.host.ip("link add br0 type bridge")?;
    wire.host.ip("link set eth1 master br0")?;
    refused("bond0 --iface eth0,eth1", &["eth1 belongs to br0", "ip link set eth1 nomaster"])
}

#[test]
#[ignore = "needs root"]
fn a_name_that_cannot_be_the_bonds() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    wire.host.ip("link add bond0 type veth peer name other0")?;
    let refused =
        |arguments: &str, words: &[&str]| assert_refused(&wire.host, arguments, ERROR, words);
    refused(
        "bond0 --iface eth0,eth1",
        &["an interface bond0 already", "another name", "ip link del bond0"],
    )?;
    refused("eth1 --iface eth0", &["an interface eth1 already"])?;
    refused(
        "bondofmydreams --iface eth0,eth1",
        &["bondofmydreams", "too long", "11 characters at most"],
    )?;
    refused("bond/0 --iface eth0,eth1", &["bond/0", "no interface name"])
}

#[test]
#[ignore = "needs root"]
fn options_that_this_machine_cannot_serve() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let run = |arguments: &str, code: i32, words: &[&str]| {
        assert_refused(&wire.host, &format!("bond0 --iface eth0,eth1 {arguments}"), code, words)
    };
    run(
        "--mode balance-everything",
        USAGE,
        &["balance-everything", "balance-rr", "active-backup"],
    )?;
    run("--cores 999", ERROR, &["core 999 is not available", "may use"])?;
    run("--cores 0,0", ERROR, &["core 0 is named twice"])?;
    run("--queues 65", ERROR, &["65 queues are too many", "64 at most"])?;
    run("--queues 2 --cores 0", ERROR, &["2 queues need 2 cores"])?;
    run("--layout pipe", USAGE, &["pipe", "run-to-completion", "pipeline"])?;
    run(
        "--layout pipeline --cores 0",
        ERROR,
        &["cores in pairs", "1 are given", "--layout run-to-completion"],
    )?;
    run(
        "--layout pipeline --queues 2 --cores 0,1",
        ERROR,
        &["2 queues need 4 cores (poller and egress)"],
    )?;
    run("--queues 2", ERROR, &["eth0 has 1 receive queue", "--queues", "ethtool -L eth0"])?;
    run("--primary eth9", ERROR, &["eth9 is not among the slaves", "eth0"])?;
    run("--primary eth0 --mode balance-rr", ERROR, &["--primary", "active-backup"])?;
    run(
        "--weight eth0=3",
        ERROR,
        &["--weight", "balance-rr and balance-xor, not in active-backup"],
    )?;
    run("--mode 0 --weight eth9=3", ERROR, &["--weight eth9=3", "eth9 is not among the slaves"])?;
    run("--mode 0 --weight eth0=0", USAGE, &["eth0=0", "1 to 255"])?;
    run("--xmit-hash-policy layer5", USAGE, &["layer5", "layer3+4"])?;
    run(
        "--primary-reselect better --mode balance-rr",
        ERROR,
        &["--primary-reselect", "active-backup"],
    )?;
    run("--primary-reselect seldom", USAGE, &["seldom", "always", "better", "failure"])?;
    run("--prio eth0=1 --mode balance-rr", ERROR, &["--prio", "active-backup"])?;
    run("--prio eth9=1", ERROR, &["--prio eth9=1", "eth9 is not among the slaves", "eth0"])?;
    run("--prio eth0=1,eth0=2", ERROR, &["--prio names eth0 twice", "each slave once"])?;
    run("--prio eth0", USAGE, &["eth0=10", "2147483647"])?;
    run("--prio eth0=2147483648", USAGE, &["eth0=10", "2147483647"])?;
    run("--updelay 2147483648", USAGE, &["2147483648", "2147483647"])?;
    run("--miimon 0", ERROR, &["miimon 0", "1 ms or more"])?;
    run("--miimon 60001", USAGE, &["60001", "60000"])?;
    run("--mac 01:00:5e:00:00:01", ERROR, &["01:00:5e:00:00:01", "unicast"])?;
    for xdp_mode in ["auto", "native", "generic"] {
        let arguments = format!("--bind-mode zero-copy --xdp-mode {xdp_mode}");
        run(
            &arguments,
            ERROR,
            &["eth0", "zero-copy", if xdp_mode == "generic" { "native XDP" } else { "veth" }],
        )?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn an_interface_with_another_xdp_program() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let _foreign = ForeignXdp::attach(&wire.cables[1].near)?;
    for xdp_mode in ["native", "generic"] {
        let arguments = format!("bond0 --iface eth0,eth1 --xdp-mode {xdp_mode}");
        assert_refused(
            &wire.host,
            &arguments,
            ERROR,
            &["eth1 has XDP program", "ip link set eth1 xdp off"],
        )?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root"]
fn an_interface_or_a_name_of_another_running_bond() -> Result<()> {
    let wire = Wire::new(3, 1)?;
    let bond = BondProcess::start(&wire.host, "bond0", "--iface eth0,eth1")?;
    assert_refused(
        &wire.host,
        "bond1 --iface eth2,eth1",
        ERROR,
        &["eth1", "another running bond"],
    )?;
    assert_refused(&wire.host, "bond0 --iface eth2", ERROR, &["bond0 is running already"])?;
    bond.stop()
}

#[test]
#[ignore = "needs root"]
fn a_user_without_privileges() -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let before = Snapshot::take(&wire.host)?;
    // A place where any user may read and execute it.
    let directory = tempfile::tempdir()?;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
    let copy = directory.path().join("bond");
    fs::copy(binary()?, &copy)?;
    let nobody = 65_534;
    let refused = wire.host.run(|| {
        let mut command = std::process::Command::new(&copy);
        command.args(["run", "bond0", "--iface", "eth0,eth1"]).uid(nobody).gid(nobody);
        bounded(&mut command, Duration::from_secs(5))
    })?;
    assert_says(
        &refused,
        "bond0 as nobody",
        ERROR,
        &["not enough privileges", "CAP_NET_ADMIN", "sudo"],
    );
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0]);
    Ok(())
}
