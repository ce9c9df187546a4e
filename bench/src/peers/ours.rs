//! This project's bond, as users run it.

use std::{path::Path, time::Duration};

use anyhow::Result;
use bond_tests::{Port, State, bond, wait_until};

use crate::{
    DEVICE_CPU, SECOND_CPU,
    device::{Layout, Mode, Running, Spec, Xdp},
    process::Process,
    rig::{self, Rig},
};

const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn start(rig: &Rig, spec: &Spec, binary: &Path) -> Result<Running> {
    let slaves: Vec<_> = rig.slaves().map(|port| port.name.as_str()).collect();
    // Its worker is pinned; the control thread goes where there is room, as DPDK's and Open vSwitch's do.
    let mut command = rig.host.command(binary);
    command.args(["run", "bond0", "--iface", &slaves.join(","), "--mode", &spec.mode.to_string()]);
    command.args(["--xdp-mode", &spec.xdp.to_string(), "--poll", &spec.poll.to_string()]);
    let cores = match spec.layout {
        Layout::RunToCompletion => DEVICE_CPU.to_string(),
        Layout::Pipeline => format!("{DEVICE_CPU},{SECOND_CPU}"),
    };
    command.args(["--cores", &cores]);
    if spec.layout == Layout::Pipeline {
        command.args(["--layout", "pipeline"]);
    }
    if spec.mode == Mode::ActiveBackup {
        command.args(["--primary", slaves[0]]);
    }
    let mut process = Process::start(&mut command)?;
    let state = wait_until("the bond is whole", LIMIT, || {
        process.check()?;
        let shown = bond(&rig.host, "show bond0 -j")?;
        let state =
            shown.code.filter(|code| *code == 0).map(|_| serde_json::from_str(&shown.stdout));
        Ok(state.transpose()?.filter(State::is_whole))
    })?;
    if spec.xdp == Xdp::Generic {
        // Their peers send to them by redirection.
        rig.slaves().try_for_each(rig::take_redirects)?;
    }
    let slave = &state.slaves[0];
    let facts = format!("{} XDP, {} sockets", slave.xdp_mode, slave.bind_mode);
    let host_port = Port::new(&rig.host, "bond0", state.address.parse()?);
    Ok(Running { processes: vec![process], host_port, keep: Box::new(()), facts })
}
