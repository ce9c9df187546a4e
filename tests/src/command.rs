//! Programs that must end in time, and conditions that must come true in time.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};

/// What a program that ended left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// `None`: ended by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end; after `limit` it is killed, and that is an error.
pub fn bounded(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {command:?}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            break None;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let join = |reader: thread::JoinHandle<String>| {
        reader.join().map_err(|_panic| anyhow!("a reader panicked"))
    };
    let (stdout, stderr) = (join(stdout)?, join(stderr)?);
    match status {
        Some(status) => Ok(Finished { code: status.code(), stdout, stderr }),
        None => bail!("{command:?} still ran after {limit:?}; it said:\n{stdout}{stderr}"),
    }
}

/// Asks `ready` every few milliseconds until it gives a value; after `limit` that is an error that names `what`.
pub fn wait_until<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("after {limit:?}, still not so: {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
