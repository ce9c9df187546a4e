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
/// Longest that a slave may take to be back once its cable is plugged in: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(5);
/// A reply that takes longer is lost.
const LAST_REPLY: Duration = Duration::from_millis(200);

/// Options of the lab only.
#[derive(Args, Debug)]
pub(super) struct LabArgs {
    /// Lab: leave it up after the story, and print the commands to play with
    #[arg(long, conflicts_with = "iface")]
    hold: bool,
    /// Lab: print one JSON object on standard output, and nothing else
    #[arg(long, conflicts_with = "iface")]
    json: bool,
    /// Lab: pings a second
    #[arg(long, conflicts_with = "iface", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=1000))]
    rate: u32,
}

/// Builds the lab, tells its story, and takes it away.
pub(super) fn run(args: &LabArgs, switch: Switch, bond_options: &[String]) -> Result<()> {
    let timeline = Timeline::new(args.json);
    let period = Duration::from_secs(1) / args.rate;
    let lab = Lab::build(switch, bond_options, &timeline)?;
    let outcome = lab.story(period, &timeline)?;
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    } else {
        lab.summarise(&outcome, period, &timeline)?;
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
    fn build(switch: Switch, bond_options: &[String], timeline: &Timeline) -> Result<Self> {
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
    fn story(&self, period: Duration, timeline: &Timeline) -> Result<Outcome> {
        let echo = Echo::icmp(&self.lan.host, Lan::PEER, period)?;
        let answered =
            || Ok(echo.samples().0.iter().any(|sample| sample.rtt.is_some()).then_some(()));
        wait_until("the peer answers", Duration::from_secs(5), answered)?;
        let start = Instant::now();
        let pings = format!("{HOST} pings {} every {period:?}", Lan::PEER);
        timeline.at(start, Tone::Plain, pings);
        thread::sleep(DWELL);

        let first = usize::from(self.bond.show()?.active_slave.as_deref() == Some("eth1"));
        let pulls: Result<Vec<_>> = [first, 1 - first]
            .into_iter()
            .map(|number| self.pull_and_plug(number, &echo, period, timeline))
            .collect();
        let end = Instant::now();
        thread::sleep(LAST_REPLY);
        let samples = echo.samples().between(start, end);
        Ok(Outcome::new(&samples, period, &pulls?, &self.bond.show()?))
    }

    fn pull_and_plug(
        &self,
        number: usize,
        echo: &Echo,
        period: Duration,
        timeline: &Timeline,
    ) -> Result<Pull> {
        let [cable, other] = [number, 1 - number].map(|number| &self.lan.cables[number]);
        let (slave, other) = (cable.near.name.clone(), other.near.name.clone());
        let takes_over = self.bond.show()?.active_slave.as_ref() == Some(&slave);
        let at = Instant::now();
        cable.pull()?;
        timeline.at(at, Tone::Action, format_args!("the cable of {slave} is pulled"));
        thread::sleep(DWELL);

        let active = self.bond.show()?.active_slave;
        let pull = Pull { slave, other, at, until: Instant::now(), active };
        let pings = pull.pings(&echo.samples().between(at - DWELL, pull.until - LAST_REPLY));
        let outage = pings.outage(period);
        let role = if takes_over { "takes over" } else { "goes on alone" };
        let lost = match pings.lost() {
            0 => "no ping is lost".to_owned(),
            lost => format!("{lost} lost, outage {:.1} ms", milliseconds(outage)),
        };
        timeline.at(at + outage, Tone::Good, format_args!("{} {role}: {lost}", pull.other));

        cable.plug()?;
        timeline.at(pull.until, Tone::Action, "it is plugged in again");
        let back = wait_until("every slave is up", PATIENCE, || {
            let state = self.bond.show()?;
            let role = state.slave(&pull.slave).map(|slave| slave.state.clone());
            Ok(role.filter(|_| state.is_whole()))
        })?;
        timeline.now(Tone::Good, format_args!("{} is back: {back}", pull.slave));
        thread::sleep(DWELL);
        Ok(pull)
    }

    fn summarise(&self, outcome: &Outcome, period: Duration, timeline: &Timeline) -> Result<()> {
        let readable = |outage: &f64| match outage {
            0.0 => format!("below {period:?}"),
            _ => format!("{outage:.1} ms"),
        };
        let outages: Vec<_> = outcome.outages_ms.iter().map(readable).collect();
        timeline.line(format_args!("\n  pings     {} sent, {} lost", outcome.sent, outcome.lost));
        timeline.line(format_args!("  outages   {}", outages.join(", ")));
        for slave in &self.bond.show()?.slaves {
            let (name, sent, received) = (&slave.ifname, slave.tx_packets, slave.rx_packets);
            timeline.line(format_args!("  {name:<8}  {sent} frames sent, {received} received"));
        }
        let verdict = if outcome.failings.is_empty() {
            timeline.tone(Tone::Good, "bond0 did its job: two cables pulled, the pings went on")
        } else {
            timeline.tone(Tone::Bad, "bond0 did not do its job")
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
