use super::*;
use crate::report::chart::sample::{loaded, measured, micro, report};

const BALANCE_RR: Spec = Spec::new(System::Bond, Mode::BalanceRr);
const ACTIVE_BACKUP: Spec = Spec::new(System::Bond, Mode::ActiveBackup);
const DPDK: Spec = Spec::new(System::DpdkAfXdp, Mode::ActiveBackup);
const OVS: Spec = Spec::new(System::OvsAfxdp, Mode::ActiveBackup);

/// What became of the promises that were measured.
fn lines(report: &Report) -> Vec<String> {
    let measured = promises(report).into_iter().filter(|one| one.kept.is_some());
    measured.map(|one| format!("{}: {}: {}", one.verdict(), one.what, one.measured)).collect()
}

#[test]
fn nothing_measured() {
    let promises = promises(&report(Vec::new()));
    assert_eq!(promises.len(), 19);
    assert!(promises.iter().all(|one| one.kept.is_none() && one.measured == "-"));
}

#[test]
fn cost_is_paired_by_round() {
    let bare = Spec::new(System::BareForwarder, Mode::ActiveBackup);
    let rates = [
        measured(Name::Rate, BALANCE_RR, &[0.97, 1.98, 3.96]),
        measured(Name::Rate, ACTIVE_BACKUP, &[0.96, 1.0, 3.0]),
        measured(Name::Rate, bare, &[1.0, 2.0, 4.0]),
    ];
    let expected = [
        "kept: rate to the bare forwarder's, host-to-wire, balance-rr: 0.990 (0.970 - 0.990)",
        "NOT kept: rate to the bare forwarder's, host-to-wire, active-backup: 0.750 (0.500 - 0.960)",
    ];
    assert_eq!(lines(&report(rates.into())), expected);
}

#[test]
fn best_peer_is_the_one_with_the_highest_median() {
    let generic =
        |one: Measurement| Measurement { spec: Spec { xdp: Xdp::Generic, ..one.spec }, ..one };
    let rates = [
        measured(Name::Rate, BALANCE_RR, &[5.0, 6.0, 7.0]),
        measured(Name::Rate, DPDK, &[4.0, 4.0, 9.0]),
        measured(Name::Rate, OVS, &[5.0, 5.0, 5.0]),
        generic(measured(Name::Rate, BALANCE_RR, &[3.0])),
        generic(measured(Name::Rate, DPDK, &[4.0])),
        // No peer at this length, and a length without a promise.
        Measurement { length: 1514, ..measured(Name::Rate, BALANCE_RR, &[1.0]) },
        Measurement { length: 512, ..measured(Name::Rate, BALANCE_RR, &[1.0]) },
        Measurement { length: 512, ..measured(Name::Rate, OVS, &[9.0]) },
    ];
    let report = report(rates.into());
    let cells: Vec<_> =
        cells(&report).iter().map(|cell| format!("{cell}: {}", cell.ratio.median)).collect();
    let expected = [
        "bond balance-rr native, host-to-wire, 64 bytes, to ovs-afxdp active-backup: 1.2",
        "bond balance-rr generic, host-to-wire, 64 bytes, to dpdk-af-xdp active-backup: 0.75",
    ];
    assert_eq!(cells, expected);
    let expected = [
        "NOT kept: rate to the best AF_XDP peer's, lowest cell: \
         0.750: bond balance-rr generic, host-to-wire, 64 bytes, to dpdk-af-xdp active-backup",
        "NOT kept: rate to the best AF_XDP peer's, median of cells: 0.975 (0.750 - 1.200), 2 cells",
    ];
    assert_eq!(lines(&report), expected);
}

#[test]
fn bounds_on_times() {
    let latency = |spec, us| loaded(Name::Latency50, SLOW, spec, &[us]);
    let measurements = vec![
        measured(Name::UserTime, BALANCE_RR, &[30.0]),
        measured(Name::UserTime, ACTIVE_BACKUP, &[30.5]),
        measured(Name::UserTime, DPDK, &[20.0]),
        measured(Name::UserTime, OVS, &[40.0]),
        latency(ACTIVE_BACKUP, 11.0),
        latency(DPDK, 10.0),
        // Nothing to compare with.
        latency(BALANCE_RR, 9.0),
        loaded(Name::Outage, SLOW, ACTIVE_BACKUP, &[0.0, 1.0, 9.0]),
        loaded(Name::Outage, SLOW, OVS, &[1.0]),
        loaded(Name::Idle, "none", BALANCE_RR, &[2.0]),
        loaded(Name::Idle, "none", ACTIVE_BACKUP, &[0.5]),
        loaded(Name::Latency99, "10 %", ACTIVE_BACKUP, &[50.0]),
    ];
    let expected = [
        "kept: user time a frame, balance-rr: 30.000 ns; ovs-afxdp 40.000 ns",
        "NOT kept: user time a frame, active-backup: \
         30.500 ns; dpdk-af-xdp 20.000 ns; ovs-afxdp 40.000 ns",
        "NOT kept: latency p50 at 10 kpps, active-backup: 11.000 us; dpdk-af-xdp 10.000 us",
        "kept: outage at a pulled cable, 10 kpps, median: 1.000 ms",
        "kept: outage at a pulled cable, 10 kpps, median: 1.000 ms; ovs-afxdp 1.000 ms",
        "NOT kept: outage at a pulled cable, 10 kpps, p99: 8.840 ms",
        "NOT kept: CPU use when idle, balance-rr: 2.000 %",
        "kept: CPU use when idle, active-backup: \
         0.500 %; latency p99 at 10 %, adaptive: 50.000 us",
    ];
    assert_eq!(lines(&report(measurements)), expected);
}

#[test]
fn micro_benchmarks_and_the_table() {
    let mut report = report(Vec::new());
    report.micro = vec![
        micro("turn/active-backup/host-to-wire", 25.0),
        micro("turn/balance-rr/host-to-wire", 26.0),
        micro("select/active-backup", 5.0),
        micro("ring-cross/array-queue/64", 50.0),
        micro("ring-cross/bond/64", 5.0),
    ];
    let table = promise_table(&promises(&report));
    let lines: Vec<_> = table.lines().filter(|line| !line.starts_with("not measured")).collect();
    let expected = [
        "NOT kept      turn of a worker without a kernel, a frame, worst case     \
         at most 25 ns            26.000 ns: turn/balance-rr/host-to-wire",
        "kept          selection of a slave, a frame, worst case                  \
         at most 5 ns             5.000 ns: select/active-backup",
        "kept          ring between two cores, in batches of 64                   \
         at least 200 M/s         200.000 M/s; array-queue 20.000 M/s",
    ];
    assert_eq!(lines, expected);
}
