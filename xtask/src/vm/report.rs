//! What the tests in the machine measured, as the tables of docs/zero-copy.md.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;

const BEGIN: &str = "<!-- measured: written by `cargo xtask vm --write` -->\n";
const END: &str = "<!-- measured: end -->\n";

/// One measurement.
#[derive(Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Record {
    /// The machine itself.
    Machine { kernel: String },
    /// Frames through the bond, in both directions.
    Traffic {
        pair: String,
        mode: String,
        bound: [String; 2],
        /// Each way.
        frames: u64,
        /// Lost, altered, duplicated.
        faults: [u64; 3],
        seam_copies: u64,
        /// Made by the kernel for the slaves.
        kernel_copies: u64,
    },
    /// Outages at the pulls of one round.
    Failover { pair: String, round: u32, bond: String, miimon: u32, outages_ms: Vec<f64> },
    /// Frames at each pull.
    Carrier { pair: String, rate: u32, lost: Vec<u64>, late: Vec<u64> },
    /// A cable pulled while another slave joined.
    Join { pair: String, join_ms: f64, outage_ms: f64 },
    /// AF_XDP on a bond of the kernel's, or on the NICs under it, that was refused.
    Refused { on: String, options: String, reason: String },
    /// The same, with what arrived.
    Delivered {
        on: String,
        options: String,
        xdp: String,
        bound: String,
        frames: u64,
        sent: u64,
        received: u64,
    },
}

/// Puts the tables into the file at `path`, between the marks for them.
pub(super) fn write(path: &Path, records: &[Record]) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let marks =
        text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = marks.with_context(|| format!("{} lacks the marks", path.display()))?;
    let text = format!("{head}{BEGIN}\n{}{END}{tail}", tables(records));
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn tables(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        if let Record::Machine { kernel } = record {
            let _ = writeln!(text, "Guest kernel: {kernel}.\n");
        }
    }
    for table in [traffic, carrier, failover, kernel_bond] {
        text.push_str(&table(records));
        text.push('\n');
    }
    for record in records {
        if let Record::Join { pair, join_ms, outage_ms } = record {
            let _ = writeln!(
                text,
                "{pair}: the igb took {join_ms:.0} ms to join. The cable of the active slave, pulled in that time,\n\
                 cost {outage_ms:.0} ms.\n"
            );
        }
    }
    text
}

/// A table of the rows that `row` makes; nothing if there is none.
fn table<'a>(
    title: &str,
    head: &str,
    records: &'a [Record],
    row: impl Fn(&'a Record) -> Option<Vec<String>>,
) -> String {
    let rows: Vec<_> = records.iter().filter_map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = head.split('|').count();
    let mut text = format!("### {title}\n\n|{head}|\n|{}\n", "---|".repeat(columns));
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn traffic(records: &[Record]) -> String {
    let head = " NICs | mode | sockets | frames each way | lost, altered, doubled | copied by the kernel for the slaves | \
                copied between UMEMs ";
    table("Frames through the bond", head, records, |record| {
        let Record::Traffic { pair, mode, bound, frames, faults, seam_copies, kernel_copies } =
            record
        else {
            return None;
        };
        let numbers = [
            frames.to_string(),
            faults.map(|fault| fault.to_string()).join(", "),
            kernel_copies.to_string(),
            seam_copies.to_string(),
        ];
        Some([vec![pair.clone(), mode.clone(), bound.join(", ")], numbers.into()].concat())
    })
}

fn carrier(records: &[Record]) -> String {
    let head =
        " NICs | pulls | frames a second | lost at each pull | that came out after the plug ";
    table("Carrier loss under traffic, active-backup", head, records, |record| {
        let Record::Carrier { pair, rate, lost, late } = record else { return None };
        let list = lost.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let late = late.iter().sum::<u64>().to_string();
        Some(vec![pair.clone(), lost.len().to_string(), rate.to_string(), list, late])
    })
}

fn failover(records: &[Record]) -> String {
    let head =
        " NICs | round | bond | miimon | pulls | shortest | median | longest | our median to its ";
    table("Outage at a pulled cable, in ms", head, records, |record| {
        let Record::Failover { pair, round, bond, miimon, outages_ms } = record else {
            return None;
        };
        let ours = records.iter().find_map(|other| match other {
            Record::Failover { pair: p, round: r, bond, outages_ms, .. }
                if (p, r, bond.as_str()) == (pair, round, "bond") =>
            {
                Some(median(outages_ms))
            }
            _ => None,
        })?;
        let sorted = sorted(outages_ms);
        let ms = |value: Option<&f64>| value.map_or_else(String::new, |ms| format!("{ms:.1}"));
        let median = median(outages_ms);
        let name = if bond == "bond" { "**this bond**" } else { "kernel" };
        Some(vec![
            pair.clone(),
            round.to_string(),
            name.into(),
            miimon.to_string(),
            outages_ms.len().to_string(),
            ms(sorted.first()),
            format!("{median:.1}"),
            ms(sorted.last()),
            if bond == "bond" { "-".into() } else { format!("{:.2}", ours / median) },
        ])
    })
}

fn kernel_bond(records: &[Record]) -> String {
    let head = " AF_XDP on | options | XDP, socket | sent | received ";
    table("AF_XDP on the kernel's bond, and on ours", head, records, |record| match record {
        Record::Refused { on, options, reason } => Some(vec![
            on.clone(),
            code(options),
            format!("refused: {reason}"),
            "-".into(),
            "-".into(),
        ]),
        Record::Delivered { on, options, xdp, bound, frames, sent, received } => Some(vec![
            on.clone(),
            code(options),
            format!("{xdp}, {bound}"),
            format!("{sent} of {frames}"),
            format!("{received} of {frames}"),
        ]),
        _ => None,
    })
}

fn code(options: &str) -> String {
    if options.is_empty() { "none".into() } else { format!("`{options}`") }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    sorted(values).get(values.len() / 2).copied().unwrap_or_default()
}
