//! `cargo xtask run`.

use anyhow::{Result, bail};
use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Interfaces to bond, and options of `bond run`; none: the embedded lab
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[expect(clippy::needless_pass_by_value, reason = "the arguments are handed over for good")]
pub(crate) fn run(args: RunArgs) -> Result<()> {
    bail!("`cargo xtask run {}` is not there yet", args.options.join(" "));
}
