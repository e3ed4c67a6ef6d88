//! The program `identity-mapper`; see the library's `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    identity_mapper::cli::run(std::env::args_os())
}
