//! QEMU's control socket (QMP, docs/interop/qmp-spec.rst in QEMU).

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// The socket, opened when it is first needed.
pub(super) struct Qmp {
    path: PathBuf,
    stream: Option<BufReader<UnixStream>>,
}

impl Qmp {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, stream: None }
    }

    /// Gives NIC `name` its carrier, or takes it.
    pub(super) fn set_link(&mut self, name: &str, up: bool) -> Result<()> {
        if self.stream.is_none() {
            let stream = UnixStream::connect(&self.path).context("cannot reach QEMU's control")?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            self.stream = Some(BufReader::new(stream));
            self.execute(&json!({ "execute": "qmp_capabilities" }))?;
        }
        self.execute(&json!({ "execute": "set_link", "arguments": { "name": name, "up": up } }))
    }

    fn execute(&mut self, command: &Value) -> Result<()> {
        let stream = self.stream.as_mut().context("not connected")?;
        writeln!(stream.get_mut(), "{command}")?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                bail!("QEMU closed its control socket");
            }
            let answer: Value = serde_json::from_str(&line)?;
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            // Anything else is the greeting or an event.
            if answer.get("return").is_some() {
                return Ok(());
            }
        }
    }
}
