//! The command `bond`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bond::cli::main()
}
