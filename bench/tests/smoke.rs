//! The packet-rate benchmark runs, counts right, and its report can be read and drawn.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use bond_bench::{
    device::{Direction, Mode},
    peers::System,
    report::{Measurement, Name, Report},
};

/// Runs the benchmark with `arguments`, and returns what it printed.
fn bond_bench(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bond-bench")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn measured(path: &Path) -> Report {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root"]
fn one_round_of_everything_but_the_peers() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("report.json");
    let path = json.to_str().unwrap();
    bond_bench(&[
        "run",
        "--quick",
        "--json",
        path,
        "--no-peers",
        "--rounds",
        "1",
        "--pulls",
        "1",
        "--lengths",
        "64,1514",
        "--only",
        "bond active-backup native,bare-forwarder,devmap-redirect active-backup",
    ]);
    let report = measured(&json);
    assert_eq!(report.missing, Vec::<String>::new());
    let systems: Vec<_> = report.devices.iter().map(|device| device.spec.system).collect();
    assert_eq!(systems, [System::Bond, System::BareForwarder, System::DevmapRedirect]);
    assert_eq!(report.devices[0].facts, "native XDP, copy sockets");

    let of = |name| {
        let found = report.measurements.iter().filter(move |one| one.name == name);
        found.collect::<Vec<&Measurement>>()
    };
    // Three devices, two directions, two lengths.
    assert_eq!(of(Name::Rate).len(), 12);
    assert!(of(Name::Rate).iter().all(|one| one.figure.n == 1 && one.figure.median > 10_000.0));
    // Those with a process.
    assert_eq!(
        (of(Name::UserTime).len(), of(Name::CpuTime).len(), of(Name::Idle).len()),
        (2, 2, 2)
    );
    // At 10 kpps, from the host to the wire.
    assert_eq!((of(Name::Latency50).len(), of(Name::Latency99).len()), (3, 3));
    let [outage] = of(Name::Outage)[..] else { panic!("one bond that fails over") };
    assert_eq!(outage.spec.mode, Mode::ActiveBackup);
    assert!(outage.figure.median < 50.0, "{} ms", outage.figure.median);
    let bare = of(Name::Rate).into_iter().find(|one| {
        one.spec.system == System::BareForwarder
            && (one.direction, one.length) == (Direction::HostToWire, 64)
    });
    assert_eq!(bare.unwrap().ratio.as_ref().unwrap().n, 1, "in the same round as the bond");

    let docs = directory.path().join("docs");
    fs::create_dir(&docs).unwrap();
    let printed = bond_bench(&["show", path, "--docs", docs.to_str().unwrap()]);
    assert!(printed.contains("\nrate, host-to-wire, 64 bytes "), "{printed}");
    let page = fs::read_to_string(docs.join("benchmarks.md")).unwrap();
    assert!(page.contains("bare-forwarder active-backup native"), "{page}");
    for picture in ["rate-native.svg", "outage.svg", "latency.svg"] {
        assert!(page.contains(picture), "{picture} is not linked");
        assert!(
            fs::read_to_string(docs.join("benchmarks").join(picture)).unwrap().contains("<svg")
        );
    }
}

#[test]
fn what_is_no_report_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("no-report.json");
    fs::write(&path, "{}").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bond-bench")).arg("show").arg(&path).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no-report.json is no report of this benchmark"), "{said}");
}
