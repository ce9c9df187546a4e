//! The embedded lab: a host, a switch and a peer in namespaces of their own, a bond between them, and two pulled cables.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bond_tests::{BondProcess, Echo, Lan, Switch, binary, set_interrupt_status, wait_until};
use clap::Args;

use super::{
    outcome::{Outcome, Pull, milliseconds},
    timeline::{Timeline, Tone},
};

const HOST: &str = "10.3.3.120";
/// How long each state of the cables is kept.
const DWELL: Duration = Duration::from_secs(1);

/// Options of the lab only.
#[derive(Args, Debug)]
pub(super) struct LabArgs {
    /// Lab: leave it up after the story, and print the commands to play with
    #[arg(long)]
    hold: bool,
    /// Lab: print one JSON object on standard output, and nothing else
    #[arg(long)]
    json: bool,
    /// Lab: pings a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=1000))]
    rate: u32,
}

/// Builds the lab, tells its story, and takes it away.
pub(super) fn run(args: &LabArgs, bond_options: &[String]) -> Result<()> {
    let timeline = Timeline::new(args.json);
    let lab = Lab::build(bond_options, &timeline)?;
    let outcome = lab.story(args.rate, &timeline)?;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        lab.summarise(&outcome, &timeline)?;
    }
    if args.hold {
        set_interrupt_status(i32::from(!outcome.failings.is_empty()));
        lab.hold()?;
    }
    if !outcome.failings.is_empty() {
        bail!(
            "the bond did not do its job:\n  {}\n{}",
            outcome.failings.join("\n  "),
            lab.bond.log()
        );
    }
    Ok(())
}

struct Lab {
    /// Ends before the namespaces it runs in.
    bond: BondProcess,
    lan: Lan,
}

impl Lab {
    fn build(bond_options: &[String], timeline: &Timeline) -> Result<Self> {
        let round_robin = bond_options
            .windows(2)
            .any(|pair| pair[0] == "--mode" && ["balance-rr", "0"].contains(&&*pair[1]));
        let switch = if round_robin { Switch::StaticLag } else { Switch::Plain };
        timeline.line(picture(switch));
        let lan = Lan::new(switch)?;
        timeline.now(Tone::Plain, "the cables are laid");
        let bond = BondProcess::start(
            &lan.host,
            "bond0",
            &format!("--iface eth0,eth1 {}", bond_options.join(" ")),
        )?;
        bond.port()?.add_address(&format!("{HOST}/24"))?;
        let state = bond.show()?;
        let active = state
            .active_slave
            .as_ref()
            .map_or_else(String::new, |slave| format!(", {slave} is active"));
        let slave = &state.slaves[0];
        timeline.now(
            Tone::Good,
            format_args!(
                "bond0 is up: {}, {} XDP, {} sockets{active}",
                state.mode, slave.xdp_mode, slave.bind_mode
            ),
        );
        Ok(Self { bond, lan })
    }

    /// Pings go from the host to the peer while one cable after the other is pulled and plugged in again.
    fn story(&self, rate: u32, timeline: &Timeline) -> Result<Outcome> {
        let period = Duration::from_secs(1) / rate;
        let echo = Echo::icmp(&self.lan.host, Lan::PEER, period)?;
        let answered =
            || Ok(echo.samples().0.iter().any(|sample| sample.rtt.is_some()).then_some(()));
        wait_until("the peer answers", Duration::from_secs(5), answered)?;
        let start = Instant::now();
        timeline.at(
            start,
            Tone::Plain,
            format_args!("{HOST} pings {}, {rate} times a second", Lan::PEER),
        );
        thread::sleep(DWELL);

        let mut pulls = Vec::new();
        for _ in 0..2 {
            let next = self
                .bond
                .show()?
                .active_slave
                .map_or(pulls.len(), |active| usize::from(active == "eth1"));
            pulls.push(self.pull_and_plug(next, &echo, period, timeline)?);
        }
        let end = Instant::now();
        thread::sleep(DWELL / 5); // for the last replies
        let samples = echo.samples().between(start, end);
        Ok(Outcome::new(&samples, period, &pulls, &self.bond.show()?))
    }

    fn pull_and_plug(
        &self,
        number: usize,
        echo: &Echo,
        period: Duration,
        timeline: &Timeline,
    ) -> Result<Pull> {
        let cable = &self.lan.cables[number];
        let [slave, other] =
            [number, 1 - number].map(|number| self.lan.cables[number].near.name.clone());
        let at = Instant::now();
        cable.pull()?;
        timeline.at(at, Tone::Action, format_args!("the cable of {slave} is pulled"));
        thread::sleep(DWELL);

        let active = self.bond.show()?.active_slave;
        let until = Instant::now();
        let pull = Pull { slave, other, at, until, active };
        let pings = pull.pings(&echo.samples().between(at - DWELL, until - DWELL / 5));
        let outage = pings.outage(period);
        let role = if pull.active.is_some() { "takes over" } else { "goes on alone" };
        let text = format!(
            "{} {role}: {} pings lost, outage {:.1} ms",
            pull.other,
            pings.lost(),
            milliseconds(outage)
        );
        timeline.at(at + outage, Tone::Good, text);

        cable.plug()?;
        timeline.at(until, Tone::Action, format_args!("it is plugged in again"));
        wait_until("every slave is up", DWELL, || Ok(self.bond.show()?.is_whole().then_some(())))?;
        let role = if pull.active.is_some() { "the backup" } else { "in turn again" };
        timeline.now(Tone::Good, format_args!("{} is back, {role}", pull.slave));
        thread::sleep(DWELL);
        Ok(pull)
    }

    fn summarise(&self, outcome: &Outcome, timeline: &Timeline) -> Result<()> {
        let outages: Vec<_> =
            outcome.outages_ms.iter().map(|outage| format!("{outage:.1} ms")).collect();
        timeline.line(format_args!("\n  pings     {} sent, {} lost", outcome.sent, outcome.lost));
        timeline.line(format_args!("  outages   {}", outages.join(", ")));
        for slave in &self.bond.show()?.slaves {
            let (name, sent, received) = (&slave.ifname, slave.tx_packets, slave.rx_packets);
            timeline.line(format_args!("  {name:<8}  {sent} frames sent, {received} received"));
        }
        let verdict = match outcome.failings.len() {
            0 => {
                timeline.tone(Tone::Good, "bond0 did its job: two cables pulled, the pings went on")
            }
            _ => timeline.tone(Tone::Bad, "bond0 did not do its job"),
        };
        timeline.line(format_args!("\n{verdict}"));
        Ok(())
    }

    /// Tells how to play, and waits for Enter or a signal, which ends the process.
    fn hold(&self) -> Result<()> {
        let bond = binary()?.display().to_string();
        let (host, switch) = (self.lan.host.name(), self.lan.switch.name());
        eprintln!("\nThe lab stays up. In another terminal, as root:");
        let play = [
            (format!("ip netns exec {host} {bond} show bond0"), "what the bond says"),
            (format!("ip netns exec {host} ping {}", Lan::PEER), "pings that go on"),
            (
                format!("ip -n {switch} link set {} down", self.lan.cables[0].far.name),
                "pull the cable of eth0",
            ),
            (
                format!("ip -n {switch} link set {} up", self.lan.cables[0].far.name),
                "plug it in again",
            ),
            (format!("ip netns exec {host} bash"), "a shell on the host"),
        ];
        let width = play.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
        for (command, what) in play {
            eprintln!("  {command:<width$}  # {what}");
        }
        eprintln!("Enter or Ctrl-C ends it.");
        if io::stdin().read_line(&mut String::new()).context("waiting for Enter")? == 0 {
            // Nobody can press Enter: only a signal ends it.
            loop {
                thread::park();
            }
        }
        Ok(())
    }
}

fn picture(switch: Switch) -> String {
    let group = if switch == Switch::StaticLag {
        "  sw0 and sw1 are a static LAG: a second bond\n"
    } else {
        ""
    };
    format!(
        "\n  host                          switch               peer
  bond0 ─┬─ eth0 ────────────── sw0 ─┬─ br0 ─ port ─── eth0
         └─ eth1 ────────────── sw1 ─┘
  {HOST:<41}            {}\n{group}",
        Lan::PEER
    )
}
