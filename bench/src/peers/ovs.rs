//! Open vSwitch's userspace datapath with a bond, over AF_XDP.

use std::{ffi::OsStr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bond_tests::{bounded, wait_until};

use crate::{
    DEVICE_CPU,
    device::{HOST_MAC, Running, Spec, WIRE_MAC, Xdp},
    process::Process,
    rig::{self, Rig},
};

pub(super) const PROGRAM: &str = "ovs-vswitchd";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn start(rig: &Rig, spec: &Spec) -> Result<Running> {
    let cable = rig.host_cable()?;
    let slaves: Vec<_> = rig.slaves().map(|port| port.name.clone()).collect();
    let directory = tempfile::tempdir()?;
    let ovs = Ovs { rig, directory: directory.path() };
    let (socket, database) = (ovs.path("db.sock"), ovs.path("conf.db"));

    ovs.run("ovsdb-tool", ["create", &database, SCHEMA])?;
    let mut server = ovs.command("ovsdb-server");
    server.args([&database, &format!("--remote=punix:{socket}"), "--unixctl=server.ctl"]);
    let server = Process::start(&mut server)?;
    let listens = || Ok(Path::new(&socket).exists().then_some(()));
    wait_until("ovsdb-server listens", LIMIT, listens)?;
    let vsctl = |arguments: String| {
        let db = format!("--db=unix:{socket}");
        ovs.run("ovs-vsctl", [db.as_str(), "--timeout=20"].into_iter().chain(arguments.split(' ')))
    };
    vsctl("--no-wait init".to_owned())?;
    vsctl(format!(
        "--no-wait set Open_vSwitch . other_config:pmd-cpu-mask={:#x}",
        1 << DEVICE_CPU
    ))?;
    let mut switch = ovs.command(PROGRAM);
    switch.args([&format!("unix:{socket}"), "--unixctl=switch.ctl"]);
    let switch = Process::start(&mut switch)?;

    let afxdp = |xdp: Xdp| format!("type=afxdp options:n_rxq=1 options:xdp-mode={xdp}");
    vsctl("add-br br0 -- set bridge br0 datapath_type=netdev".to_owned())?;
    vsctl(format!("add-port br0 h1 -- set Interface h1 {}", afxdp(Xdp::Native)))?;
    let interfaces =
        slaves.iter().map(|slave| format!(" -- set Interface {slave} {}", afxdp(spec.xdp)));
    vsctl(format!(
        "add-bond br0 bond0 {} bond_mode=active-backup other_config:bond-primary={}{}",
        slaves.join(" "),
        slaves[0],
        interfaces.collect::<String>()
    ))?;
    let said = || format!("ovs-vswitchd said:\n{}", switch.log());
    let control = ovs.path("switch.ctl");
    let appctl = |arguments: &str| {
        let target = ["-t", control.as_str()].into_iter().chain(arguments.split(' '));
        ovs.run("ovs-appctl", target)
    };
    wait_until("the bond's slaves are enabled", LIMIT, || {
        let shown = appctl("bond/show bond0")?;
        Ok((shown.matches(": enabled").count() == slaves.len()).then_some(()))
    })
    .with_context(said)?;
    // So that it never forgets where to send, and floods. A slave stands for its bond.
    appctl(&format!("fdb/add br0 h1 0 {HOST_MAC}"))?;
    appctl(&format!("fdb/add br0 {} 0 {WIRE_MAC}", slaves[0]))?;
    if spec.xdp == Xdp::Generic {
        rig.slaves().try_for_each(rig::take_redirects)?;
    }
    let facts = format!("{} XDP, copy sockets", spec.xdp);
    Ok(Running {
        processes: vec![switch, server],
        host_port: cable.near,
        keep: Box::new(directory),
        facts,
    })
}

/// An Open vSwitch of our own, with all its files in one directory.
struct Ovs<'a> {
    rig: &'a Rig,
    directory: &'a Path,
}

impl Ovs<'_> {
    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.rig.host.command(program);
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.directory);
        }
        command
    }

    fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String> {
        let ended = bounded(self.command(program).args(arguments), LIMIT)?;
        ensure!(ended.code == Some(0), "{program}: {}", ended.stderr);
        Ok(ended.stdout)
    }
}
