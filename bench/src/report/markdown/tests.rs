use serde_json::Value;

use super::*;
use crate::{
    device::{Mode, Spec},
    report::{SCHEMA, chart::sample},
};

fn report() -> Report {
    let spec = Spec::new(System::Bond, Mode::BalanceRr);
    let rate = sample::measured(Name::Rate, spec, &[1e6, 3e6, 2e6]);
    let ratio = Some(rate.figure.ratio_to(&Figure::of(vec![2e6; 3])));
    let latency = sample::loaded(Name::Latency50, "10 kpps", spec, &[12.5]);
    let mut report = sample::report(vec![Measurement { ratio, ..rate }, latency]);
    report.missing = vec!["ovs-afxdp active-backup native: not installed".to_owned()];
    report.devices = vec![Facts { spec, facts: "a|b\nc".to_owned() }];
    report.micro = vec![sample::micro("turn/a", 4.0)];
    report
}

#[test]
fn rows_are_exact() {
    let page = page(&report(), &[]);
    assert!(page.contains(&format!("| `schema` | number | this description: {SCHEMA} |\n")));
    for line in [
        "| CPU | A CPU |",
        "| bond balance-rr native | a\\|b c |",
        "- ovs-afxdp active-backup native: not installed",
        "| turn of a worker without a kernel, a frame, worst case | at most 25 ns | 4.000 ns: turn/a | kept |",
        "| CPU use when idle, balance-rr | below 2 % of a core | - | not measured |",
        "### rate, host-to-wire, 64 bytes",
        "| device | median, Mpps | min - max | n | to bond |",
        "| bond balance-rr native | 2.000 | 1.000 - 3.000 | 3 | 1.000 (0.750 - 1.250) |",
        "### latency50, host-to-wire, 64 bytes, load 10 kpps",
        "| bond balance-rr native | 12.500 | 12.500 - 12.500 | 1 | - |",
        "| turn/a | 4.000 | 4.000 - 4.000 | 10 | 250.000 |",
        "| `rate` | frames/s | received frames, of more than the device can take |",
    ] {
        assert!(page.lines().any(|one| one == line), "no {line:?} in {page}");
    }
}

#[test]
fn every_field_is_described() {
    fn check(value: &Value, page: &str) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                let described = |before| page.contains(&format!("| {before}{name}` |"));
                let before = ["`", "`environment.", "`devices[].", "`measurements[].", "`micro[]."];
                assert!(before.into_iter().any(described), "{name}");
                check(value, page);
            }),
            Value::Array(list) => list.iter().for_each(|value| check(value, page)),
            _ => {}
        }
    }
    let report = report();
    check(&serde_json::to_value(&report).unwrap(), &page(&report, &[]));
}

#[test]
fn prose_is_narrow() {
    let page = page(&report(), &[]);
    for line in page.lines().filter(|line| !line.starts_with('|')) {
        assert!(line.chars().count() <= 120, "{line}");
    }
}

#[test]
fn page_and_charts_are_written() {
    let docs = tempfile::tempdir().unwrap();
    let names = ["benchmarks.md", "benchmarks/rate-native.svg", "benchmarks/latency.svg"];
    let paths = write(&report(), docs.path()).unwrap();
    assert_eq!(paths, names.map(|name| docs.path().join(name)));
    let page = fs::read_to_string(&paths[0]).unwrap();
    assert!(page.contains("\n![Latencies](benchmarks/latency.svg)\n"), "{page}");
    assert!(fs::read_to_string(&paths[2]).unwrap().starts_with("<svg "));
}
